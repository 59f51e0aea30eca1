"""Rows with a hint beside them, for models that read one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from modeling_hfr_ame.data.sentiment_dataset import DatasetPlan
from modeling_hfr_ame.feature_scaling import stack_padded

# Token ids (n,) of a hint, or the states (n, H) that a frozen encoder made of them.
Prompt = NDArray[Any]
_KEY = "prompt"


class PromptedRows(Dataset[dict[str, Any]]):
    """Samples with a hint under the key `prompt`, for `PromptCollator`.

    Args:
        rows: The samples; a `SentimentDataset`, or what stands for one.
        prompts: Sample id → hint; a sample that isn't among them has none.
    """

    def __init__(self, rows: Any, prompts: Mapping[str, Prompt]) -> None:
        self.rows = rows
        self.prompts = prompts

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        sample = self.rows[index]
        return sample | {_KEY: self.prompts.get(sample["sample_ids"])}

    def with_corruption(self, corruption: DatasetPlan | None) -> "PromptedRows":
        """Gives the same rows and hints under another plan; hints are never corrupted."""
        return PromptedRows(self.rows.with_corruption(corruption), self.prompts)

    @property
    def padded_lengths(self) -> tuple[int, int, int] | None:
        """As in `SentimentDataset`."""
        lengths: tuple[int, int, int] | None = self.rows.padded_lengths
        return lengths


class PromptCollator:
    """Collates rows as usual and adds their hints to the batch.

    Args:
        collator: Turns samples without hints into a batch.
        pad_token_id: Fills the end of token ids.
    """

    def __init__(self, collator: Any, pad_token_id: int) -> None:
        self.collator = collator
        self.pad_token_id = pad_token_id

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Makes one batch.

        Args:
            samples: B samples.

        Returns:
            The batch contract; without the keys of prompts where no row has one.
        """
        plain = [{name: value for name, value in sample.items() if name != _KEY} for sample in samples]
        batch = dict(self.collator(plain))
        prompts: list[Prompt | None] = [sample.get(_KEY) for sample in samples]
        found = [prompt for prompt in prompts if prompt is not None]
        if found:
            is_ids = found[0].ndim == 1
            values, mask = stack_padded(prompts, max(map(len, found)), self.pad_token_id if is_ids else 0)
            name = "prompt_input_ids" if is_ids else "prompt_states"
            batch[name] = torch.from_numpy(values if is_ids else values.astype(np.float32))
            batch["prompt_attention_mask"] = torch.from_numpy(mask.astype(np.int64))
        return batch


def tokenize_prompts(texts: Mapping[str, str | None], tokenizer: Any, max_length: int) -> dict[str, NDArray[np.int64]]:
    """Turns hints into token ids.

    Args:
        texts: Sample id → hint, None or blank for none.
        tokenizer: The model's tokenizer.
        max_length: Longest hint in tokens, special ones included; the rest is cut off.

    Returns:
        Sample id → (n,) ids; samples without a hint are left out.
    """
    return {
        sample_id: np.asarray(tokenizer(text, truncation=True, max_length=max_length)["input_ids"], dtype=np.int64)
        for sample_id, text in texts.items()
        if text and text.strip()
    }
