"""Rows that come with companions out of the training split, for models that compare them.

Which rows are candidates follows from how similar the model finds them. They are ranked before the first epoch and
again before every second one; a checkpoint carries the lists, so that a resumed run draws the same companions.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from modeling_hfr_ame.data.companions import NO_ROW, list_companions
from modeling_hfr_ame.data.sentiment_dataset import SentimentDataset

LISTS_FILE = "companions.npz"
_EPOCHS_BETWEEN = 2
_RANKING_BATCH = 64


class CompanionDataset(Dataset[dict[str, Any]]):
    """Rows with their companions under the key `companions`, a list of samples.

    Args:
        rows: The training rows; companions are drawn from them and corrupted as they are.
        counts: Companions per row: of its class and similar; of other classes and dissimilar; of other classes and
            similar.
        seed: Seed of the draws, which depend on seed, epoch and row alone.
    """

    def __init__(self, rows: SentimentDataset, counts: tuple[int, int, int], seed: int) -> None:
        self.rows = rows
        self.counts = counts
        self.seed = seed
        self.lists: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, epoch: int, row: int) -> list[int]:
        """Draws the companions of a row, in the order of `counts`.

        A list that is too short is filled with any rows; a model that compares labels leaves those out that don't fit.
        """
        generator = np.random.default_rng((self.seed, epoch, row))
        drawn: list[int] = []
        for candidates, count in zip(self.lists, self.counts, strict=True):
            known = candidates[row][candidates[row] != NO_ROW]
            chosen = generator.permutation(known)[:count]
            filling = generator.integers(0, len(self), count - len(chosen))
            # Published lists count dissimilar rows from the end.
            drawn += [int(index) % len(self) for index in (*chosen, *filling)]
        return drawn

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        epoch, row = index
        companions = [self.rows[epoch, other] for other in self.draw(epoch, row)]
        return self.rows[epoch, row] | {"companions": companions}


class CompanionCollator:
    """Collates rows, and their companions to a batch of their own.

    Args:
        collator: Turns a list of samples into a batch.
    """

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Makes one batch; rows without companions, as in evaluation, are collated as usual."""
        plain = [{key: value for key, value in sample.items() if key != "companions"} for sample in samples]
        batch = dict(self.collator(plain))
        companions = [other for sample in samples for other in sample.get("companions", ())]
        if companions:
            further = self.collator(companions)
            batch["companions"] = {key: value for key, value in further.items() if key != "sample_ids"}
        return batch


class CompanionRanking(TrainerCallback):
    """Ranks the training rows for a `CompanionDataset`.

    Args:
        dataset: Gets the lists.
        collator: Turns samples into a batch.
        as_published: As in `data.companions.list_companions`.
    """

    def __init__(self, dataset: CompanionDataset, collator: Any, *, as_published: bool) -> None:
        self.dataset, self.collator, self.as_published = dataset, collator, as_published
        self._ranked_for: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Reads the lists of the checkpoint that a run resumes from."""
        file = _lists_file(args, state)
        if state.global_step and file.is_file():
            with np.load(file) as stored:
                self.dataset.lists = [stored[f"list_{number}"] for number in range(len(self.dataset.counts))]
                self._ranked_for = int(stored["epoch"])

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ranks the rows, unless the lists are still good."""
        epoch = int(state.epoch or 0)
        is_due = epoch % _EPOCHS_BETWEEN == 1 and self._ranked_for != epoch
        if is_due or not self.dataset.lists:
            self._rank(kwargs["model"])
            self._ranked_for = epoch

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Adds the lists to the checkpoint."""
        file = _lists_file(args, state)
        if state.is_world_process_zero and file.parent.is_dir():
            arrays: dict[str, Any] = {f"list_{number}": rows for number, rows in enumerate(self.dataset.lists)}
            np.savez(file, epoch=np.int64(-1 if self._ranked_for is None else self._ranked_for), **arrays)

    def _rank(self, model: nn.Module) -> None:
        find_innermost = getattr(model, "get_base_model", None)
        model = model if find_innermost is None else find_innermost()
        rows = self.dataset.rows.with_corruption(None)
        was_training = model.training
        model.eval()
        features = [_features(model, self.collator, rows, start) for start in range(0, len(rows), _RANKING_BATCH)]
        model.train(was_training)
        labels = torch.as_tensor(rows.labels, dtype=torch.float32)
        classes = model.label_classes(labels).double().numpy()  # type: ignore[operator]
        lists = list_companions(np.concatenate(features), classes, as_published=self.as_published)
        self.dataset.lists = [lists.similar_same, lists.dissimilar_different, lists.similar_different]


def _lists_file(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / LISTS_FILE


@torch.no_grad()
def _features(model: Any, collator: Any, rows: SentimentDataset, start: int) -> NDArray[np.float32]:
    batch = collator([rows[index] for index in range(start, min(start + _RANKING_BATCH, len(rows)))])
    tensors = {key: value.to(model.device) for key, value in batch.items() if isinstance(value, torch.Tensor)}
    states = model.encode(model.reader.read(tensors), tensors.get("token_type_ids"))
    return states.features().float().cpu().numpy()


def companion_counts(config: Any) -> tuple[int, int, int]:
    """Companions per row of a model's configuration, in the order in which they come."""
    return config.num_positives, config.num_dissimilar_negatives, config.num_similar_negatives
