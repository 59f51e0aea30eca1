import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data import load_stored_dataset, prepare_source, read_manifest, stored_rows
from modeling_hfr_ame.data.sources.mmsa import open_tree
from modeling_hfr_ame.data.sources.source import RuleCounts, SourceOptions
from modeling_hfr_ame.errors import DataError
from tests.data.sources.layout_making import AUDIO, VISION, mmsa_tree


def _rows(tree: dict[str, Any], split: str = "train", **options: Any) -> tuple[list[dict[str, Any]], RuleCounts]:
    rules = RuleCounts()
    source = open_tree(tree, Path("file.pkl"), SourceOptions(**options))
    return list(source.splits[split](rules)), rules


def _save(tree: Any, folder: Path, protocol: int = 4) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(pickle.dumps(tree, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("aligned", [False, True])
def test_mmsa_pickle_any_protocol_stores_every_valid_frame_bit_for_bit(
    tmp_path: Path, protocol: int, aligned: bool
) -> None:
    tree = mmsa_tree(aligned=aligned)
    prepared = prepare_source(_save(tree, tmp_path, protocol), tmp_path / "out")
    assert prepared.layout == ("mmsa-aligned" if aligned else "mmsa-unaligned")
    for name, stored in (("train", "train"), ("valid", "validation"), ("test", "test")):
        split = tree[name]
        rows = stored_rows(load_stored_dataset(prepared.folder, stored))
        assert len(rows) == len(split["regression_labels"])
        for index, row in enumerate(rows):
            number = index % 4 + 2
            first = 1 if aligned else 0
            for key, extra in (("audio", 3), ("vision", 5)):
                length = number if aligned else number + extra
                np.testing.assert_array_equal(row[key], split[key][index, first : first + length])
            assert row["id"] == split["id"][index]
            assert row["text"] == split["raw_text"][index]
            assert row["label"] == float(split["regression_labels"][index])
            assert row["annotation"] == split["annotations"][index]


def test_mmsa_length_beyond_the_frames_keeps_them_all_and_is_counted() -> None:
    tree = mmsa_tree()
    stored = tree["train"]["audio"].shape[1]
    tree["train"]["audio"][0] = 1.0
    tree["train"]["audio_lengths"][0] = stored + 7
    rows, rules = _rows(tree)
    assert len(rows[0]["audio"]) == stored
    assert rules["length_beyond_frames"] == 1


@pytest.mark.parametrize("length", [-1, 2.5, float("nan")])
def test_mmsa_length_that_is_no_count_is_refused(length: float) -> None:
    tree = mmsa_tree()
    tree["train"]["audio_lengths"] = [float(number) for number in tree["train"]["audio_lengths"]]
    tree["train"]["audio_lengths"][2] = length
    with pytest.raises(DataError, match=r"'audio_lengths' of split 'train' must hold whole numbers .* row 2"):
        _rows(tree)


def test_mmsa_manifest_names_layout_lengths_and_rules(tmp_path: Path) -> None:
    tree = mmsa_tree(aligned=True)
    manifest = read_manifest(prepare_source(_save(tree, tmp_path), tmp_path / "out").folder)
    assert manifest["dataset_name"] == "cmu_mosi"
    assert manifest["label_range"] == [-3.0, 3.0]
    assert manifest["feature_sizes"] == {"audio": AUDIO, "vision": VISION}
    assert manifest["rules"]["special_token_steps_cut"] == 2 * (9 + 3 + 5)
    assert manifest["rows_in_source"] == {"train": 9, "validation": 3, "test": 5}
    assert "1275 fewer than published" in manifest["published_counts"][0]


def test_mmsa_frames_beyond_the_stated_length_are_cut_and_counted() -> None:
    tree = mmsa_tree()
    tree["train"]["audio"][0, -2:] = 7.0
    rows, rules = _rows(tree)
    assert len(rows[0]["audio"]) == tree["train"]["audio_lengths"][0]
    assert rules["frames_beyond_length_cut"] == 2


def test_mmsa_without_length_keys_uses_the_padding_and_says_so() -> None:
    tree = mmsa_tree()
    for split in tree.values():
        del split["audio_lengths"], split["vision_lengths"]
    rows, rules = _rows(tree)
    np.testing.assert_array_equal(rows[1]["audio"], tree["train"]["audio"][1, :6])
    assert rules["lengths_from_padding"] == 2 * 9


def test_mmsa_minus_infinity_is_kept_and_counted() -> None:
    tree = mmsa_tree()
    tree["train"]["audio"][0, 0, :2] = -np.inf
    rows, rules = _rows(tree)
    assert np.isneginf(rows[0]["audio"][0, :2]).all()
    assert rules["non_finite_kept"] == 2


def test_mmsa_silent_row_has_an_absent_modality() -> None:
    tree = mmsa_tree()
    tree["train"]["vision"][4] = 0
    rows, rules = _rows(tree)
    assert rows[4]["vision"] is None
    assert rules["absent_modality"] == 1


def test_sims_labels_give_the_small_range_and_the_unimodal_columns() -> None:
    tree = mmsa_tree(sims=True)
    source = open_tree(tree, Path("unaligned_39.pkl"), SourceOptions())
    assert source.label_range == (-1.0, 1.0)
    rows, _ = _rows(tree)
    assert rows[2]["label_audio"] == float(tree["train"]["regression_labels_A"][2])


def test_mmsa_fet_output_with_a_config_is_one_layout_of_its_own(tmp_path: Path) -> None:
    tree = mmsa_tree() | {"config": {"audio": {"tool": "any"}}}
    prepared = prepare_source(_save(tree, tmp_path), tmp_path / "out")
    assert prepared.layout == "mmsa-fet-unaligned"


def test_mmsa_fet_torch_tensors_store_the_same_rows(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tree = mmsa_tree()
    expected, _ = _rows(tree)
    for split in tree.values():
        for key in ("audio", "vision", "text", "text_bert", "regression_labels"):
            split[key] = torch.from_numpy(split[key])
    prepared = prepare_source(_save(tree, tmp_path), tmp_path / "out")
    for row, wanted in zip(stored_rows(load_stored_dataset(prepared.folder, "train")), expected, strict=True):
        np.testing.assert_array_equal(row["audio"], wanted["audio"])
        assert row["label"] == wanted["label"]


def test_mmsa_without_words_keeps_the_text_features() -> None:
    tree = mmsa_tree()
    for split in tree.values():
        del split["raw_text"]
    rows, _ = _rows(tree)
    assert rows[0]["text"] is None
    assert rows[0]["text_features"].shape == (8, 6)


def test_mmsa_text_features_are_kept_on_request() -> None:
    rows, _ = _rows(mmsa_tree(), keep_text_features=True)
    assert rows[0]["text"] is not None
    assert rows[0]["text_features"].shape == (8, 6)


def _drop_key(tree: dict[str, Any]) -> None:
    del tree["valid"]["vision"]


def _rename_split(tree: dict[str, Any]) -> None:
    tree["holdout"] = tree.pop("test")


def _duplicate_id(tree: dict[str, Any]) -> None:
    tree["train"]["id"][5] = tree["train"]["id"][2]


def _mixed_widths(tree: dict[str, Any]) -> None:
    tree["test"]["audio"] = tree["test"]["audio"][:, :, :3]


def _empty_split(tree: dict[str, Any]) -> None:
    tree["valid"] = {key: value[:0] for key, value in tree["valid"].items()}


def _short_key(tree: dict[str, Any]) -> None:
    tree["train"]["vision"] = tree["train"]["vision"][:7]


def _text_label(tree: dict[str, Any]) -> None:
    tree["train"]["regression_labels"] = ["good"] * 9


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop_key, r"key 'vision' of split 'valid' is missing \(found: raw_text, .*\)"),
        (_rename_split, r"a split of file\.pkl must be named one of train, .*, found 'holdout'"),
        (_duplicate_id, r"key 'id' of split 'train' must hold unique ids, found 'train0\$_\$3' in rows 2 and 5"),
        (_mixed_widths, r"key 'audio' of split 'test' has width 3, expected 5"),
        (_empty_split, r"key 'regression_labels' of split 'valid' has none"),
        (_short_key, r"key 'vision' of split 'train' must hold 9 entries, one per row, found 7"),
        (_text_label, r"key 'regression_labels' of split 'train' must hold one number per row"),
    ],
)
def test_damaged_mmsa_pickle_says_which_key_of_which_split(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None], message: str
) -> None:
    tree = mmsa_tree()
    damage(tree)
    with pytest.raises(DataError, match=message):
        prepare_source(_save(tree, tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_truncated_pickle_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = _save(mmsa_tree(), tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"file\.pkl"):
        prepare_source(path, tmp_path / "out")


def test_pickle_of_an_unknown_layout_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found a dict with the keys 'a', 'b'"):
        prepare_source(_save({"a": 1, "b": [2]}, tmp_path), tmp_path / "out")
