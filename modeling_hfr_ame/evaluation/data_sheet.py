"""A data sheet: what a stored dataset holds, in numbers that one reads before training on it.

Everything is counted in one pass over the rows; nothing is taken from the manifest but names and ranges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.data import load_stored_dataset, read_manifest, stored_rows
from modeling_hfr_ame.data.schema import FRAME_COLUMNS
from modeling_hfr_ame.feature_scaling import FrameMoments

_QUANTILES = (0.0, 0.5, 0.95, 1.0)
_WORST_FEATURES = 3


@dataclass(frozen=True)
class ModalitySheet:
    """One modality of one split.

    Attributes:
        present: Rows that have it.
        lengths: Words or frames of each such row.
        zero_frames: Share of frames that are exactly zero.
        non_finite: Share of values that are NaN or infinite.
    """

    present: int
    lengths: np.ndarray
    zero_frames: float = 0.0
    non_finite: float = 0.0


@dataclass(frozen=True)
class SplitSheet:
    """One split.

    Attributes:
        labels: All labels, (N,).
        modalities: Text, audio and vision.
        videos: Distinct videos.
        complete: Rows with all three modalities.
    """

    labels: np.ndarray
    modalities: dict[str, ModalitySheet]
    videos: frozenset[str]
    complete: int


@dataclass(frozen=True)
class DataSheet:
    """A whole stored dataset.

    Attributes:
        manifest: The manifest.
        splits: Split name to its sheet.
        feature_mean: Per-feature mean over all valid frames of all splits, by modality; empty where it never occurs.
        feature_std: The same for the standard deviation.
    """

    manifest: dict[str, Any]
    splits: dict[str, SplitSheet]
    feature_mean: dict[str, np.ndarray]
    feature_std: dict[str, np.ndarray]

    def lines(self) -> Iterator[str]:
        """The sheet as text, one line at a time."""
        low, high = self.manifest["label_range"]
        yield f"{self.manifest['dataset_name']}: labels in [{low:g}, {high:g}], built by {self.manifest['builder']}"
        for name, split in self.splits.items():
            yield from _split_lines(name, split)
        yield from self._overlap_lines()
        for modality in FRAME_COLUMNS:
            yield from self._feature_lines(modality)

    def _overlap_lines(self) -> Iterator[str]:
        names = list(self.splits)
        for index, first in enumerate(names):
            for second in names[index + 1 :]:
                shared = self.splits[first].videos & self.splits[second].videos
                if shared:
                    yield f"{first} and {second} share {len(shared)} videos: scores on {second} measure known speakers"

    def _feature_lines(self, modality: str) -> Iterator[str]:
        std, mean = self.feature_std[modality], self.feature_mean[modality]
        if not len(std):
            yield f"{modality}: in no row"
            return
        constant = int((std == 0).sum())
        yield (
            f"{modality}: {len(std)} features, standard deviations {std.min():.3g} to {std.max():.3g}, means "
            f"{mean.min():.3g} to {mean.max():.3g}" + (f", {constant} constant" if constant else "")
        )
        names = (self.manifest.get("feature_names") or {}).get(modality) or [str(i) for i in range(len(std))]
        widest = np.argsort(std)[::-1][:_WORST_FEATURES]
        yield f"{modality}: widest features " + ", ".join(f"{names[i]} ({mean[i]:.3g} ± {std[i]:.3g})" for i in widest)


def _split_lines(name: str, split: SplitSheet) -> Iterator[str]:
    labels = split.labels
    yield (
        f"{name}: {len(labels)} rows of {len(split.videos)} videos, {split.complete} with all three modalities; labels "
        f"{labels.min():g} to {labels.max():g}, mean {labels.mean():.3f} ± {labels.std():.3f}, "
        f"{(labels < 0).mean():.1%} negative, {(labels == 0).mean():.1%} zero"
    )
    for modality, sheet in split.modalities.items():
        if not sheet.present:
            yield f"  {modality}: absent in every row"
            continue
        quantiles = " / ".join(f"{value:.0f}" for value in np.quantile(sheet.lengths, _QUANTILES))
        unit = "words" if modality == "text" else "frames"
        absent = f"absent in {1 - sheet.present / len(labels):.1%} of rows"
        line = f"  {modality}: {absent}; {unit} min / median / 95 % / max {quantiles}"
        if modality != "text":
            line += f"; zero frames {sheet.zero_frames:.1%}, non-finite values {sheet.non_finite:.2%}"
        yield line


class _Frames:
    """Running counts of one frame modality in one split."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.zero = self.bad = self.values = 0

    def add(self, frames: np.ndarray) -> None:
        self.lengths.append(len(frames))
        self.zero += int((~frames.any(axis=1)).sum())
        self.bad += int(frames.size - np.isfinite(frames).sum())
        self.values += frames.size

    def sheet(self) -> ModalitySheet:
        total = sum(self.lengths)
        return ModalitySheet(
            len(self.lengths), np.array(self.lengths), self.zero / max(total, 1), self.bad / max(self.values, 1)
        )


def read_data_sheet(folder: str | Path) -> DataSheet:
    """Counts what a stored dataset holds.

    Args:
        folder: The stored dataset.

    Returns:
        The sheet.

    Raises:
        DataError: The folder is no stored dataset, or a file of it can't be read.
    """
    manifest = read_manifest(folder)
    moments = {name: FrameMoments(manifest["feature_sizes"][name], name) for name in FRAME_COLUMNS}
    splits = {}
    for name in manifest["counts"]:
        labels: list[float] = []
        words: list[int] = []
        frames = {modality: _Frames() for modality in FRAME_COLUMNS}
        videos, complete = set(), 0
        for row in stored_rows(load_stored_dataset(folder, name)):
            labels.append(row["label"])
            videos.add(row["video_id"])
            if row["text"] is not None:
                words.append(len(row["text"].split()))
            for modality in FRAME_COLUMNS:
                if row[modality] is not None:
                    frames[modality].add(row[modality])
                    moments[modality].update(row[modality])
            complete += all(row[modality] is not None for modality in ("text", *FRAME_COLUMNS))
        modalities = {"text": ModalitySheet(len(words), np.array(words))}
        modalities |= {modality: counts.sheet() for modality, counts in frames.items()}
        splits[name] = SplitSheet(np.array(labels), modalities, frozenset(videos), complete)
    fitted = {name: moments[name].result() if moments[name].num_frames else ([], []) for name in FRAME_COLUMNS}
    return DataSheet(
        manifest,
        splits,
        {name: np.array(mean) for name, (mean, _) in fitted.items()},
        {name: np.array(std) for name, (_, std) in fitted.items()},
    )
