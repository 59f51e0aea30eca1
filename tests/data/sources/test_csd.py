import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data.schema import validate_row
from modeling_hfr_ame.data.sources.csd import EMOTIONS, open_source, recognise
from modeling_hfr_ame.data.sources.source import RuleCounts, SourceOptions
from modeling_hfr_ame.data.stored import load_stored_dataset, write_stored_dataset
from modeling_hfr_ame.errors import DataError
from tests.data.sources.hdf5_making import collect, ids, steps, words, write_csd, write_labels

# Two segments of "va", [0, 4) and [4, 8), and one of "vb".
LABELS = {"va": (np.array([[1.5], [-2.0]]), [[0.0, 4.0], [4.0, 8.0]]), "vb": (np.array([[0.0]]), [[0.0, 3.0]])}
WORDS = {
    "va": (words("sp", "very", "good", "sp", "so", "bad"), [[0, 1], [1, 2], [2, 3.5], [3.5, 4.2], [4.2, 5], [5, 7]]),
    "vb": (words("fine"), [[1, 2]]),
}
AUDIO = {"va": (np.arange(1.0, 33.0).reshape(16, 2), steps(16, step_s=0.5)), "vb": (np.ones((2, 2)), steps(2))}


def make_folder(tmp_path: Path, *, vision: Any = None) -> Path:
    write_labels(tmp_path, LABELS)
    write_csd(tmp_path / "CMU_MOSI_TimestampedWords.csd", "words", WORDS)
    write_csd(tmp_path / "CMU_MOSI_COVAREP.csd", "COVAREP", AUDIO)
    if vision is not None:
        write_csd(tmp_path / "CMU_MOSI_Visual_Facet_41.csd", "FACET_4.2", vision)
    return tmp_path


def read(folder: Path, **options: Any) -> tuple[dict[str, list[dict[str, Any]]], RuleCounts, Any]:
    align = options.pop("align", None)
    source = open_source(folder, SourceOptions(**options, align=align))
    rules = RuleCounts()
    rows = collect(source, rules)
    for row in (row for members in rows.values() for row in members):
        validate_row(row, label_range=source.label_range, feature_sizes=source.feature_sizes)
    return rows, rules, source


def test_recognise_only_folders_and_files_of_sequences(tmp_path: Path) -> None:
    assert recognise(tmp_path) is None
    (tmp_path / "fake.csd").write_text("no")
    assert recognise(tmp_path) is None
    assert recognise(tmp_path / "fake.csd") is None
    labels = write_labels(tmp_path, LABELS)
    assert recognise(tmp_path) == recognise(labels) == "csd"
    assert recognise(tmp_path / "missing") is None


def test_segments_get_words_and_frames_by_midpoint(tmp_path: Path) -> None:
    rows, rules, source = read(make_folder(tmp_path))
    assert list(rows) == ["unsplit"]
    assert ids(rows["unsplit"]) == ["va$_$1", "va$_$2", "vb$_$1"]
    assert [row["text"] for row in rows["unsplit"]] == ["very good", "so bad", "fine"]
    assert [row["label"] for row in rows["unsplit"]] == [1.5, -2.0, 0.0]
    np.testing.assert_array_equal(rows["unsplit"][0]["audio"], AUDIO["va"][0][:8])
    np.testing.assert_array_equal(rows["unsplit"][1]["audio"], AUDIO["va"][0][8:])
    assert all(row["vision"] is None for row in rows["unsplit"])
    second = rows["unsplit"][1]
    assert (second["start_s"], second["end_s"]) == (4.0, 8.0)
    assert (second["words"], second["word_starts_s"], second["word_ends_s"]) == (["so", "bad"], [4.2, 5.0], [5.0, 7.0])
    assert dict(rules) == {"segment_ids_shifted": 3, "pause_words_dropped": 2}
    assert (source.dataset_name, source.label_range) == ("cmu_mosi", (-3.0, 3.0))
    assert source.feature_sizes == {"audio": 2, "vision": 1}
    assert source.details["folds"] == "none: a .csd file has no folds"


def test_rows_survive_the_stored_dataset(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path), SourceOptions())
    rows = collect(source, RuleCounts())
    manifest = {"builder": "test", "builder_version": "1", "label_range": [-3, 3]}
    out = write_stored_dataset(
        tmp_path / "out",
        rows,
        manifest,
        feature_sizes=source.feature_sizes,
        extra_features=source.extra_features,
    )
    stored = load_stored_dataset(out, "unsplit")
    assert stored["words"] == [row["words"] for row in rows["unsplit"]]
    assert stored["start_s"] == [0.0, 4.0, 0.0]


