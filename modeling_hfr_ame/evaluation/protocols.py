"""The named robustness protocols: which corruptions are evaluated, and how their values become one number."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from modeling_hfr_ame.corruption import CorruptionRecipe, LiteratureRecipe, read_recipe
from modeling_hfr_ame.errors import ConfigError, DataError

# Five severities of every kind. Kinds whose level is a rate write it with a decimal point, ladder kinds as a step.
_RATES_OF_LEVELS = ("0.1", "0.3", "0.5", "0.7", "0.9")
_LADDER_STEPS = ("1", "2", "3", "4", "5")

_MISSING_SETS = ("text", "audio", "vision", "text-audio", "text-vision", "audio-vision")

_PROTOCOLS: dict[str, tuple[str, ...]] = {
    "P0": ("clean",),
    "P1": tuple(f"drop-0.{tenth}" for tenth in range(10)),
    "P2": tuple(f"missing-{names}" for names in _MISSING_SETS),
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
    # Published protocols, under their own names and never by default.
    "lnln": tuple(f"lnln-0.{tenth}" for tenth in range(10)),
    "tfr_net": ("tfr_net-0.2",),
    "emt_dlfr": (*(f"emt_dlfr-0.{tenth}" for tenth in range(10)), "emt_dlfr-1.0"),
    "imder_mr": tuple(f"imder_mr-0.{tenth}" for tenth in range(8)),
    "fixed_modalities": ("clean", *(f"missing-{names}" for names in _MISSING_SETS)),
    "fixed_modalities_lnln": ("clean", *(f"lnln_fixed-{names}" for names in _MISSING_SETS)),
}

PROTOCOL_NAMES = tuple(_PROTOCOLS)

# Protocols whose recipes are one kind at growing rates: the ones that a curve over the rate describes.
RATE_PROTOCOLS = ("P1", "P3", "lnln", "emt_dlfr", "imder_mr")

# Protocols whose recipes are sets of missing modalities beside the complete input.
SET_PROTOCOLS = ("fixed_modalities", "fixed_modalities_lnln")

# Recipes that a protocol shows but leaves out of its mean, as those who published the mean do.
_NOT_AVERAGED: dict[str, tuple[str, ...]] = {
    "imder_mr": ("imder_mr-0.0",),
    "fixed_modalities": ("clean",),
    "fixed_modalities_lnln": ("clean",),
}

# What a published protocol reproduces and where it differs; printed under every table that shows it.
PROTOCOL_NOTES: Mapping[str, str] = MappingProxyType(
    {
        "lnln": (
            "test masks of Haoyu-ha/LNLN (80a052c), seed 1111, bit by bit for equal rows, order and padded lengths; "
            "one seed for all modalities, so those of equal padded length lose the same steps; the first and last "
            "token stay"
        ),
        "tfr_net": (
            "masks of thuiar/MMSA (a94e65d) for TFR-Net, rate 0.2, seed 1111 per modality, bit by bit for equal rows, "
            "order and padded lengths; published numbers are of models trained on the same corruption"
        ),
        "emt_dlfr": (
            "MMSA's masks with the seeds 111, 1111, 11111 of sunlicai/EMT-DLFR (e9f0960); published AUILC trains one "
            "model per rate, this is one model for all"
        ),
        "imder_mr": (
            "missing rates of IMDer, HME and CyIN, each row keeps a modality, so 0.7 is 0.667 (and enters AUILC as "
            "that); the draws are ours, keyed by sample"
        ),
        "fixed_modalities": "missing modalities are absent from the input; complete input shown, not averaged",
        "fixed_modalities_lnln": (
            "missing modalities as LNLN realises them: drop rate 1, so text keeps its length and special tokens and "
            "frames are zero; complete input shown, not averaged"
        ),
    }
)


def protocol_recipes(protocol: str) -> list[str]:
    """Lists the corruption recipes of a protocol, in their fixed order.

    Args:
        protocol: `"P0"` clean; `"P1"` drop rates 0.0 to 0.9 in all modalities; `"P2"` the six sets of one or two
            missing modalities; `"P3"` one contiguous block at rates 0.1 to 0.9; `"P4"` five kinds of signal damage at
            five levels in audio, vision and both; `"P5"` speech recognition and typing errors in the text. Published
            ones: `"lnln"` rates 0.0 to 0.9; `"tfr_net"` rate 0.2; `"emt_dlfr"` rates 0.0 to 1.0; `"imder_mr"` missing
            rates 0.0 to 0.7; `"fixed_modalities"` the complete input and the six sets, missing modalities absent, and
            `"fixed_modalities_lnln"` the same with them erased.

    Returns:
        Names that `read_recipe` reads.

    Raises:
        ConfigError: If the protocol is unknown.

    Source:
        P1 and P2 follow the protocol of LNLN (ten rates, plain mean); the masks are ours. `PROTOCOL_NOTES` says what
        the published ones reproduce.
    """
    try:
        return list(_PROTOCOLS[protocol])
    except KeyError:
        raise ConfigError(f"a protocol must be one of {', '.join(PROTOCOL_NAMES)}, found {protocol!r}") from None


def averaged_recipes(protocol: str) -> list[str]:
    """Lists the recipes that enter a protocol's mean.

    Args:
        protocol: As in `protocol_recipes`.

    Returns:
        All recipes, without the complete input where the published mean leaves it out: `imder_mr` (CyIN averages the
        missing rates 0.1 to 0.7) and the fixed sets (LNLN and CyIN average the six incomplete ones).

    Raises:
        ConfigError: If the protocol is unknown.
    """
    return [recipe for recipe in protocol_recipes(protocol) if recipe not in _NOT_AVERAGED.get(protocol, ())]


def canonical_recipe(recipe: str) -> str:
    """Names the recipe that stands for all recipes with the same effect: `"clean"` for whatever changes nothing.

    Args:
        recipe: Recipe name.

    Returns:
        `"clean"` or the recipe's own normal name.

    Raises:
        ConfigError: If the name is not a recipe.
    """
    parsed = read_recipe(recipe)
    if isinstance(parsed, LiteratureRecipe):
        changes_nothing = parsed.changes_nothing
    else:
        changes_nothing = parsed.corruption is None or parsed.corruption.severity == 0
    return "clean" if changes_nothing else parsed.name


def removed_modalities(recipe: str) -> frozenset[str]:
    """Names the modalities that a recipe takes away as a whole, from every row.

    Args:
        recipe: Name that `CorruptionRecipe.from_name` reads. What a published protocol removes is asked of
            `LiteratureRecipe.removed_modalities`, since it differs from row to row.

    Raises:
        ConfigError: If the name is not such a recipe.
    """
    parsed = CorruptionRecipe.from_name(recipe)
    removes = parsed.corruption is not None and parsed.corruption.removes_modality
    return frozenset(parsed.modalities) if removes else frozenset()


def rates_of_recipes(recipes: Iterable[str]) -> list[float]:
    """Reads the rate out of recipe names such as `"drop-0.3"`; the missing rate 0.7 is 2/3, see `LiteratureRecipe`."""
    return [_rate_of_recipe(recipe) for recipe in recipes]


def _rate_of_recipe(recipe: str) -> float:
    parsed = read_recipe(recipe)
    if isinstance(parsed, LiteratureRecipe) and parsed.nominal_rate is not None:
        return parsed.nominal_rate
    return float(recipe.split("-")[1])


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
