from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data.schema import validate_row
from modeling_hfr_ame.data.sources.source import RuleCounts, SourceOptions
from modeling_hfr_ame.data.sources.utterance_npz import open_source, recognise
from modeling_hfr_ame.errors import DataError
from tests.data.sources.hdf5_making import collect, ids

ARRAYS: dict[str, Any] = {
    "id": np.array(["v_a_1", "v_a_2", "vb_1"]),
    "text": np.ones((3, 4)),
    "audio": np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]),
    "vision": np.array([[1.0], [3.0], [0.0]]),
    "label": np.array([1.5, -2.0, 0.0]),
    "mode": np.array(["test", "train", "train"]),
    "mode_declare_lab": np.array(["test", "train", "train"]),
}


def write(tmp_path: Path, **changes: Any) -> Path:
    np.savez(tmp_path / "mosi.npz", **{**ARRAYS, **changes})
    return tmp_path / "mosi.npz"


def read(path: Path, **options: Any) -> tuple[dict[str, list[dict[str, Any]]], RuleCounts, Any]:
    source = open_source(path, SourceOptions(**options))
    rules = RuleCounts()
    rows = collect(source, rules)
    for row in (row for members in rows.values() for row in members):
        validate_row(row, label_range=source.label_range, feature_sizes=source.feature_sizes)
    return rows, rules, source


def test_recognise_by_keys(tmp_path: Path) -> None:
    assert recognise(write(tmp_path)) == "npz-utterance"
    assert recognise(tmp_path) is None


def test_vectors_become_single_frames(tmp_path: Path) -> None:
    rows, rules, source = read(write(tmp_path))
    assert list(rows) == ["train", "test"]
    assert ids(rows["test"]) == ["v_a$_$1"]
    row = rows["test"][0]
    np.testing.assert_array_equal(row["audio"], [[1.0, 2.0]])
    assert row["text"] is None
    assert row["text_features"].shape == (1, 4)
    assert ids(rows["train"]) == ["v_a$_$2"]
    assert rows["train"][0]["audio"] is None
    assert dict(rules) == {"absent_modality": 3, "no_modality_dropped": 1}
    assert source.counts == {"train": 2, "test": 1}
    assert "trained with the labels" in source.details["warning"]


@pytest.mark.parametrize("dtype", ["U5", object])
def test_fold_of_the_networks_is_used_and_not_the_official_one(tmp_path: Path, dtype: Any) -> None:
    rows, _, source = read(write(tmp_path, mode_declare_lab=np.array(["train", "test", "train"]).astype(dtype)))
    assert ids(rows["train"]) == ["v_a$_$1"]
    assert ids(rows["test"]) == ["v_a$_$2"]
    assert source.details["fold"] == "mode_declare_lab"


def test_table_of_splits_may_hold_rows_back_but_not_test_on_seen_ones(tmp_path: Path) -> None:
    table = tmp_path / "folds.csv"
    table.write_text("video_id,clip_id,mode\nv_a,1,test\nv_a,2,valid\n")
    rows, _, source = read(write(tmp_path), splits=table)
    assert {split: ids(members) for split, members in rows.items()} == {"validation": ["v_a$_$2"], "test": ["v_a$_$1"]}
    assert source.details["rows_without_split"] == 1
    table.write_text("video_id,clip_id,mode\nv_a,1,test\nv_a,2,test\n")
    with pytest.raises(DataError, match=r"mosi\.npz must lie .* tests on 1 rows, such as 'v_a_2', whose labels"):
        read(write(tmp_path), splits=table)
    table.write_text("video_id,mode\nvz,test\n")
    with pytest.raises(DataError, match=r"names none of mosi\.npz, such as video 'v_a' clip '1'"):
        read(write(tmp_path), splits=table)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": np.array(["v_1", "v_1", "v_2"])}, r"key 'id' of mosi\.npz must hold unique ids, found 'v\$_\$1'"),
        ({"id": np.array(["v", "v_1", "v_2"])}, r"must name rows as video_id_clip_id, found 'v'"),
        (
            {"audio": np.ones((3, 2, 2))},
            r"key 'audio' of mosi\.npz must hold numbers of shape \(3, n\), found .* \(3, 2, 2\)",
        ),
        ({"text": np.ones((2, 4))}, r"key 'text' of mosi\.npz .* found float64 \(2, 4\)"),
        ({"vision": np.ones((3, 0))}, r"at least one feature, mosi\.npz has the widths"),
        ({"label": np.ones(0)}, r"key 'label' of mosi\.npz must hold at least one row"),
        ({"mode_declare_lab": np.array(["train", "x", "test"])}, r"named one of train.*found 'x'"),
        (
            {"mode_declare_lab": np.array(["train", 3, "test"], object)},
            r"must hold 3 strings, found 3 values of int, str",
        ),
    ],
)
def test_malformed_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, **changes))


def test_row_without_label_is_left_out(tmp_path: Path) -> None:
    rows, rules, _ = read(write(tmp_path, label=np.array([np.nan, 1.0, 1.0])))
    assert rows["test"] == []
    assert rules["missing_label_dropped"] == 1


@pytest.mark.real_data
def test_mosi_utterances_equal_numpy(shared_data: Path) -> None:
    path = shared_data / "data" / "mosi_utterance_features" / "mosi_utterance.npz"
    rows, _, source = read(path)
    assert source.counts == {"train": 1447, "test": 752}
    with np.load(path) as arrays:
        stored = {key: arrays[key] for key in ("id", "text", "audio", "vision", "label")}
    index_of = {name: index for index, name in enumerate(stored["id"].tolist())}
    table = (shared_data / "data" / "mosi_labels_text" / "segments.csv").read_text(encoding="utf-8").splitlines()
    fold_of = {(cells[0], cells[1]): cells[5] for cells in (line.split(",") for line in table[1:])}
    for split, members in rows.items():
        for row in members:
            index = index_of[f"{row['video_id']}_{row['clip_id']}"]
            assert fold_of[row["video_id"], row["clip_id"]] == split
            assert row["label"] == stored["label"][index]
            for column, key in (("text_features", "text"), ("audio", "audio"), ("vision", "vision")):
                np.testing.assert_array_equal(row[column][0], stored[key][index])
    assert sum(map(len, rows.values())) == 2199
