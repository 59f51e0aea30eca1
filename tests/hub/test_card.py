"""The card of a run: whole, valid, every number from a document, nothing of the machine."""

import copy
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub._eval_results import parse_eval_result_entries
from typer.testing import CliRunner

from modeling_hfr_ame.cli import app
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.hub.card import build_card, read_results, render_card
from modeling_hfr_ame.hub.export import export_run
from modeling_hfr_ame.hub.methods import METHODS
from modeling_hfr_ame.hub.run_description import describe_runs, read_descriptions, write_descriptions
from modeling_hfr_ame.pipeline_sentiment import TASK, MultimodalSentimentPipeline
from tests.hub.run_making import RECORD, SECRET_FOLDER, make_model, make_processor, make_run

REPOSITORY = Path(__file__).resolve().parent.parent.parent
STUDY = REPOSITORY / "docs" / "results" / "synthetic_2400.json"
SECTIONS = [
    "How to use",
    "Data",
    "Training",
    "Results",
    "Limits",
    "Intended use and out-of-scope use",
    "Licence and citation",
]
WHOLE_CARD = re.compile(
    r"---\n(?P<yaml>.+?)\n---\n\n"
    r"# HFR-AME on talkers\n\nA multimodal sentiment model .+?\n\n"
    r"> Independent implementation based on the abstract .+? No number on this card is the paper's.+?\n\n"
    r"## How to use\n.+?```python\n.+?```\n.+?\| input \| score in \[-3, 3\] \| .+?"
    r"## Data\n\nTrained on `talkers`.+?\| `train` \| 30 \| 30 \| 20 \| 10 \| 5 \|\n.+?personal material.+?"
    r"## Training\n\nVariant `full` .+?\| 1111 \| 2 \| 225 \| 373 s \|\n.+?\| `learning_rate` \| `0\.005` \|\n.+?"
    r"## Results\n\nMean ± sd .+?### `synthetic_talkers`, test split, (?P<rows>\d+) rows \(subset all\)\n.+?"
    r"\| protocol \| model \| MAE ↓ \| .+?Not measured: P3 .+?!\[Error .+?\]\(robustness\.png\)\n.+?"
    r"Paired differences .+?before → after restoration.+?Conditions:\n.+?"
    r"## Limits\n\n\* .+?"
    r"## Intended use and out-of-scope use\n.+?Article 5\(1\)\(f\).+?workplace and in education.+?consent.+?"
    r"## Licence and citation\n\n[^|]+\n",
    re.DOTALL,
)

Document = dict[str, Any]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "my data" / "talkers"
    folder.mkdir(parents=True)
    present = {"text": 30, "audio": 20, "vision": 10}
    manifest = {
        "format": "hfr-ame-dataset/1",
        "dataset_name": "talkers",
        "builder": "mosi_clips",
        "builder_version": "1",
        "label_range": [-3.0, 3.0],
        "feature_sizes": {"audio": 5, "vision": 7},
        "counts": {"train": {"rows": 30, "present": present, "all_three": 5, "frames": {"audio": 99}}},
        "sources": {"labels": {"file": "label.csv", "sha256": "ab" * 32}},
        "files": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path, dataset: Path) -> Path:
    folder = make_run(tmp_path / "study" / "full" / "seed-1111")
    record = RECORD | {
        "dataset_folder": str(dataset),
        "manifest_sha256": hashlib.sha256((dataset / "manifest.json").read_bytes()).hexdigest(),
        "num_rows": {"train": 30, "validation": 4},
        "num_parameters": {"total": 12345, "trainable": 12345, "without_text_encoder": 2345},
        "selection_rule": "lowest validation MAE",
        "selected_epoch": 2.0,
        "num_steps": 225,
        "wall_time_s": 373.2,
        "device": "cpu",
        "mixed_precision": "no",
        "versions": {"python": "3.11.7"},
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture
def results(run: Path) -> Document:
    """The numbers of a real study, as if this run were its first seed."""
    document = read_results(STUDY)
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))["manifest_sha256"]
    for model in document["models"].values():
        model["trained_on_manifest_sha256"] = [manifest]
    return document


