"""The corruptions that a person may choose from, for sliders and menus."""

from collections.abc import Sequence
from dataclasses import dataclass

from modeling_hfr_ame.corruption import KINDS, Corruption, CorruptionRecipe, Modality
from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.prediction.encoded_clip import CLEAN

_RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_LADDER = (1, 2, 3, 4, 5)
_TITLES = {
    "drop": "drop words and frames",
    "block": "lose one block of words and frames",
    "missing": "remove whole modalities",
    "noise": "add noise",
    "blur": "blur over time",
    "lowpass": "cut high frequencies",
    "freeze": "freeze frames",
    "impulse": "impulse noise",
    "mask": "mask words",
    "delete": "delete words",
    "typo": "misspell words",
    "asr": "mishear words",
}


@dataclass(frozen=True)
class CorruptionChoice:
    """One kind of corruption.

    Attributes:
        kind: Name in the protocol.
        levels: Rates in (0, 1), or the steps 1 to 5 of a ladder, or (1,) for all or nothing; weakest first.
        modalities: Where the kind exists.
        title: What it does, in words.
    """

    kind: str
    levels: tuple[float | int, ...]
    modalities: tuple[str, ...]
    title: str


def corruption_choices() -> list[CorruptionChoice]:
    """Lists all kinds of the corruption protocol with their levels."""
    levels = {"rate": _RATES, "ladder": _LADDER, "whole": (1,)}
    return [
        CorruptionChoice(kind, levels[rule.scale], rule.modalities, _TITLES.get(kind, kind))
        for kind, rule in KINDS.items()
    ]


def recipe_name(kind: str, level: float | int | None = None, modalities: Sequence[str] = ()) -> str:
    """Writes the name of a recipe.

    Args:
        kind: Kind of corruption, or `clean`.
        level: A rate, or a step of the ladder, as a number of either type; None = all or nothing. 0 gives `clean`.
        modalities: Where; empty = wherever the kind exists.

    Returns:
        The name, for example `noise-3-audio`.

    Raises:
        ConfigError: The kind is unknown, the level is outside its scale or missing, or a modality lacks the kind.
    """
    if kind == CLEAN or (level is not None and level == 0):
        return CLEAN
    if kind not in KINDS:
        raise ConfigError(f"unknown corruption kind {kind!r}; choose one of {', '.join(KINDS)}")
    scale = KINDS[kind].scale
    if level is None and scale != "whole":
        raise ConfigError(f"{kind!r} needs a level, found none; pass a number on its scale")
    # A slider hands over 3.0 where the ladder's steps are whole numbers, and 1 where a rate is 1.0.
    value = 1 if scale == "whole" else float(level or 0)
    places: tuple[Modality, ...] = tuple(name for name in KINDS[kind].modalities if name in modalities)
    unfit = [name for name in modalities if name not in places]
    if unfit:
        raise ConfigError(
            f"corruption {kind!r} is defined for {', '.join(KINDS[kind].modalities)}, found {', '.join(unfit)}; "
            "choose among them"
        )
    return CorruptionRecipe(Corruption(kind, value), places).name
