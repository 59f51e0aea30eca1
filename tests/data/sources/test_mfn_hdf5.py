from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from modeling_hfr_ame.data.schema import validate_row
from modeling_hfr_ame.data.sources.mfn_hdf5 import open_source, recognise
from modeling_hfr_ame.data.sources.source import RuleCounts, SourceOptions
from modeling_hfr_ame.errors import DataError
from tests.data.sources.hdf5_making import collect, ids, write_d1, write_mfn_split


def frames(num_rows: int, width: int, *, seed: int = 0) -> np.ndarray:
    """(N, 6, width): steps 0 and 5 are zero padding, step 2 is zero inside."""
    values = np.random.default_rng(seed).normal(size=(num_rows, 6, width))
    values[:, [0, 2, 5]] = 0
    return values


def make_folder(tmp_path: Path, name: str = "mmmo") -> Path:
    folder = tmp_path / name
    write_mfn_split(folder, "train", [1.0, 4.5], {"audio": frames(2, 3), "video": frames(2, 2)})
    evaluated = {"audio": frames(1, 3), "video": frames(1, 2), "text": frames(1, 4)}
    write_mfn_split(folder, "valid", [3.0], evaluated)
    write_mfn_split(folder, "test", [5.0], evaluated)
    return folder


def read(folder: Path, **options: Any) -> tuple[dict[str, list[dict[str, Any]]], RuleCounts, Any]:
    source = open_source(folder, SourceOptions(**options))
    rules = RuleCounts()
    rows = collect(source, rules)
    for row in (row for members in rows.values() for row in members):
        validate_row(row, label_range=source.label_range, feature_sizes=source.feature_sizes)
    return rows, rules, source


def test_recognise_needs_labels_beside_frames(tmp_path: Path) -> None:
    assert recognise(make_folder(tmp_path)) == "mfn-hdf5"
    assert recognise(tmp_path) is None
    (tmp_path / "y_train.h5").touch()
    assert recognise(tmp_path) is None
    with pytest.raises(DataError, match=r"beside audio_, video_ or text_<split>_emb\.h5, .* has no such pair"):
        read(tmp_path)


def test_rows_are_cut_to_what_lies_inside_the_padding(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    rows, rules, source = read(folder)
    assert list(rows) == ["train", "validation", "test"]
    assert ids(rows["train"]) == ["mmmo$_$train_0", "mmmo$_$train_1"]
    with h5py.File(folder / "audio_train.h5") as file:
        np.testing.assert_array_equal(rows["train"][1]["audio"], file["d1"][1, 1:5])
    with h5py.File(folder / "text_test_emb.h5") as file:
        np.testing.assert_array_equal(rows["test"][0]["text_features"], file["d1"][0, 1:5])
    assert all(row["text"] is None for members in rows.values() for row in members)
    assert [row["text_features"] for row in rows["train"]] == [None, None]
    assert dict(rules) == {"lengths_from_padding": 10, "padding_cut": 20, "missing_sequence": 2}
    assert source.details["files_absent"] == ["text_train_emb.h5"]
    assert source.feature_sizes == {"audio": 3, "vision": 2, "text_features": 4}
    assert (source.dataset_name, source.label_range) == ("ict_mmmo", (1.0, 5.0))
    assert len(source.files) == 11


def test_rows_without_audio_and_vision_are_left_out(tmp_path: Path) -> None:
    audio, video = frames(3, 3), frames(3, 2)
    audio[1:] = 0
    video[2] = 0
    write_mfn_split(tmp_path / "x", "test", [1.0, 2.0, 3.0], {"audio": audio, "video": video, "text": frames(3, 4)})
    rows, rules, source = read(tmp_path / "x")
    assert ids(rows["test"]) == ["x$_$test_0", "x$_$test_1"]
    assert rows["test"][1]["audio"] is None
    assert (rules["absent_modality"], rules["no_modality_dropped"]) == (3, 1)
    assert source.dataset_name == "x"


def test_one_hot_labels_become_signed_classes_with_a_note(tmp_path: Path) -> None:
    classes = np.eye(3, dtype=np.float32)[[2, 0, 1]]
    write_mfn_split(tmp_path / "youtube", "train", classes, {"audio": frames(3, 3)})
    rows, _, source = read(tmp_path / "youtube")
    assert [row["label"] for row in rows["train"]] == [1.0, -1.0, 0.0]
    assert (source.dataset_name, source.label_range) == ("youtube_mfn", (-1.0, 1.0))
    assert "an assumption" in source.details["labels"]
    assert source.feature_sizes == {"audio": 3, "vision": 1}


def test_missing_label_is_left_out_and_counted(tmp_path: Path) -> None:
    write_mfn_split(tmp_path / "x", "test", [[np.nan], [2.0]], {"audio": frames(2, 3)})
    rows, rules, _ = read(tmp_path / "x")
    assert ids(rows["test"]) == ["x$_$test_1"]
    assert rules["missing_label_dropped"] == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.ones((1, 2)), r"y_valid\.h5/d1 must hold one score or three one-hot classes .* float64 \(1, 2\)"),
        (np.ones((0,)), r"y_valid\.h5/d1 must hold at least one row, found none"),
        (np.float64(1), r"y_valid\.h5/d1 must hold one score .* float64 \(\)"),
        (np.array([b"x"]), r"y_valid\.h5/d1 must hold one score .* \|S1"),
        (
            np.array([[1.0, 1.0, 0.0]]),
            r"y_valid\.h5/d1 must hold a single 1 per row, found \[1\.0, 1\.0, 0\.0\] in row 0",
        ),
        (np.eye(3)[:1], r"all splits have the same kind of label, mmmo has classes and scores"),
        ([1.0, 2.0], r"audio_valid\.h5/d1 must .* for the 2 rows of y_valid\.h5, found float64 \(1, 6, 3\)"),
    ],
)
def test_malformed_labels_are_refused(tmp_path: Path, labels: Any, message: str) -> None:
    folder = make_folder(tmp_path)
    write_d1(folder / "y_valid.h5", labels)
    with pytest.raises(DataError, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (frames(1, 5), r"video_test\.h5/d1 has width 5, expected 2 as in the other splits"),
        (np.ones((1, 6)), r"video_test\.h5/d1 must hold rows x steps x features .* \(1, 6\)"),
        (np.ones((1, 0, 2)), r"video_test\.h5/d1 must hold .* \(1, 0, 2\)"),
        (np.full((1, 6, 2), b"x"), r"video_test\.h5/d1 must hold .* \|S1"),
    ],
)
def test_malformed_frames_are_refused(tmp_path: Path, values: Any, message: str) -> None:
    folder = make_folder(tmp_path)
    write_d1(folder / "video_test.h5", values)
    with pytest.raises(DataError, match=message):
        read(folder)


