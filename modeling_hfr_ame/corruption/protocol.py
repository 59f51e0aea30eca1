"""What a corruption is: the table of kinds, their levels, and the severity a model is asked to estimate.

Design choices:

- A kind is scaled in one of three ways: by a *rate* in [0, 1] (the share of words or frames that is hit), by a *ladder*
  of five levels with a physical parameter each, or not at all (`missing`).
- An integer is never a rate and a rate is never an integer: `drop-3` could mean 3 of 5 or 0.3, so it is refused.
- Ladders are continuous. Fixed recipes use the levels 1 to 5, training draws any level in [0, 5].
"""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from modeling_hfr_ame.errors import ConfigError

Modality = Literal["text", "audio", "vision"]
Scale = Literal["rate", "ladder", "whole"]

MODALITIES: tuple[Modality, ...] = ("text", "audio", "vision")
FRAME_MODALITIES: tuple[Modality, ...] = ("audio", "vision")
TOP_LEVEL = 5


@dataclass(frozen=True)
class KindRule:
    """Says where a kind of corruption applies and how it is scaled.

    Args:
        modalities: The modalities that have the kind, in the order text, audio, vision.
        scale: "rate" (level is a share in [0, 1]), "ladder" (level in [0, 5]) or "whole" (level is always 1).
        ladder: Physical parameter at the levels 1 to 5; empty unless the scale is "ladder".
    """

    modalities: tuple[Modality, ...]
    scale: Scale
    ladder: tuple[float, ...] = ()


KINDS: Mapping[str, KindRule] = MappingProxyType(
    {
        "drop": KindRule(MODALITIES, "rate"),
        "block": KindRule(MODALITIES, "rate"),
        "missing": KindRule(MODALITIES, "whole"),
        "noise": KindRule(FRAME_MODALITIES, "ladder", (20.0, 10.0, 5.0, 0.0, -5.0)),  # signal-to-noise ratio, dB
        "blur": KindRule(FRAME_MODALITIES, "ladder", (0.5, 1.0, 2.0, 4.0, 8.0)),  # standard deviation, steps
        "lowpass": KindRule(FRAME_MODALITIES, "ladder", (0.75, 0.5, 0.375, 0.25, 0.125)),  # cut-off, share of Nyquist
        "freeze": KindRule(FRAME_MODALITIES, "rate"),
        "impulse": KindRule(FRAME_MODALITIES, "ladder", (0.01, 0.02, 0.05, 0.10, 0.20)),  # share of entries
        "mask": KindRule(("text",), "rate"),
        "delete": KindRule(("text",), "rate"),
        "typo": KindRule(("text",), "rate"),
        "asr": KindRule(("text",), "rate"),
    }
)


