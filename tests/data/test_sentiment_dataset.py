import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.corruption import CorruptionRecipe, SampleKey, TrainingMix, corrupt_sample
from modeling_hfr_ame.data import (
    SentimentDataset,
    load_stored_dataset,
    training_vocabulary,
    write_stored_dataset,
)
from modeling_hfr_ame.data.synthetic_talkers import MODALITY_SIZES
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor

Rows = list[dict[str, Any]]
NAME = {"dataset_name": "synthetic_talkers", "split": "train"}


def same_sample(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def changed(rows: Rows, index: int, **values: Any) -> Rows:
    return [{**row, **values} if position == index else row for position, row in enumerate(rows)]


def mixed(rows: Rows, processor: HfrAmeProcessor, **options: Any) -> SentimentDataset:
    vocabulary = training_vocabulary(rows)
    return SentimentDataset(rows, processor, **NAME, corruption=TrainingMix("mix"), vocabulary=vocabulary, **options)


def test_clean_sample_is_the_processors_encoding_with_label_and_id(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    dataset = SentimentDataset(talker_rows, talker_processor, **NAME)
    assert len(dataset) == len(talker_rows)
    row, sample = talker_rows[3], dataset[3]
    expected = talker_processor.encode(row["text"], row["audio"], row["vision"])
    assert sample.keys() == expected.keys() | {"labels", "sample_ids", "severity"}
    assert all(np.array_equal(sample[key], expected[key]) for key in expected)
    assert (sample["labels"], sample["sample_ids"]) == (row["label"], row["id"])
    np.testing.assert_array_equal(sample["severity"], [0.0, 0.0, 0.0])


@pytest.mark.parametrize("recipe", ["drop-0.5", "noise-3", "typo-0.9", "delete-0.5", "missing-audio"])
def test_corrupted_sample_is_the_corruption_of_the_encoded_row(
    recipe: str, talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    plan, row = CorruptionRecipe.from_name(recipe), talker_rows[5]
    sample = SentimentDataset(talker_rows, talker_processor, **NAME, corruption=plan, seed=4)[5]
    encoded = talker_processor.encode(audio=row["audio"], vision=row["vision"])
    key = SampleKey("synthetic_talkers", "train", row["id"], 4)
    expected = corrupt_sample(row["text"].split(), encoded["audio_values"], encoded["vision_values"], plan, key)
    np.testing.assert_array_equal(sample["input_ids"], talker_processor.encode(expected.words)["input_ids"])
    np.testing.assert_array_equal(sample["vision_values"], expected.vision)
    np.testing.assert_array_equal(sample["severity"], expected.severity)
    assert ("audio_values" in sample) == bool(expected.present[1])
    if expected.audio is not None:
        np.testing.assert_array_equal(sample["audio_values"], expected.audio)


def test_training_mix_in_a_new_epoch_draws_afresh_and_repeats_within_one(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    dataset = mixed(talker_rows, talker_processor)
    again = mixed(talker_rows, talker_processor)
    severities = [np.stack([dataset[epoch, i]["severity"] for i in range(len(dataset))]) for epoch in (0, 1)]
    assert np.mean(severities[0] != severities[1]) > 0.4
    # Samples come in another order, from a dataset with another past.
    assert all(same_sample(again[1, i], dataset[1, i]) for i in reversed(range(len(dataset))))
    assert same_sample(dataset[[1, 2]], dataset[1, 2])  # a pair that became a list on its way through a loader
    assert same_sample(dataset[2], dataset[2])


def test_another_seed_split_or_dataset_name_draws_otherwise(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    options = {"dataset_name": "a", "split": "train", "seed": 0}
    plan = CorruptionRecipe.from_name("drop-0.5-audio")
    frames = [
        SentimentDataset(talker_rows, talker_processor, **{**options, **other}, corruption=plan)[0]["audio_values"]
        for other in ({}, {"seed": 1}, {"split": "test"}, {"dataset_name": "b"})
    ]
    assert len({array.tobytes() for array in frames}) == 4


def test_clean_twin_under_drops_maps_every_token_to_what_it_replaces(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    plan = CorruptionRecipe.from_name("drop-0.5")
    dataset = SentimentDataset(talker_rows, talker_processor, **NAME, corruption=plan, with_clean=True)
    row, sample = talker_rows[0], dataset[0]
    expected = talker_processor.encode(row["text"], row["audio"], row["vision"])
    for key, values in expected.items():
        np.testing.assert_array_equal(sample[f"clean_{key}"], values)
    aligned = sample["clean_input_ids"][sample["clean_text_index"]]
    kept = sample["input_ids"] != talker_processor.tokenizer.unk_token_id
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(aligned[kept], sample["input_ids"][kept])


def test_clean_twin_without_corruption_is_the_sample_itself(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    sample = SentimentDataset(talker_rows, talker_processor, **NAME, with_clean=True)[1]
    np.testing.assert_array_equal(sample["clean_text_index"], np.arange(len(sample["input_ids"])))
    for key in ("input_ids", "audio_values", "vision_values"):
        np.testing.assert_array_equal(sample[f"clean_{key}"], sample[key])


def test_clean_twin_of_a_removed_text_stays_without_an_index(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    plan = CorruptionRecipe.from_name("missing-text")
    sample = SentimentDataset(talker_rows, talker_processor, **NAME, corruption=plan, with_clean=True)[0]
    assert "input_ids" not in sample
    assert "clean_text_index" not in sample
    assert "clean_input_ids" in sample
    np.testing.assert_array_equal(sample["severity"], [1.0, 0.0, 0.0])


def test_samples_without_with_clean_hold_no_clean_key(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    dataset = mixed(talker_rows, talker_processor)
    assert not any(key.startswith("clean") for i in range(len(dataset)) for key in dataset[0, i])


def test_absent_modalities_of_a_row_are_left_out(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    rows = changed(changed(talker_rows, 0, audio=None, vision=None), 1, text="  ")
    dataset = SentimentDataset(rows, talker_processor, **NAME, with_clean=True)
    assert not any("audio" in key or "vision" in key for key in dataset[0])
    assert not any("input_ids" in key or "text" in key for key in dataset[1])


def test_modalities_option_hides_the_others(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    sample = SentimentDataset(talker_rows, talker_processor, **NAME, modalities="t", with_clean=True)[0]
    hidden = {key for key in sample if "audio" in key or "vision" in key}
    assert not hidden
    assert {"input_ids", "clean_input_ids"} <= sample.keys()
    sample = SentimentDataset(talker_rows, talker_processor, **NAME, modalities="va")[0]
    assert "input_ids" not in sample
    assert {"audio_values", "vision_values"} <= sample.keys()


@pytest.mark.parametrize("letters", ["", "x", "text"])
def test_modalities_with_unknown_letters_are_refused(
    letters: str, talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    with pytest.raises(ConfigError, match=f"one or more of the letters t, a and v, found '{letters}'"):
        SentimentDataset(talker_rows, talker_processor, **NAME, modalities=letters)


def test_rows_left_without_a_modality_are_counted_in_the_error(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    rows = changed(changed(talker_rows, 2, text=None), 7, text="")
    with pytest.raises(DataError, match=rf"at least one of text, but 2 of 24 rows have none.*{rows[2]['video_id']}"):
        SentimentDataset(rows, talker_processor, **NAME, modalities="t")


@pytest.mark.parametrize("label", [None, math.nan, math.inf, 3.1, -3.5])
def test_unusable_label_is_refused_with_id_and_range(
    label: float | None, talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    rows = changed(talker_rows, 4, label=label, id="odd$_$1")
    with pytest.raises(
        DataError, match=rf"a number in \[-3, 3\], found {label} in row 'odd\$_\$1' \(1 such rows of 24"
    ):
        SentimentDataset(rows, talker_processor, **NAME)


def test_label_range_of_another_dataset_is_respected(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    with pytest.raises(DataError, match=r"a number in \[-1, 1\]"):
        SentimentDataset(talker_rows, talker_processor, **NAME, label_range=(-1.0, 1.0))
    rows = changed(talker_rows, 0, label=4.5)
    assert SentimentDataset(rows, talker_processor, **NAME, label_range=(0.0 - 5, 5.0))[0]["labels"] == 4.5


def test_dataset_without_rows_is_refused(talker_processor: HfrAmeProcessor) -> None:
    with pytest.raises(DataError, match="at least one row, found none"):
        SentimentDataset([], talker_processor, **NAME)


def test_plan_that_needs_a_vocabulary_is_refused_without_one(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    plan = CorruptionRecipe.from_name("asr-0.5")
    with pytest.raises(DataError, match=r"'asr-0.5' .* vocabulary is None.*training_vocabulary"):
        SentimentDataset(talker_rows, talker_processor, **NAME, corruption=plan)
    with pytest.raises(DataError, match="vocabulary is None"):
        SentimentDataset(talker_rows, talker_processor, **NAME).with_corruption(plan)
    # Without text nothing will ask for it.
    SentimentDataset(talker_rows, talker_processor, **NAME, corruption=plan, modalities="av")


def test_asr_corruption_uses_the_given_vocabulary(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    vocabulary = training_vocabulary(talker_rows)
    plan = CorruptionRecipe.from_name("asr-1.0")
    clean = SentimentDataset(talker_rows, talker_processor, **NAME)
    sample = SentimentDataset(talker_rows, talker_processor, **NAME, corruption=plan, vocabulary=vocabulary)[0]
    heard = talker_processor.tokenizer.decode(sample["input_ids"], skip_special_tokens=True).split()
    assert set(heard) <= set(vocabulary)
    assert not np.array_equal(sample["input_ids"], clean[0]["input_ids"])


def test_training_vocabulary_is_the_sorted_distinct_words() -> None:
    rows = [{"text": "So good\tso"}, {"text": None}, {"text": " zu good "}]
    assert training_vocabulary(rows) == ["So", "good", "so", "zu"]


def test_stored_rows_give_the_same_samples_as_the_generated_ones(
    talker_rows: Rows, talker_processor: HfrAmeProcessor, tmp_path: Path
) -> None:
    rows = changed(talker_rows, 1, audio=None)[:6]
    manifest = {"builder": "test", "builder_version": "1", "label_range": [-3.0, 3.0]}
    write_stored_dataset(tmp_path / "set", {"train": rows}, manifest, feature_sizes=MODALITY_SIZES)
    stored = load_stored_dataset(tmp_path / "set", "train")
    assert training_vocabulary(stored) == training_vocabulary(rows)
    first, second = mixed(rows, talker_processor, with_clean=True), mixed(stored, talker_processor, with_clean=True)
    assert all(same_sample(first[2, i], second[2, i]) for i in range(6))
    # A selection is what an evaluation of a part of a split hands over.
    part = SentimentDataset(stored.select([3, 1]), talker_processor, **NAME)
    assert [part[i]["sample_ids"] for i in range(2)] == [rows[3]["id"], rows[1]["id"]]
    with pytest.raises(DataError, match="at least one of audio, but 1 of 6 rows have none"):
        SentimentDataset(stored, talker_processor, **NAME, modalities="a")
    assert len(SentimentDataset(stored.remove_columns(["audio"]), talker_processor, **NAME)) == 6


def test_cache_of_any_size_gives_the_same_samples(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    datasets = [mixed(talker_rows, talker_processor, cache_mb=size) for size in (512.0, 0.02, 0.0)]
    for epoch in (0, 1):
        for index in range(len(talker_rows)):
            first, *others = (dataset[epoch, index] for dataset in datasets)
            assert all(same_sample(first, other) for other in others)
    assert len(datasets[0]._cache) == len(talker_rows)
    assert 0 < len(datasets[1]._cache) < len(talker_rows)
    assert len(datasets[2]._cache) == 0


def test_cached_arrays_can_not_be_written(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    dataset = SentimentDataset(talker_rows, talker_processor, **NAME)
    for key in ("input_ids", "audio_values", "vision_values"):
        with pytest.raises(ValueError, match="read-only"):
            dataset[0][key][0] = 0


def test_dataset_with_another_plan_shares_rows_and_cache(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    plan = CorruptionRecipe.from_name("drop-0.3")
    clean = SentimentDataset(talker_rows, talker_processor, **NAME)
    dropped = clean.with_corruption(plan)
    direct = SentimentDataset(talker_rows, talker_processor, **NAME, corruption=plan)
    assert all(same_sample(dropped[i], direct[i]) for i in range(len(direct)))
    assert len(clean._cache) == len(talker_rows)
    assert clean.corruption is None
    assert not np.array_equal(clean[0]["audio_values"], dropped[0]["audio_values"])


def test_pickled_dataset_starts_with_an_empty_cache(talker_rows: Rows, talker_processor: HfrAmeProcessor) -> None:
    dataset = mixed(talker_rows, talker_processor)
    samples = [dataset[0, i] for i in range(len(dataset))]
    copied = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own bytes
    assert len(copied._cache) == 0
    assert all(same_sample(sample, copied[0, i]) for i, sample in enumerate(samples))


def test_index_outside_the_rows_raises_and_negative_counts_from_the_end(
    talker_rows: Rows, talker_processor: HfrAmeProcessor
) -> None:
    dataset = SentimentDataset(talker_rows, talker_processor, **NAME)
    assert dataset[-1]["sample_ids"] == talker_rows[-1]["id"]
    assert dataset[np.int64(2)]["sample_ids"] == talker_rows[2]["id"]
    with pytest.raises(IndexError):
        dataset[len(talker_rows)]
    assert len(list(dataset)) == len(talker_rows)
