"""Datasets on the Hub: every script can send what it wrote, and `datasets` reads it by its id without this package."""

import importlib
import json
from pathlib import Path

import datasets
import pytest

from modeling_hfr_ame.data.corrupted_splits import write_corrupted
from modeling_hfr_ame.data.manifest import sha256_file
from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.hub.push import push_folder, push_run
from tests.data.corrupted_rows import write_talkers
from tests.hub.conftest import RunClient
from tests.hub.loopback_hub import LoopbackHub

ID = "someone/talkers"
TABLE = """\
video_id,clip_id,text,label,mode
a,0001,it was fine,0.8,train
a,0002,it was not,-1.0,train
b,0001,well,0.0,valid
c,0001,good,0.5,test
"""
# Runs where the package can't be imported; prints what came back.
READ = """
import json, os, sys
sys.modules["modeling_hfr_ame"] = None
import datasets
ID = "someone/talkers"
def rows(config, **options):
    return [row for row in datasets.load_dataset(ID, config, split="test", **options)]
plain = {name: rows(name) for name in ("drop-0.5", "missing-text", None)}
found = {
    "plain": plain,
    "names": datasets.get_dataset_config_names(ID),
    "streamed": rows("drop-0.5", streaming=True),
    "pinned": rows(None, revision="v1"),
    "splits": datasets.get_dataset_split_names(ID, "drop-0.5"),
}
print("FOUND" + json.dumps(found), flush=True)
os._exit(0)  # the library's streaming threads can abort a regular exit
"""


@pytest.fixture
def corrupted(tmp_path: Path) -> Path:
    clean = write_talkers(tmp_path / "clean")
    return write_corrupted(clean, tmp_path / "corrupted", ["drop-0.5", "missing-text"], seed=3)


def test_configs_are_loaded_streamed_and_pinned_by_id_and_read_from_the_cache(
    hub: LoopbackHub, client: None, run_client: RunClient, corrupted: Path
) -> None:
    report = push_run(corrupted, ID, tag="v1")
    assert report.repo_type == "dataset"
    assert hub.dataset(ID).private
    output = run_client(code=READ).stdout
    found = json.loads(output.split("FOUND")[1])
    assert found["names"] == ["clean", "drop-0.5", "missing-text"]
    assert found["splits"] == ["train", "validation", "test"]
    for config, rows in found["plain"].items():
        name = "clean" if config == "null" else config
        local = datasets.load_dataset("parquet", data_files=str(corrupted / name / "test-*.parquet"), split="train")
        assert rows == json.loads(json.dumps(list(local)))
    assert found["streamed"] == found["plain"]["drop-0.5"]
    assert found["pinned"] == found["plain"]["null"]
    assert found["plain"]["drop-0.5"] != found["plain"]["null"]
    # The last modality of a row is never removed.
    silent = [row["audio"] is None and row["vision"] is None for row in found["plain"]["missing-text"]]
    assert [row["text"] is not None for row in found["plain"]["missing-text"]] == silent
    assert hub.unknown_requests == []
    hub.stop()
    cached = "import datasets; print(datasets.load_dataset('someone/talkers', 'drop-0.5', split='test')['id'][:])"
    assert run_client(code=cached, HF_HUB_OFFLINE="1").stdout.strip() == str(
        [row["id"] for row in found["plain"]["drop-0.5"]]
    )


def test_stored_dataset_comes_back_bit_for_bit_and_opens_as_one(
    hub: LoopbackHub, client: None, run_client: RunClient, tmp_path: Path
) -> None:
    clean = write_talkers(tmp_path / "clean")
    push_run(clean, ID)
    run_client("hf", "download", ID, "--repo-type", "dataset", "--local-dir", str(tmp_path / "got"))
    sent = [path.relative_to(clean) for path in clean.rglob("*") if path.is_file()]
    assert [sha256_file(tmp_path / "got" / path) for path in sent] == [sha256_file(clean / path) for path in sent]
    ids = [row["id"] for row in stored_rows(load_stored_dataset(tmp_path / "got", "test"))]
    assert ids == [row["id"] for row in stored_rows(load_stored_dataset(clean, "test"))]


