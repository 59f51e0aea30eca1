"""States of a frozen text encoder, computed once instead of in every epoch."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset

from modeling_hfr_ame.clean_twin import dropout_off
from modeling_hfr_ame.data.sentiment_dataset import DatasetPlan, SentimentDataset

TokenRow = NDArray[np.int64]
States = NDArray[Any]

_STATES_FILE = "states.npy"
_LENGTHS_FILE = "lengths.npy"
_BATCH_SIZE = 64


def encoder_fingerprint(text_model: nn.Module) -> str:
    """Hashes an encoder's configuration and weights.

    Args:
        text_model: The text encoder.

    Returns:
        A sha256, the same wherever the encoder was loaded from.
    """
    config: Any = text_model.config
    settings = {name: value for name, value in config.to_dict().items() if not name.startswith("_name")}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(text_model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def encode_token_rows(text_model: Any, rows: Sequence[TokenRow]) -> list[NDArray[np.float32]]:
    """Runs a text encoder without dropout.

    Args:
        text_model: The text encoder, on any device.
        rows: Token ids (n_i,) each.

    Returns:
        States (n_i, H), in the order of the rows.
    """
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rows)
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    with dropout_off(text_model):
        for start in range(0, len(order), _BATCH_SIZE):
            chosen = order[start : start + _BATCH_SIZE]
            lengths = torch.tensor([len(rows[index]) for index in chosen])
            ids = nn.utils.rnn.pad_sequence([torch.from_numpy(rows[index]) for index in chosen], batch_first=True)
            mask = (torch.arange(ids.shape[1]) < lengths.unsqueeze(-1)).long()
            device = text_model.device
            states = text_model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
            for index, row in zip(chosen, states.float().cpu().numpy(), strict=True):
                found[index] = row[: len(rows[index])].copy()
    return found


def cached_states(folder: Path, text_model: Any, rows: Sequence[TokenRow]) -> list[States]:
    """Reads states of a frozen encoder from disk, or computes and stores them first.

    Args:
        folder: Folder of caches; each set of rows and encoder has a folder of its own in it, which appears in one step.
        text_model: The frozen text encoder.
        rows: Token ids (n_i,) each.

    Returns:
        States (n_i, H) in half precision, in the order of the rows, as views of one memory-mapped file.
    """
    digest = hashlib.sha256(encoder_fingerprint(text_model).encode())
    for row in rows:
        digest.update(np.int64(len(row)).tobytes() + row.tobytes())
    place = folder / digest.hexdigest()[:32]
    if not (place / _LENGTHS_FILE).is_file():
        _store(place, encode_token_rows(text_model, rows), int(text_model.config.hidden_size))
    lengths = np.load(place / _LENGTHS_FILE)
    whole = np.load(place / _STATES_FILE, mmap_mode="r")
    ends = np.cumsum(lengths)
    return [whole[end - length : end] for length, end in zip(lengths, ends, strict=True)]


def _store(place: Path, states: Sequence[States], width: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=place.parent))
    try:
        whole = np.concatenate(states) if states else np.empty((0, width))
        np.save(partial / _STATES_FILE, whole.astype(np.float16))
        np.save(partial / _LENGTHS_FILE, np.array([len(row) for row in states], dtype=np.int64))
        try:
            os.replace(partial, place)
        except OSError:
            if not (place / _LENGTHS_FILE).is_file():
                raise
            # Another process stored the same states first.
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class CachedTextRows(Dataset[dict[str, Any]]):
    """Samples whose token ids are replaced by the states that a frozen text encoder makes of them.

    Args:
        rows: Samples that are the same in every epoch.
        states: States by the bytes of the token ids.
    """

    def __init__(self, rows: Any, states: dict[bytes, States]) -> None:
        self.rows = rows
        self.states = states

    @classmethod
    def encode(
        cls, text_model: Any, datasets: Sequence[SentimentDataset], folder: Path | None = None
    ) -> "list[CachedTextRows]":
        """Encodes all texts of some datasets once.

        Args:
            text_model: The frozen text encoder.
            datasets: What is trained and selected on, without corruption.
            folder: Where states are kept for other runs, in half precision (`cached_states`). None: in memory alone.
        """
        states: dict[bytes, States] = {}
        for rows in datasets:
            samples = map(rows.__getitem__, range(len(rows)))
            ids = [np.array(sample["input_ids"]) for sample in samples if "input_ids" in sample]
            distinct = {row.tobytes(): row for row in ids}
            if folder is None:
                distinct = {key: row for key, row in distinct.items() if key not in states}
                encoded: Sequence[States] = encode_token_rows(text_model, list(distinct.values()))
            else:
                encoded = cached_states(folder, text_model, list(distinct.values()))
            states |= dict(zip(distinct, encoded, strict=True))
        return [cls(rows, states) for rows in datasets]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        sample = dict(self.rows[index])
        ids = sample.pop("input_ids", None)
        return sample if ids is None else sample | {"text_states": self.states[ids.tobytes()]}

    def with_corruption(self, corruption: DatasetPlan | None) -> "CachedTextRows":
        """Gives the same rows under another plan, which must leave every text as it is."""
        return CachedTextRows(self.rows.with_corruption(corruption), self.states)

    @property
    def padded_lengths(self) -> tuple[int, int, int] | None:
        """As in `SentimentDataset`."""
        lengths: tuple[int, int, int] | None = self.rows.padded_lengths
        return lengths