def test_rows_can_be_made_twice(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path), SourceOptions())
    counts = [RuleCounts(), RuleCounts()]
    first, second = (collect(source, rules) for rules in counts)
    assert ids(first["unsplit"]) == ids(second["unsplit"])
    assert counts[0] == counts[1]


def test_frames_per_word_are_means_with_zero_frames_where_none_lies(tmp_path: Path) -> None:
    vision = {"va": (np.array([[4.0], [8.0]]), [[1.0, 1.5], [1.5, 2.0]]), "vb": (np.ones((1, 1)), [[2.5, 3.0]])}
    rows, rules, _ = read(make_folder(tmp_path, vision=vision), align="words")
    first = rows["unsplit"][0]
    audio, times = AUDIO["va"][0], AUDIO["va"][1].mean(axis=1)
    expected = [audio[(times >= start) & (times < end)].mean(axis=0) for start, end in ((1, 2), (2, 3.5))]
    np.testing.assert_allclose(first["audio"], expected)
    np.testing.assert_array_equal(first["vision"], [[6.0], [0.0]])
    # "vb" has a vision frame in its segment, but none in its word.
    assert [row["vision"] for row in rows["unsplit"][1:]] == [None, None]
    assert rules["interval_without_frames"] == 2


def test_frames_per_word_without_words_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "CMU_MOSI_TimestampedWords.csd").unlink()
    with pytest.raises(DataError, match="where there is a sequence of words, found audio, labels"):
        read(tmp_path, align="words")


def test_gaps_are_counted_and_stored_as_absent(tmp_path: Path) -> None:
    vision = {"va": (np.array([[0.0], [5.0]]), [[0, 2], [5, 6]])}
    rows, rules, _ = read(make_folder(tmp_path, vision=vision))
    assert [row["vision"] is None for row in rows["unsplit"]] == [True, False, True]
    assert rules["absent_modality"] == 1
    assert rules["missing_sequence"] == 1


def test_segment_without_length_is_left_out_and_counted(tmp_path: Path) -> None:
    write_labels(tmp_path, {"va": (np.array([[1.0], [2.0]]), [[1.0, 1.0], [0.0, 4.0]])})
    write_csd(tmp_path / "CMU_MOSI_TimestampedWords.csd", "words", WORDS)
    rows, rules, source = read(tmp_path)
    assert ids(rows["unsplit"]) == ["va$_$2"]
    assert (rules["empty_interval"], rules["missing_text"], rules["no_modality_dropped"]) == (1, 0, 1)
    assert source.counts == {"unsplit": 2}


def test_seven_label_columns_give_the_emotions(tmp_path: Path) -> None:
    values = np.array([[0.5, 1, 2, 3, 0, 0.25, 0.75], [np.nan, 0, 0, 0, 0, 0, 0]])
    write_csd(tmp_path / "CMU_MOSEI_Labels.csd", "All Labels", {"va": (values, [[0, 4], [4, 8]])})
    write_csd(tmp_path / "CMU_MOSEI_TimestampedWords.csd", "words", WORDS)
    rows, rules, source = read(tmp_path)
    assert [rows["unsplit"][0][name] for name in EMOTIONS] == values[0, 1:].tolist()
    assert rows["unsplit"][0]["label"] == 0.5
    assert rules["missing_label_dropped"] == 1
    assert source.dataset_name == "cmu_mosei"
    assert set(EMOTIONS) <= set(source.extra_features)


def test_aligned_keys_take_the_rows_as_they_are(tmp_path: Path) -> None:
    times = {"va[0]": [[10.0, 12.0]], "va[10]": [[20.0, 22.0]], "va[2]": [[14.0, 15.0]]}
    write_labels(tmp_path, {key: (np.array([[1.0]]), time) for key, time in times.items()})
    write_csd(tmp_path / "w.csd", "timestampedwords", {key: (words("a", "sp", "b"), steps(3)) for key in times})
    write_csd(tmp_path / "c.csd", "COVAREP", {key: (np.ones((3, 2)), steps(3)) for key in list(times)[:2]})
    rows, rules, source = read(tmp_path)
    assert ids(rows["unsplit"]) == ["va$_$1", "va$_$3", "va$_$11"]
    assert [row["text"] for row in rows["unsplit"]] == ["a b"] * 3
    assert [None if row["audio"] is None else row["audio"].shape for row in rows["unsplit"]] == [(3, 2), None, (3, 2)]
    assert rules["missing_sequence"] == 1
    assert source.details["aligned_files"]