def test_shards_of_an_older_dataset_are_replaced(
    hub: LoopbackHub, client: None, corrupted: Path, tmp_path: Path
) -> None:
    push_folder(corrupted, ID, repo_type="dataset")
    smaller = write_corrupted(tmp_path / "clean", tmp_path / "smaller", [])
    push_folder(smaller, ID, repo_type="dataset")
    names = {path for path in hub.dataset(ID).history()[0].tree if path.endswith(".parquet")}
    assert names == {path.relative_to(smaller).as_posix() for path in smaller.rglob("*.parquet")}


SCRIPTS = {
    "ch_sims": ["--source", "table.csv"],
    "cmu_mosei": ["--source", "table.csv"],
    "cmu_mosi": ["--source", "table.csv"],
    "ict_mmmo": ["--source", "table.csv"],
    "mosi_clips": ["--labels", "table.csv"],
    "synthetic_talkers": ["--num-train", "4", "--num-validation", "2", "--num-test", "2"],
    "corrupted_splits": ["--data", "clean", "--config", "missing-text"],
}


def test_every_dataset_script_is_tested_here() -> None:
    folder = Path(importlib.import_module("dataset_scripts").__file__ or "").parent
    scripts = {path.stem for path in folder.glob("*.py") if "def main(" in path.read_text(encoding="utf-8")}
    assert scripts == set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_sends_what_it_wrote_to_a_private_dataset_repository(
    hub: LoopbackHub,
    client: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text(TABLE, encoding="utf-8")
    if script == "corrupted_splits":
        write_talkers(Path("clean"))
    main = importlib.import_module(f"dataset_scripts.{script}").main
    main([*SCRIPTS[script], "--out", "out", "--push-to-hub", ID, "--tag", "v1"])
    repository = hub.dataset(ID)
    assert repository.private
    assert repository.tags == {"v1": repository.branches["main"]}
    written = {path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()}
    assert set(repository.history()[0].tree) == {*written, ".gitattributes"}
    assert len(repository.history()) == 2
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2].startswith(f"private dataset repository {ID}: {hub.endpoint}/datasets/{ID}/commit/")


def run_talkers(*extra: str) -> None:
    small = ["--num-train", "4", "--num-validation", "2", "--num-test", "2"]
    importlib.import_module("dataset_scripts.synthetic_talkers").main([*small, "--out", "out", *extra])


def test_script_dry_run_writes_the_dataset_and_sends_nothing(
    hub: LoopbackHub, client: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_talkers("--push-to-hub", ID, "--dry-run")
    assert hub.requests == []
    printed = capsys.readouterr().out
    assert printed.endswith(f"dry run: nothing was sent to the private dataset repository {ID}\n")
    assert f"{Path('out/manifest.json').stat().st_size:,}  manifest.json" in printed


def test_script_never_sends_to_a_public_repository_unasked(
    hub: LoopbackHub, client: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    repository = hub.create("datasets", ID, private=False)
    with pytest.raises(DataError, match="found the public dataset repository 'someone/talkers'; make it private"):
        run_talkers("--push-to-hub", ID)
    assert len(repository.history()) == 1
    run_talkers("--push-to-hub", ID, "--public", "--overwrite")
    assert len(repository.history()) == 2


def test_script_checks_the_name_before_it_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="a repository is named owner/name, found 'talkers'"):
        run_talkers("--push-to-hub", "talkers")
    assert not Path("out").exists()


@pytest.mark.parametrize("option", [["--public"], ["--dry-run"], ["--tag", "v1"]])
def test_script_upload_options_without_a_repository_are_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run_talkers(*option)
    assert "pass --push-to-hub OWNER/NAME as well" in capsys.readouterr().err


def test_clips_that_are_no_dataset_are_not_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module("dataset_scripts.synthetic_talkers").main
    with pytest.raises(SystemExit, match="2"):
        main(["--clips", str(tmp_path / "clips"), "--push-to-hub", ID])
    assert "--push-to-hub uploads a stored dataset; pass --out FOLDER as well" in capsys.readouterr().err