def tables_of(text: str) -> list[list[dict[str, str]]]:
    """Reads every Markdown table as rows of heading to cell."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        header, _, *rows = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in block.splitlines()]
        found.append([dict(zip(header, row, strict=True)) for row in rows])
    return found


def section(text: str, name: str) -> str:
    return text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def printed(summary: Document) -> str:
    return f"{summary['mean']:.3f} ± {summary['sd']:.3f}"


def test_card_of_a_run_is_whole(run: Path, results: Document) -> None:
    text = build_card(run, [results]).text
    whole = WHOLE_CARD.fullmatch(text)
    assert whole
    assert int(whole["rows"]) == results["num_rows"]
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == SECTIONS
    assert "None" not in text
    assert "{" not in text.replace('{"text": "the story is slow but the end is wonderful"}', "")


def test_card_metric_table_holds_every_number_of_the_results_and_no_other(run: Path, results: Document) -> None:
    [metrics, *_] = tables_of(section(build_card(run, [results]).text, "Results"))
    names = dict(zip(results["metrics"], list(metrics[0])[2:], strict=True))
    expected = {}
    for protocol in results["protocols"]:
        for name, model in results["models"].items():
            means = model["protocols"][protocol]["mean"]
            expected[protocol, name] = {heading: printed(means[metric]) for metric, heading in names.items()}
        own = results["models"]["full"]["protocols"][protocol]["mean"]
        values = {heading: f"{own[metric]['values'][0]:.3f}" for metric, heading in names.items()}
        expected[protocol, "full, these weights"] = values
    for constant in ("mean", "median"):
        floor = results["baselines"][f"train_{constant}"]
        values = {h: "–" if floor[metric] is None else f"{floor[metric]:.3f}" for metric, h in names.items()}
        expected["any", f"constant {constant}"] = values
    found = {(row.pop("protocol"), row.pop("model")): row for row in metrics}
    assert found == expected


def test_card_recipe_tables_hold_the_results(run: Path, results: Document) -> None:
    _, by_rate, by_set, *_ = tables_of(section(build_card(run, [results]).text, "Results"))
    for table, protocol, heading in ((by_rate, "P1", "rate"), (by_set, "P2", "missing")):
        assert [row[heading] for row in table] == [name.partition("-")[2] for name in results["protocols"][protocol]]
        for row, recipe in zip(table, results["protocols"][protocol], strict=True):
            for name, model in results["models"].items():
                metrics = model["protocols"][protocol]["recipes"][recipe]["metrics"]
                assert row[name] == f"{printed(metrics['mae'])} / {printed(metrics['corr'])}"


def test_card_differences_and_restoration_hold_the_results(run: Path, results: Document) -> None:
    *_, differences, restoration = tables_of(section(build_card(run, [results]).text, "Results"))
    compared = [entry for entry in results["comparisons"] if entry["metric"] in ("mae", "corr")]
    assert [row["difference"] for row in differences] == [f"{entry['mean_difference']:+.4f}" for entry in compared]
    reports = results["models"]["full"]["restoration"]
    assert [row["corruption"] for row in restoration] == list(reports)
    for row in restoration:
        for modality, found in reports[row["corruption"]].items():
            cell = f"{found['total_before']['mean']:.2f} → {found['total_after']['mean']:.2f}"
            if found["gain_db"]["mean"] is not None:
                cell += f" ({found['gain_db']['mean']:.1f} ± {found['gain_db']['sd']:.1f} dB)"
            assert row[modality] == cell


def test_card_metadata_holds_the_results(run: Path, results: Document) -> None:
    built = build_card(run, [results], dataset_id="someone/talkers")
    data = ModelCard(built.text).data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "transformers",
        "text-classification",
    )
    assert data.datasets == ["someone/talkers"]
    assert data.metrics == ["accuracy", "f1", "mae", "pearsonr"]
    protocols = results["models"]["full"]["protocols"]
    values = [protocols[protocol]["mean"][metric]["mean"] for protocol in protocols for metric in results["metrics"]]
    assert [entry.metric_value for entry in data.eval_results] == values
    assert {entry.dataset_split for entry in data.eval_results} == {"test"}
    num_seeds = len(results["models"]["full"]["seeds"])
    assert data.eval_results[0].metric_name == f"P0 MAE (mean of {num_seeds} seeds)"
    assert built.eval_results is not None
    entries = parse_eval_result_entries(yaml.safe_load(built.eval_results))
    assert [entry.task_id for entry in entries[:3]] == ["test_p0_mae", "test_p0_corr", "test_p1_mae"]
    means = [protocols[protocol]["mean"][metric]["mean"] for protocol in protocols for metric in ("mae", "corr")]
    assert [entry.value for entry in entries] == means
    assert {entry.dataset_id for entry in entries} == {"someone/talkers"}


def test_card_examples_are_outputs_of_the_model(run: Path, tmp_path: Path) -> None:
    text = build_card(run).text
    pipe = MultimodalSentimentPipeline(model=make_model(), processor=make_processor(), task=TASK)
    widget = yaml.safe_load(text.split("---\n")[1])["widget"]
    assert len(widget) == 2
    for example in widget:
        result = pipe({"text": example["text"]})
        [output] = example["output"]
        assert output == {"label": result["label"], "score": pytest.approx(result["score"], abs=6e-4)}
    [examples] = tables_of(section(text, "How to use"))
    assert [float(row["score in [-3, 3]"]) for row in examples[:2]] == [item["output"][0]["score"] for item in widget]
    exported = export_run(run, tmp_path / "exported")
    response = json.loads((exported / "example_inputs" / "response.json").read_text(encoding="utf-8"))
    assert float(examples[2]["score in [-3, 3]"]) == pytest.approx(response["score"], abs=6e-4)


DOMAIN_AND_HINT_ARGUMENTS = {
    "sources": [],
    "target": None,
    "domain_setting": None,
    "domain_root": "prepared",
    "feature_harmonisation": "strict",
    "domain_selection": "source_valid",
    "prompts": None,
    "prompt_store": None,
    "min_prompt_coverage": 1.0,
    "max_prompt_length": 128,
    "prompt_cache": None,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        (
            {"sources": ["a", "b"], "target": "c"},
            {"sources", "target", "feature_harmonisation", "domain_selection"},
        ),
        (
            {"domain_setting": "mosi_to_mosei"},
            {"domain_setting", "domain_root", "feature_harmonisation", "domain_selection"},
        ),
        ({"prompts": "hints"}, {"prompts", "min_prompt_coverage", "max_prompt_length"}),
    ],
)
def test_card_prints_arguments_of_domains_and_hints_only_where_there_are_any(
    run: Path, changes: dict[str, Any], expected: set[str]
) -> None:
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["arguments"]["data"] = {"max_text_length": 40, **DOMAIN_AND_HINT_ARGUMENTS, **changes}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    arguments = next(table for table in tables_of(section(build_card(run).text, "Training")) if "argument" in table[0])
    printed_names = {row["argument"].strip("`") for row in arguments}
    assert "max_text_length" in printed_names
    assert printed_names & DOMAIN_AND_HINT_ARGUMENTS.keys() == expected


def test_card_without_results_says_so(run: Path) -> None:
    built = build_card(run)
    assert tables_of(section(built.text, "Results")) == []
    assert "Not measured: no evaluation was given for this model" in built.text
    assert "model-index" not in built.text
    assert (built.eval_results, built.figures) == (None, {})


def test_card_without_rates_and_restoration_says_so(run: Path, results: Document, tmp_path: Path) -> None:
    results["protocols"] = {"P0": results["protocols"]["P0"]}
    results["comparisons"] = []
    for model in results["models"].values():
        model["protocols"] = {"P0": model["protocols"]["P0"]}
        model["restoration"] = {}
    built = build_card(run, [results])
    assert "so there is no robustness curve" in built.text
    assert "Restoration: none was measured" in built.text
    assert re.search(r"Not measured: P1 \(.+; P2 \(.+; P3 \(.+; P4 \(.+; P5 \(", built.text)
    assert [len(table) for table in tables_of(section(built.text, "Results"))] == [5]
    built.write(tmp_path / "card")
    assert not list((tmp_path / "card").glob("*.png"))


def test_card_without_the_dataset_says_so(run: Path, dataset: Path) -> None:
    (dataset / "manifest.json").unlink()
    text = section(build_card(run).text, "Data")
    assert "The manifest itself was not at hand" in text
    assert "30 train rows" in text
    assert tables_of(text) == []


def test_card_dataset_changed_since_the_training_is_not_described(run: Path, dataset: Path) -> None:
    with (dataset / "manifest.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert describe_runs(run)["dataset"] is None


def test_card_folder_names_no_folder_of_the_machine(run: Path, results: Document, tmp_path: Path) -> None:
    build_card(run, [results]).write(tmp_path / "card")
    files = sorted(path.relative_to(tmp_path / "card").as_posix() for path in (tmp_path / "card").rglob("*.*"))
    assert [name for name in files if "." in Path(name).name[1:]] == [
        ".eval_results/talkers.yaml",
        "README.md",
        "robustness.png",
    ]
    for name in (".eval_results/talkers.yaml", "README.md"):
        text = (tmp_path / "card" / name).read_text(encoding="utf-8")
        assert not [secret for secret in (SECRET_FOLDER, str(tmp_path), "/home/", "/tmp/") if secret in text]
    assert "small-bert" in (tmp_path / "card" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "card" / "robustness.png").read_bytes().startswith(b"\x89PNG")


def test_card_snippet_runs_without_the_package(run: Path, tmp_path: Path) -> None:
    exported = export_run(run, tmp_path / "exported", card=build_card(run, repository="someone/talkers").text)
    card = (exported / "README.md").read_text(encoding="utf-8")
    [snippet] = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert '"someone/talkers"' in snippet
    absent = "import sys\nsys.modules['modeling_hfr_ame'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", absent + snippet.replace("someone/talkers", exported.as_posix())],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", "PATH": ""},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"'score': .+'label': ", done.stdout)
    assert "tensor([[" in done.stdout


def test_card_describes_sister_runs_of_the_results(run: Path, results: Document) -> None:
    other = make_run(run.parent / "seed-1112")
    record = json.loads((run / "run.json").read_text(encoding="utf-8")) | {"seed": 1112, "num_steps": 226}
    (other / "run.json").write_text(json.dumps(record), encoding="utf-8")
    runs = tables_of(section(build_card(other, [results]).text, "Training"))[0]
    assert [(row["seed"], row["steps trained"]) for row in runs] == [("1111", "225"), ("1112", "226")]
    assert "those of the training with seed 1112" in build_card(other, [results]).text
    assert "those of the training" not in build_card(run.parent, [results]).text


def test_description_written_and_read_gives_the_same_card(run: Path, results: Document, tmp_path: Path) -> None:
    path = tmp_path / "study.runs.json"
    write_descriptions(path, {"full": describe_runs(run)})
    assert SECRET_FOLDER not in path.read_text(encoding="utf-8")
    card = render_card(read_descriptions(path)["full"], [results], name="full", weights_seed=1111)
    assert card.text == build_card(run, [results]).text


@pytest.mark.parametrize(("role", "reader"), [("prompts", "It read hints"), ("teacher", "Its teacher read hints")])
@pytest.mark.parametrize("paper_protocol", [False, True])
def test_card_says_who_wrote_the_hints_and_whether_labels_were_shown(
    run: Path, role: str, reader: str, paper_protocol: bool
) -> None:
    hints = {
        "model_id": "someone/large-model",
        "model_revision": "abc",
        "template_id": "hint-en/1",
        "content_sha256": "12" * 32,
        "paper_protocol": paper_protocol,
    }
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record[role] = hints if role == "prompts" else {"seed": 1, "prompts": hints}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    card = " ".join(build_card(run).text.split())
    assert f"{reader} about the samples that `someone/large-model`, revision `abc`, wrote" in card
    assert ("No label was shown to the writer of the hints." in card) is not paper_protocol
    assert ("labels of the training samples were shown" in card) is paper_protocol


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["models"]["full"].update(seeds=[7, 8, 9, 10, 11]), r"with the seeds 1111, found the seeds 7, 8"),
        (lambda d: d["models"]["full"].update(trained_on_manifest_sha256=["cd"]), r"trained on the data .+, found cd"),
    ],
)
def test_card_results_of_other_runs_are_refused(run: Path, results: Document, change: Any, message: str) -> None:
    changed = copy.deepcopy(results)
    change(changed)
    with pytest.raises(DataError, match=message):
        build_card(run, [changed])


def test_card_unknown_model_of_several_is_refused(run: Path, results: Document) -> None:
    with pytest.raises(ConfigError, match="which are full, control, found hfr; pass its name"):
        build_card(run, [results], name="hfr")


@pytest.mark.parametrize("content", ["{", '{"schema_version": 2}'])
def test_card_damaged_results_are_refused(run: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"run hfr-ame evaluate|schema version 1, .+ has 2; evaluate again"):
        build_card(run, [tmp_path])


@pytest.mark.parametrize("content", ["{", '{"format": "hfr-ame-run/1"}', "[]"])
def test_descriptions_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.runs.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="extract them again"):
        read_descriptions(tmp_path / "a.runs.json")


def test_card_without_anything_is_refused() -> None:
    with pytest.raises(DataError, match="found neither; pass a run folder"):
        render_card(None, [], name="full")


def test_command_writes_the_card(run: Path, results: Document, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    words = ["card", str(run), "--results", str(tmp_path / "results.json"), "--out", str(tmp_path / "card")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    expected = build_card(run, [results]).text
    assert (tmp_path / "card" / "README.md").read_text(encoding="utf-8") == expected


def load_generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "model_cards" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_committed_cards_are_those_that_the_generator_makes() -> None:
    generator = load_generator()
    cards = dict(generator.build_cards())
    folders = {path.name for path in generator.CARDS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(cards)
    for name, card in cards.items():
        folder = generator.CARDS / name
        again = "make it again: python model_cards/generate.py"
        assert (folder / "README.md").read_text(encoding="utf-8") == card.text, again
        files = [path.name for path in (folder / ".eval_results").iterdir()]
        assert files == [f"{card.dataset_name}.yaml"], again
        assert (folder / ".eval_results" / files[0]).read_text(encoding="utf-8") == card.eval_results, again
        assert {path.name for path in folder.glob("*.png")} == set(card.figures), again


@pytest.mark.parametrize("name", ["lnln", "hme", "cyin", "dashfusion"])
@pytest.mark.parametrize(("variant", "states"), [("repaired", "repairs what"), ("reference", "keeps the behaviour of")])
def test_card_of_a_peer_names_its_idea_source_and_variant(tmp_path: Path, name: str, variant: str, states: str) -> None:
    run = make_run(tmp_path / "seed-1111", name=name)
    (run / "run.json").write_text(json.dumps(RECORD | {"model": name, "variant": variant}), encoding="utf-8")
    text = " ".join(build_card(run).text.split())
    method = METHODS[name]
    assert f"# {method.title} (" in text or f"# {method.title} on" in text
    assert f"{method.title}: {method.idea[0].lower()}{method.idea[1:]}" in text
    assert f"This variant {states}" in text
    assert f"> Source: {method.source}." in text
    assert "Independent implementation of a published method" in text
