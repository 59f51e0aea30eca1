"""Scale and shift of the scores, fitted on the validation set after training.

A network that minimises the error on its training rows is off by some tenths of a label on average, by another amount
with each seed. Two numbers take that out without touching the order of the predictions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from scipy.sparse import block_array, csr_array, eye_array
from torch import nn

from modeling_hfr_ame.errors import ConfigError


@dataclass(frozen=True)
class OutputCalibration:
    """Calibrated score = `scale` × score + `shift`.

    Attributes:
        scale: Positive factor.
        shift: Label units.
        mae_before: Mean absolute error of the scores that it was fitted on, in label units.
        mae_after: The same of the calibrated scores; never larger.
    """

    scale: float
    shift: float
    mae_before: float
    mae_after: float


def fit_calibration(predictions: ArrayLike, labels: ArrayLike) -> OutputCalibration:
    """Finds the scale and shift with the smallest mean absolute error, exactly, by linear programming.

    Args:
        predictions: (n,) or (n, 1) scores, at least two different ones.
        labels: (n,) labels.

    Returns:
        The calibration; scale 1 and shift 0 if the best scale isn't positive, as a constant score would then be best.
    """
    scores = np.ravel(np.asarray(predictions, dtype=np.float64))
    wanted = np.ravel(np.asarray(labels, dtype=np.float64))
    count = len(scores)
    before = float(np.abs(scores - wanted).mean())
    # minimise Σ e_i over (scale, shift, e) with −e ≤ scale · score + shift − label ≤ e
    line, errors = csr_array(np.column_stack([scores, np.ones(count)])), eye_array(count)
    solution = linprog(
        c=np.concatenate([[0.0, 0.0], np.ones(count)]),
        A_ub=block_array([[line, -errors], [-line, -errors]], format="csr"),
        b_ub=np.concatenate([wanted, -wanted]),
        bounds=[(None, None), (None, None), *[(0, None)] * count],
        method="highs",
    )
    scale, shift = (float(value) for value in solution.x[:2]) if solution.success else (1.0, 0.0)
    after = float(np.abs(scale * scores + shift - wanted).mean())
    if scale <= 0 or after > before:
        return OutputCalibration(1.0, 0.0, before, before)
    return OutputCalibration(scale, shift, before, after)


def output_layer(model: Any) -> nn.Linear:
    """Finds the linear layer whose output is the score.

    Args:
        model: A model of this package.

    Returns:
        The layer, (width → 1).

    Raises:
        ConfigError: If its regression head doesn't end in such a layer.
    """
    head = getattr(model, "head", None)
    last = head[-1] if isinstance(head, nn.Sequential) else getattr(head, "output", head)
    if not isinstance(last, nn.Linear) or last.out_features != 1 or last.bias is None:
        raise ConfigError(
            f"calibrate_output needs a head that ends in one linear output, but {type(model).__name__} has none; "
            "leave it out"
        )
    return last


@torch.no_grad()
def fold_into_head(model: Any, calibration: OutputCalibration) -> None:
    """Changes the model's last layer so that it gives calibrated scores.

    Args:
        model: A model of this package.
        calibration: From `fit_calibration`.

    Raises:
        ConfigError: As for `output_layer`.
    """
    layer = output_layer(model)
    layer.weight.mul_(calibration.scale)
    layer.bias.mul_(calibration.scale).add_(calibration.shift)
