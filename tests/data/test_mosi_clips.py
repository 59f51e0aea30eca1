import csv
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_scripts.mosi_clips import main
from modeling_hfr_ame.data import clip_features
from modeling_hfr_ame.data.clip_features import ClipFeatureSpec, extract_clip
from modeling_hfr_ame.data.label_table import read_label_table
from modeling_hfr_ame.data.manifest import read_manifest, sha256_file
from modeling_hfr_ame.data.mosi_clips import prepare_mosi_clips
from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.media import MediaLimits, decode_audio
from tests.media.clip_writing import AUDIO_RATE, even_times, tone, write_clip

pytest.importorskip("av", reason="clips need PyAV")
pytest.importorskip("cv2", reason="face features need OpenCV")

COLUMNS = ("video_id", "clip_id", "text", "label", "annotation", "mode")
TABLE = [
    ("alpha", "001", "GOOD ONE", "2.4", "Positive", "train"),
    ("alpha", "002", "no sound", "-1", "Negative", "train"),
    ("beta", "1", "digital silence", "0", "Neutral", "valid"),
    ("beta", "2", "cut in half", "-3", "Negative", "train"),
    ("beta", "3", "zero bytes", "3.0", "Positive", "test"),
    ("gamma", "1", "not a video, a note", "0.2", "Positive", "test"),
    ("gamma", "2", "no clip", "1.8", "Positive", "test"),
    ("gamma", "3", "", "1.0", "Positive", "train"),
]
SPLITS = {
    "train": ["alpha$_$001", "alpha$_$002", "beta$_$2", "gamma$_$3"],
    "validation": ["beta$_$1"],
    "test": ["beta$_$3", "gamma$_$1", "gamma$_$2"],
}


def write_table(path: Path, rows: Sequence[Sequence[str]] = TABLE, columns: Sequence[str] = COLUMNS) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "segmented_video").mkdir()
    (folder / "gamma").mkdir()
    write_table(folder / "label.csv")
    write_clip(folder / "alpha_001.mp4", even_times(), tone())
    write_clip(folder / "alpha_002.mp4", even_times())
    write_clip(folder / "segmented_video" / "beta_1.mp4", even_times(), np.zeros(AUDIO_RATE, np.float32))
    cut = write_clip(folder / "segmented_video" / "beta_2.mp4", even_times(), tone())
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (folder / "segmented_video" / "beta_3.mp4").touch()
    (folder / "gamma" / "1.mp4").write_text("a note")
    write_clip(folder / "gamma" / "3.mp4", None, tone())
    write_clip(folder / "gamma" / "9.mp4", even_times())
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "set"
    return prepare_mosi_clips(source, source / "label.csv", out, workers=1, progress=False)


def rows_by_id(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for rows in load_stored_dataset(folder).values() for row in stored_rows(rows)}


def parquet_hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in (folder / "data").iterdir()}


def presence(row: Mapping[str, Any]) -> tuple[bool, bool]:
    return row["audio"] is not None, row["vision"] is not None


def test_rows_go_to_the_split_of_their_mode_in_the_order_of_the_table(prepared: Path) -> None:
    assert {split: rows["id"][:] for split, rows in load_stored_dataset(prepared).items()} == SPLITS


def test_rows_keep_the_cells_of_the_table(prepared: Path) -> None:
    row = rows_by_id(prepared)["alpha$_$001"]
    assert (row["video_id"], row["clip_id"], row["text"], row["label"]) == ("alpha", "001", "GOOD ONE", 2.4)
    assert (row["fold"], row["annotation"]) == ("train", "Positive")
    assert rows_by_id(prepared)["gamma$_$3"]["text"] is None


def test_rows_have_the_modalities_that_their_clips_hold(prepared: Path) -> None:
    found = {row_id: presence(row) for row_id, row in rows_by_id(prepared).items()}
    assert found == {
        "alpha$_$001": (True, True),
        "alpha$_$002": (False, True),
        "beta$_$1": (False, True),
        "beta$_$2": (False, False),
        "beta$_$3": (False, False),
        "gamma$_$1": (False, False),
        "gamma$_$2": (False, False),
        "gamma$_$3": (True, False),
    }


