"""The output object that every model of the package returns, and that of HFR-AME without its head."""

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
            `output_hidden_states`, and empty with `fusion="concat"`. A peer records the part that its own file names.
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


@dataclass
class HfrAmeModelOutput(ModelOutput):
    """Output of the model without the head.

    Args:
        pooler_output: (B, F) fused state that the head reads.
        severity: (B, 3).
        features: Per modality the encoded `ModalityFeatures` (see `frequency_restoration.py`).
        restored: Per modality the restored bands, (K, B, L, D).
        gates: (B, M, K, D).
        hidden_states: Input of the first fusion layer and the states after each, (B, S, F) each; on request.
        attentions: Fusion attention weights, (B, H, S, S) each; on request, with eager attention only.
    """

    # Any: a ModelOutput's fields need defaults, but the model always fills the first five.
    pooler_output: Any = None
    severity: Any = None
    features: Any = None
    restored: Any = None
    gates: Any = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
