"""Bit-exact agreement with what the published loaders of LNLN and MMSA make of a small artificial data set."""

import json
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from modeling_hfr_ame.corruption import (
    LiteratureRecipe,
    LnlnTrainingRates,
    lnln_masks,
    random_keep_masks,
    tfr_net_masks,
)
from modeling_hfr_ame.corruption.literature_masks import KeepMasks, replace_dropped_tokens, zero_dropped_frames

Tensors = dict[str, npt.NDArray]
NAMES = ("text", "audio", "vision")
RATE_LETTERS = "lav"


@pytest.fixture
def golden(shared_data: Path) -> tuple[dict, Tensors]:
    folder = shared_data / "golden" / "lnln_protocol"
    if not folder.is_dir():
        pytest.skip(f"golden protocol values not found: {folder}")
    return json.loads((folder / "config.json").read_text()), load_file(folder / "io.safetensors")


def lengths_of(tensors: Tensors, split: str) -> npt.NDArray[np.int64]:
    text = tensors[f"in.{split}.text_bert"][:, 1].sum(axis=1)
    return np.stack([text, tensors[f"in.{split}.audio_lengths"], tensors[f"in.{split}.vision_lengths"]], axis=1)


def training_rates(entry: dict, num_rows: int, num_test_rows: int, vision_length: int) -> npt.NDArray[np.float64]:
    rates = LnlnTrainingRates(num_rows, entry["seed"])
    if entry["mode"] == "lnln_train_redraw_after_building_train_valid_test":
        rates.redraw(vision_length, num_test_rows)
    for _ in range(entry.get("redraw", 0)):
        rates.redraw(vision_length)
    return rates.rates


def masks_of(entry: dict, tensors: Tensors, padded: list[int], used: set[str]) -> KeepMasks:
    lengths = lengths_of(tensors, entry["split"])
    if entry["mode"] == "mmsa":
        rates, seeds = entry["missing_rate_text_audio_vision"], entry["missing_seed_text_audio_vision"]
        return tfr_net_masks(lengths, padded, rates, seeds)
    if entry["mode"] == "lnln_eval":
        return lnln_masks(lengths, padded, entry["missing_rate"], entry["seed"])
    rates = training_rates(entry, len(lengths), len(lengths_of(tensors, "test")), padded[2])
    for column, letter in enumerate(RATE_LETTERS):
        key = f"{entry['prefix']}.missing_rate_{letter}"
        np.testing.assert_array_equal(rates[:, column], tensors[key][:, 0], err_msg=key)
        used.add(key)
    return lnln_masks(lengths, padded, rates, entry["seed"])


@pytest.mark.real_data
def test_masks_ids_frames_and_rates_of_every_group_equal_the_published_loaders(golden: tuple[dict, Tensors]) -> None:
    config, tensors = golden
    padded = config["lengths_text_audio_vision"]
    used: set[str] = set()
    for entry in config["outputs"]:
        split, prefix = entry["split"], entry["prefix"]
        masks = masks_of(entry, tensors, padded, used)
        for name, mask in zip(NAMES, masks, strict=True):
            key = f"{prefix}.{name}_missing_mask"
            np.testing.assert_array_equal(mask, tensors[key].astype(bool), err_msg=key)
            used.add(key)
        text = tensors[f"in.{split}.text_bert"].copy()
        text[:, 0] = replace_dropped_tokens(text[:, 0], masks[0], config["unk_id"], lengths_of(tensors, split)[:, 0])
        np.testing.assert_array_equal(text, tensors[f"{prefix}.text_m"], err_msg=prefix)
        used.add(f"{prefix}.text_m")
        for name, mask in zip(NAMES[1:], masks[1:], strict=True):
            if f"{prefix}.{name}_m" in tensors:
                frames = tensors[f"in.{split}.{name}"]
                frames = np.where(np.isneginf(frames), np.float32(0.0), frames)  # both loaders do so first
                found = zero_dropped_frames(frames, mask)
                np.testing.assert_array_equal(found, tensors[f"{prefix}.{name}_m"], err_msg=f"{prefix}.{name}_m")
                used.add(f"{prefix}.{name}_m")
    assert len(config["outputs"]) >= 60
    assert used == {key for key in tensors if key.startswith("out.")}


@pytest.mark.real_data
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, 1.0])
def test_recipe_over_a_part_of_the_split_gives_the_published_ids_and_frames(
    golden: tuple[dict, Tensors], rate: float
) -> None:
    config, tensors = golden
    ids = [f"row {index}" for index in range(config["sizes"]["test"])]
    padded = tuple(config["lengths_text_audio_vision"])
    recipe = LiteratureRecipe("lnln", rate, padded_lengths=padded, split_ids=tuple(ids))
    lengths, chosen = lengths_of(tensors, "test"), [5, 0, 3]
    masks = recipe.bind([ids[row] for row in chosen], lengths[chosen], dataset="any", split="test", seed=99)
    prefix = f"out.lnln.eval.seed1111.rate{rate}.test"
    for place, row in enumerate(chosen):
        num_tokens, num_frames = lengths[row, 0], lengths[row, 1]
        tokens = tensors["in.test.text_bert"][row, 0, :num_tokens]
        audio = np.nan_to_num(tensors["in.test.audio"][row, :num_frames], neginf=0.0)
        found = masks.apply(place, tokens, audio, None, config["unk_id"])
        np.testing.assert_array_equal(found.input_ids, tensors[f"{prefix}.text_m"][row, 0, :num_tokens])
        kept = tensors[f"{prefix}.audio_missing_mask"][row, :num_frames].astype(bool)
        np.testing.assert_array_equal(found.audio, np.where(kept[:, None], audio, 0))
        assert found.vision is None


def test_masks_equal_the_global_generator_and_leave_it_alone() -> None:
    lengths = np.array([[4, 9, 2], [7, 3, 9], [3, 1, 1]])
    np.random.seed(5)
    expected = (np.random.uniform(size=(3, 9)) > 0.4) & (np.arange(9) < lengths[:, 1:2])
    np.random.seed(123)
    random.seed(123)
    before = np.random.get_state()[1].tobytes(), random.getstate()
    found = random_keep_masks(lengths, (8, 9, 10), 0.4, (1, 5, 2))[1]
    LnlnTrainingRates(10, 3).redraw(6)
    assert (np.random.get_state()[1].tobytes(), random.getstate()) == before
    np.testing.assert_array_equal(found, expected)