def test_mixed_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    write_labels(tmp_path, LABELS)
    write_csd(tmp_path / "c.csd", "COVAREP", {"va[0]": (np.ones((1, 2)), steps(1))})
    with pytest.raises(DataError, match=r"has videos and c\.csd has segments .* such as 'va\[0\]'; use files of one"):
        read(tmp_path)


def test_aligned_label_with_two_rows_is_refused(tmp_path: Path) -> None:
    write_labels(tmp_path, {"va[0]": (np.ones((2, 1)), steps(2))})
    with pytest.raises(DataError, match=r"one row per segment, .*Labels\.csd has 2 for 'va\[0\]'"):
        read(tmp_path)


def test_splits_come_from_the_table(tmp_path: Path) -> None:
    table = tmp_path / "folds.csv"
    table.write_text("video_id,clip_id,mode\nvb,1,train\nva,2,valid\n")
    rows, _, source = read(make_folder(tmp_path), splits=table)
    assert {split: ids(members) for split, members in rows.items()} == {"train": ["vb$_$1"], "validation": ["va$_$2"]}
    assert source.details["segments_without_split"] == 1
    table.write_text("video_id,mode\nvz,train\n")
    with pytest.raises(DataError, match=r"folds\.csv names none of 3, such as video 'va' clip '1'; check its ids"):
        read(tmp_path, splits=table)


def test_label_sequence_alone_stands_for_its_folder(tmp_path: Path) -> None:
    make_folder(tmp_path)
    other = write_labels(tmp_path, {"vb": (np.array([[3.0]]), [[0.0, 3.0]])}, "Other_Labels")
    with pytest.raises(DataError, match=r"one sequence gives labels, .*Labels\.csd and .*\.csd both do; move one"):
        read(tmp_path)
    for rows, _, source in (read(other), read(tmp_path, labels=other)):
        assert ids(rows["unsplit"]) == ["vb$_$1"]
        assert source.details["files_not_used"] == ["CMU_MOSI_Opinion_Labels.csd"]


def test_word_vectors_are_kept_on_request_or_without_words(tmp_path: Path) -> None:
    vectors = {"va": (np.full((6, 5), 0.5), WORDS["va"][1])}
    write_csd(make_folder(tmp_path) / "CMU_MOSI_TimestampedWordVectors.csd", "glove_vectors", vectors)
    _, _, source = read(tmp_path)
    assert "text_features" not in source.feature_sizes
    assert source.details["files_not_used"] == ["CMU_MOSI_TimestampedWordVectors.csd"]
    rows, _, source = read(tmp_path, keep_text_features=True)
    assert source.feature_sizes["text_features"] == 5
    assert rows["unsplit"][0]["text_features"].shape == (4, 5)
    (tmp_path / "CMU_MOSI_TimestampedWords.csd").unlink()
    rows, _, _ = read(tmp_path)
    assert rows["unsplit"][0]["text"] is None
    assert rows["unsplit"][0]["text_features"].shape == (4, 5)


def test_two_sequences_for_one_modality_are_refused(tmp_path: Path) -> None:
    write_csd(make_folder(tmp_path) / "CMU_MOSI_openSMILE_IS09.csd", "OpenSMILE", AUDIO)
    with pytest.raises(DataError, match=r"gives audio, CMU_MOSI_COVAREP\.csd and CMU_MOSI_openSMILE_IS09\.csd both do"):
        read(tmp_path)


