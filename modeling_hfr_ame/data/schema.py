"""The row contract of a stored dataset: which columns a row has, and what makes a row unusable.

A row is a mapping with `id`, `video_id`, `clip_id`, `text`, `audio`, `vision` and `label`; other keys are extra
columns. What can't be right (a label outside the range, a missing id, a wrong width) is refused. What real feature
files contain (non-finite feature values, frames that were not observed) is counted and stored as it is, because the
model's scaler has a rule for it.

`text_features` is a third frame column that a dataset may have: vectors of words whose words the source doesn't hold.
It is extra information and never makes text present.
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
TEXT_FEATURES = "text_features"
CORE_COLUMNS = (*IDENTITY_COLUMNS, "text", *FRAME_COLUMNS, "label")


def list_frame_columns(feature_sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Names the columns that hold frames: audio, vision and, where it has a width, `text_features`."""
    return (*FRAME_COLUMNS, TEXT_FEATURES) if TEXT_FEATURES in feature_sizes else FRAME_COLUMNS


def stored_features(
    feature_sizes: Mapping[str, int], extra_features: Mapping[str, Any] | None = None
) -> datasets.Features:
    """Gives the `datasets.Features` of a stored dataset.

    Args:
        feature_sizes: Frame widths, `{"audio": Da, "vision": Dv}`, each at least 1; also `text_features` where the
            dataset has that column.
        extra_features: Types of the extra columns in their order; None = no extra columns.

    Returns:
        The features, core columns first. A frame column is a list of fixed-length lists: a null stays null there,
        while `Array2D` turns it into NaN and fails on slices.

    Raises:
        DataError: A width is missing or below 1, or belongs to no column.
    """
    frame_columns = list_frame_columns(feature_sizes)
    if unknown := set(feature_sizes) - set(frame_columns):
        raise DataError(
            f"feature_sizes knows audio, vision and {TEXT_FEATURES}, found {', '.join(sorted(unknown))}; "
            "give other columns their type in extra_features"
        )
    for column in frame_columns:
        if feature_sizes.get(column, 0) < 1:
            raise DataError(
                f"feature_sizes needs a width of at least 1 for {column!r}, found {feature_sizes.get(column)!r}; "
                "give the width even where every row lacks the modality"
            )
    columns: dict[str, Any] = {name: datasets.Value("string") for name in (*IDENTITY_COLUMNS, "text")}
    for column in frame_columns:
        columns[column] = datasets.List(datasets.List(datasets.Value("float32"), length=feature_sizes[column]))
    columns["label"] = datasets.Value("float64")
    return datasets.Features({**columns, **(extra_features or {})})


def validate_row(
    row: Mapping[str, Any], *, label_range: Sequence[float], feature_sizes: Mapping[str, int], split: str | None = None
) -> dict[str, Any]:
    """Checks one row against the contract and brings it to the stored types.

    Args:
        row: Core columns and any extra columns. `text` None = absent; `audio`, `vision`: (n, D) with n >= 1, any real
            dtype, None = absent. `text_features` likewise; it may be left out. Non-finite feature values are allowed.
        label_range: Lowest and highest label, both allowed.
        feature_sizes: `{"audio": Da, "vision": Dv}`, and `text_features` where the dataset has that column.
        split: Name of the split, for messages; None = not known.

    Returns:
        A new dict: identities as str, label as float, frames as C-contiguous float32 (n, D) or None.

    Raises:
        DataError: A core column is missing, an identity is empty, the label isn't a finite number in the range, the
            text is blank, frames have a wrong shape or no stated width, or no modality is present.
    """
    where = f"row {row.get('id')!r}" + ("" if split is None else f" of {split!r}")
    missing = [name for name in CORE_COLUMNS if name not in row]
    if missing:
        raise DataError(
            f"a row needs the columns {', '.join(CORE_COLUMNS)}; {where} lacks {', '.join(missing)}; "
            "set an absent modality to None"
        )
    checked = dict(row)
    for name in IDENTITY_COLUMNS:
        if not isinstance(row[name], str) or not row[name]:
            raise DataError(
                f"{name} must be a non-empty string, found {row[name]!r} in {where}; "
                "read identities as strings so that leading zeros stay"
            )
    checked["label"] = _check_label(row["label"], where, label_range)
    checked["text"] = _check_text(row["text"], where)
    for column in list_frame_columns(feature_sizes):
        checked[column] = _check_frames(row.get(column), where, column, feature_sizes[column])
    if TEXT_FEATURES not in feature_sizes and checked.pop(TEXT_FEATURES, None) is not None:
        raise DataError(
            f"feature_sizes states the width of every frame column, found frames in {TEXT_FEATURES!r} of {where} and "
            "no width; add it to feature_sizes"
        )
    if all(checked[name] is None for name in ("text", *FRAME_COLUMNS)):
        raise DataError(f"a row needs at least one of text, audio and vision; {where} has none; leave the row out")
    return checked


def _check_label(label: object, where: str, label_range: Sequence[float]) -> float:
    low, high = label_range
    value = float(label) if isinstance(label, (int, float, np.integer, np.floating)) else math.nan
    if not (math.isfinite(value) and low <= value <= high):
        raise DataError(
            f"a label must be a finite number in [{low:g}, {high:g}], found {label!r} in {where}; "
            "correct the label or state the dataset's own label_range"
        )
    return value


def _check_text(text: object, where: str) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or not text.strip():
        raise DataError(
            f"text must be a string with at least one word, found {text!r} in {where}; set an absent text to None"
        )
    return text


def _check_frames(frames: object, where: str, column: str, size: int) -> np.ndarray | None:
    if frames is None:
        return None
    try:
        array = np.asarray(frames)
    except ValueError as error:
        raise DataError(
            f"{column} must be an array of numbers with shape (n >= 1, {size}), found rows of unequal length in "
            f"{where}; give every frame the same features"
        ) from error
    if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] != size or array.dtype.kind not in "fiu":
        raise DataError(
            f"{column} must be an array of numbers with shape (n >= 1, {size}), found {array.dtype} {array.shape} "
            f"in {where}; set an absent modality to None"
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
