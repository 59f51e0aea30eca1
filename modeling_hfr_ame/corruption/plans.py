"""Which corruption each modality of a sample gets: fixed recipes for evaluation, random mixes for training.

A recipe has a name and only a name: `drop-0.5`, `noise-3-audio`, `missing-text-audio`, `clean`. Rates carry a decimal
point, ladder levels are the integers 1 to 5, modalities come last in any order. Without modalities the recipe touches
every modality that has the kind. A name and its recipe can be turned into each other without loss.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from modeling_hfr_ame.corruption.keyed_draws import KeyedDraws, SampleKey
from modeling_hfr_ame.corruption.protocol import FRAME_MODALITIES, KINDS, MODALITIES, TOP_LEVEL, Corruption, Modality
from modeling_hfr_ame.errors import ConfigError

DrawnCorruptions = dict[Modality, Corruption | None]

CLEAN = "clean"
CLEAN_PROBABILITY = 0.5

_TEXT_KINDS = {"drop": 0.6, "block": 0.2, "asr": 0.15, "missing": 0.05}
_DROP_ONLY = {"drop": 1.0}
_FRAME_KINDS = {"drop": 0.5, "block": 0.15, "noise": 0.15, "blur": 0.15, "missing": 0.05}

TRAINING_MIXES: Mapping[str, Mapping[Modality, Mapping[str, float]]] = MappingProxyType(
    {
        "mix": {"text": _TEXT_KINDS, **dict.fromkeys(FRAME_MODALITIES, _FRAME_KINDS)},
        "lnln": dict.fromkeys(MODALITIES, _DROP_ONLY),
        CLEAN: {},
    }
)


class CorruptionPlan(Protocol):
    """Decides how each modality of a sample is corrupted. `CorruptionRecipe` and `TrainingMix` are plans."""

    @property
    def name(self) -> str:
        """The name that reports carry."""

    @property
    def needs_vocabulary(self) -> bool:
        """Whether the plan can draw `asr`, which replaces words by words of the training vocabulary."""

    def draw(self, key: SampleKey) -> DrawnCorruptions:
        """Decides for one sample.

        Args:
            key: The sample.

        Returns:
            For each of text, audio, vision its corruption, or None for "leave it alone".
        """


@dataclass(frozen=True)
class CorruptionRecipe:
    """The same corruption for every sample. Usually made by `from_name`.

    Two recipes are equal exactly when their names are.

    Args:
        corruption: What happens; None for nothing.
        modalities: Where it happens, in any order; empty for every modality that has the kind.

    Raises:
        ConfigError: A modality is unknown or repeated or lacks the kind, a ladder level is not one of 1 to 5, a clean
            recipe names modalities, or "missing" leaves no modality.
    """

    corruption: Corruption | None
    modalities: tuple[Modality, ...] = ()

    def __post_init__(self) -> None:
        if self.corruption is None:
            if self.modalities:
                raise ConfigError(
                    f"a clean recipe touches no modality, found {', '.join(self.modalities)}; write just 'clean'"
                )
            return
        for modality in self.modalities:
            self.corruption.check_modality(modality)
        if len(set(self.modalities)) != len(self.modalities):
            raise ConfigError(
                f"a recipe names each modality once, found {', '.join(self.modalities)}; remove the repetition"
            )
        rule = KINDS[self.corruption.kind]
        chosen = tuple(modality for modality in rule.modalities if modality in self.modalities) or rule.modalities
        if rule.scale == "ladder" and self.corruption.level not in range(1, TOP_LEVEL + 1):
            raise ConfigError(
                f"a recipe takes {self.corruption.kind!r} at an integer level from 1 to {TOP_LEVEL}, found "
                f"{self.corruption.level!r}; levels in between are for training mixes"
            )
        if self.corruption.removes_modality and chosen == MODALITIES:
            raise ConfigError(
                "'missing' must leave at least one modality, found all three removed; "
                "name one or two of text, audio, vision, for example 'missing-text'"
            )
        object.__setattr__(self, "modalities", chosen)

    @classmethod
    def from_name(cls, name: str) -> "CorruptionRecipe":
        """Reads a recipe from its name.

        Args:
            name: "clean", or `<kind>-<level>[-<modality>…]`, or `missing-<modality>[-<modality>]`.

        Returns:
            The recipe.

        Raises:
            ConfigError: The name does not follow the grammar, or says something that can't be.
        """
        kind, *parts = name.split("-")
        if kind == CLEAN and not parts:
            return cls(None)
        if kind not in KINDS:
            raise ConfigError(
                f"a recipe name is 'clean' or starts with a corruption kind, found {name!r}; "
                f"the kinds are {', '.join(KINDS)}"
            )
        level: float | int = 1
        if KINDS[kind].scale != "whole":
            level = _read_level(name, kind, parts.pop(0) if parts else "")
        for part in parts:
            if part not in MODALITIES:
                raise ConfigError(
                    f"a recipe name ends with modalities, found {part!r} in {name!r}; "
                    f"append any of {', '.join(MODALITIES)}, each after a hyphen"
                )
        return cls(Corruption(kind, level), tuple(modality for modality in parts))  # type: ignore[misc]

    @property
    def name(self) -> str:
        """The canonical name; modalities are left out where the recipe touches all that have the kind."""
        if self.corruption is None:
            return CLEAN
        rule = KINDS[self.corruption.kind]
        parts = [self.corruption.kind]
        if rule.scale == "rate":
            # repr would write small rates with an exponent, which holds a hyphen
            parts.append(np.format_float_positional(self.corruption.level, trim="0"))
        elif rule.scale == "ladder":
            parts.append(str(self.corruption.level))
        if self.modalities != rule.modalities:
            parts.extend(self.modalities)
        return "-".join(parts)

    @property
    def needs_vocabulary(self) -> bool:
        """Whether the recipe is `asr`, which replaces words by words of the training vocabulary."""
        return self.corruption is not None and self.corruption.kind == "asr"

    def draw(self, key: SampleKey) -> DrawnCorruptions:
        """Gives every sample the same corruption.

        Args:
            key: The sample; not looked at.

        Returns:
            For each of text, audio, vision the recipe's corruption, or None where it does not apply.
        """
        return {modality: self.corruption if modality in self.modalities else None for modality in MODALITIES}


def _read_level(name: str, kind: str, level: str) -> float | int:
    if KINDS[kind].scale == "rate":
        if not re.fullmatch(r"[0-9]+\.[0-9]+", level):
            raise ConfigError(
                f"{kind!r} takes a rate in [0, 1] written with a decimal point, found {level!r} in {name!r}; "
                f"an integer could be a rate or a ladder level, so write for example '{kind}-0.3'"
            )
        return float(level)
    if not re.fullmatch(r"[0-9]+", level):
        raise ConfigError(
            f"{kind!r} takes a ladder level written as an integer from 1 to {TOP_LEVEL}, found {level!r} in {name!r}; "
            f"write for example '{kind}-3'"
        )
    return int(level)


@dataclass(frozen=True)
class TrainingMix:
    """A random corruption per sample, modality and epoch.

    Each modality is left alone with probability 0.5, independently of the others; otherwise a kind is drawn by the
    mix's weights and a severity uniformly in [0, 1). "mix" holds drops, blocks, noise, blur, sound-alike words and
    absent modalities; "lnln" only drops; "clean" nothing. At least one modality is always left.

    Args:
        name: "mix", "lnln" or "clean".

    Raises:
        ConfigError: The name is not one of these.

    Source:
        "lnln" follows LNLN's training: drop rates uniform in (0, 1) per sample and modality, half of them set to 0.

    Deviations:
        LNLN's public code re-draws its rates only in the worker that happens to fetch sample 0, and uses one seed for
        all modalities. Here every sample, modality and epoch has draws of its own. "mix" is our own choice.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in TRAINING_MIXES:
            raise ConfigError(f"unknown training mix {self.name!r}; choose one of {', '.join(TRAINING_MIXES)}")

    @property
    def needs_vocabulary(self) -> bool:
        """Whether the mix can draw `asr`, which replaces words by words of the training vocabulary."""
        return any("asr" in weights for weights in TRAINING_MIXES[self.name].values())

    def draw(self, key: SampleKey) -> DrawnCorruptions:
        """Draws for one sample in one epoch.

        Args:
            key: The sample. Without an epoch the draw is the same every time.

        Returns:
            For each of text, audio, vision its corruption, or None for "leave it alone".
        """
        mix = TRAINING_MIXES[self.name]
        drawn: DrawnCorruptions = dict.fromkeys(MODALITIES)
        for modality, weights in mix.items():
            clean, kind, severity = KeyedDraws(key, modality, f"training-mix-{self.name}").uniform(3)
            if clean >= CLEAN_PROBABILITY:
                edges = np.cumsum(list(weights.values()))
                # rounding can leave the last edge a hair below 1
                chosen = min(int(np.searchsorted(edges, kind, side="right")), len(weights) - 1)
                drawn[modality] = Corruption.from_severity(list(weights)[chosen], float(severity))
        return keep_one_modality(drawn, key, MODALITIES)


def keep_one_modality(drawn: DrawnCorruptions, key: SampleKey, present: Sequence[Modality]) -> DrawnCorruptions:
    """Takes back one removal where a sample would lose every modality it has.

    Args:
        drawn: The corruption of each modality, or None.
        key: The sample; it decides which modality stays.
        present: The modalities that the sample has.

    Returns:
        `drawn`, or a copy in which one of the present modalities is left alone.
    """
    remaining = [modality for modality in present if not _is_removed(drawn[modality])]
    if remaining or not present:
        return drawn
    kept = present[int(KeyedDraws(key, "sample", "keep-one").uniform(1)[0] * len(present))]
    return {**drawn, kept: None}


def _is_removed(corruption: Corruption | None) -> bool:
    return corruption is not None and corruption.removes_modality