@dataclass(frozen=True)
class Corruption:
    """One kind of damage at one level.

    Args:
        kind: A key of `KINDS`.
        level: For kinds scaled by a rate a float in [0, 1]; for ladder kinds a number in [0, 5], where the integers
            1 to 5 are the ladder's own points and 0 changes nothing; for "missing" 1.

    Raises:
        ConfigError: The kind is unknown or the level is outside the kind's scale.
    """

    kind: str
    level: float | int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"unknown corruption kind {self.kind!r}; choose one of {', '.join(KINDS)}")
        scale = KINDS[self.kind].scale
        if isinstance(self.level, bool) or not isinstance(self.level, numbers.Real):
            raise ConfigError(
                f"the level of {self.kind!r} must be a number, found {type(self.level).__name__} {self.level!r}; "
                "pass a float rate or a ladder level"
            )
        if scale == "rate":
            self._check_rate()
        elif scale == "ladder":
            self._check_ladder()
        elif self.level != 1:
            raise ConfigError(
                f"{self.kind!r} removes the whole modality and its level is always 1, found {self.level!r}; "
                "use 'drop' or 'block' to remove a share"
            )
        # one representation per level, so that equal corruptions print the same name
        value = float(self.level)
        as_float = scale == "rate" or not value.is_integer()
        object.__setattr__(self, "level", value if as_float else int(value))

    def _check_rate(self) -> None:
        if isinstance(self.level, numbers.Integral):
            raise ConfigError(
                f"{self.kind!r} takes a rate in [0, 1] written with a decimal point, found the integer {self.level}, "
                "which could be a rate or a ladder level; write for example 0.3 or 1.0"
            )
        if not 0.0 <= self.level <= 1.0:
            raise ConfigError(f"{self.kind!r} takes a rate in [0, 1], found {self.level!r}; pass the share to be hit")

    def _check_ladder(self) -> None:
        if not 0.0 <= self.level <= TOP_LEVEL:
            raise ConfigError(
                f"{self.kind!r} takes a ladder level from 0 to {TOP_LEVEL}, found {self.level!r}; "
                "fixed recipes use the integers 1 to 5"
            )

    @classmethod
    def from_severity(cls, kind: str, severity: float) -> "Corruption":
        """Makes the corruption of a kind that has a wanted severity.

        Args:
            kind: A key of `KINDS`.
            severity: In [0, 1]; ignored for "missing", whose severity is always 1.

        Returns:
            The corruption.

        Raises:
            ConfigError: The kind is unknown or the severity is outside [0, 1].
        """
        if kind not in KINDS:
            raise ConfigError(f"unknown corruption kind {kind!r}; choose one of {', '.join(KINDS)}")
        if not 0.0 <= severity <= 1.0:
            raise ConfigError(f"severity must be in [0, 1], found {severity!r}; pass a share of the strongest level")
        scale = KINDS[kind].scale
        if scale == "whole":
            return cls(kind, 1)
        return cls(kind, float(severity) if scale == "rate" else TOP_LEVEL * float(severity))

    @property
    def severity(self) -> float:
        """How strong the damage is, in [0, 1]: the rate, or the ladder level divided by 5, or 1 for "missing"."""
        return float(self.level) / TOP_LEVEL if KINDS[self.kind].scale == "ladder" else float(self.level)

    @property
    def removes_modality(self) -> bool:
        """Whether the modality becomes absent, so that there is nothing left to corrupt."""
        return KINDS[self.kind].scale == "whole"

    @property
    def parameter(self) -> float:
        """The physical parameter of the level: dB, steps, cut-off, or a share in [0, 1].

        The integers 1 to 5 give the ladder's numbers exactly. Between them the signal-to-noise ratio is linear in dB,
        the blur's standard deviation linear in its logarithm, cut-off and share linear. Below level 1 noise amplitude,
        standard deviation and share fall linearly to 0 and the cut-off rises linearly to 1, so level 0 does nothing.
        """
        ladder = KINDS[self.kind].ladder
        level = float(self.level)
        if not ladder:
            return level
        if self.kind == "noise" and level < 1.0:
            return ladder[0] - 20.0 * math.log10(level) if level > 0.0 else math.inf
        if self.kind == "blur" and level >= 1.0:
            # the ladder's points are powers of two, and exact in base 2
            return float(2.0 ** np.interp(level, range(1, TOP_LEVEL + 1), np.log2(ladder)))
        at_zero = 1.0 if self.kind == "lowpass" else 0.0
        return float(np.interp(level, range(TOP_LEVEL + 1), (at_zero, *ladder)))

    def check_modality(self, modality: str) -> None:
        """Checks that the kind is defined for a modality.

        Args:
            modality: "text", "audio" or "vision".

        Raises:
            ConfigError: The modality is unknown or does not have the kind.
        """
        if modality not in MODALITIES:
            raise ConfigError(f"unknown modality {modality!r}; choose one of {', '.join(MODALITIES)}")
        rule = KINDS[self.kind]
        if modality not in rule.modalities:
            available = ", ".join(kind for kind, other in KINDS.items() if modality in other.modalities)
            raise ConfigError(
                f"corruption {self.kind!r} is defined for {', '.join(rule.modalities)}, not for {modality}; "
                f"{modality} has {available}"
            )
