"""The scripts on small sources; tests/hub/test_push_datasets.py sends what they write."""

import importlib
from pathlib import Path
from typing import Any

import datasets
import pytest

from dataset_scripts import corrupted_splits
from modeling_hfr_ame.data.manifest import read_manifest
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


def test_corrupted_splits_script_writes_the_configs(tmp_path: Path) -> None:
    clean = write_talkers(tmp_path / "talkers")
    out = tmp_path / "out"
    corrupted_splits.main(["--data", str(clean), "--out", str(out), "--config", "drop-0.5", "--seed", "3"])
    assert set(datasets.get_dataset_config_names(str(out))) == {"clean", "drop-0.5"}
