"""Numbers over seeds: their spread, the difference of two models on the same seeds, and the floor of a constant."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.evaluation.metrics import sentiment_metrics


@dataclass(frozen=True)
class SeedSummary:
    """One metric over seeds.

    Attributes:
        mean: Mean over seeds; `nan` as soon as one value is.
        sd: Sample standard deviation (n − 1 in the denominator); `nan` for a single seed.
        values: The values, one per seed.
    """

    mean: float
    sd: float
    values: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields under their names."""
        return asdict(self)


@dataclass(frozen=True)
class PairedComparison:
    """Difference of two models that were trained with the same seeds.

    Attributes:
        mean_difference: Mean of a − b.
        sd: Sample standard deviation of the differences; `nan` for one pair.
        low: Lower end of the 95 % t-interval of the mean difference; `nan` for one pair.
        high: Upper end.
        excludes_zero: Whether the interval lies on one side of zero; False where there is no interval.
        n: Number of pairs.
    """

    mean_difference: float
    sd: float
    low: float
    high: float
    excludes_zero: bool
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields under their names."""
        return asdict(self)


def summarize_seeds(values: Sequence[float]) -> SeedSummary:
    """Summarises one metric over seeds.

    Args:
        values: One value per seed.

    Raises:
        DataError: If there is no value.
    """
    if not len(values):
        raise DataError("a summary over seeds needs at least one value, found none; evaluate a run first")
    array = np.asarray(values, dtype=np.float64)
    sd = float(array.std(ddof=1)) if array.size > 1 else math.nan
    return SeedSummary(float(array.mean()), sd, tuple(float(value) for value in array))


def paired_comparison(a_values: Sequence[float], b_values: Sequence[float]) -> PairedComparison:
    """Compares two models seed by seed.

    The interval describes the spread over training seeds on one fixed test set, not the choice of that set.

    Args:
        a_values: One value per seed of the first model.
        b_values: Values of the second model for the same seeds in the same order.

    Returns:
        The difference a − b with its 95 % t-interval (n − 1 degrees of freedom).

    Raises:
        DataError: If the two differ in length or are empty.
    """
    if len(a_values) != len(b_values) or not len(a_values):
        raise DataError(
            f"paired models need the same seeds, found {len(a_values)} and {len(b_values)} values; "
            "train the missing seeds or leave the others out"
        )
    differences = np.asarray(a_values, dtype=np.float64) - np.asarray(b_values, dtype=np.float64)
    n, mean = differences.size, float(differences.mean())
    if n == 1:
        return PairedComparison(mean, math.nan, math.nan, math.nan, excludes_zero=False, n=1)
    sd = float(differences.std(ddof=1))
    half_width = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    low, high = mean - half_width, mean + half_width
    return PairedComparison(mean, sd, low, high, excludes_zero=low > 0 or high < 0, n=n)


def constant_baseline(train_labels: ArrayLike, labels: ArrayLike, scheme: str = "mosi") -> dict[str, dict[str, float]]:
    """Scores the two predictors that look at nothing: every row gets the training labels' mean, or their median.

    Args:
        train_labels: Labels of the training split, (N,).
        labels: Labels of the scored rows, (M,).
        scheme: Label scheme, as in `sentiment_metrics`.

    Returns:
        `"train_mean"` and `"train_median"`, each with the metrics of the scheme; `corr` is `nan`.

    Raises:
        ConfigError: If the scheme is unknown.
        DataError: If a side is empty or not finite.
    """
    train = np.asarray(train_labels, dtype=np.float64)
    if train.ndim != 1 or train.size == 0 or not np.isfinite(train).all():
        raise DataError(
            f"training labels must be a non-empty vector of finite numbers, found shape {train.shape}; "
            "prepare the dataset with a training split"
        )
    constants = {"train_mean": float(train.mean()), "train_median": float(np.median(train))}
    num_rows = len(np.asarray(labels))
    return {name: sentiment_metrics(np.full(num_rows, value), labels, scheme) for name, value in constants.items()}
