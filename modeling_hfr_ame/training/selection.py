"""The validation set that selects a checkpoint: one copy of the split per drop rate, with fixed masks.

The masks depend on neither the training seed nor the epoch, so all runs on a dataset are selected on the same bytes.
All copies have the same size, so the MAE over their concatenation is the mean of their MAEs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset
from transformers import EvalPrediction

from modeling_hfr_ame.corruption import CorruptionRecipe
from modeling_hfr_ame.evaluation import compute_metrics_for_trainer

SELECTION_SEED = 0


def selection_dataset(clean: Any, drop_rates: Sequence[float]) -> ConcatDataset[dict[str, Any]]:
    """Puts one corrupted copy of a dataset per drop rate behind another.

    Args:
        clean: The validation split with the seed `SELECTION_SEED`; a `SentimentDataset`, or what stands for one.
        drop_rates: Rates in [0, 1], at least one.

    Returns:
        `len(drop_rates)` times the rows.
    """
    return ConcatDataset(
        [clean.with_corruption(CorruptionRecipe.from_name(f"drop-{float(rate)}")) for rate in drop_rates]
    )


def selection_metrics(scheme: str, drop_rates: Sequence[float]) -> Callable[[EvalPrediction], dict[str, float]]:
    """Makes the metric function of the selection set.

    Args:
        scheme: `mosi` or `sims`.
        drop_rates: The rates, in the order of `selection_dataset`.

    Returns:
        A function for `Trainer(compute_metrics=…)`: the scheme's metrics over all copies, and `mae_drop_<rate>` of
        each.
    """
    compute_all = compute_metrics_for_trainer(scheme)

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        metrics = dict(compute_all(prediction))
        errors = np.abs(np.ravel(prediction.predictions) - np.ravel(prediction.label_ids))
        for rate, share in zip(drop_rates, errors.reshape(len(drop_rates), -1), strict=True):
            metrics[f"mae_drop_{float(rate)}"] = float(share.mean())
        return metrics

    return compute


def selection_rule(metric: str, drop_rates: Sequence[float], domains: Mapping[str, Any] | None = None) -> str:
    """Says in words how a checkpoint was selected, for reports.

    Args:
        metric: The selecting metric, for instance `mae`.
        drop_rates: The rates.
        domains: What the manifest of a domain-generalisation setting says. None: an ordinary dataset.

    Returns:
        One sentence, which calls selection on the target cheating.
    """
    rates = ", ".join(f"{float(rate):g}" for rate in drop_rates)
    best = "lowest" if metric in ("mae", "loss") else "best"
    rule = f"{best} validation {metric.upper()} averaged over drop rates {rates} (fixed masks)"
    if domains is None:
        return rule
    if domains["selection"] == "oracle":
        return f"CHEATING: {rule} on labelled rows of the target (oracle)"
    return f"{rule} on rows of the sources only"
