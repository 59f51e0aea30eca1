"""The sampler alone and through Accelerate's wrappers, as Trainer drives them."""

from typing import Any

import pytest
from accelerate import skip_first_batches
from accelerate.data_loader import BatchSamplerShard, DataLoaderShard
from torch.utils.data import BatchSampler, Dataset
from transformers import TrainerControl, TrainerState

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.callbacks import SamplerEpoch
from modeling_hfr_ame.training.sampling import EpochIndexSampler


class Echo(Dataset[Any]):
    def __getitem__(self, key: Any) -> Any:
        return key

    def __len__(self) -> int:
        return 10


def as_is(items: list[Any]) -> list[Any]:
    return items


def loader_of_rank(sampler: EpochIndexSampler, batch_size: int, rank: int) -> DataLoaderShard:
    batches = BatchSampler(sampler, batch_size // 2, drop_last=False)
    return DataLoaderShard(Echo(), batch_sampler=BatchSamplerShard(batches, 2, rank), collate_fn=as_is)


def test_sampler_one_epoch_yields_each_row_once_with_its_epoch() -> None:
    sampler = EpochIndexSampler(10, seed=3)
    sampler.set_epoch(4)
    pairs = list(sampler)
    assert sorted(pairs) == [(4, index) for index in range(10)]
    assert len(sampler) == 10


def test_sampler_same_seed_and_epoch_repeats_and_others_differ() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochIndexSampler(50, seed)
        sampler.set_epoch(epoch)
        return [index for _, index in sampler]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_sampler_incomplete_batch_is_left_out() -> None:
    assert len(list(EpochIndexSampler(10, 0, global_batch_size=4))) == 8


def test_sampler_fewer_rows_than_a_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="training split has 10 rows and global_batch_size is 64"):
        EpochIndexSampler(10, 0, global_batch_size=64)


def test_sampler_bad_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="global_batch_size=0 and seed=1"):
        EpochIndexSampler(10, 1, global_batch_size=0)


def test_two_ranks_together_see_the_batches_of_one() -> None:
    alone = EpochIndexSampler(10, 7, global_batch_size=4)
    alone.set_epoch(2)
    whole = list(BatchSampler(alone, 4, drop_last=False))
    parts = []
    for rank in (0, 1):
        loader = loader_of_rank(EpochIndexSampler(10, 7, global_batch_size=4), 4, rank)
        loader.set_epoch(2)
        parts.append(list(loader))
    assert [first + second for first, second in zip(*parts, strict=True)] == whole


def test_epoch_reaches_the_sampler_when_a_sharded_run_resumes_inside_an_epoch() -> None:
    sampler = EpochIndexSampler(10, 7, global_batch_size=4)
    state = TrainerState(epoch=2.5, global_step=5)
    SamplerEpoch(sampler).on_epoch_begin(None, state, TrainerControl())  # type: ignore[arg-type]
    resumed = skip_first_batches(loader_of_rank(sampler, 4, rank=1), 1)
    resumed.set_epoch(2)
    whole = EpochIndexSampler(10, 7, global_batch_size=4)
    whole.set_epoch(2)
    assert list(resumed) == [list(whole)[6:8]]
