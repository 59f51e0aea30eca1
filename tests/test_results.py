"""Every printed result stands in a results document: studies show their JSON, the README quotes the studies."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.peers_on_utterances import summarise, tables
from modeling_hfr_ame.evaluation.markdown import markdown_report, mean_and_sd
from modeling_hfr_ame.training.domain_study import study_tables

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "docs" / "results"
PEERS = ("lnln", "hme", "cyin", "dashfusion")
STUDIES = {
    "synthetic.json": "synthetic.md",
    "synthetic_2400.json": "synthetic_2400.md",
    "mosi_test.json": "mosi.md",
    "mosi_held_out.json": "mosi.md",
    "mmslf.json": "mmslf.md",
} | {f"peers_{peer}.json": "peers.md" for peer in PEERS}
MEAN_AND_SD = re.compile(r"\d\.\d{3} ± \d\.\d{3}")


@pytest.mark.parametrize("document", sorted(STUDIES))
def test_study_shows_the_tables_of_its_document(document: str) -> None:
    report = markdown_report(json.loads((RESULTS / document).read_text(encoding="utf-8")))
    assert report.strip() in (RESULTS / STUDIES[document]).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(RESULTS.glob("domain_generalization.*.json")), ids=lambda path: path.stem)
def test_domain_study_shows_the_tables_of_its_document(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    assert study_tables(json.loads(content)).strip() in (RESULTS / "domain_generalization.md").read_text("utf-8")
    assert not re.search(r'"/[a-z]', content), "a folder of one machine"


@pytest.mark.parametrize("peer", PEERS)
def test_overview_of_peers_shows_each_variant_as_its_document_has_it(peer: str) -> None:
    models = json.loads((RESULTS / f"peers_{peer}.json").read_text(encoding="utf-8"))["models"]
    assert set(models) == {"repaired", "reference"}
    overview = (RESULTS / "peers.md").read_text(encoding="utf-8").partition("## Overview")[2].partition("\n## ")[0]
    for variant, model in models.items():
        means = [model["protocols"][protocol]["mean"] for protocol in ("P0", "P1")]
        cells = [mean_and_sd(mean[metric]) for mean in means for metric in ("mae", "corr")]
        assert f"| {peer} | {variant} | {' | '.join(cells)} |" in overview


def test_peers_on_utterance_features_show_the_tables_of_their_document() -> None:
    document = json.loads((RESULTS / "peers_utterances.json").read_text(encoding="utf-8"))
    assert document["seeds"] == [1111, 1112, 1113]
    assert set(document["models"]) == set(PEERS)
    for model in document["models"].values():
        # The spreads follow from the scores of the runs.
        assert summarise({variant: found["runs"] for variant, found in model["variants"].items()}) == model
    assert tables(document) in (RESULTS / "peers.md").read_text(encoding="utf-8")


def test_readme_numbers_stand_in_a_study() -> None:
    studies = "".join(path.read_text(encoding="utf-8") for path in sorted(RESULTS.glob("*.md")))
    numbers = MEAN_AND_SD.findall((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert len(numbers) >= 20
    assert [number for number in numbers if number not in studies] == []


def test_readme_and_studies_hold_no_placeholder() -> None:
    texts = [REPOSITORY / "README.md", *RESULTS.glob("*.md")]
    assert [path.name for path in texts if re.search(r"\b[A-Z]+_[A-Z_]+\b", path.read_text(encoding="utf-8"))] == []
