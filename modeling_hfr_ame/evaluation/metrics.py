"""The metrics of multimodal sentiment regression, in the definitions that the field's tables use.

Choices that decide numbers:

- Everything is compared in float32, because published code does so and labels such as 0.7 lie on bin borders.
- Rounding to classes is half to even, and labels are rounded as well as predictions.
- F1 weighs the classes by their share among the labels.
- A value that is not defined is `nan`; the others are still reported.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling_hfr_ame.errors import ConfigError, DataError

F1Order = Literal["label_shares", "published_lnln"]

MOSI_METRICS = ("mae", "corr", "acc2_has0", "f1_has0", "acc2_non0", "f1_non0", "acc5", "acc7")
SIMS_METRICS = ("mae", "corr", "acc2", "f1", "acc3", "acc5")
METRICS_OF_SCHEME: Mapping[str, tuple[str, ...]] = MappingProxyType({"mosi": MOSI_METRICS, "sims": SIMS_METRICS})
LABEL_RANGE_OF_SCHEME: Mapping[str, tuple[float, float]] = MappingProxyType({"mosi": (-3.0, 3.0), "sims": (-1.0, 1.0)})

_SIMS_ACC3_BORDERS = np.array([-0.1, 0.1], dtype=np.float32)
_SIMS_ACC5_BORDERS = np.array([-0.7, -0.1, 0.1, 0.7], dtype=np.float32)


def sentiment_metrics(
    predictions: ArrayLike, labels: ArrayLike, scheme: str = "mosi", *, f1_order: F1Order = "label_shares"
) -> dict[str, float]:
    """Scores predicted sentiment against labels.

    Args:
        predictions: Predicted scores, (N,) or (N, 1), finite, in the range of the labels but not clipped to it.
        labels: True scores, (N,) or (N, 1), finite.
        scheme: `"mosi"` for labels in [-3, 3] (MOSI, MOSEI) or `"sims"` for labels in [-1, 1] (CH-SIMS).
        f1_order: `"label_shares"` weighs the classes of F1 by their share among the labels. `"published_lnln"` weighs
            them by their share among the predictions, as the tables of the LNLN paper do because the two arguments were
            swapped; it exists to explain old numbers.

    Returns:
        Unrounded values named by `METRICS_OF_SCHEME[scheme]`; accuracies and F1 in [0, 1]. `corr` is `nan` where one
        side is constant; `acc2_non0` and `f1_non0` are `nan` where every label is zero.

    Raises:
        ConfigError: If the scheme or the F1 order is unknown.
        DataError: If the two differ in length, are empty, have another shape, or hold values that are not finite.

    Source:
        The definitions of thuiar/MMSA (commit a94e65d), compared on 200 stored cases.

    Deviations:
        MMSA rounds to four decimals and stops with an exception where every label is zero.
    """
    require_scheme(scheme)
    if f1_order not in ("label_shares", "published_lnln"):
        raise ConfigError(f"f1_order must be 'label_shares' or 'published_lnln', found {f1_order!r}")
    predicted, true = _checked_pair(predictions, labels)
    metrics = _mosi_metrics if scheme == "mosi" else _sims_metrics
    return metrics(predicted, true, f1_order)


def require_scheme(scheme: str) -> None:
    """Refuses a label scheme that has no metrics.

    Raises:
        ConfigError: If the scheme is unknown.
    """
    if scheme not in METRICS_OF_SCHEME:
        raise ConfigError(f"the label scheme must be one of {sorted(METRICS_OF_SCHEME)}, found {scheme!r}")


def scheme_of_label_range(label_range: Iterable[float]) -> str:
    """Names the metrics that belong to a label range.

    Args:
        label_range: Lowest and highest label, as a model's configuration or a manifest states it.

    Raises:
        ConfigError: If no scheme is defined for the range.
    """
    wanted = [float(value) for value in label_range]
    for scheme, known in LABEL_RANGE_OF_SCHEME.items():
        if wanted == list(known):
            return scheme
    ranges = ", ".join(str(list(known)) for known in LABEL_RANGE_OF_SCHEME.values())
    raise ConfigError(
        f"metrics are defined for the label ranges {ranges}, found {wanted}; "
        "rescale the labels when the dataset is prepared"
    )


def compute_metrics_for_trainer(scheme: str = "mosi") -> Callable[[Any], dict[str, float]]:
    """Makes the function that `transformers.Trainer(compute_metrics=…)` takes.

    Args:
        scheme: As in `sentiment_metrics`.

    Returns:
        A picklable function from `EvalPrediction` to metrics. Where the model returned several outputs, the first one,
        the logits (N, 1), is scored.

    Raises:
        ConfigError: If the scheme is unknown.
    """
    require_scheme(scheme)
    return partial(_score_eval_prediction, scheme=scheme)


def _score_eval_prediction(eval_prediction: Any, scheme: str) -> dict[str, float]:
    predictions, labels = eval_prediction.predictions, eval_prediction.label_ids
    if isinstance(predictions, tuple | list):
        predictions = predictions[0]
    if isinstance(labels, tuple | list):
        labels = labels[0]
    return sentiment_metrics(predictions, labels, scheme)


def _checked_pair(predictions: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    predicted, true = _float32_column(predictions, "predictions"), _float32_column(labels, "labels")
    if len(predicted) != len(true):
        raise DataError(
            f"predictions and labels must have the same length, found {len(predicted)} and {len(true)}; "
            "score the rows that were predicted, in the same order"
        )
    return predicted, true


def _float32_column(values: ArrayLike, what: str) -> NDArray[np.float32]:
    array = np.asarray(values)
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise DataError(f"{what} must have the shape (N,) or (N, 1), found {array.shape}; pass one score per row")
    if array.size == 0:
        raise DataError(f"{what} must hold at least one value, found none; check the split and the selection of rows")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf and is reported below
        column = array.reshape(-1).astype(np.float32)
    num_bad = int(np.count_nonzero(~np.isfinite(column)))
    if num_bad:
        raise DataError(
            f"{what} must be finite, found {num_bad} of {column.size} NaN or infinite; "
            "check the learning rate if a model predicted them, the dataset if they are labels"
        )
    return column


def _mosi_metrics(predicted: NDArray[np.float32], true: NDArray[np.float32], f1_order: F1Order) -> dict[str, float]:
    acc2_has0, f1_has0 = _binary_scores(predicted >= 0, true >= 0, f1_order)
    rated = true != 0
    acc2_non0, f1_non0 = _binary_scores(predicted[rated] > 0, true[rated] > 0, f1_order)
    return {
        "mae": _mean_absolute_error(predicted, true),
        "corr": _pearson_correlation(predicted, true),
        "acc2_has0": acc2_has0,
        "f1_has0": f1_has0,
        "acc2_non0": acc2_non0,
        "f1_non0": f1_non0,
        "acc5": _rounded_accuracy(predicted, true, 2),
        "acc7": _rounded_accuracy(predicted, true, 3),
    }


def _sims_metrics(predicted: NDArray[np.float32], true: NDArray[np.float32], f1_order: F1Order) -> dict[str, float]:
    predicted, true = np.clip(predicted, -1, 1), np.clip(true, -1, 1)
    acc2, f1 = _binary_scores(predicted > 0, true > 0, f1_order)
    return {
        "mae": _mean_absolute_error(predicted, true),
        "corr": _pearson_correlation(predicted, true),
        "acc2": acc2,
        "f1": f1,
        "acc3": _binned_accuracy(predicted, true, _SIMS_ACC3_BORDERS),
        "acc5": _binned_accuracy(predicted, true, _SIMS_ACC5_BORDERS),
    }


def _mean_absolute_error(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    return float(np.mean(np.abs(predicted.astype(np.float64) - true.astype(np.float64))))


def _pearson_correlation(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    # Tested on the values: a constant's computed variance may be rounding noise, and noise correlates with anything.
    if predicted.min() == predicted.max() or true.min() == true.max():
        return float("nan")
    a, b = predicted.astype(np.float64), true.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    # Scaled before the products, so that float32's smallest and largest values neither vanish nor overflow.
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def _rounded_accuracy(predicted: NDArray[np.float32], true: NDArray[np.float32], limit: int) -> float:
    return float(np.mean(np.round(np.clip(predicted, -limit, limit)) == np.round(np.clip(true, -limit, limit))))


def _binned_accuracy(predicted: NDArray[np.float32], true: NDArray[np.float32], borders: NDArray[np.float32]) -> float:
    # side="left": a value on a border belongs to the bin below it.
    return float(np.mean(np.searchsorted(borders, predicted) == np.searchsorted(borders, true)))


def _binary_scores(predicted: NDArray[np.bool_], true: NDArray[np.bool_], f1_order: F1Order) -> tuple[float, float]:
    """Accuracy and F1 averaged over both classes by class share; `nan` without rows."""
    if true.size == 0:
        return float("nan"), float("nan")
    # F1 of one class is symmetric in its two arguments, so only the weights depend on the order.
    weighing = true if f1_order == "label_shares" else predicted
    weighted_sum = 0.0
    for in_class in (False, True):
        weight = np.count_nonzero(weighing == in_class)
        if weight:
            hits = np.count_nonzero((predicted == in_class) & (true == in_class))
            members = np.count_nonzero(predicted == in_class) + np.count_nonzero(true == in_class)
            weighted_sum += weight * (2 * hits / members)
    return float(np.mean(predicted == true)), weighted_sum / true.size