def test_rows_hold_the_extractors_raw_features(prepared: Path, source: Path) -> None:
    row = rows_by_id(prepared)["alpha$_$001"]
    audio = decode_audio(source / "alpha_001.mp4")
    assert audio is not None
    extractor = HfrAmeAudioFeatureExtractor(frame_rate_hz=10.0)
    np.testing.assert_array_equal(row["audio"], extractor.extract(audio.waveform, 16000))
    # One second of a flat picture: five vision frames, no face in any of them.
    assert row["vision"].shape == (5, len(read_manifest(prepared)["feature_names"]["vision"]))
    assert not row["vision"].any()


def test_manifest_reports_what_the_clips_lack(prepared: Path, source: Path) -> None:
    manifest = read_manifest(prepared)
    assert manifest["clips"] == {
        "audio": {"failed": 3, "features": 2, "no_track": 1, "silent": 1},
        "vision": {"failed": 3, "features": 3, "no_track": 1},
        "without_face": 3,
        "pictures": 15,
        "no_face_share": 1.0,
    }
    assert [(item["id"], item["file"]) for item in manifest["failed"]] == [
        ("beta$_$2", "beta_2.mp4"),
        ("beta$_$3", "beta_3.mp4"),
        ("gamma$_$1", "1.mp4"),
    ]
    reasons = " ".join(item["reason"] for item in manifest["failed"])
    assert "beta_2.mp4 can't be decoded (Invalid data" in reasons
    assert "beta_3.mp4 is empty (0 bytes)" in reasons
    assert manifest["clips_without_row"] == ["gamma/9.mp4"]
    assert manifest["rows_without_clip"] == 1
    assert manifest["rows_left_out"] == []
    assert manifest["folds"] == {"test": 3, "train": 4, "valid": 1}
    assert manifest["label_range"] == [-3.0, 3.0]
    assert manifest["sources"]["labels"] == {
        "file": "label.csv",
        "rows": 8,
        "sha256": sha256_file(source / "label.csv"),
    }
    assert str(source) not in (prepared / "manifest.json").read_text()


