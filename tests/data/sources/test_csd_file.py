from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from modeling_hfr_ame.data.sources.csd_file import read_csd, split_segment_key
from modeling_hfr_ame.errors import DataError
from tests.data.sources.hdf5_making import steps, words, write_csd


def test_read_outline_says_name_metadata_and_keys(tmp_path: Path) -> None:
    path = write_csd(
        tmp_path / "a.csd",
        "COVAREP",
        {"b": (np.ones((2, 3, 2)), steps(2)), "a": (np.ones((1, 3, 2)), steps(1))},
        {"dimension names": '["x", "y"]', "creator": "nobody", "version": "1.5", "odd": '{"open'},
    )
    sequence = read_csd(path)
    assert (sequence.root_name, sequence.keys, sequence.width) == ("COVAREP", ("a", "b"), 6)
    assert sequence.metadata == {"dimension names": ["x", "y"], "creator": "nobody", "version": 1.5, "odd": '{"open'}
    assert not sequence.holds_words
    assert not sequence.is_aligned


def test_read_video_gives_features_and_times(tmp_path: Path) -> None:
    features = np.arange(12.0).reshape(2, 3, 2)
    sequence = read_csd(write_csd(tmp_path / "a.csd", "r", {"a": (features, steps(2).astype("f4"))}))
    with sequence.reading() as read:
        video = read("a")
        assert video is not None
        np.testing.assert_array_equal(video.features, features.reshape(2, 6))
        assert video.intervals.dtype == np.float64
        assert read("missing") is None
    assert sequence.metadata == {}


@pytest.mark.parametrize("kind", ["fixed", "variable"])
def test_read_words_decodes_both_kinds_of_strings(tmp_path: Path, kind: str) -> None:
    spoken = ["na\u00efve ", "sp"]
    stored = np.array([[word.encode()] for word in spoken]) if kind == "fixed" else np.array([[w] for w in spoken], "O")
    if kind == "variable":
        stored = stored.astype(h5py.string_dtype())
    sequence = read_csd(write_csd(tmp_path / "a.csd", "r", {"a": (stored, steps(2))}))
    with sequence.reading() as read:
        video = read("a")
    assert sequence.holds_words
    assert video is not None
    assert video.features.tolist() == [["na\u00efve"], ["sp"]]


def test_keys_of_segments_are_ordered_by_number(tmp_path: Path) -> None:
    one = (np.ones((1, 2)), steps(1))
    sequence = read_csd(write_csd(tmp_path / "a.csd", "r", {f"v[{i}]": one for i in (10, 2, 0)}))
    assert sequence.keys == ("v[0]", "v[2]", "v[10]")
    assert sequence.is_aligned
    assert split_segment_key("a[b][12]") == ("a[b]", 12)
    assert split_segment_key("a[b]") is None


@pytest.mark.parametrize(
    ("features", "intervals", "message"),
    [
        (None, steps(2), r"a\.csd: /r/data/b must hold 'features', found intervals"),
        (np.ones((2, 3)), None, r"a\.csd: /r/data/b must hold 'intervals', found features"),
        (np.ones((2, 3)), np.ones((2, 3)), r"/r/data/b/intervals must .* \(n, 2\) numbers, found float64 \(2, 3\)"),
        (np.ones((2, 3)), np.ones(2), r"/b/intervals must .* found float64 \(2,\)"),
        (np.ones((2, 3)), words("a", "b"), r"/b/intervals must .* found \|S1 \(2, 1\)"),
        (np.ones((3, 3)), steps(2), r"/b/features must have as many rows as intervals \(2\), found shape \(3, 3\)"),
        (np.float64(1), steps(2), r"/b/features must have as many rows as intervals \(2\), found shape \(\)"),
        (np.ones((2, 3)), [[0, 1], [1, np.nan]], r"finite seconds, found \[1\.0, nan\] in row 1; correct"),
        (np.ones((2, 4)), steps(2), r"/b/features must have width 3 as 'a' of this file, found 4; all videos"),
        (np.array([[b"x"] * 3] * 2), steps(2), r"/b/features must hold numbers as 'a' .* found \|S1"),
        (np.ones((2, 3), complex), steps(2), r"/b/features must hold numbers as 'a' .* found complex128"),
    ],
)
def test_read_malformed_video_is_refused(tmp_path: Path, features: Any, intervals: Any, message: str) -> None:
    videos = {"a": (np.ones((1, 3)), steps(1)), "b": (features, intervals)}
    sequence = read_csd(write_csd(tmp_path / "a.csd", "r", videos))
    with sequence.reading() as read, pytest.raises(DataError, match=message):
        read("b")


def test_read_file_without_root_or_videos_is_refused(tmp_path: Path) -> None:
    h5py.File(tmp_path / "empty.csd", "w").close()
    with pytest.raises(DataError, match=r"holds one root group, empty\.csd holds nothing"):
        read_csd(tmp_path / "empty.csd")
    with pytest.raises(DataError, match=r"none\.csd: /r/data must hold at least one video, found none"):
        read_csd(write_csd(tmp_path / "none.csd", "r", {}))
    with h5py.File(tmp_path / "other.csd", "w") as file:
        file["r/metadata/x"] = 1
    with pytest.raises(DataError, match=r"other\.csd: /r must hold 'data', found metadata"):
        read_csd(tmp_path / "other.csd")


def test_read_empty_video_keeps_the_width(tmp_path: Path) -> None:
    videos = {"a": (np.ones((1, 3)), steps(1)), "b": (np.zeros((0, 3)), np.zeros((0, 2)))}
    sequence = read_csd(write_csd(tmp_path / "a.csd", "r", videos))
    with sequence.reading() as read:
        video = read("b")
    assert video is not None
    assert video.features.shape == (0, 3)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "num_rows"), [("CMU_MOSI_Opinion_Labels", 2199), ("CMU_MOSI_ModifiedTimestampedWords", 51056)]
)
def test_read_mosi_sequence_equals_h5py(shared_data: Path, name: str, num_rows: int) -> None:
    path = shared_data / "data" / "mosi_labels_text" / f"{name}.csd"
    sequence = read_csd(path)
    total = 0
    with h5py.File(path) as file, sequence.reading() as read:
        data = file[sequence.root_name]["data"]
        assert set(sequence.keys) == set(data)
        for key in sequence.keys:
            video = read(key)
            assert video is not None
            stored = data[key]["features"][...]
            expected = [[word.decode() for word in row] for row in stored] if sequence.holds_words else stored
            np.testing.assert_array_equal(video.features, expected)
            np.testing.assert_array_equal(video.intervals, data[key]["intervals"][...].astype(np.float64))
            total += len(video.features)
    assert total == num_rows
