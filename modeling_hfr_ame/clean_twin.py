"""The clean twin of a corrupted sequence as a training target.

Text corruption may change the number of tokens, and a batch of corrupted rows may be padded to another length than
its twin; here the twin is put on the time grid of what was received.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class CleanTarget:
    """Clean twin of one modality, on its own time grid or, from `clean_target`, on that of the received sequence.

    Args:
        states: (B, L, D) encoder output of the clean input, no gradient. Where the model fills gaps, the twin's own
            (a picture without a face, silence) are filled as well.
        unfilled: (B, L, D) the same with its own gaps left as they are.
        raw: (B, L, width) the clean features themselves (text: the text encoder's states).
        mask: (B, L) bool steps that have a clean counterpart.
        known: (B, L) bool those of them whose clean counterpart isn't filled.
    """

    states: torch.Tensor
    unfilled: torch.Tensor
    raw: torch.Tensor
    mask: torch.Tensor
    known: torch.Tensor


@contextmanager
def dropout_off(module: nn.Module) -> Iterator[None]:
    """Runs a module in eval mode and puts every submodule's mode back afterwards."""
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for child, training in modes:
            child.training = training


@contextmanager
def as_target(module: nn.Module) -> Iterator[None]:
    """What a module gives in this context is a target: computed without gradient and without dropout."""
    try:
        with torch.no_grad(), dropout_off(module):
            yield
    finally:
        # Weights cast to half precision under no_grad must not be reused by a forward that needs their gradient.
        torch.clear_autocast_cache()


def fit_length(values: torch.Tensor, size: int) -> torch.Tensor:
    """Cuts or zero-pads (B, L, …) along time to `size` steps."""
    if values.shape[1] >= size:
        return values[:, :size]
    return torch.cat([values, values.new_zeros(values.shape[0], size - values.shape[1], *values.shape[2:])], dim=1)


def gather_steps(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Reads (B, L, d) at (B, n) steps."""
    return torch.gather(values, 1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def clean_target(twin: CleanTarget, received: torch.Tensor, index: torch.Tensor | None) -> CleanTarget:
    """Puts an encoded clean twin on the grid of the received sequence.

    Args:
        twin: On its own grid of Lc steps.
        received: (B, L) bool valid prefix of the received sequence.
        index: (B, L) step of the twin behind each received step, negative for none. None: same steps.

    Returns:
        The twin on L steps, zero at steps without a clean counterpart.
    """
    inside = twin.mask
    if index is not None:
        inside = (index >= 0) & (index < twin.mask.sum(-1, keepdim=True))
        index = index.clamp(0, twin.mask.shape[1] - 1)
    mask = fit_length(inside, received.shape[1]) & received

    def on_grid(values: torch.Tensor) -> torch.Tensor:
        moved = values if index is None else gather_steps(values, index)
        return fit_length(moved, received.shape[1]) * mask.unsqueeze(-1)

    return CleanTarget(
        states=on_grid(twin.states),
        unfilled=on_grid(twin.unfilled),
        raw=on_grid(twin.raw),
        mask=mask,
        known=on_grid(twin.known.unsqueeze(-1)).squeeze(-1),
    )
