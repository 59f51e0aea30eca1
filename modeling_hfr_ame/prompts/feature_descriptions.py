"""Feature columns with a known meaning, and how a sample's value differs from the training samples'.

Only columns whose name says what they measure are used: pitch, loudness and the like of a voice, and facial action
units. A width alone tells nothing, so datasets without `feature_names` get no such sentence.

Source:
    Action units: Ekman and Friesen, Facial Action Coding System; column names `AU12_r` as OpenFace writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_CLEAR, _SLIGHT = 1.0, 0.5
_MAX_MENTIONED = 4

_PATTERNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "audio": (
        (r"(log_)?f0(_mean|_hz|final)?(_sma.*)?|pitch(_mean)?|f0semitone.*", "pitch"),
        (r"(log_)?f0_std|pitch_std", "pitch_movement"),
        (r"(log_)?energy(_mean)?|loudness.*|rms.*|intensity", "loudness"),
        (r"(log_)?energy_std", "loudness_changes"),
        (r"voiced_fraction|vuv", "voiced_share"),
        (r"spectral_centroid.*", "brightness"),
        (r"spectral_flux.*", "liveliness"),
        (r"jitter.*", "jitter"),
        (r"shimmer.*", "shimmer"),
    ),
    "vision": (
        (r"au0?1_r", "inner_brow_raise"),
        (r"au0?2_r", "outer_brow_raise"),
        (r"au0?4_r", "brow_lowering"),
        (r"au0?6_r", "cheek_raise"),
        (r"au0?7_r", "lid_tightening"),
        (r"au0?9_r", "nose_wrinkle"),
        (r"au10_r", "upper_lip_raise"),
        (r"au12_r", "smile"),
        (r"au14_r", "dimpler"),
        (r"au15_r", "mouth_corners_down"),
        (r"au17_r", "chin_raise"),
        (r"au20_r", "lip_stretch"),
        (r"au23_r", "lip_tightening"),
        (r"au25_r", "lips_apart"),
        (r"au26_r", "jaw_drop"),
        (r"au45_r", "blink"),
        (r"face_motion", "face_motion"),
        (r"head_size", "closeness"),
    ),
}
# Where nothing is measured these columns are 0, as for a pitch without voice.
_ZERO_IS_UNKNOWN: Final = frozenset({"pitch", "pitch_movement", "jitter", "shimmer", "face_motion", "closeness"})


@dataclass(frozen=True)
class NamedColumn:
    """A column with a known meaning.

    Attributes:
        modality: "audio" or "vision".
        index: Place in a frame.
        meaning: One of the meanings that sentences exist for.
    """

    modality: str
    index: int
    meaning: str


@dataclass(frozen=True)
class ColumnScale:
    """How the training samples' means of a column spread.

    Attributes:
        mean: Mean over samples.
        std: Standard deviation over samples, positive.
    """

    mean: float
    std: float


@dataclass(frozen=True)
class Deviation:
    """A column in which a sample differs from the training samples.

    Attributes:
        modality: "audio" or "vision".
        meaning: What the column measures.
        level: −2 (clearly lower), −1, 1 or 2 (clearly higher).
    """

    modality: str
    meaning: str
    level: int


def find_named_columns(feature_names: Mapping[str, Sequence[str]]) -> list[NamedColumn]:
    """Finds the columns with a known meaning, the first column of each meaning.

    Args:
        feature_names: Of a manifest: names by modality.

    Returns:
        The columns.
    """
    found: dict[str, NamedColumn] = {}
    for modality, patterns in _PATTERNS.items():
        for index, name in enumerate(feature_names.get(modality) or ()):
            for pattern, meaning in patterns:
                if meaning not in found and re.fullmatch(pattern, name.strip().lower()):
                    found[meaning] = NamedColumn(modality, index, meaning)
    return list(found.values())


def column_mean(frames: np.ndarray, column: NamedColumn) -> float | None:
    """Gives a sample's mean of a column over the frames that were observed; None where there are none.

    Args:
        frames: (n, D) float32, raw.
        column: In that modality.
    """
    values = frames[np.any(frames != 0, axis=1), column.index].astype(np.float64)
    values = values[np.isfinite(values)]
    if column.meaning in _ZERO_IS_UNKNOWN:
        values = values[values != 0]
    return float(values.mean()) if len(values) else None


def fit_scales(samples: Sequence[Mapping[str, np.ndarray]], columns: Sequence[NamedColumn]) -> dict[str, ColumnScale]:
    """Fits mean and spread of each column over samples.

    Args:
        samples: (n, D) frames by modality, one mapping per training sample.
        columns: The columns.

    Returns:
        Scale by meaning; columns that hardly ever vary or occur are left out. Numbers are rounded to six digits, so
        that platforms agree on them.
    """
    scales = {}
    for column in columns:
        means = [column_mean(frames[column.modality], column) for frames in samples if column.modality in frames]
        values = np.array([mean for mean in means if mean is not None])
        if len(values) >= 2 and values.std() > 1e-6:
            scales[column.meaning] = ColumnScale(float(f"{values.mean():.6g}"), float(f"{values.std():.6g}"))
    return scales


def find_deviations(
    frames: Mapping[str, np.ndarray], columns: Sequence[NamedColumn], scales: Mapping[str, ColumnScale]
) -> list[Deviation]:
    """Finds where a sample differs from the training samples.

    Args:
        frames: (n, D) frames by modality, of one sample.
        columns: The columns.
        scales: As `fit_scales` gives them.

    Returns:
        At most four deviations per modality, the largest first.
    """
    found: list[tuple[float, Deviation]] = []
    for column in columns:
        scale, values = scales.get(column.meaning), frames.get(column.modality)
        mean = column_mean(values, column) if scale is not None and values is not None else None
        if scale is None or mean is None:
            continue
        distance = (mean - scale.mean) / scale.std
        if abs(distance) >= _SLIGHT:
            level = (2 if abs(distance) >= _CLEAR else 1) * (1 if distance > 0 else -1)
            found.append((abs(distance), Deviation(column.modality, column.meaning, level)))
    found.sort(key=lambda item: (-item[0], item[1].meaning))
    return [
        deviation
        for modality in _PATTERNS
        for deviation in [each for _, each in found if each.modality == modality][:_MAX_MENTIONED]
    ]
