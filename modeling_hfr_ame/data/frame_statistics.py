"""Mean and deviation of each frame feature of a stored dataset, and the way to standardised frames and back.

Corruption is defined on standardised frames, a stored dataset holds raw ones. The statistics in the manifest connect
the two without any model: they are fitted while the dataset is written, on the training split.

- The rules are those of the model's scaler: an exact zero frame was not observed and stays exactly zero, an entry that
  is not finite counts as the feature's mean. Nothing is clipped, because clipping would change what nobody corrupted.
- Rows are taken one by one in their order, so the statistics don't depend on how a writer groups them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling_hfr_ame.corruption.frames import find_observed
from modeling_hfr_ame.data.schema import FRAME_COLUMNS
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.feature_scaling import FrameMoments

TRAINING_SPLIT = "train"
_AGAIN = "prepare the dataset again with this version"

Frames = NDArray[np.float32]


class FrameStatisticsFit:
    """Fits the statistics while rows stream by.

    Args:
        feature_sizes: `{"audio": Da, "vision": Dv}`.
        splits: Names of all splits that will be written. The training split is fitted on where it is one of them, else
            every split is, because corrupting a dataset without training rows needs a scale as well.
    """

    def __init__(self, feature_sizes: Mapping[str, int], splits: Sequence[str]) -> None:
        self.fitted_on = [TRAINING_SPLIT] if TRAINING_SPLIT in splits else list(splits)
        self._moments = {name: FrameMoments(feature_sizes[name], name) for name in FRAME_COLUMNS}

    def update(self, split: str, row: Mapping[str, Any]) -> None:
        """Adds a row that `validate_row` returned, if its split is one that is fitted on."""
        if split in self.fitted_on:
            for name, moments in self._moments.items():
                if row[name] is not None:
                    moments.update(row[name])

    def result(self) -> dict[str, Any]:
        """Gives the manifest's `frame_statistics`.

        Returns:
            `fitted_on`, and per modality `mean` and `std` (D floats each), or None where no usable frame occurred.
        """
        statistics: dict[str, Any] = {"fitted_on": self.fitted_on}
        for name, moments in self._moments.items():
            statistics[name] = None
            if moments.num_frames:
                mean, std = moments.result()
                statistics[name] = {"mean": mean, "std": std}
        return statistics


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class FrameStatistics:
    """Mean and standard deviation per feature, for both frame modalities.

    Args:
        scales: Per modality (mean, std), two (D,) float64 arrays; None where the dataset has no such frames.
    """

    scales: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]] | None]

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> FrameStatistics:
        """Reads the statistics of a stored dataset.

        Raises:
            DataError: The manifest holds none, or the wrong number of values.
        """
        found = manifest.get("frame_statistics")
        if found is None:
            raise DataError(
                f"corruption needs frame_statistics in the manifest, found none for {manifest['dataset_name']!r}; "
                f"{_AGAIN}"
            )
        scales: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]] | None] = {}
        for name in FRAME_COLUMNS:
            scales[name] = None
            if found.get(name) is not None:
                mean, std = (np.asarray(found[name][key], dtype=np.float64) for key in ("mean", "std"))
                size = manifest["feature_sizes"][name]
                if mean.shape != (size,) or std.shape != (size,) or not (std > 0).all():
                    raise DataError(
                        f"frame_statistics of {name} must hold {size} means and {size} positive deviations, found "
                        f"{mean.size} and {std.size}; {_AGAIN}"
                    )
                scales[name] = mean, std
        return cls(scales)

    def standardise(self, frames: Frames, modality: str) -> Frames:
        """Gives frames in units of standard deviations.

        Args:
            frames: (n, D) float32 raw; may hold values that are not finite. Not modified.
            modality: "audio" or "vision".

        Returns:
            (n, D) float32, finite, not clipped: zero frames are exactly zero, and so is an entry that is not finite or
            whose standardised value float32 can't hold.

        Raises:
            DataError: There are no statistics of that modality.
        """
        mean, std = self._scale_of(modality)
        finite = np.isfinite(frames)
        with np.errstate(over="ignore"):
            scaled = ((np.where(finite, frames, 0.0).astype(np.float64) - mean) / std).astype(np.float32)
        scaled[~(finite & np.isfinite(scaled))] = 0.0
        scaled[~find_observed(frames)] = 0.0
        return scaled

    def restore(self, corrupted: Frames, standardised: Frames, frames: Frames, modality: str) -> Frames:
        """Maps corrupted frames back to raw units; what the corruption left alone keeps its raw bits.

        Args:
            corrupted: (n, D) float32, what became of `standardised`.
            standardised: (n, D) float32, what `standardise` gave.
            frames: (n, D) float32 raw.
            modality: "audio" or "vision".

        Returns:
            (n, D) float32 raw, a new array. A frame that was removed is exactly zero in every feature.

        Raises:
            DataError: There are no statistics of that modality.
        """
        mean, std = self._scale_of(modality)
        with np.errstate(over="ignore"):
            raw = (corrupted.astype(np.float64) * std + mean).astype(np.float32)
        removed = find_observed(standardised) & ~find_observed(corrupted)
        raw[removed] = 0.0
        unchanged = (corrupted == standardised) & ~removed[:, None]
        return np.where(unchanged, frames, raw)

    def _scale_of(self, modality: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        scale = self.scales[modality]
        if scale is None:
            raise DataError(
                f"corrupting {modality} needs its mean and deviation, found none in frame_statistics because the rows "
                f"they were fitted on have no {modality}; leave {modality} out of the recipe, or add such rows to the "
                "training split"
            )
        return scale
