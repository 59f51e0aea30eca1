import math

import numpy as np
import pytest

from modeling_hfr_ame.corruption import KINDS, Corruption
from modeling_hfr_ame.errors import ConfigError

LADDERS = {
    "noise": [20, 10, 5, 0, -5],
    "blur": [0.5, 1, 2, 4, 8],
    "lowpass": [0.75, 0.5, 0.375, 0.25, 0.125],
    "impulse": [0.01, 0.02, 0.05, 0.1, 0.2],
}
RATE_KINDS = ["drop", "block", "freeze", "mask", "delete", "typo", "asr"]


def test_kinds_table_matches_protocol() -> None:
    everywhere, frames, text = ("text", "audio", "vision"), ("audio", "vision"), ("text",)
    expected = dict.fromkeys(["drop", "block", "missing"], everywhere)
    expected |= dict.fromkeys(["noise", "blur", "lowpass", "freeze", "impulse"], frames)
    expected |= dict.fromkeys(["mask", "delete", "typo", "asr"], text)
    assert {kind: rule.modalities for kind, rule in KINDS.items()} == expected


@pytest.mark.parametrize("kind", LADDERS)
def test_parameter_integer_levels_hit_the_table_exactly(kind: str) -> None:
    assert [Corruption(kind, level).parameter for level in range(1, 6)] == LADDERS[kind]


@pytest.mark.parametrize(
    ("kind", "level", "expected"),
    [
        ("noise", 1.5, 15.0),
        ("noise", 4.5, -2.5),
        ("noise", 0.5, 20.0 + 20.0 * math.log10(2.0)),
        ("noise", 0, math.inf),
        ("blur", 3.5, math.sqrt(2 * 4)),
        ("blur", 0.5, 0.25),
        ("lowpass", 2.5, 0.4375),
        ("lowpass", 0.5, 0.875),
        ("impulse", 4.5, 0.15),
        ("impulse", 0.5, 0.005),
        ("drop", 0.25, 0.25),
    ],
)
def test_parameter_between_levels_is_interpolated(kind: str, level: float, expected: float) -> None:
    assert Corruption(kind, level).parameter == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", LADDERS)
def test_parameter_rising_level_is_monotone_and_continuous(kind: str) -> None:
    values = np.array([Corruption(kind, float(level)).parameter for level in np.linspace(0.5, 5, 901)])
    steps = np.diff(values)
    assert (steps < 0).all() or (steps > 0).all()
    assert np.abs(steps).max() < 0.012 * np.ptp(values)


def test_severity_of_each_scale() -> None:
    assert [Corruption("noise", level).severity for level in (0, 1, 3, 5)] == [0.0, 0.2, 0.6, 1.0]
    assert {kind: Corruption(kind, 0.3).severity for kind in RATE_KINDS} == dict.fromkeys(RATE_KINDS, 0.3)
    assert Corruption("missing", 1).severity == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_from_severity_any_kind_gives_that_severity(kind: str) -> None:
    for severity in (0.0, 0.31, 1.0):
        expected = 1.0 if kind == "missing" else severity
        assert Corruption.from_severity(kind, severity).severity == pytest.approx(expected, rel=1e-12)


def test_corruption_equal_levels_in_other_types_are_equal() -> None:
    assert Corruption("drop", np.float32(0.5)) == Corruption("drop", 0.5)
    assert {Corruption("blur", 2.0), Corruption("blur", np.int64(2))} == {Corruption("blur", 2)}
    assert repr(Corruption("blur", 2.0)) == repr(Corruption("blur", 2))


@pytest.mark.parametrize(
    ("kind", "level", "message"),
    [
        ("smear", 1, "unknown corruption kind 'smear'; choose one of drop, block"),
        ("drop", 3, r"'drop' takes a rate in \[0, 1\] written with a decimal point, found the integer 3.*write"),
        ("drop", 1, "found the integer 1, which could be a rate or a ladder level; write for example 0.3 or 1.0"),
        ("drop", 1.5, r"'drop' takes a rate in \[0, 1\], found 1.5; pass the share"),
        ("asr", math.nan, r"'asr' takes a rate in \[0, 1\], found nan"),
        ("noise", 5.5, "'noise' takes a ladder level from 0 to 5, found 5.5; fixed recipes use the integers 1 to 5"),
        ("noise", -1, "takes a ladder level from 0 to 5, found -1"),
        ("missing", 0.5, "'missing' removes the whole modality and its level is always 1, found 0.5; use 'drop'"),
        ("drop", "0.5", "the level of 'drop' must be a number, found str '0.5'; pass a float rate or a ladder level"),
        ("blur", True, "must be a number, found bool True"),
    ],
)
def test_corruption_wrong_argument_raises(kind: str, level: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Corruption(kind, level)


def test_from_severity_wrong_argument_raises() -> None:
    with pytest.raises(ConfigError, match=r"severity must be in \[0, 1\], found 1.2; pass a share"):
        Corruption.from_severity("drop", 1.2)
    with pytest.raises(ConfigError, match="unknown corruption kind 'smear'; choose"):
        Corruption.from_severity("smear", 0.2)


def test_check_modality_wrong_modality_raises() -> None:
    with pytest.raises(ConfigError, match="'noise' is defined for audio, vision, not for text; text has drop, block"):
        Corruption("noise", 1).check_modality("text")
    with pytest.raises(ConfigError, match="unknown modality 'video'; choose one of text, audio, vision"):
        Corruption("noise", 1).check_modality("video")
