"""The scripts on small sources; the Hub's client is replaced by a recorder."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest

from dataset_scripts import corrupted_splits
from modeling_hfr_ame.data.manifest import read_manifest
from modeling_hfr_ame.errors import DataError
from tests.data.corrupted_rows import write_talkers

TABLE = """\
video_id,clip_id,text,label,mode
a,0001,it was fine,0.8,train
a,0002,it was not,-1.0,train
b,0001,well,0.0,valid
c,0001,good,0.5,test
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "label.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("script", "builder", "label_range"),
    [
        ("cmu_mosi", "CmuMosi", [-3, 3]),
        ("cmu_mosei", "CmuMosei", [-3, 3]),
        ("ch_sims", "ChSims", [-1, 1]),
        ("ict_mmmo", "IctMmmo", None),
    ],
)
def test_script_converts_a_source_under_the_datasets_name(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], script: str, builder: str, label_range: Any
) -> None:
    module = importlib.import_module(f"dataset_scripts.{script}")
    out = tmp_path / "out"
    module.main(["--source", str(table), "--out", str(out)])
    manifest = read_manifest(out)
    assert manifest["dataset_name"] == script
    if label_range is not None:
        assert manifest["label_range"] == label_range
    printed = capsys.readouterr().out.splitlines()
    counts = [line for line in printed if line.startswith("rows: ")]
    assert counts[0].startswith("rows: train 2")
    assert printed[-1] == str(out)
    built = getattr(module, builder)(out, "drop-1.0", cache_dir=tmp_path / "cache")
    built.download_and_prepare()
    assert built.as_dataset("validation")["text"][:] == ["[UNK]"]


def test_script_counts_that_differ_from_the_published_ones_are_explained(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    importlib.import_module("dataset_scripts.cmu_mosi").main(["--source", str(table), "--out", str(tmp_path / "out")])
    assert "rows: train 2: 1282 fewer than published, which is 1284 (MMSA)" in capsys.readouterr().out


class RecordingHub:
    """Stands for `HfApi`."""

    def __init__(self, *, private: bool) -> None:
        self.private = private
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []

    def __call__(self) -> "RecordingHub":
        return self

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append(("create_repo", repo_id, options))

    def repo_info(self, repo_id: str, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(private=self.private)

    def upload_folder(self, **options: Any) -> SimpleNamespace:
        self.calls.append(("upload_folder", options["repo_id"], options))
        return SimpleNamespace(commit_url="https://example.org/commit/1")


def run_corrupted_splits(tmp_path: Path, *extra: str) -> Path:
    clean = write_talkers(tmp_path / "talkers")
    out = tmp_path / "out"
    corrupted_splits.main(["--data", str(clean), "--out", str(out), "--config", "drop-0.5", "--seed", "3", *extra])
    return out


def test_corrupted_splits_script_writes_the_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = RecordingHub(private=True)
    monkeypatch.setattr(corrupted_splits, "HfApi", hub)
    out = run_corrupted_splits(tmp_path)
    assert set(datasets.get_dataset_config_names(str(out))) == {"clean", "drop-0.5"}
    assert hub.calls == []


def test_corrupted_splits_script_uploads_one_private_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = RecordingHub(private=True)
    monkeypatch.setattr(corrupted_splits, "HfApi", hub)
    out = run_corrupted_splits(tmp_path, "--push", "me/talkers")
    assert [(name, repo) for name, repo, _ in hub.calls] == [
        ("create_repo", "me/talkers"),
        ("upload_folder", "me/talkers"),
    ]
    create, upload = (options for _, _, options in hub.calls)
    assert create == {"repo_type": "dataset", "private": True, "exist_ok": True}
    assert upload["folder_path"] == out
    assert upload["repo_type"] == "dataset"
    assert capsys.readouterr().out.splitlines()[-1] == "https://example.org/commit/1"


def test_corrupted_splits_script_never_uploads_to_a_public_repository_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = RecordingHub(private=False)
    monkeypatch.setattr(corrupted_splits, "HfApi", hub)
    with pytest.raises(DataError, match="must be private, found the public dataset repository 'me/talkers'; make it"):
        run_corrupted_splits(tmp_path, "--push", "me/talkers")
    assert [name for name, _, _ in hub.calls] == ["create_repo"]


def test_corrupted_splits_script_uploads_publicly_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = RecordingHub(private=False)
    monkeypatch.setattr(corrupted_splits, "HfApi", hub)
    run_corrupted_splits(tmp_path, "--push", "me/talkers", "--public")
    assert [name for name, _, _ in hub.calls] == ["create_repo", "upload_folder"]
    assert hub.calls[0][2]["private"] is False
