import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from modeling_hfr_ame.corruption import TrainingMix
from modeling_hfr_ame.data import SentimentCollator, SentimentDataset, training_vocabulary
from modeling_hfr_ame.errors import InputError
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor

Batch = dict[str, Any]


class EpochPairs:
    """Yields (epoch, index) in a fixed shuffled order, as a training sampler does."""

    def __init__(self, epoch: int, size: int) -> None:
        order = torch.randperm(size, generator=torch.Generator().manual_seed(0)).tolist()
        self.pairs = [(epoch, index) for index in order]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


@pytest.fixture(scope="module")
def dataset(talker_rows: list[dict[str, Any]], talker_processor: HfrAmeProcessor) -> SentimentDataset:
    return SentimentDataset(
        talker_rows,
        talker_processor,
        dataset_name="synthetic_talkers",
        split="train",
        corruption=TrainingMix("mix"),
        vocabulary=training_vocabulary(talker_rows),
        with_clean=True,
    )


def load(dataset: SentimentDataset, epoch: int, *, workers: int = 0, batch_size: int = 5) -> list[Batch]:
    collator = SentimentCollator(dataset.processor)
    generator = torch.Generator().manual_seed(workers)
    sampler = EpochPairs(epoch, len(dataset))
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        collate_fn=collator,
        num_workers=workers,
        generator=generator,
    )
    return [dict(batch) for batch in loader]


def same_batches(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        a.keys() == b.keys()
        and all(torch.equal(a[key], b[key]) if torch.is_tensor(a[key]) else a[key] == b[key] for key in a)
        for a, b in zip(first, second, strict=True)
    )


def test_batch_holds_the_whole_contract(dataset: SentimentDataset) -> None:
    batch = SentimentCollator(dataset.processor)([dataset[0, i] for i in range(6)])
    received = {"input_ids", "attention_mask", "audio_values", "audio_mask", "vision_values", "vision_mask"}
    others = {"token_type_ids", "modality_mask", "clean_text_index", "severity", "labels", "sample_ids"}
    assert set(batch) == received | {f"clean_{name}" for name in received} | others
    assert batch["labels"].dtype == torch.float32
    assert batch["severity"].shape == (6, 3)
    assert batch["sample_ids"] == [dataset[i]["sample_ids"] for i in range(6)]
    assert batch["clean_text_index"].shape == batch["input_ids"].shape
    assert batch["clean_audio_values"].shape == batch["audio_values"].shape


def test_loader_with_two_workers_gives_the_bytes_of_none(dataset: SentimentDataset) -> None:
    alone = load(dataset, 3)
    assert len(alone) == 5
    assert same_batches(alone, load(dataset, 3, workers=2))


def test_loader_in_another_epoch_gives_other_corruptions_of_the_same_rows(dataset: SentimentDataset) -> None:
    first, second = load(dataset, 0), load(dataset, 1)
    assert [batch["sample_ids"] for batch in first] == [batch["sample_ids"] for batch in second]
    assert not any(torch.equal(a["severity"], b["severity"]) for a, b in zip(first, second, strict=True))
    assert same_batches(first, load(dataset, 0))


def test_lnln_corruption_is_drawn_anew_each_epoch_whatever_the_workers(dataset: SentimentDataset) -> None:
    drawn = dataset.with_corruption(TrainingMix("lnln"))
    epochs = [load(drawn, epoch) for epoch in range(3)]
    for epoch, batches in enumerate(epochs):
        assert same_batches(batches, load(drawn, epoch, workers=2))
    severities = [torch.cat([batch["severity"] for batch in batches]) for batches in epochs]
    changed = (severities[0] != severities[1]) | (severities[1] != severities[2])
    # A rate is zero for half of the rows, so now and then it stays so.
    assert changed.float().mean() > 0.7
    for batches in epochs[1:]:
        for batch, first in zip(batches, epochs[0], strict=True):
            assert torch.equal(batch["clean_input_ids"], first["clean_input_ids"])


def test_batch_mates_change_nothing_but_the_padding(dataset: SentimentDataset) -> None:
    alone = {batch["sample_ids"][0]: batch for batch in load(dataset, 0, batch_size=1)}
    for batch in load(dataset, 0, batch_size=8):
        for row, sample_id in enumerate(batch["sample_ids"]):
            single = alone[sample_id]
            for name in ("audio", "vision"):
                kept = single[f"{name}_values"][0][single[f"{name}_mask"][0]]
                assert torch.equal(batch[f"{name}_values"][row][batch[f"{name}_mask"][row]], kept)
            tokens = single["input_ids"][0][single["attention_mask"][0].bool()]
            assert torch.equal(batch["input_ids"][row][batch["attention_mask"][row].bool()], tokens)
            assert torch.equal(batch["severity"][row], single["severity"][0])


def test_collating_read_only_samples_makes_tensors_of_their_own(dataset: SentimentDataset) -> None:
    clean = dataset.with_corruption(None)
    batch = SentimentCollator(dataset.processor)([clean[0]])
    before = clean[0]["audio_values"].copy()
    batch["audio_values"].zero_()
    assert (clean[0]["audio_values"] == before).all()


def test_collator_survives_pickling(dataset: SentimentDataset) -> None:
    collator = SentimentCollator(dataset.processor)
    copied = pickle.loads(pickle.dumps(collator))  # noqa: S301 - our own bytes
    samples = [dataset[0, i] for i in range(3)]
    assert same_batches([dict(collator(samples))], [dict(copied(samples))])


def test_collating_nothing_is_refused(dataset: SentimentDataset) -> None:
    with pytest.raises(InputError, match="at least one sample"):
        SentimentCollator(dataset.processor)([])
