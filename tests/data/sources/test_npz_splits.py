from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data.schema import validate_row
from modeling_hfr_ame.data.sources.npz_splits import open_source, recognise
from modeling_hfr_ame.data.sources.source import RuleCounts, SourceOptions
from modeling_hfr_ame.errors import DataError
from tests.data.sources.hdf5_making import collect, ids

PADDED = np.array([[[0.0], [1.0], [0.0], [2.0], [0.0]], [[3.0], [4.0], [5.0], [6.0], [7.0]]])
ARRAYS: dict[str, Any] = {
    "label_range": np.array([-1, 1]),
    "train_id": np.array(["va$_$01", "va$_$02"]),
    "train_text": np.array(["so good", " "]),
    "train_label": np.array([0.5, -1.0]),
    "train_audio": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "train_audio_lengths": np.array([2, 1]),
    "train_vision": PADDED,
    "train_vision_lengths": np.array([4, 0]),
}


def write(tmp_path: Path, *, without: tuple[str, ...] = (), **changes: Any) -> Path:
    arrays = {key: value for key, value in {**ARRAYS, **changes}.items() if key not in without}
    np.savez(tmp_path / "mine.npz", **arrays)
    return tmp_path / "mine.npz"


def read(path: Path, **options: Any) -> tuple[dict[str, list[dict[str, Any]]], RuleCounts, Any]:
    source = open_source(path, SourceOptions(**options))
    rules = RuleCounts()
    rows = collect(source, rules)
    for row in (row for members in rows.values() for row in members):
        validate_row(row, label_range=source.label_range, feature_sizes=source.feature_sizes)
    return rows, rules, source


def test_recognise_by_keys(tmp_path: Path) -> None:
    assert recognise(write(tmp_path)) == "npz-splits"
    path = write(tmp_path, without=("train_label",))
    assert recognise(path) is None
    with pytest.raises(
        DataError, match=r"<split>_id and <split>_label, mine\.npz has no such pair \(found: label_range"
    ):
        read(path)


def test_flat_and_padded_frames_are_cut_by_their_lengths(tmp_path: Path) -> None:
    rows, rules, source = read(write(tmp_path))
    first, second = rows["train"]
    assert (first["id"], first["clip_id"], first["text"]) == ("va$_$01", "01", "so good")
    assert second["text"] is None
    np.testing.assert_array_equal(first["audio"], [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(second["audio"], [[5.0, 6.0]])
    np.testing.assert_array_equal(first["vision"], PADDED[0, :4])
    assert second["vision"] is None
    assert rules["missing_text"] == 1
    assert rules["frames_beyond_length_cut"] == 5
    assert (source.label_range, source.feature_sizes) == ((-1.0, 1.0), {"audio": 2, "vision": 1})


def test_padding_without_lengths_is_what_is_zero(tmp_path: Path) -> None:
    rows, rules, _ = read(write(tmp_path, without=("train_vision_lengths",)))
    assert [row["vision"].ravel().tolist() for row in rows["train"]] == [[1.0, 0.0, 2.0], [3.0, 4.0, 5.0, 6.0, 7.0]]
    assert rules["padding_cut"] == 2


def test_several_splits_text_features_and_other_names(tmp_path: Path) -> None:
    extra = {"train_text_features": np.ones((2, 3, 4)), "dev_text_features": np.ones((1, 2, 4))}
    dev = {
        "dev_id": np.array(["vb[0]"]),
        "dev_label": np.array([np.nan]),
        "dev_audio": np.ones((1, 1, 2)),
        "dev_vision": np.ones((1, 1, 1)),
    }
    rows, rules, source = read(write(tmp_path, **extra, **dev))
    assert list(rows) == ["train", "validation"]
    assert rows["train"][0]["text_features"].shape == (3, 4)
    assert rules["missing_label_dropped"] == 1
    assert source.feature_sizes["text_features"] == 4
    assert source.counts == {"train": 2, "validation": 1}


def test_text_alone_is_enough_and_blank_rows_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, without=tuple(key for key in ARRAYS if "audio" in key or "vision" in key))
    rows, rules, source = read(path, label_range=(-3.0, 3.0))
    assert ids(rows["train"]) == ["va$_$01"]
    assert rules["no_modality_dropped"] == 1
    assert source.label_range == (-3.0, 3.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_id": np.array(["a$_$1", "a$_$1"])},
            r"the ids of mine\.npz, .* unique ids, found 'a\$_\$1' in rows 0 and 1",
        ),
        (
            {"train_id": np.array(["a$_$1"])},
            r"key 'train_id' of mine\.npz must hold strings of shape \(2\), found <U5 \(1,\)",
        ),
        ({"train_label": np.ones((2, 1))}, r"key 'train_label' .* shape \(n\), found float64 \(2, 1\)"),
        ({"train_label": np.ones(0)}, r"key 'train_label' of mine\.npz must hold at least one row"),
        ({"train_audio": np.ones(3)}, r"key 'train_audio' .* or all frames x features, found float64 \(3,\)"),
        ({"train_audio": np.ones((3, 0))}, r"key 'train_audio' .* found float64 \(3, 0\)"),
        ({"train_audio": np.array([["x", "y"]])}, r"key 'train_audio' .* must hold numbers .* found <U1"),
        (
            {"train_audio": np.array([None, None])},
            r"key 'train_audio' .* Python objects.*end to end with their lengths",
        ),
        ({"train_audio_lengths": np.array([2, 2])}, r"'train_audio_lengths' .* that add up to 3, found int64 .* sum 4"),
        ({"train_audio_lengths": np.array([4, -1])}, r"'train_audio_lengths' .* from -1 to 4 with the sum 3"),
        ({"train_audio_lengths": np.array([2.0, 1.0])}, r"'train_audio_lengths' .* found float64"),
        ({"train_audio_lengths": np.array([3])}, r"key 'train_audio_lengths' .* shape \(2\), found int64 \(1,\)"),
        ({"train_vision_lengths": np.array([6, 0])}, r"'train_vision_lengths' .* from 0 to 5, found int64 from 0 to 6"),
        ({"train_vision": PADDED[:1]}, r"key 'train_vision' of mine\.npz must hold 2 rows, one per label, found 1"),
        ({"label_range": np.array([1, -1])}, r"'label_range' .* \[lowest, highest\], found \[1, -1\]"),
        ({"label_range": np.array([0, np.nan])}, r"'label_range' .* found \[0\.0, nan\]"),
        ({"label_range": np.array([0, 1, 2])}, r"key 'label_range' .* shape \(2\), found int64 \(3,\)"),
        ({"test_id": np.array(["b$_$1"]), "test_label": np.ones(1)}, r"none of test_text, test_audio and test_vision"),
        (
            {"test_id": np.array(["b$_$1"]), "test_label": np.ones(1), "test_audio": np.ones((1, 1, 3))},
            r"same frames and widths, mine\.npz has .* in 'train' and \{'audio': 3\} in 'test'",
        ),
        (
            {"val_id": np.array(["b$_$1"]), "val_label": np.ones(1), "val_text": np.array(["x"])}
            | {"dev_id": np.array(["c$_$1"]), "dev_label": np.ones(1), "dev_text": np.array(["x"])},
            r"a split has one name, mine\.npz has 'val' and 'dev'",
        ),
    ],
)
def test_malformed_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (("label_range",), r"states its label range, mine\.npz has no key 'label_range' and none was given"),
        (("train_audio_lengths",), r"key 'train_audio' of mine\.npz is laid end to end, \(3, 2\), and needs"),
    ],
)
def test_missing_key_is_refused(tmp_path: Path, without: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, without=without))
