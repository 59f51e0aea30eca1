"""Whole real files through `prepare_source`, compared with an independent read of the same file."""

import csv
from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.data import load_stored_dataset, prepare_source, stored_rows
from modeling_hfr_ame.data.sources.source import SourceOptions

pytestmark = pytest.mark.real_data


def _read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_mosi_label_table_equals_its_csv(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "data" / "mosi_labels_text" / "label.csv"
    prepared = prepare_source(path, tmp_path / "out", options=SourceOptions(dataset_name="cmu_mosi"))
    expected = _read_csv(path)
    assert prepared.count_notes == ["train 1284, validation 229, test 686: as published by MMSA"]
    for split, mode in (("train", "train"), ("validation", "valid"), ("test", "test")):
        rows = load_stored_dataset(prepared.folder, split)
        wanted = [row for row in expected if row["mode"] == mode]
        assert rows["id"][:] == [f"{row['video_id']}$_${row['clip_id']}" for row in wanted]
        assert rows["text"][:] == [row["text"].strip() for row in wanted]
        assert rows["label"][:] == [float(row["label"]) for row in wanted]


def test_mosei_tables_equal_their_csvs_and_find_their_segments(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "data" / "mosei_labels_text"
    prepared = prepare_source(folder, tmp_path / "out", options=SourceOptions(dataset_name="cmu_mosei"))
    segments = {(row["video_id"], str(int(row["segment_id"]) + 1)): row for row in _read_csv(folder / _SEGMENTS)}
    for split, file, found_at_least in (("validation", "valid", 0.99), ("test", "test", 0.99)):
        rows = load_stored_dataset(prepared.folder, split)
        wanted = _read_csv(folder / f"mosei_{file}_text.csv")
        assert rows["text"][:] == [row["text"].strip() for row in wanted]
        assert rows["label"][:] == [float(row["sentiment"]) for row in wanted]
        assert rows["anger"][:] == [float(row["anger"]) for row in wanted]
        named = [segments.get(key) for key in zip(rows["video_id"][:], rows["clip_id"][:], strict=True)]
        assert np.mean([row is not None for row in named]) >= found_at_least
        for row, segment in zip(rows, named, strict=True):
            if segment is not None:
                assert float(segment["start"]) == pytest.approx(row["start_s"], abs=0.02)
                assert float(segment["sentiment"]) == pytest.approx(row["label"], abs=1e-4)


_SEGMENTS = "mosei_segments_labels.csv"


def test_misa_pickle_equals_the_npz_beside_it(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "data" / "mosi_misa_dev"
    prepared = prepare_source(folder / "dev.pkl", tmp_path / "out")
    assert prepared.layout == "misa"
    with np.load(folder / "dev_ragged.npz", allow_pickle=False) as arrays:
        offsets, words, audio, vision = (arrays[name] for name in ("offsets", "words", "audio", "vision"))
        labels, segments = arrays["label"], arrays["segment"]
    rows = stored_rows(load_stored_dataset(prepared.folder, "validation"))
    assert len(rows) == len(labels) == 229
    for index, row in enumerate(rows):
        here = slice(offsets[index], offsets[index + 1])
        np.testing.assert_array_equal(row["audio"], audio[here])
        np.testing.assert_array_equal(row["vision"], vision[here])
        assert row["text"].split() == " ".join(words[here]).split()
        assert row["label"] == pytest.approx(float(labels[index]))
        video, segment = str(segments[index]).rstrip("]").split("[")
        assert row["id"] == f"{video}$_${int(segment) + 1}"
