"""Published protocols on a data set: masks over the split on word pieces and standardised frames."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from modeling_hfr_ame.corruption import LiteratureRecipe, lnln_masks, read_recipe
from modeling_hfr_ame.data import SentimentCollator, SentimentDataset
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor

Rows = list[dict[str, Any]]
NAME = {"dataset_name": "synthetic_talkers", "split": "train"}
PADDED = (60, 375, 500)


def make(
    rows: Rows, processor: HfrAmeProcessor, plan: str | LiteratureRecipe | None, **options: Any
) -> SentimentDataset:
    recipe = read_recipe(plan) if isinstance(plan, str) else plan
    return SentimentDataset(rows, processor, **NAME, corruption=recipe, **options)


def lengths_of(clean: SentimentDataset) -> np.ndarray:
    keys = ("input_ids", "audio_values", "vision_values")
    return np.array([[len(sample.get(key, ())) for key in keys] for sample in clean])


def same_sample(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("padded", [None, PADDED])
def test_sample_is_the_encoded_row_under_the_masks_of_the_split(
    padded: tuple[int, int, int] | None, talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    clean = make(talker_rows, talker_processor, None)
    lengths = lengths_of(clean)
    dataset = make(talker_rows, talker_processor, read_recipe("lnln-0.6").over(padded_lengths=padded))
    assert dataset.padded_lengths == (padded or tuple(lengths.max(axis=0)))
    masks = lnln_masks(lengths, dataset.padded_lengths, 0.6)
    unknown = talker_processor.tokenizer.unk_token_id
    for row, (before, after) in enumerate(zip(clean, dataset, strict=True)):
        kept = [mask[row, :length] for mask, length in zip(masks, lengths[row], strict=True)]
        np.testing.assert_array_equal(after["input_ids"], np.where(kept[0], before["input_ids"], unknown))
        for key, mask in (("audio_values", kept[1]), ("vision_values", kept[2])):
            np.testing.assert_array_equal(after[key], before[key] * mask[:, None])
        np.testing.assert_allclose(after["severity"], 0.6, rtol=1e-6)
        assert (after["labels"], after["sample_ids"]) == (before["labels"], before["sample_ids"])


def test_erased_text_keeps_its_special_tokens_and_absent_text_is_gone(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    clean = make(talker_rows, talker_processor, None)
    erased, absent = (clean.with_corruption(read_recipe(name)) for name in ("lnln_fixed-text", "missing-text"))
    before, after = clean[2], erased[2]
    unknown = talker_processor.tokenizer.unk_token_id
    assert len(after["input_ids"]) == len(before["input_ids"])
    assert (after["input_ids"][1:-1] == unknown).all()
    assert after["input_ids"][[0, -1]].tolist() == before["input_ids"][[0, -1]].tolist()
    np.testing.assert_array_equal(after["audio_values"], before["audio_values"])
    np.testing.assert_array_equal(after["severity"], [1, 0, 0])
    assert "input_ids" not in absent[2]


def test_same_masks_in_every_epoch_after_pickling_and_with_any_cache(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    dataset = make(talker_rows, talker_processor, "emt_dlfr-0.5")
    copied = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own bytes
    uncached = make(talker_rows, talker_processor, "emt_dlfr-0.5", cache_mb=0.0)
    for row, sample in enumerate(dataset):
        for other in (dataset[7, row], copied[row], uncached[row]):
            assert same_sample(sample, other)


def test_with_corruption_equals_a_new_dataset_and_changes_plans_both_ways(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    clean = make(talker_rows, talker_processor, None)
    dropped = clean.with_corruption(read_recipe("lnln-0.5"))
    assert all(same_sample(a, b) for a, b in zip(dropped, make(talker_rows, talker_processor, "lnln-0.5"), strict=True))
    back = dropped.with_corruption(None)
    assert back.padded_lengths is None
    assert all(same_sample(a, b) for a, b in zip(clean, back, strict=True))
    other = dropped.with_corruption(read_recipe("drop-0.5"))
    assert all(same_sample(a, b) for a, b in zip(other, make(talker_rows, talker_processor, "drop-0.5"), strict=True))


def test_part_of_a_split_gets_the_masks_of_the_whole(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    ids = [row["id"] for row in talker_rows]
    chosen = [20, 3, 11]
    for name in ("lnln-0.5", "imder_mr-0.5"):
        recipe = read_recipe(name).over(split_ids=ids, padded_lengths=PADDED)
        whole = make(talker_rows, talker_processor, recipe)
        part = make([talker_rows[row] for row in chosen], talker_processor, recipe)
        assert all(same_sample(part[place], whole[row]) for place, row in enumerate(chosen))


def test_clean_twin_lies_on_the_grid_of_the_masked_sample(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    clean = make(talker_rows, talker_processor, None)
    sample = make(talker_rows, talker_processor, "lnln-0.5", with_clean=True)[4]
    for key in ("input_ids", "audio_values", "vision_values"):
        np.testing.assert_array_equal(sample[f"clean_{key}"], clean[4][key])
    np.testing.assert_array_equal(sample["clean_text_index"], np.arange(len(sample["input_ids"])))
    removed = make(talker_rows, talker_processor, "imder_mr-0.7", with_clean=True)
    without_text = next(each for each in removed if "input_ids" not in each)
    assert "clean_text_index" not in without_text
    assert "clean_input_ids" in without_text


def test_loader_with_two_workers_and_another_batch_size_gives_the_same_rows(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    dataset = make(talker_rows, talker_processor, "imder_mr-0.4")

    def load(batch_size: int, workers: int) -> dict[str, dict[str, Any]]:
        loader = torch.utils.data.DataLoader(
            dataset,
            batch_size=batch_size,
            num_workers=workers,
            collate_fn=SentimentCollator(talker_processor),
        )
        found = {}
        for batch in loader:
            for row, sample_id in enumerate(batch["sample_ids"]):
                frames = batch["audio_values"][row][batch["audio_mask"][row]]
                tokens = batch["input_ids"][row][batch["attention_mask"][row].bool()]
                found[sample_id] = {"frames": frames, "tokens": tokens, "present": batch["modality_mask"][row]}
        return found

    alone, many = load(1, 0), load(7, 2)
    assert alone.keys() == many.keys() == {row["id"] for row in talker_rows}
    assert all(torch.equal(alone[row][key], many[row][key]) for row in alone for key in alone[row])


def test_dataset_of_other_modalities_keeps_its_masks(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    recipe = read_recipe("lnln-0.5").over(padded_lengths=PADDED)
    full = make(talker_rows, talker_processor, recipe)
    text_only = make(talker_rows, talker_processor, recipe, modalities="t")
    for a, b in zip(full, text_only, strict=True):
        np.testing.assert_array_equal(a["input_ids"], b["input_ids"])
        np.testing.assert_allclose(b["severity"], [0.5, 0.0, 0.0])


def test_row_longer_than_the_padded_length_is_refused(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    recipe = read_recipe("lnln-0.5").over(padded_lengths=(60, 2, 500))
    clean = make(talker_rows, talker_processor, None)
    with pytest.raises(DataError, match=r"found \d+ steps of audio and a padded length of 2; .* max_audio_length"):
        clean.with_corruption(recipe)
