"""The exported folder: what is in it, what isn't, and what is refused."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.dynamic_module_utils import get_imports
from typer.testing import CliRunner

from modeling_hfr_ame import HfrAmeForSentiment
from modeling_hfr_ame.cli import app
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.hub.export import export_run
from modeling_hfr_ame.hub.record_publishing import find_paths, without_paths
from modeling_hfr_ame.pipeline_sentiment import TASK
from modeling_hfr_ame.repository_code import code_files
from tests.hub.run_making import SECRET_FOLDER, make_processor, make_run
from tests.models.model_fixtures import MODEL_BUILDERS

CLOSURE_LIBRARIES = {"torch", "numpy", "transformers", "huggingface_hub", "safetensors"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    export_run(make_run(root / "run"), root / "repository", card="# A model\n")
    return root


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "repository"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_export_writes_exactly_these_files(folder: Path) -> None:
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in files if not name.endswith(".py")} == {
        "README.md",
        "config.json",
        "example_inputs/audio.npy",
        "example_inputs/request.json",
        "example_inputs/response.json",
        "example_inputs/text.txt",
        "example_inputs/vision.npy",
        "model.safetensors",
        "processor_config.json",
        "requirements.txt",
        "run.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert {"handler.py", "modeling_hfr_ame.py", "processing_hfr_ame.py", "pipeline_sentiment.py"} <= files
    # It serves the installed package alone.
    assert "registration.py" not in files


def test_export_names_every_auto_class_and_the_pipeline(folder: Path) -> None:
    config = read(folder / "config.json")
    assert config["auto_map"].keys() == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForSequenceClassification",
        "AutoProcessor",
        "AutoFeatureExtractor",
    }
    references = [*config["auto_map"].values(), config["custom_pipelines"][TASK]["impl"]]
    for reference in references:
        module, _, name = reference.partition(".")
        assert re.search(rf"^class {name}\b", (folder / f"{module}.py").read_text(encoding="utf-8"), re.MULTILINE)


def test_export_every_relative_import_has_its_file(folder: Path) -> None:
    for path in folder.glob("*.py"):
        for name in re.findall(r"^from \.(\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert (folder / f"{name}.py").is_file(), f"{path.name} imports {name}"


def test_export_code_needs_these_five_libraries_only(folder: Path) -> None:
    needed = {library for path in folder.glob("*.py") for library in get_imports(path)}
    assert needed - sys.stdlib_module_names == CLOSURE_LIBRARIES


def test_export_code_hides_no_module_when_the_folder_is_on_the_search_path(folder: Path) -> None:
    stems = {path.stem for path in folder.glob("*.py")}
    assert not stems & (sys.stdlib_module_names | CLOSURE_LIBRARIES)


def test_export_holds_no_folder_of_the_machine(root: Path, folder: Path) -> None:
    assert list(find_paths(folder)) == []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert SECRET_FOLDER.encode() not in content, path.name
            assert str(root).encode() not in content, path.name
    assert "is_local" not in read(folder / "tokenizer_config.json")


def test_export_keeps_what_the_record_says_besides_folders(folder: Path) -> None:
    record = read(folder / "run.json")
    assert record["selected_validation"] == {"eval_mae": 0.75}
    assert record["arguments"]["model"]["text_encoder"] == "small-bert"
    assert record["arguments"]["training"]["note"] == "restarted from checkpoint-8 by hand"
    assert "dataset_folder" not in record
    assert read(folder / "config.json")["text_config"]["_name_or_path"] == "small-bert"


def test_export_of_a_native_model_asks_for_the_decoders(tmp_path: Path, folder: Path) -> None:
    native = export_run(make_run(tmp_path / "run", native=True), tmp_path / "repository")
    assert "av>=" in (native / "requirements.txt").read_text()
    assert "av>=" not in (folder / "requirements.txt").read_text()
    assert not (native / "README.md").exists()


@pytest.mark.parametrize("modalities", ["t", "av"])
def test_export_of_a_model_without_some_modalities_has_examples_of_the_others(tmp_path: Path, modalities: str) -> None:
    made = export_run(make_run(tmp_path / "run", modalities=modalities), tmp_path / "repository")
    inputs = read(made / "example_inputs" / "request.json")["inputs"]
    assert sorted(inputs) == (["text"] if modalities == "t" else ["audio", "vision"])
    assert read(made / "example_inputs" / "response.json")["gates"].keys() == inputs.keys()


@pytest.mark.parametrize("name", MODEL_BUILDERS)
def test_export_of_every_model_of_the_package_gives_a_score(tmp_path: Path, name: str) -> None:
    model = MODEL_BUILDERS[name](unk_token_id=1)
    model.save_pretrained(tmp_path / "run")
    make_processor().save_pretrained(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"seed": 1}')
    made = export_run(tmp_path / "run", tmp_path / "repository")
    low, high = model.config.label_range
    assert low <= read(made / "example_inputs" / "response.json")["score"] <= high
    own = read(made / "config.json")["auto_map"]["AutoModel"]
    assert own.endswith(f".{type(model).__name__}")
    assert (made / f"{own.partition('.')[0]}.py").is_file()


def test_export_example_files_hold_the_request(folder: Path) -> None:
    examples = folder / "example_inputs"
    assert np.load(examples / "audio.npy", allow_pickle=False).shape == (40, 5)
    assert read(examples / "request.json")["inputs"]["text"] == (examples / "text.txt").read_text().strip()


def test_export_into_a_foreign_folder_is_refused_and_changes_nothing(root: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"only an exported repository is replaced.*choose another folder"):
        export_run(root / "run", tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_export_over_an_earlier_one_needs_permission(root: Path, tmp_path: Path) -> None:
    made = export_run(root / "run", tmp_path / "repository", card="old\n")
    with pytest.raises(DataError, match=r"the folder must be new.*allow overwriting"):
        export_run(root / "run", made)
    export_run(root / "run", made, card="new\n", overwrite=True)
    assert (made / "README.md").read_text() == "new\n"
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_export_of_several_seeds_is_refused(tmp_path: Path) -> None:
    for seed in (1, 2):
        record = {"seed": seed}
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}" / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="a repository holds one model, found runs with the seeds 1, 2"):
        export_run(tmp_path, tmp_path / "out")


def test_export_of_a_damaged_run_leaves_nothing_behind(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(DataError, match="needs a complete safetensors file"):
        export_run(run, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_code_files_are_those_of_the_class_and_of_all_it_imports() -> None:
    names = [path.name for path in code_files([HfrAmeForSentiment])]
    assert names == sorted(names)
    assert {"modeling_hfr_ame.py", "frequency.py", "errors.py"} <= set(names)
    assert "pipeline_sentiment.py" not in names


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/me/my data/talkers", "talkers"),
        ("~/data/talkers", "talkers"),
        ("C:\\Users\\me\\talkers", "talkers"),
        ("restarted from /home/me/run/checkpoint-8 by hand", "restarted from checkpoint-8 by hand"),
        ({"/tmp/a/b": ["/tmp/a/c"]}, {"b": ["c"]}),
        ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
        ("https://huggingface.co/someone/model", "https://huggingface.co/someone/model"),
        ("positive/neutral/negative and and/or", "positive/neutral/negative and and/or"),
        ("Ab+/x9/Zz/Q+/aa==", "Ab+/x9/Zz/Q+/aa=="),
        (3.5, 3.5),
    ],
)
def test_paths_become_their_last_part_and_other_text_stays(value: Any, expected: Any) -> None:
    assert without_paths(value) == expected


def test_command_exports_and_reports_a_mistake_in_one_line(root: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text("# A card\n")
    arguments = ["export", str(root / "run"), str(tmp_path / "out"), "--card", str(card)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "README.md").read_text() == "# A card\n"
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "error: the folder must be new" in again.output
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0