def test_failures_are_reported_by_name_and_reason(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        prepare_mosi_clips(source, source / "label.csv", tmp_path / "set", workers=1, progress=False)
    assert len([message for message in caplog.messages if message.startswith("clip failed")]) == 3
    assert any("beta_3.mp4 is empty (0 bytes)" in message for message in caplog.messages)
    assert "clips without a row in the label table (1): gamma/9.mp4" in caplog.messages


def test_row_without_text_and_usable_clip_is_left_out_and_named(source: Path, tmp_path: Path) -> None:
    rows = [*TABLE[:-1], ("delta", "1", "", "1.0", "Positive", "train")]
    labels = write_table(tmp_path / "label.csv", rows)
    out = prepare_mosi_clips(source, labels, tmp_path / "set", workers=1, progress=False)
    assert read_manifest(out)["rows_left_out"] == ["delta$_$1"]
    assert "delta$_$1" not in rows_by_id(out)


@pytest.mark.slow  # two spawned processes import torch
def test_result_with_two_workers_has_the_same_bytes(prepared: Path, source: Path, tmp_path: Path) -> None:
    out = prepare_mosi_clips(source, source / "label.csv", tmp_path / "set", workers=2, progress=False)
    assert parquet_hashes(out) == parquet_hashes(prepared)
    assert (out / "manifest.json").read_bytes() == (prepared / "manifest.json").read_bytes()


def test_result_after_a_crash_reuses_finished_clips(
    prepared: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    real_decode = clip_features.read_media

    def decode_and_count(path: Path, **options: Any) -> Any:
        if len(decoded) == 2:
            raise KeyboardInterrupt
        decoded.append(path.name)
        return real_decode(path, **options)

    monkeypatch.setattr(clip_features, "read_media", decode_and_count)
    with pytest.raises(KeyboardInterrupt):
        prepare_mosi_clips(source, source / "label.csv", tmp_path / "set", workers=1, progress=False)
    assert not (tmp_path / "set").exists()
    assert decoded == ["alpha_001.mp4", "alpha_002.mp4"]

    decoded_later: list[str] = []

    def decode_later(path: Path, **options: Any) -> Any:
        decoded_later.append(path.name)
        return real_decode(path, **options)

    monkeypatch.setattr(clip_features, "read_media", decode_later)
    out = prepare_mosi_clips(source, source / "label.csv", tmp_path / "set", workers=1, progress=False)
    assert decoded[0] not in decoded_later
    assert decoded[1] not in decoded_later
    assert parquet_hashes(out) == parquet_hashes(prepared)


def test_cache_entry_that_is_damaged_is_made_again(source: Path, tmp_path: Path) -> None:
    spec = ClipFeatureSpec()
    first = extract_clip(source / "alpha_001.mp4", spec, tmp_path)
    assert first.entry is not None
    expected = first.load()
    first.entry.write_bytes(first.entry.read_bytes()[:100])
    with pytest.raises(DataError, match="went missing or is damaged; run the builder again"):
        first.load()
    again = extract_clip(source / "alpha_001.mp4", spec, tmp_path).load()
    assert expected is not None
    assert again is not None
    np.testing.assert_array_equal(again.audio, expected.audio)


@pytest.mark.parametrize(
    "other",
    [
        ClipFeatureSpec(audio_frame_rate_hz=5.0),
        ClipFeatureSpec(video_frame_rate_hz=2.0),
        ClipFeatureSpec(limits=MediaLimits(max_duration_s=20.0)),
    ],
)
def test_cache_with_other_options_is_not_reused(source: Path, tmp_path: Path, other: ClipFeatureSpec) -> None:
    clip = source / "alpha_001.mp4"
    assert extract_clip(clip, ClipFeatureSpec(), tmp_path).entry != extract_clip(clip, other, tmp_path).entry


def test_limits_make_a_clip_fail_with_the_rule(source: Path, tmp_path: Path) -> None:
    result = extract_clip(source / "alpha_001.mp4", ClipFeatureSpec(limits=MediaLimits(max_duration_s=0.5)), tmp_path)
    assert result.entry is None
    assert result.load() is None
    assert re.search(r"alpha_001\.mp4 lasts 1\.\d s, more than MediaLimits\.max_duration_s 0\.5", str(result.failure))


def test_excluded_videos_go_to_held_out_except_their_test_rows(source: Path, tmp_path: Path) -> None:
    out = prepare_mosi_clips(
        source,
        source / "label.csv",
        tmp_path / "set",
        workers=1,
        progress=False,
        exclude_videos=("beta", "gamma"),
    )
    loaded = load_stored_dataset(out)
    assert {split: rows["id"][:] for split, rows in loaded.items()} == {
        "train": ["alpha$_$001", "alpha$_$002"],
        "test": ["beta$_$3", "gamma$_$1", "gamma$_$2"],
        "held_out": ["beta$_$1", "beta$_$2", "gamma$_$3"],
    }
    assert loaded["held_out"]["fold"][:] == ["valid", "train", "train"]
    assert read_manifest(out)["exclude_videos"] == ["beta", "gamma"]


def test_excluded_video_outside_the_table_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must name videos of the label table, found betta in none of its 8 rows"):
        prepare_mosi_clips(source, source / "label.csv", tmp_path / "set", exclude_videos=("betta",))


def test_dataset_without_clips_is_text_only(source: Path, tmp_path: Path) -> None:
    labels = write_table(tmp_path / "label.csv", TABLE[:-1])
    out = prepare_mosi_clips(None, labels, tmp_path / "set")
    assert all(presence(row) == (False, False) for row in rows_by_id(out).values())
    manifest = read_manifest(out)
    assert manifest["sources"]["clips"] == {"files": 0, "sha256": None}
    assert manifest["feature_sizes"]["audio"] == len(manifest["feature_names"]["audio"])


def test_unimodal_labels_are_kept_where_given(tmp_path: Path) -> None:
    columns = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "mode")
    rows = [("a", "1", "one", "1", "0.5", "", "", "train"), ("a", "2", "two", "1", "", "", "", "train")]
    out = prepare_mosi_clips(None, write_table(tmp_path / "label.csv", rows, columns), tmp_path / "set")
    dataset = load_stored_dataset(out, "train")
    assert dataset["label_text"][:] == [0.5, None]
    assert "label_audio" not in dataset.column_names


def test_script_prints_the_folder_and_counts(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = write_table(tmp_path / "label.csv", [*TABLE[:-1], ("-d", "1", "hyphen", "1", "Positive", "train")])
    out = str(tmp_path / "set")
    main(["--labels", str(labels), "--out", out, "--exclude-video", "beta", "--exclude-video=-d"])
    printed = capsys.readouterr().out
    assert str(tmp_path / "set") in printed
    assert "held_out: 3 rows (3 with text, 0 with audio, 0 with vision)" in printed


def test_existing_target_is_refused_before_any_work(prepared: Path, source: Path) -> None:
    with pytest.raises(DataError, match="must be new, found a stored dataset"):
        prepare_mosi_clips(source / "nowhere", source / "nowhere.csv", prepared)


def test_clip_folder_that_is_missing_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"clips must be a folder, found none at .*; pass None for a text-only dataset"):
        prepare_mosi_clips(source / "nowhere", source / "label.csv", tmp_path / "set")


def test_clip_folder_without_any_rows_clip_is_refused(source: Path, tmp_path: Path) -> None:
    labels = write_table(tmp_path / "label.csv", [("omega", "1", "text", "1", "Positive", "train")])
    with pytest.raises(DataError, match=r"found none of the 1 rows' clips in .* \(8 other clips\); check the folder"):
        prepare_mosi_clips(source, labels, tmp_path / "set")


def test_two_clips_of_one_row_are_refused(tmp_path: Path) -> None:
    (tmp_path / "alpha").mkdir()
    (tmp_path / "alpha" / "001.mp4").touch()
    (tmp_path / "alpha_001.mp4").touch()
    labels = write_table(tmp_path / "label.csv")
    with pytest.raises(DataError, match=r"found alpha_001\.mp4 and alpha/001\.mp4 for 'alpha\$_\$001'; remove one"):
        prepare_mosi_clips(tmp_path, labels, tmp_path / "set")


def test_workers_below_one_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="workers must be at least 1, found 0"):
        prepare_mosi_clips(source, source / "label.csv", tmp_path / "set", workers=0, progress=False)


