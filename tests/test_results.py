"""Every printed result stands in a results document: studies show their JSON, the README quotes the studies."""

import json
import re
from pathlib import Path

import pytest

from modeling_hfr_ame.evaluation.markdown import markdown_report

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "docs" / "results"
STUDIES = {"synthetic.json": "synthetic.md", "mosi_test.json": "mosi.md", "mosi_held_out.json": "mosi.md"}
MEAN_AND_SD = re.compile(r"\d\.\d{3} ± \d\.\d{3}")


@pytest.mark.parametrize("document", sorted(STUDIES))
def test_study_shows_the_tables_of_its_document(document: str) -> None:
    report = markdown_report(json.loads((RESULTS / document).read_text(encoding="utf-8")))
    assert report.strip() in (RESULTS / STUDIES[document]).read_text(encoding="utf-8")


def test_readme_numbers_stand_in_a_study() -> None:
    studies = "".join(path.read_text(encoding="utf-8") for path in sorted(RESULTS.glob("*.md")))
    numbers = MEAN_AND_SD.findall((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert len(numbers) >= 20
    assert [number for number in numbers if number not in studies] == []


def test_readme_and_studies_hold_no_placeholder() -> None:
    texts = [REPOSITORY / "README.md", *RESULTS.glob("*.md")]
    assert [path.name for path in texts if re.search(r"\b[A-Z]+_[A-Z_]+\b", path.read_text(encoding="utf-8"))] == []
