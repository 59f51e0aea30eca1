"""A trained run on its way to the Hub: exported, with its card and its results, in one commit."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from modeling_hfr_ame.cli import main
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.hub import push
from modeling_hfr_ame.hub.export import export_run
from modeling_hfr_ame.hub.push import push_run
from tests.hub.conftest import REPOSITORY, RunClient
from tests.hub.loopback_hub import LoopbackHub
from tests.hub.run_making import SECRET_FOLDER, make_run

ID = "someone/hfr-ame-mosei"
RESULTS = REPOSITORY / "docs" / "results" / "synthetic_2400.json"
# What training records beside the part that `make_run` writes.
RECORD = {
    "num_rows": {"train": 20, "validation": 5},
    "num_parameters": {"total": 1000, "trainable": 1000, "without_text_encoder": 600},
    "selection_rule": "lowest validation MAE",
    "selected_epoch": 2.0,
    "num_steps": 10,
    "wall_time_s": 3.5,
    "device": "cpu",
    "mixed_precision": "no",
    "versions": {"python": "3.11", "torch": "2.13"},
}


def record_more(run: Path, **changes: Any) -> Path:
    path = run / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, **RECORD, **changes}), encoding="utf-8")
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_more(make_run(tmp_path_factory.mktemp("full") / "seed-1111"))


@pytest.fixture(scope="module")
def sent(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the run's export without a card."""
    folder = export_run(run, tmp_path_factory.mktemp("exported") / "repository")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_command_publishes_a_run_with_its_card_in_one_tagged_commit(
    hub: LoopbackHub, client: None, run: Path, sent: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["push", str(run), ID, "--tag", "v1", "--message", "First weights"])
    repository = hub.model(ID)
    assert repository.private
    assert [commit.message for commit in repository.history()] == ["First weights", "initial commit"]
    assert repository.tags == {"v1": repository.branches["main"]}
    assert set(repository.history()[0].tree) == {*sent, "README.md", ".gitattributes"}
    assert {name: hub.read(repository, name) for name in sent} == sent
    card = hub.read(repository, "README.md").decode()
    assert f'"{ID}"' in card  # the example of use names the repository it stands in
    everything = b"".join(hub.content(blob) for blob in repository.history()[0].tree.values())
    assert SECRET_FOLDER.encode() not in everything
    assert b"somebody" not in everything
    assert capsys.readouterr().out.splitlines()[-1] == "tag: v1"
    assert hub.unknown_requests == []


def test_results_travel_in_the_same_commit(hub: LoopbackHub, client: None, tmp_path: Path) -> None:
    document = json.loads(RESULTS.read_text(encoding="utf-8"))
    name, model = next(iter(document["models"].items()))
    [trained_on] = model["trained_on_manifest_sha256"]
    dataset = document["dataset"]["name"]
    run = make_run(tmp_path / "seed")
    record_more(run, seed=model["seeds"][0], variant=name, manifest_sha256=trained_on, dataset_name=dataset)
    push_run(run, ID, results=[RESULTS], model_name=name, dataset_id="someone/data")
    repository = hub.model(ID)
    assert len(repository.history()) == 2
    assert "someone/data" in hub.read(repository, f".eval_results/{dataset}.yaml").decode()
    card = hub.read(repository, "README.md").decode()
    pictures = [path for path in repository.history()[0].tree if path.endswith(".png")]
    assert pictures
    assert all(f"({picture})" in card for picture in pictures)


def test_parent_of_one_seed_and_an_exported_folder_give_the_same_files(
    hub: LoopbackHub, client: None, run: Path, tmp_path: Path
) -> None:
    of_parent = push_run(run.parent, ID, dry_run=True)
    exported = export_run(run, tmp_path / "repository", card="# A model\n")
    of_export = push_run(exported, ID, dry_run=True)
    assert of_parent.repo_type == of_export.repo_type == "model"
    assert [file for file in of_parent.files if file.path != "README.md"] == [
        file for file in of_export.files if file.path != "README.md"
    ]
    assert hub.requests == []


def test_several_seeds_are_refused(run: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"seed": seed}), encoding="utf-8")
    with pytest.raises(DataError, match="a repository holds one model, found runs with the seeds 1, 2"):
        push_run(tmp_path, ID, dry_run=True)


def test_run_folder_itself_is_never_sent_as_it_is(run: Path) -> None:
    (run / "README.md").write_text("# A run\n", encoding="utf-8")
    try:
        with pytest.raises(DataError, match="a training run is exported before it is published"):
            push.push_folder(run, ID, dry_run=True)
    finally:
        (run / "README.md").unlink()


def test_results_of_a_folder_that_is_no_run_are_refused(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"go into the card of a run, and '.*model' is no run and keeps its README"):
        push_run(model_folder, ID, results=["results.json"], dry_run=True)


def test_run_as_a_dataset_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="a run is published as a model, found the kind 'dataset'; leave it out"):
        push_run(run, ID, repo_type="dataset", dry_run=True)


def test_command_error_is_one_line(hub: LoopbackHub, client: None, model_folder: Path, capsys: Any) -> None:
    hub.create("models", ID, private=False)
    with pytest.raises(SystemExit, match="2"):
        main(["push", str(model_folder), ID])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the upload must be private, found the public model repository")


def test_example_lists_the_files_and_sends_them(hub: LoopbackHub, run_client: RunClient, model_folder: Path) -> None:
    script = [sys.executable, str(REPOSITORY / "examples" / "push_to_hub.py"), "--source", str(model_folder)]
    listed = run_client(*script, "--repository", ID, "--dry_run").stdout
    assert listed.splitlines()[-1] == f"dry run: nothing was sent to the private model repository {ID}"
    assert hub.repositories == {}
    printed = run_client(*script, "--repository", ID, "--tag", "v1").stdout
    assert printed.splitlines()[:-2] == listed.splitlines()[:-1]
    assert hub.model(ID).tags == {"v1": hub.model(ID).branches["main"]}