def test_unknown_sequence_is_listed_as_not_used(tmp_path: Path) -> None:
    write_csd(make_folder(tmp_path) / "phones.csd", "phones", WORDS)
    _, _, source = read(tmp_path)
    assert source.details["files_not_used"] == ["phones.csd"]
    assert [file.name for file in source.files] == [
        "CMU_MOSI_COVAREP.csd",
        "CMU_MOSI_Opinion_Labels.csd",
        "CMU_MOSI_TimestampedWords.csd",
    ]


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ({"va": (np.ones((1, 3)), steps(1))}, r"one column .* or seven .*Labels\.csd has 3; name the right file"),
        ({"va": (words("a"), steps(1))}, r"Labels\.csd has 1 of words"),
        ({"va": (np.zeros((0, 1)), np.zeros((0, 2)))}, r"at least one segment, .*Labels\.csd has none"),
        ({"va": (np.ones((1, 1)), [[0, np.nan]])}, r"/data/va/intervals must hold finite seconds, found \[0\.0, nan\]"),
        ({"va": (np.ones((1, 1)), [[0, 1, 2]])}, r"/data/va/intervals must .* found int64 \(1, 3\)"),
    ],
)
def test_wrong_label_sequence_is_refused(tmp_path: Path, videos: Any, message: str) -> None:
    write_labels(tmp_path, videos)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_folder_without_labels_is_refused(tmp_path: Path) -> None:
    write_csd(tmp_path / "c.csd", "COVAREP", AUDIO)
    with pytest.raises(DataError, match=r"needs the label sequence, .* found c\.csd; add the file"):
        read(tmp_path)
    table = tmp_path / "label.csv"
    with pytest.raises(DataError, match=r"labels of \.csd files are a \.csd file, found label\.csv; give a table as"):
        read(tmp_path, labels=table)


def test_sequence_of_the_wrong_content_is_refused(tmp_path: Path) -> None:
    write_csd(make_folder(tmp_path) / "v.csd", "FACET", {"va": (words("a"), steps(1))})
    with pytest.raises(DataError, match=r"v\.csd looks like vision by its name and holds words; rename it"):
        read(tmp_path)


def test_width_that_changes_between_videos_is_refused(tmp_path: Path) -> None:
    source = open_source(
        make_folder(tmp_path, vision={"va": (np.ones((2, 3)), steps(2)), "vb": (np.ones((1, 4)), steps(1))}),
        SourceOptions(),
    )
    with pytest.raises(DataError, match=r"Facet_41\.csd: /FACET_4\.2/data/vb/features must have width 3 as 'va'"):
        collect(source, RuleCounts())


def test_label_outside_the_range_is_stored_only_with_another_range(tmp_path: Path) -> None:
    write_labels(tmp_path, {"va": (np.array([[5.0]]), [[0.0, 4.0]])})
    write_csd(tmp_path / "w.csd", "words", WORDS)
    with pytest.raises(DataError, match=r"finite number in \[-3, 3\], found 5.0"):
        read(tmp_path)
    assert read(tmp_path, label_range=(0.0, 5.0))[2].label_range == (0.0, 5.0)


def test_dataset_name_metadata_decides_before_the_file_name(tmp_path: Path) -> None:
    metadata = {"dataset name": json.dumps("CMU-MOSEI")}
    write_csd(tmp_path / "labels.csd", "labels", {"va": (np.ones((1, 1)), [[0, 4]])}, metadata)
    write_csd(tmp_path / "w.csd", "words", WORDS)
    assert read(tmp_path)[2].dataset_name == "cmu_mosei"
    assert read(tmp_path, dataset_name="mine")[2].dataset_name == "mine"


@pytest.mark.real_data
def test_mosi_words_reproduce_the_transcripts(shared_data: Path) -> None:

    folder = shared_data / "data" / "mosi_labels_text"
    with open(folder / "label.csv", encoding="utf-8", newline="") as stream:
        table = {f"{row['video_id']}$_${row['clip_id']}": row for row in csv.DictReader(stream)}
    with open(folder / "segments.csv", encoding="utf-8", newline="") as stream:
        times = {f"{row['video_id']}$_${row['clip_id']}": row for row in csv.DictReader(stream)}
    rows, rules, source = read(folder, splits=folder / "label.csv")
    assert source.counts == {"train": 1284, "validation": 229, "test": 686}
    assert {split: len(members) for split, members in rows.items()} == {"train": 1282, "validation": 229, "test": 686}
    assert (rules["empty_interval"], rules["no_modality_dropped"]) == (1, 2)
    overlaps = []
    for row in (row for members in rows.values() for row in members):
        assert row["label"] == pytest.approx(float(table[row["id"]]["label"]), abs=1e-6)
        assert row["start_s"] == pytest.approx(float(times[row["id"]]["start"]), abs=1e-3)
        assert row["end_s"] == pytest.approx(float(times[row["id"]]["end"]), abs=1e-3)
        spoken, written = (
            set(re.sub(r"[^\w\s]", "", text.lower()).split()) for text in (row["text"], table[row["id"]]["text"])
        )
        overlaps.append(len(spoken & written) / len(spoken | written))
    missing = set(table) - set(ids([row for members in rows.values() for row in members]))
    assert "2WGyTLYerpo$_$44" in missing
    assert (sum(overlaps) / len(table)) >= 0.78
