"""The order in which training rows are visited.

* A sampler yields `(epoch, index)` pairs, so that the epoch reaches the dataset with the index: workers, ranks and
  resume can't change a corruption draw.
* The order of an epoch is a pure function of (seed, epoch).
* Only whole global batches are yielded. Whatever the number of processes and of accumulation steps, step k of an epoch
  then sees the same rows, and no rank pads a short last batch with repeated rows.
"""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from modeling_hfr_ame.errors import ConfigError

# Seeds and epochs are packed into one 64-bit generator seed; the factor keeps (seed, epoch) pairs apart.
_EPOCHS_PER_SEED = 1_000_003


class EpochIndexSampler(Sampler[tuple[int, int]]):
    """Yields `(epoch, index)` in a permutation that depends on the seed and the epoch only.

    Args:
        num_rows: Rows in the training split, at least `global_batch_size`.
        seed: Seed of the order; at least 0.
        global_batch_size: Rows per optimiser step over all processes and accumulation steps. The rows of an epoch that
            don't fill a last batch are left out; they differ from epoch to epoch.

    Raises:
        ConfigError: If the split holds fewer rows than one global batch, or an argument is out of range.
    """

    def __init__(self, num_rows: int, seed: int, global_batch_size: int = 1) -> None:
        if global_batch_size < 1 or seed < 0:
            raise ConfigError(
                "a sampler needs global_batch_size >= 1 and seed >= 0, "
                f"but got global_batch_size={global_batch_size} and seed={seed}; correct the training arguments"
            )
        if num_rows < global_batch_size:
            raise ConfigError(
                f"an epoch needs at least one whole global batch, but the training split has {num_rows} rows and "
                f"global_batch_size is {global_batch_size}; lower --global_batch_size"
            )
        self.num_rows = num_rows
        self.seed = seed
        self.num_yielded = num_rows // global_batch_size * global_batch_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the next iteration.

        Args:
            epoch: Zero-based epoch.
        """
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        generator = torch.Generator().manual_seed(self.seed * _EPOCHS_PER_SEED + epoch)
        order = torch.randperm(self.num_rows, generator=generator)[: self.num_yielded]
        for index in order.tolist():
            yield epoch, index

    def __len__(self) -> int:
        return self.num_yielded
