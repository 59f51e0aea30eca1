"""What a model says about a batch → plain numbers: score, label, bin, severity and gates.

Design choices:

- The score is a regression output, clipped to the label range; label and bin are read off the score.
- Severity and gates are asked for only where the model gives them, so that one reading serves every model.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .configuration_sentiment import MODALITIES

# Half-open bins of CH-SIMS: a score on a border belongs to the bin below it.
_SIMS_BORDERS = np.array([-0.7, -0.1, 0.1, 0.7], dtype=np.float32)
_POLARITIES = ("negative", "neutral", "positive")


def sentiment_bin(score: float, scheme: str) -> int:
    """Bins a score as the published accuracy of the scheme does.

    Args:
        score: In the label range.
        scheme: `mosi`: the nearest whole number from −3 to 3 (seven bins, half to even). `sims`: five bins −2 … 2 with
            borders ±0.1 and ±0.7.

    Returns:
        The bin; 0 is neutral.
    """
    value = np.float32(score)
    if scheme == "sims":
        return int(np.searchsorted(_SIMS_BORDERS, np.clip(value, -1, 1))) - 2
    return int(np.round(np.clip(value, -3, 3)))


def polarity_label(bin_: int) -> str:
    """Names the sign of a bin: `negative`, `neutral` or `positive`."""
    return _POLARITIES[1 + (bin_ > 0) - (bin_ < 0)]


def run_batch(model: Any, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Runs a model in the way it is used for prediction.

    Args:
        model: Any model of the package.
        batch: A padded batch on the model's device, B rows.

    Returns:
        `score` (B,), not clipped, and `present` (B, 3); `severity` (B, 3) where the model has an estimate of its own;
        `gates` (B, M, K), the mean over channels for the M modalities of the model, where it has gates.
    """
    wanted = inspect.signature(model.forward).parameters
    output = model(**batch, **{name: True for name in ("output_severity", "output_gates") if name in wanted})
    result = {"score": output.logits.float().squeeze(-1), "present": batch["modality_mask"]}
    if getattr(output, "severity", None) is not None and getattr(model.config, "severity", "") != "none":
        result["severity"] = output.severity.float()
    if getattr(output, "gates", None) is not None:
        result["gates"] = output.gates.float().mean(-1)
    return result


def read_score(config: Any, outputs: Mapping[str, torch.Tensor], row: int = 0) -> dict[str, Any]:
    """Turns one row of `run_batch` into plain numbers.

    Args:
        config: Configuration of the model.
        outputs: From `run_batch`.
        row: The row.

    Returns:
        `score`, `label`, `bin`, `severity`, `gates` and `label_range` as the pipeline documents them.
    """
    low, high = (float(end) for end in config.label_range)
    score = min(max(float(outputs["score"][row]), low), high)
    bin_ = sentiment_bin(score, config.metric_scheme)
    present = dict(zip(MODALITIES, outputs["present"][row].tolist(), strict=True))
    severity = gates = None
    if "severity" in outputs:
        severity = dict(zip(MODALITIES, outputs["severity"][row].tolist(), strict=True))
    if "gates" in outputs:
        rows = zip(config.modality_names, outputs["gates"][row].tolist(), strict=True)
        gates = {name: bands for name, bands in rows if present[name]}
    return {
        "score": score,
        "label": polarity_label(bin_),
        "bin": bin_,
        "severity": severity,
        "gates": gates,
        "label_range": [low, high],
    }
