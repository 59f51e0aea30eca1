"""The row contract of a stored dataset: which columns a row has, and what makes a row unusable.

A row is a mapping with `id`, `video_id`, `clip_id`, `text`, `audio`, `vision` and `label`; other keys are extra
columns. What can't be right (a label outside the range, a missing id, a wrong width) is refused. What real feature
files contain (non-finite feature values, frames that were not observed) is counted and stored as it is, because the
model's scaler has a rule for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np

from modeling_hfr_ame.errors import DataError

IDENTITY_COLUMNS = ("id", "video_id", "clip_id")
FRAME_COLUMNS = ("audio", "vision")
CORE_COLUMNS = (*IDENTITY_COLUMNS, "text", *FRAME_COLUMNS, "label")


def stored_features(
    feature_sizes: Mapping[str, int], extra_features: Mapping[str, Any] | None = None
) -> datasets.Features:
    """Gives the `datasets.Features` of a stored dataset.

    Args:
        feature_sizes: Frame widths, `{"audio": Da, "vision": Dv}`, each at least 1.
        extra_features: Types of the extra columns in their order; None = no extra columns.

    Returns:
        The features, core columns first. A frame column is a list of fixed-length lists: a null stays null there,
        while `Array2D` turns it into NaN and fails on slices.

    Raises:
        DataError: A width is missing or below 1.
    """
    for modality in FRAME_COLUMNS:
        if feature_sizes.get(modality, 0) < 1:
            raise DataError(
                f"feature_sizes needs a width of at least 1 for {modality!r}, found {feature_sizes.get(modality)!r}; "
                "give the width even where every row lacks the modality"
            )
    columns: dict[str, Any] = {name: datasets.Value("string") for name in (*IDENTITY_COLUMNS, "text")}
    for modality in FRAME_COLUMNS:
        columns[modality] = datasets.List(datasets.List(datasets.Value("float32"), length=feature_sizes[modality]))
    columns["label"] = datasets.Value("float64")
    return datasets.Features({**columns, **(extra_features or {})})


def validate_row(
    row: Mapping[str, Any], *, label_range: Sequence[float], feature_sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Checks one row against the contract and brings it to the stored types.

    Args:
        row: Core columns and any extra columns. `text` None = absent; `audio`, `vision`: (n, D) with n >= 1, any real
            dtype, None = absent. Non-finite feature values are allowed.
        label_range: Lowest and highest label, both allowed.
        feature_sizes: `{"audio": Da, "vision": Dv}`.

    Returns:
        A new dict: identities as str, label as float, frames as C-contiguous float32 (n, D) or None.

    Raises:
        DataError: A core column is missing, an identity is empty, the label isn't a finite number in the range, the
            text is blank, frames have a wrong shape, or no modality is present.
    """
    missing = [name for name in CORE_COLUMNS if name not in row]
    if missing:
        raise DataError(
            f"a row needs the columns {', '.join(CORE_COLUMNS)}; row {row.get('id')!r} lacks {', '.join(missing)}; "
            "set an absent modality to None"
        )
    checked = dict(row)
    for name in IDENTITY_COLUMNS:
        if not isinstance(row[name], str) or not row[name]:
            raise DataError(
                f"{name} must be a non-empty string, found {row[name]!r} in row {row['id']!r}; "
                "read identities as strings so that leading zeros stay"
            )
    checked["label"] = _check_label(row["label"], row["id"], label_range)
    checked["text"] = _check_text(row["text"], row["id"])
    for modality in FRAME_COLUMNS:
        checked[modality] = _check_frames(row[modality], row["id"], modality, feature_sizes[modality])
    if all(checked[name] is None for name in ("text", *FRAME_COLUMNS)):
        raise DataError(
            f"a row needs at least one of text, audio and vision; row {row['id']!r} has none; leave the row out"
        )
    return checked


def _check_label(label: object, row_id: str, label_range: Sequence[float]) -> float:
    low, high = label_range
    value = float(label) if isinstance(label, (int, float, np.integer, np.floating)) else math.nan
    if not (math.isfinite(value) and low <= value <= high):
        raise DataError(
            f"a label must be a finite number in [{low:g}, {high:g}], found {label!r} in row {row_id!r}; "
            "correct the label or state the dataset's own label_range"
        )
    return value


def _check_text(text: object, row_id: str) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or not text.strip():
        raise DataError(
            f"text must be a string with at least one word, found {text!r} in row {row_id!r}; set an absent text "
            "to None"
        )
    return text


def _check_frames(frames: object, row_id: str, modality: str, size: int) -> np.ndarray | None:
    if frames is None:
        return None
    array = np.asarray(frames)
    if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] != size or array.dtype.kind not in "fiu":
        raise DataError(
            f"{modality} must be an array of numbers with shape (n >= 1, {size}), found {array.dtype} {array.shape} "
            f"in row {row_id!r}; set an absent modality to None"
        )
    # A float64 beyond float32's range becomes inf, which the counts below report.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


@dataclass
class SplitCounts:
    """What one split holds, for the manifest.

    Attributes:
        rows: Rows.
        present: Rows per modality that have it.
        all_three: Rows that have text, audio and vision.
        frames: Frames per frame modality.
        non_finite_values: NaN and infinite feature values per frame modality.
        zero_frames: Frames that are exactly zero in every feature (not observed), per frame modality.
    """

    rows: int = 0
    present: dict[str, int] = field(default_factory=lambda: {"text": 0, "audio": 0, "vision": 0})
    all_three: int = 0
    frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FRAME_COLUMNS, 0))
    non_finite_values: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FRAME_COLUMNS, 0))
    zero_frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FRAME_COLUMNS, 0))

    def add(self, row: Mapping[str, Any]) -> None:
        """Counts one row that `validate_row` returned."""
        self.rows += 1
        for modality in self.present:
            self.present[modality] += row[modality] is not None
        self.all_three += all(row[modality] is not None for modality in self.present)
        for modality in FRAME_COLUMNS:
            frames = row[modality]
            if frames is not None:
                self.frames[modality] += len(frames)
                self.non_finite_values[modality] += int(frames.size - np.isfinite(frames).sum())
                self.zero_frames[modality] += int((~frames.any(axis=1)).sum())
