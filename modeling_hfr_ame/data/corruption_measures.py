"""What a corruption did to a split: counts, realised shares and ratios, and a hash of the values.

Everything is measured on the rows that are stored, against the clean ones; nothing is taken over from the recipe.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from modeling_hfr_ame.corruption import CorruptionRecipe
from modeling_hfr_ame.corruption.frames import find_observed
from modeling_hfr_ame.data.frame_statistics import Frames, FrameStatistics
from modeling_hfr_ame.data.schema import FRAME_COLUMNS, SplitCounts, list_frame_columns

# Kinds that turn frames into exact zeros.
_DROPPING_KINDS = ("drop", "block")


class ContentDigest:
    """A sha256 over the values of rows in their order; files, compression and other columns have no part in it.

    Args:
        frame_columns: Columns that hold frames.
        decimals: Decimal places that the frames are rounded to; None = their exact bits.
    """

    def __init__(self, frame_columns: tuple[str, ...], decimals: int | None = None) -> None:
        self._frame_columns = frame_columns
        self._decimals = decimals
        self._digest = hashlib.sha256()

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row: its id, label, text and frames."""
        self._digest.update(json.dumps([row["id"], row["label"], row["text"]]).encode("ascii"))
        for name in self._frame_columns:
            frames = row[name]
            if frames is None:
                self._digest.update(b"|absent")
                continue
            self._digest.update(f"|{frames.shape}".encode("ascii"))
            values = frames.astype("<f4")
            if self._decimals is not None:
                # Adding zero turns −0.0 into 0.0, which rounding may leave on either side.
                values = np.round(frames.astype("<f8"), self._decimals) + 0.0
            self._digest.update(values.tobytes())

    def hexdigest(self) -> str:
        """Gives the hash of the rows so far as 64 hex digits."""
        return self._digest.hexdigest()


class CorruptionMeasures:
    """Compares the rows of a split before and after a corruption.

    Args:
        recipe: The corruption; it decides which measures are defined.
        feature_sizes: Widths of the frame columns.
        statistics: Scale in which the signal-to-noise ratio is defined.
    """

    def __init__(self, recipe: CorruptionRecipe, feature_sizes: Mapping[str, int], statistics: FrameStatistics) -> None:
        self._corruption = recipe.corruption
        self._modalities = recipe.modalities
        self._statistics = statistics
        self._counts = SplitCounts()
        self._content = ContentDigest(list_frame_columns(feature_sizes))
        self._words = _Share()
        self._frames = {name: _Share() for name in FRAME_COLUMNS}
        self._powers = {name: np.zeros(2) for name in FRAME_COLUMNS}  # of signal and noise

    def add(self, clean: Mapping[str, Any], corrupted: Mapping[str, Any]) -> None:
        """Adds one row, before and after."""
        self._counts.add(corrupted)
        self._content.add(corrupted)
        if clean["text"] is not None and corrupted["text"] is not None:
            self._words.add(_count_changed_words(clean["text"].split(), corrupted["text"].split()))
        for name in FRAME_COLUMNS:
            before, after = clean[name], corrupted[name]
            if before is not None and after is not None:
                observed = find_observed(before)
                self._frames[name].add((int((observed & ~find_observed(after)).sum()), int(observed.sum())))
                if self._corruption is not None and self._corruption.kind == "noise" and name in self._modalities:
                    self._powers[name] += self._measure_powers(before, after, name)

    def _measure_powers(self, before: Frames, after: Frames, name: str) -> np.ndarray:
        signal = self._statistics.standardise(before, name).astype(np.float64)
        noise = self._statistics.standardise(after, name) - signal
        return np.array([np.square(signal).sum(), np.square(noise).sum()])

    def result(self) -> dict[str, Any]:
        """Gives what the manifest says about the split.

        Returns:
            The counts of `SplitCounts`; `content_sha256`; and `realised`, where the recipe defines it: the share of
            words that differ, are lost or are gone (`words_changed`), the share of observed frames that became zero
            (`frames_dropped`), the signal-to-noise ratio in dB (`snr_db`). Shares leave removed modalities out.
        """
        realised: dict[str, Any] = {}
        if self._corruption is not None:
            frame_modalities = [name for name in FRAME_COLUMNS if name in self._modalities]
            if "text" in self._modalities and not self._corruption.removes_modality:
                realised["words_changed"] = self._words.value()
            if self._corruption.kind in _DROPPING_KINDS:
                realised["frames_dropped"] = {name: self._frames[name].value() for name in frame_modalities}
            if self._corruption.kind == "noise":
                realised["snr_db"] = {name: _decibel(*self._powers[name]) for name in frame_modalities}
        return {**vars(self._counts), "realised": realised, "content_sha256": self._content.hexdigest()}


class _Share:
    def __init__(self) -> None:
        self._hits = self._total = 0

    def add(self, counted: tuple[int, int]) -> None:
        self._hits += counted[0]
        self._total += counted[1]

    def value(self) -> float | None:
        return self._hits / self._total if self._total else None


def _count_changed_words(before: list[str], after: list[str]) -> tuple[int, int]:
    if len(before) != len(after):
        return len(before) - len(after), len(before)
    return sum(old != new for old, new in zip(before, after, strict=True)), len(before)


def _decibel(signal: float, noise: float) -> float | None:
    return 10.0 * math.log10(signal / noise) if signal > 0.0 and noise > 0.0 else None