def test_label_outside_the_range_names_row_value_and_range(tmp_path: Path) -> None:
    labels = write_table(tmp_path / "label.csv", [("a", "1", "text", "3.4", "Positive", "train")])
    with pytest.raises(DataError, match=r"finite number in \[-3, 3\], found 3\.4 in row 'a\$_\$1'"):
        prepare_mosi_clips(None, labels, tmp_path / "set")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "1", "x", "1", "", "dev")], r"mode must be one of train, valid, test, t\.csv line 2 has 'dev'; rename"),
        ([("a", "1", "x", "high", "", "train")], r"label must be a number, t\.csv line 2 has 'high'; correct"),
        ([("a", "1", "x", "", "", "train")], r"label must be a number, t\.csv line 2 has ''"),
        ([("a", " ", "x", "1", "", "train")], r"clip_id must not be blank, t\.csv line 2 has none"),
        ([("a", "1", "x", "1", "train")], r"a row has 6 cells, t\.csv line 2 has another number; quote texts"),
        ([("a", "1", "x", "y", "1", "", "train")], r"a row has 6 cells, t\.csv line 2 has another number"),
        (
            [("a", "1", "x", "1", "", "train"), ("b", "1", "x", "1", "", "train"), ("a", "1", "y", "2", "", "test")],
            r"a clip has one row, t\.csv line 4 repeats 'a\$_\$1' of line 2; remove one",
        ),
        ([], r"at least one row below its header, found none in t\.csv"),
    ],
)
def test_label_table_with_a_wrong_row_names_its_line(tmp_path: Path, rows: list[tuple[str, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_label_table(write_table(tmp_path / "t.csv", rows))


def test_label_table_without_a_column_names_it(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [("a", "1", "x", "1")], ("video_id", "clip_id", "text", "sentiment"))
    with pytest.raises(DataError, match=r"t\.csv lacks label, mode \(found: video_id, clip_id, text, sentiment\); add"):
        read_label_table(path)


def test_label_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"video_id,clip_id,text,label,mode\na,1,\xff\xfe,1,train\n")
    with pytest.raises(DataError, match=r"a UTF-8 CSV file, t\.csv is none .*; convert it"):
        read_label_table(tmp_path / "t.csv")


def test_label_table_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv can't be read \(No such file or directory\); check the path"):
        read_label_table(tmp_path / "gone.csv")


def test_label_table_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE[:1])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_label_table(path)[0].video_id == "alpha"


@pytest.mark.real_data
def test_whole_mosi_label_table_has_the_official_fold(shared_data: Path, tmp_path: Path) -> None:
    out = prepare_mosi_clips(None, shared_data / "data" / "mosi_labels_text" / "label.csv", tmp_path / "set")
    counts = read_manifest(out)["counts"]
    assert {split: count["rows"] for split, count in counts.items()} == {"train": 1284, "validation": 229, "test": 686}
