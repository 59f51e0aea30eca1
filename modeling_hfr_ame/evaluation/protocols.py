"""The named robustness protocols: which corruptions are evaluated, and how their values become one number."""

from collections.abc import Iterable, Sequence

import numpy as np

from modeling_hfr_ame.corruption import CorruptionRecipe
from modeling_hfr_ame.errors import ConfigError, DataError

# Five severities of every kind. Kinds whose level is a rate write it with a decimal point, ladder kinds as a step.
_RATES_OF_LEVELS = ("0.1", "0.3", "0.5", "0.7", "0.9")
_LADDER_STEPS = ("1", "2", "3", "4", "5")

_PROTOCOLS: dict[str, tuple[str, ...]] = {
    "P0": ("clean",),
    "P1": tuple(f"drop-0.{tenth}" for tenth in range(10)),
    "P2": (
        "missing-text",
        "missing-audio",
        "missing-vision",
        "missing-text-audio",
        "missing-text-vision",
        "missing-audio-vision",
    ),
    "P3": tuple(f"block-0.{tenth}" for tenth in range(1, 10)),
    "P4": tuple(
        f"{kind}-{level}{modality}"
        for kind, levels in (
            ("noise", _LADDER_STEPS),
            ("blur", _LADDER_STEPS),
            ("lowpass", _LADDER_STEPS),
            ("freeze", _RATES_OF_LEVELS),
            ("impulse", _LADDER_STEPS),
        )
        for modality in ("-audio", "-vision", "")  # without a name: both
        for level in levels
    ),
    "P5": tuple(f"{kind}-{rate}" for kind in ("asr", "typo") for rate in _RATES_OF_LEVELS),
}

PROTOCOL_NAMES = tuple(_PROTOCOLS)

# Protocols whose recipes are one kind at growing rates: the ones that a curve over the rate describes.
RATE_PROTOCOLS = ("P1", "P3")


def protocol_recipes(protocol: str) -> list[str]:
    """Lists the corruption recipes of a protocol, in their fixed order.

    Args:
        protocol: `"P0"` clean; `"P1"` drop rates 0.0 to 0.9 in all modalities; `"P2"` the six sets of one or two
            missing modalities; `"P3"` one contiguous block at rates 0.1 to 0.9; `"P4"` five kinds of signal damage at
            five levels in audio, vision and both; `"P5"` speech recognition and typing errors in the text.

    Returns:
        Names that `CorruptionRecipe.from_name` reads.

    Raises:
        ConfigError: If the protocol is unknown.

    Source:
        P1 and P2 follow the protocol of LNLN (ten rates, plain mean); the masks are ours.
    """
    try:
        return list(_PROTOCOLS[protocol])
    except KeyError:
        raise ConfigError(f"a protocol must be one of {', '.join(PROTOCOL_NAMES)}, found {protocol!r}") from None


def canonical_recipe(recipe: str) -> str:
    """Names the recipe that stands for all recipes with the same effect: `"clean"` for whatever changes nothing.

    Args:
        recipe: Recipe name.

    Returns:
        `"clean"` or the recipe's own normal name.

    Raises:
        ConfigError: If the name is not a recipe.
    """
    parsed = CorruptionRecipe.from_name(recipe)
    changes_nothing = parsed.corruption is None or parsed.corruption.severity == 0
    return "clean" if changes_nothing else parsed.name


def removed_modalities(recipe: str) -> frozenset[str]:
    """Names the modalities that a recipe takes away as a whole.

    Args:
        recipe: Recipe name.

    Raises:
        ConfigError: If the name is not a recipe.
    """
    parsed = CorruptionRecipe.from_name(recipe)
    removes = parsed.corruption is not None and parsed.corruption.removes_modality
    return frozenset(parsed.modalities) if removes else frozenset()


def rates_of_recipes(recipes: Iterable[str]) -> list[float]:
    """Reads the rate out of recipe names such as `"drop-0.3"`."""
    return [float(recipe.split("-")[1]) for recipe in recipes]


def mean_over_rates(values: Sequence[float]) -> float:
    """Averages a metric over recipes with equal weight, the summary that LNLN publishes.

    Args:
        values: One value per recipe.

    Returns:
        The mean; `nan` as soon as one value is not defined, so that an average never hides a failed condition.

    Raises:
        DataError: If there is no value.
    """
    if not len(values):
        raise DataError("a mean over rates needs at least one value, found none; evaluate a protocol first")
    return float(np.mean(np.asarray(values, dtype=np.float64)))


def auilc(values: Sequence[float], rates: Sequence[float]) -> float:
    """Computes the area under the indicators line chart: a metric integrated over the missing rate.

    Args:
        values: One metric value per rate.
        rates: Rates in [0, 1], strictly increasing, at least two. Published figures use 0.0 to 1.0 in steps of 0.1.

    Returns:
        The trapezoid sum. It is not divided by the width of the rate range, so only areas over the same grid compare.

    Raises:
        DataError: If the two differ in length, there are fewer than two, or the rates do not increase.

    Source:
        TFR-Net and EMT-DLFR, which train one model for every rate; ours is one model for all.
    """
    x, y = np.asarray(rates, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size < 2:
        raise DataError(f"AUILC needs one value per rate and at least two rates, found shapes {y.shape} and {x.shape}")
    if not np.all(np.diff(x) > 0) or x[0] < 0 or x[-1] > 1:
        raise DataError(f"AUILC needs strictly increasing rates in [0, 1], found {[float(rate) for rate in x]}")
    return float(np.trapezoid(y, x))
