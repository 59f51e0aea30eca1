import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data import load_stored_dataset, prepare_source, read_manifest, stored_rows
from modeling_hfr_ame.errors import DataError
from tests.data.sources.layout_making import mult_tree, sample_list


def _save(tree: Any, path: Path, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(tree, protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("aligned", [True, False])
def test_mult_pickle_front_padding_is_cut(tmp_path: Path, aligned: bool, protocol: int) -> None:
    tree = mult_tree(aligned=aligned)
    prepared = prepare_source(_save(tree, tmp_path / "mosi_data.pkl", protocol), tmp_path / "out")
    assert prepared.layout == ("mult-aligned" if aligned else "mult-unaligned")
    for index, row in enumerate(stored_rows(load_stored_dataset(prepared.folder, "train"))):
        valid = index % 3 + 2
        for key, column in (("audio", "audio"), ("vision", "vision"), ("text", "text_features")):
            np.testing.assert_array_equal(row[column], tree["train"][key][index, -valid:])
        assert row["text"] is None
        assert row["id"] == f"train{index}$_$1.5_3.25"
        assert row["label"] == float(tree["train"]["labels"][index, 0, 0])


def test_mult_aligned_row_with_a_silent_first_word_keeps_one_grid(tmp_path: Path) -> None:
    tree = mult_tree()
    tree["train"]["audio"][2, -4] = 0  # the first of four words
    prepared = prepare_source(_save(tree, tmp_path / "mosi_data.pkl"), tmp_path / "out")
    row = stored_rows(load_stored_dataset(prepared.folder, "train"))[2]
    assert len(row["audio"]) == len(row["vision"]) == len(row["text_features"]) == 4
    assert not row["audio"][0].any()


@pytest.mark.parametrize(
    ("dev", "message"),
    [
        ([], r"split 'validation' has none; leave the split out"),
        ([(1, 2)], r"sample 0 of split 'validation' must be \(\(words, vision, audio"),
        ("wide", r"vision of sample 0 of split 'validation' has width 6, expected 5 .* need the same features"),
    ],
)
def test_sample_list_that_is_wrong_in_one_split_is_named(tmp_path: Path, dev: Any, message: str) -> None:
    good = [((["a", "b"], np.ones((2, 5)), np.ones((2, 4))), np.array([[1.0]]), "v[0]")]
    wide = [((["a", "b"], np.ones((2, 6)), np.ones((2, 4))), np.array([[1.0]]), "w[0]")]
    path = _save({"train": good, "dev": wide if dev == "wide" else dev}, tmp_path / "mosi.pkl")
    with pytest.raises(DataError, match=message):
        prepare_source(path, tmp_path / "out")


def test_misa_folder_shifts_segment_indices_to_clip_ids(tmp_path: Path) -> None:
    folder = tmp_path / "misa"
    folder.mkdir()
    samples = {name: sample_list(rows, name, misa=True) for name, rows in (("train", 5), ("dev", 3), ("test", 2))}
    for name, split in samples.items():
        _save(split, folder / f"{name}.pkl")
    prepared = prepare_source(folder, tmp_path / "out")
    assert prepared.layout == "misa"
    assert prepared.rules["segment_ids_shifted"] == 10
    rows = stored_rows(load_stored_dataset(prepared.folder, "validation"))
    for index, row in enumerate(rows):
        (_, vision, audio, words), label, _ = samples["dev"][index]
        assert row["id"] == f"dev{index // 2}$_${index % 2 + 1}"
        assert row["text"] == " ".join(words)
        np.testing.assert_array_equal(row["vision"], vision)
        np.testing.assert_array_equal(row["audio"], audio)
        assert row["label"] == float(label[0, 0])


def test_mag_bert_pickle_stores_every_split(tmp_path: Path) -> None:
    tree = {name: sample_list(rows, name, misa=False) for name, rows in (("train", 4), ("dev", 2), ("test", 3))}
    prepared = prepare_source(_save(tree, tmp_path / "mosi.pkl"), tmp_path / "out")
    assert prepared.layout == "mag-bert"
    counts = read_manifest(prepared.folder)["counts"]
    assert {split: count["rows"] for split, count in counts.items()} == {"train": 4, "validation": 2, "test": 3}


def test_sample_with_fewer_frames_than_words_is_refused(tmp_path: Path) -> None:
    tree = {"train": sample_list(4, "train", misa=False)}
    (words, vision, audio), label, segment = tree["train"][2]
    tree["train"][2] = ((words, vision[:1], audio), label, segment)
    with pytest.raises(DataError, match=r"vision of sample 2 of split 'train' must hold one row of numbers per word"):
        prepare_source(_save(tree, tmp_path / "mosi.pkl"), tmp_path / "out")
