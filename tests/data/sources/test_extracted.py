import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from modeling_hfr_ame.data import load_stored_dataset, prepare_source, read_manifest, recognise_source, stored_rows
from modeling_hfr_ame.data.sources.source import SourceOptions
from modeling_hfr_ame.errors import DataError

_HEADER = "frame, face_id, timestamp, confidence, success, AU01_r, AU12_r\n"


def write_mat(path: Path, features: np.ndarray, names: tuple[str, ...] | None = ("F0", "VUV")) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = {} if names is None else {"names": np.array([list(names)], dtype=object)}
    savemat(path, {"features": features, **cells})


def write_openface(path: Path, lines: list[tuple[float, ...]], header: str = _HEADER) -> None:
    path.write_text(header + "".join(", ".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")


def write_table(folder: Path, text: str) -> Path:
    path = folder / "label.csv"
    path.write_text(text, encoding="utf-8")
    return path


def rows_of(out: Path, split: str) -> list[dict[str, Any]]:
    return list(stored_rows(load_stored_dataset(out, split)))


def test_files_of_clips_become_audio_and_vision_of_their_rows(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    audio = np.arange(6.0).reshape(3, 2)
    write_mat(folder / "covarep_a_1.mat", audio)
    write_mat(folder / "b" / "2.mat", audio + 1)
    write_openface(folder / "a_1.csv", [(1, 0, 0.0, 0.9, 1, 0.5, 1.5), (2, 0, 0.1, 0.0, 0, 7.0, 7.0)])
    write_table(
        folder, "video_id,clip_id,text,label,mode\na,1,so good,1.2,train\nb,2,,-2,test\nc,1,,0,none\nd,9,,0,test\n"
    )
    prepared = prepare_source(folder, tmp_path / "out")
    assert prepared.layout == recognise_source(folder) == "extracted-features"
    (first,), (second,) = rows_of(prepared.folder, "train"), rows_of(prepared.folder, "test")
    np.testing.assert_array_equal(first["audio"], audio.astype(np.float32))
    np.testing.assert_array_equal(first["vision"], np.float32([[0.5, 1.5], [0, 0]]))
    np.testing.assert_array_equal(second["audio"], audio.astype(np.float32) + 1)
    assert (first["id"], first["text"], first["label"]) == ("a$_$1", "so good", 1.2)
    assert (second["id"], second["text"], second["vision"]) == ("b$_$2", None, None)
    # The frame without a face, b's and d's missing files, d without anything.
    assert prepared.rules == {
        "frames_without_face": 1,
        "missing_sequence": 3,
        "missing_text": 1,
        "no_modality_dropped": 1,
    }
    manifest = read_manifest(prepared.folder)
    assert manifest["feature_names"] == {"audio": ["F0", "VUV"], "vision": ["AU01_r", "AU12_r"]}
    assert set(manifest["sources"]) == {"label.csv", "covarep_a_1.mat", "b/2.mat", "a_1.csv"}


def test_files_of_videos_are_cut_by_start_and_end(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    audio = np.arange(1.0, 201.0).reshape(100, 2)
    write_mat(folder / "-v.mat", audio, names=None)
    write_openface(folder / "openface2_aus_-v.csv", [(n, 0, n / 10, 0.9, 1, n, n) for n in range(1, 11)])
    table = write_table(tmp_path, "video_id,segment_id,start,end,label\n-v,0,0.0,0.25,1\n-v,1,0.5,1.0,2\n-v,2,7,8,3\n")
    prepared = prepare_source(folder, tmp_path / "out", options=SourceOptions(labels=table))
    rows = rows_of(prepared.folder, "unsplit")
    assert [row["id"] for row in rows] == ["-v$_$1", "-v$_$2"]
    np.testing.assert_array_equal(rows[1]["audio"], audio[50:].astype(np.float32))
    np.testing.assert_array_equal(rows[0]["audio"], audio[:25].astype(np.float32))
    assert rows[0]["vision"][:, 0].tolist() == [1, 2]
    assert (rows[1]["start_s"], rows[1]["end_s"]) == (0.5, 1.0)
    assert prepared.rules == {"interval_without_frames": 2, "no_modality_dropped": 1}


def test_more_faces_in_a_picture_leave_the_most_confident(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    lines = [(1, 1, 0.0, 0.7, 1, 7.0, 7.0), (1, 0, 0.0, 0.9, 1, 9.0, 9.0), (2, 0, 0.1, 0.8, 1, 8.0, 8.0)]
    write_openface(folder / "a_1.csv", lines)
    write_table(folder, "video_id,clip_id,label\na,1,0.5\n")
    prepared = prepare_source(folder, tmp_path / "out")
    assert rows_of(prepared.folder, "unsplit")[0]["vision"].tolist() == [[9, 9], [8, 8]]
    assert prepared.rules == {"further_faces_dropped": 1}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("video_id,clip_id\na,1\n", r"need a label table with .* label\.csv lacks label"),
        (
            "video_id,clip_id,label\nx,1,0\n",
            r"none of 1 files such as 'a_1\.mat' has that of one of 1 clips such as 'x_1'",
        ),
        ("video_id,clip_id,label,mode\na,1,0,none\n", "needs rows that are used, label.csv has none"),
        ("video_id,clip_id,label\na,1,0\na,1,1\n", r"label\.csv line 3 repeats 'a\$_\$1' of line 2"),
        ("video_id,clip_id,label,mode\na,1,0,fold\n", "mode must be one of .* line 2 has 'fold'"),
        ("video_id,clip_id,label\na,1,x\n", "label must be a number, label.csv line 2 has 'x'"),
        ("video_id,clip_id,label\na,,1\n", "line 2 leaves one blank"),
    ],
)
def test_table_that_does_not_fit_is_refused(tmp_path: Path, table: str, message: str) -> None:
    write_mat(tmp_path / "in" / "a_1.mat", np.ones((2, 2)))
    write_table(tmp_path / "in", table)
    with pytest.raises(DataError, match=message):
        prepare_source(tmp_path / "in", tmp_path / "out")


def test_video_without_times_is_refused(tmp_path: Path) -> None:
    write_mat(tmp_path / "in" / "a.mat", np.ones((2, 2)))
    write_table(tmp_path / "in", "video_id,clip_id,label\na,1,0\n")
    with pytest.raises(DataError, match=r"cut by start and end in seconds, label\.csv line 2 has none for a\.mat"):
        prepare_source(tmp_path / "in", tmp_path / "out")


def test_no_table_or_two_files_for_a_clip_or_one_file_alone_is_refused(tmp_path: Path) -> None:
    write_mat(tmp_path / "in" / "a_1.mat", np.ones((2, 2)))
    with pytest.raises(DataError, match="need one label table, found none in 'in'; name it as labels"):
        prepare_source(tmp_path / "in", tmp_path / "out")
    with pytest.raises(DataError, match=r"a_1\.mat holds the features of one recording and no label"):
        prepare_source(tmp_path / "in" / "a_1.mat", tmp_path / "out")
    write_table(tmp_path / "in", "video_id,clip_id,label\na,1,0\n")
    write_mat(tmp_path / "in" / "covarep_a_1.mat", np.ones((2, 2)))
    with pytest.raises(DataError, match="one file gives the audio of 'a_1'"):
        prepare_source(tmp_path / "in", tmp_path / "out")


def test_files_of_other_features_are_refused(tmp_path: Path) -> None:
    write_mat(tmp_path / "in" / "a_1.mat", np.ones((2, 2)))
    write_mat(tmp_path / "in" / "a_2.mat", np.ones((2, 2)), names=("F0", "NAQ"))
    write_table(tmp_path / "in", "video_id,clip_id,label\na,1,0\na,2,0\n")
    with pytest.raises(DataError, match=r"a_2\.mat has 2 where the first has 2, and 'NAQ' for 'VUV'"):
        prepare_source(tmp_path / "in", tmp_path / "out")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_mat(folder / "a_1.mat", np.ones((50, 2)))
    write_table(folder, "video_id,clip_id,label\na,1,0\n")
    whole = (folder / "a_1.mat").read_bytes()
    for content in (whole[:200], b"", b"MATLAB 7.3 MAT-file" + bytes(600), whole[:150] + bytes(40) + whole[190:]):
        (folder / "a_1.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"a_1\.mat"):
            prepare_source(folder, tmp_path / "out")
    savemat(folder / "a_1.mat", {"other": np.ones((2, 2))})
    with pytest.raises(DataError, match=r"holds the matrix 'features' .* a_1\.mat has other \(2, 2\) double"):
        prepare_source(folder, tmp_path / "out")
    write_mat(folder / "a_1.mat", np.ones((2, 3)))
    with pytest.raises(DataError, match="2 names for 3 features"):
        prepare_source(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("frame, timestamp, confidence, AU01_r\n", [(1, 0.0, 0.9, 1.0)], "lacks success"),
        ("frame, timestamp, confidence, success\n", [(1, 0.0, 0.9, 1.0)], "lacks features"),
        (_HEADER, [], "has no frame"),
        (_HEADER, [(1, 0, 0.0, 0.9, 1, 0.5)], "lines of 7 cells, a_1.csv has 6 cells per line"),
        (_HEADER, [(1, 0, 0.0, 0.9, 1, 0.5, "x")], "holds numbers below its header"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt. input contained no data:UserWarning")
def test_openface_file_that_is_damaged_is_named(
    tmp_path: Path, header: str, lines: list[tuple[Any, ...]], message: str
) -> None:
    (tmp_path / "in").mkdir()
    write_openface(tmp_path / "in" / "a_1.csv", lines, header)
    write_table(tmp_path / "in", "video_id,clip_id,label\na,1,0\n")
    with pytest.raises(DataError, match=rf"a_1\.csv.*{message}|{message}"):
        prepare_source(tmp_path / "in", tmp_path / "out")


@pytest.mark.real_data
def test_real_covarep_and_openface_files_equal_an_independent_read(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    mat = shared_data / "data" / "format_samples" / "covarep_ZUXBRvtny7o_9.mat"
    faces = shared_data / "data" / "mosei_raw_videos" / "openface2_aus_-3nNcZdcdvU.csv"
    (folder / mat.name).symlink_to(mat)
    (folder / faces.name).symlink_to(faces)
    segments = (faces.parent / "segments.csv").read_text(encoding="utf-8").splitlines()
    lines = ["video_id,segment_id,start,end,label", "ZUXBRvtny7o,9,,,0"]
    lines += [",".join(line.split(",")[:5]) for line in segments[1:]]
    write_table(folder, "\n".join(lines) + "\n")
    out = prepare_source(folder, tmp_path / "out").folder
    rows = {row["id"]: row for row in rows_of(out, "unsplit")}
    np.testing.assert_array_equal(rows["ZUXBRvtny7o$_$10"]["audio"], loadmat(mat)["features"].astype(np.float32))
    with open(faces, encoding="utf-8", newline="") as stream:
        pictures = list(csv.DictReader(stream, skipinitialspace=True))
    for line in segments[1:]:
        video, segment, start, end = line.split(",")[:4]
        inside = [p for p in pictures if float(start) <= float(p["timestamp"]) < float(end)]
        row = rows[f"{video}$_${int(segment) + 1}"]
        columns = read_manifest(out)["feature_names"]["vision"]
        expected = np.float32([[float(p[name]) if p["success"] == "1" else 0.0 for name in columns] for p in inside])
        np.testing.assert_array_equal(row["vision"], expected)
    assert len(columns) == 35