def test_truncated_file_and_other_array_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    content = (folder / "audio_test.h5").read_bytes()
    (folder / "audio_test.h5").write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"audio_test\.h5 must be a complete HDF5 file"):
        read(folder)
    with h5py.File(folder / "audio_test.h5", "w") as file:
        file["other"] = np.zeros(3)
    with pytest.raises(DataError, match=r"audio_test\.h5 must hold 'd1', found other"):
        read(folder)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "counts", "stored", "label_range"),
    [("mmmo", (220, 40, 80), (220, 40, 80), (1.0, 5.0)), ("youtube", (173, 36, 60), (48, 7, 23), (-1.0, 1.0))],
)
def test_public_sets_equal_h5py(
    shared_data: Path, name: str, counts: tuple[int, ...], stored: tuple[int, ...], label_range: tuple[float, float]
) -> None:
    folder = shared_data / "data" / "mfn_sequences" / name
    rows, rules, source = read(folder)
    assert tuple(source.counts.values()) == counts
    assert tuple(map(len, rows.values())) == stored
    assert rules["no_modality_dropped"] == sum(counts) - sum(stored)
    assert rules["missing_sequence"] == counts[0]
    assert source.label_range == label_range
    for split, file_split in (("train", "train"), ("validation", "valid"), ("test", "test")):
        arrays = {}
        for column, file in (("audio", "audio_{}.h5"), ("vision", "video_{}.h5"), ("text_features", "text_{}_emb.h5")):
            if (folder / file.format(file_split)).exists():
                with h5py.File(folder / file.format(file_split)) as opened:
                    arrays[column] = opened["d1"][...]
        with h5py.File(folder / f"y_{file_split}.h5") as opened:
            labels = opened["d1"][...]
        for row in rows[split]:
            index = int(row["clip_id"].rpartition("_")[2])
            for column, values in arrays.items():
                total = np.zeros(values.shape[2]) if row[column] is None else row[column].sum(axis=0)
                np.testing.assert_allclose(total, values[index].sum(axis=0), rtol=1e-9, atol=1e-9)
            assert row["label"] == (labels[index] if labels.ndim == 1 else labels[index].argmax() - 1)
