"""The output object that every model of the package returns."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput


@dataclass
class SentimentOutput(ModelOutput):
    """Result of a sentiment model.

    Args:
        loss: Scalar training loss, complete with all auxiliary terms; in eval mode the task term alone. None without
            labels.
        logits: (B, 1) score in the label range of the config; not clipped.
        losses: Named terms of `loss` before weighting, scalars; only with `output_losses`.
        severity: (B, 3) predicted corruption of text, audio, vision in [0, 1]; 1 for an absent modality. Only with
            `output_severity`.
        restored: Per modality a dict with `bands` (K, B, L, D), `input_bands` (K, B, L, D) and `mask` (B, L); only
            with `output_restored`.
        gates: (B, M, K, D) band gates of AME for the M modalities of the config; only with `output_gates`.
        hidden_states: Input of the first fusion layer and the states after each, (B, S, F) each; only with
            `output_hidden_states`, and empty with `fusion="concat"`.
        attentions: Fusion attention weights, (B, H, S, S) each; only with `output_attentions` and eager attention.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    severity: torch.Tensor | None = None
    restored: dict[str, Any] | None = None
    gates: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
