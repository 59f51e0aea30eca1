"""Frame features and their fitted scaling: what the audio and the vision extractor share.

Design choices:

- The scaler lives in the extractor's JSON, so training and prediction can't use different statistics. Means and
  deviations are float64; JSON keeps float64 exactly, hence a reloaded extractor gives the same float32 bits.
- Frames become float32 before anything else, so a live clip and its float32 copy in a stored dataset standardise alike.
- A raw frame that is exactly zero in every feature means "not observed". It takes no part in the fit and stays exactly
  zero, because the model reads exact zero rows as unobserved.
- Repairs are counted, never silent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor

from .errors import ConfigError, InputError
from .hub_backbones import NATIVE_BACKEND, backend_name, pinned_hub_model

Array = np.ndarray[Any, Any]

# A spread this far below the mean is rounding noise of a constant feature.
_RELATIVE_CONSTANT_STD = 1e-10


@dataclass(frozen=True)
class RepairCounts:
    """Counts what was changed between raw input and model input.

    Attributes:
        non_finite: Rule *non-finite to mean*: feature entries that were NaN, infinite or too large for float32 and
            became 0 after standardisation, which is the feature's mean. `-inf` occurs in MOSI's COVAREP frames.
        clipped: Rule *clip*: standardised entries beyond ±`clip_value` that were moved to the bound.
        zero_frames: Rule *zero stays zero*: raw frames that were exactly zero in every feature and were kept so.
        truncated: Rule *truncate at the end*: time steps (frames or tokens) dropped because the input was too long.
    """

    non_finite: int = 0
    clipped: int = 0
    zero_frames: int = 0
    truncated: int = 0

    def __add__(self, other: "RepairCounts") -> "RepairCounts":
        return RepairCounts(
            non_finite=self.non_finite + other.non_finite,
            clipped=self.clipped + other.clipped,
            zero_frames=self.zero_frames + other.zero_frames,
            truncated=self.truncated + other.truncated,
        )


def as_numpy(values: Any) -> Array:
    """Returns a numpy view or copy of an array, a torch tensor (any device, bfloat16 too) or a nested list.

    Raises:
        InputError: If a nested list isn't rectangular.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"arrays must be rectangular; numpy says: {error}. Give one row per time step.") from error


def as_frames(values: Any, feature_size: int, modality: str) -> Array:
    """Checks precomputed frames and casts them to float32.

    Args:
        values: (n, D) real numbers of any integer or float dtype; array, tensor or nested list.
        feature_size: D that the model expects.
        modality: `"audio"` or `"vision"`, for messages.

    Returns:
        (n, D) float32. A float64 entry that float32 can't hold becomes infinite; `standardise` repairs and counts it.

    Raises:
        InputError: If the array is not 2-D and numeric, has no frame, or has another width.
    """
    frames = as_numpy(values)
    if frames.ndim != 2:
        raise InputError(
            f"{modality} frames must be 2-D (frames, features); found shape {frames.shape}. "
            "Give one clip at a time, one row per frame."
        )
    if frames.dtype.kind not in "fiu":
        raise InputError(
            f"{modality} frames must be real numbers; found dtype {frames.dtype}. Convert them to float32 first."
        )
    if frames.shape[0] == 0:
        raise InputError(f"{modality} needs at least one frame; found none. Pass None for an absent modality.")
    if frames.shape[1] != feature_size:
        raise InputError(
            f"{modality} feature width {frames.shape[1]} does not match the model's {feature_size} "
            f"(HfrAmeConfig.{modality}_config.feature_size); prepare the data with the features that the model was "
            "trained on, or build a model of that width."
        )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(frames, dtype=np.float32)


def stack_padded(rows: Sequence[Array | None], length: int, fill: float = 0.0) -> tuple[Array, Array]:
    """Stacks rows of unequal length with padding at the end.

    Args:
        rows: One array (n_i, ...) per row with equal trailing shapes and dtypes; None gives an all-padding row.
            At least one row is an array.
        length: Padded length, at least every n_i.
        fill: Padding value.

    Returns:
        Values (B, length, ...) and the bool mask (B, length), True = valid.
    """
    present = [row for row in rows if row is not None]
    lengths = np.array([0 if row is None else len(row) for row in rows])
    mask = np.arange(length)[None, :] < lengths[:, None]
    values = np.full((len(rows), length, *present[0].shape[1:]), fill, dtype=present[0].dtype)
    values[mask] = np.concatenate(present)
    return values, mask


class FrameMoments:
    """Accumulates per-feature mean and standard deviation over a stream of clips in float64.

    Args:
        feature_size: D.
        modality: `"audio"` or `"vision"`, for messages.

    Attributes:
        num_frames: Frames seen so far that were not exactly zero.

    Source:
        Chan, Golub and LeVeque's pairwise update; the tests compare with scikit-learn's `StandardScaler`.
    """

    def __init__(self, feature_size: int, modality: str) -> None:
        self.modality = modality
        self.num_frames = 0
        self._count = np.zeros(feature_size, dtype=np.int64)
        self._mean = np.zeros(feature_size)
        self._squares = np.zeros(feature_size)

    def update(self, frames: Any) -> None:
        """Adds the frames (n, D) of one clip, leaving out exact zero frames and non-finite entries."""
        values = as_frames(frames, len(self._mean), self.modality)
        values = values[values.any(axis=1)].astype(np.float64)
        finite = np.isfinite(values)
        count = finite.sum(axis=0)
        mean = np.where(finite, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = np.square(np.where(finite, np.where(finite, values, 0.0) - mean, 0.0)).sum(axis=0)
        total = self._count + count
        shift = mean - self._mean
        weight = count / np.maximum(total, 1)
        self._squares += squares + shift**2 * self._count * weight
        self._mean += shift * weight
        self._count = total
        self.num_frames += len(values)

    def result(self) -> tuple[list[float], list[float]]:
        """Returns mean and population standard deviation, two lists of D floats; a constant feature gets 1.

        Raises:
            InputError: If no usable frame was seen.
        """
        if self.num_frames == 0:
            raise InputError(
                f"fitting the {self.modality} scaler needs at least one frame that is not all zero; found none. "
                "Give the raw (not standardised) frames of the training split."
            )
        std = np.sqrt(self._squares / np.maximum(self._count, 1))
        std = np.where(std <= _RELATIVE_CONSTANT_STD * np.abs(self._mean), 1.0, std)
        return self._mean.tolist(), std.tolist()


class FrameFeatureExtractor(SequenceFeatureExtractor):
    """Base of the two extractors: precomputed frames, fitted scaling, padding.

    Args:
        feature_size: D. None means the number of native features.
        sampling_rate: Samples (audio) or pictures (vision) per second that `extract` expects.
        frame_rate_hz: Feature frames per second.
        feature_names: D names. None means the native names where `feature_size` is None, else numbered names for
            precomputed features. Raw signals are accepted only under the native names.
        feature_mean: D floats, or None = not fitted: frames pass without scaling and without clipping.
        feature_std: D positive floats, or None together with `feature_mean`.
        clip_value: Bound of standardised values, in standard deviations; > 0.
        backend: `native`, or `hf:<id or path>` of the Hub model whose states are the features.
        backend_sha256: Hash of that model; None = the one that is there, which is loaded and pinned now.

    Raises:
        ConfigError: If a value is out of range, the lists disagree with `feature_size`, or there is no such model.
    """

    modality: ClassVar[str]
    native_feature_names: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        feature_size: int | None,
        sampling_rate: float,
        frame_rate_hz: float,
        feature_names: Sequence[str] | None,
        feature_mean: Sequence[float] | None,
        feature_std: Sequence[float] | None,
        clip_value: float,
        backend: str = NATIVE_BACKEND,
        backend_sha256: str | None = None,
        **kwargs: Any,
    ) -> None:
        if backend_name(backend) is not None and (feature_size is None or backend_sha256 is None):
            model = pinned_hub_model(self.modality, backend, backend_sha256)
            feature_size, backend_sha256 = model.feature_size, model.sha256
        self.backend, self.backend_sha256 = backend, backend_sha256
        if feature_names is None:
            numbered = [f"{self.modality}_{index}" for index in range(feature_size or 0)]
            feature_names = self.native_feature_names if feature_size is None else numbered
        self.feature_names = list(feature_names)
        self.frame_rate_hz = frame_rate_hz
        self.clip_value = clip_value
        kwargs.pop("padding_value", None)
        super().__init__(
            feature_size=len(self.feature_names) if feature_size is None else feature_size,
            sampling_rate=sampling_rate,  # the base class says int, but 2.5 pictures per second are fine
            padding_value=0.0,
            **kwargs,
        )
        if len(self.feature_names) != self.feature_size or self.feature_size < 1:
            raise ConfigError(
                f"{self.modality} feature_names must hold feature_size names; found {len(self.feature_names)} for "
                f"feature_size {self.feature_size}. Leave feature_names out to number them."
            )
        if not clip_value > 0 or not frame_rate_hz > 0:
            raise ConfigError(
                f"clip_value and frame_rate_hz must be positive; found {clip_value} and {frame_rate_hz}. "
                "Use the defaults unless the features were made at another rate."
            )
        self.feature_mean: list[float] | None = None
        self.feature_std: list[float] | None = None
        if feature_mean is not None or feature_std is not None:
            self.set_scaler(feature_mean or (), feature_std or ())

    @property
    def accepts_raw_signal(self) -> bool:
        """True where the features are the native ones or a Hub model's, so that `extract` can compute them."""
        return self.backend != NATIVE_BACKEND or self.feature_names == list(self.native_feature_names)

    def set_scaler(self, feature_mean: Sequence[float], feature_std: Sequence[float]) -> None:
        """Stores D means and D positive standard deviations.

        Raises:
            ConfigError: If a list has another length, or holds a non-finite number or a deviation that is not positive.
        """
        mean, std = np.asarray(feature_mean, dtype=np.float64), np.asarray(feature_std, dtype=np.float64)
        if mean.shape != (self.feature_size,) or std.shape != mean.shape:
            raise ConfigError(
                f"{self.modality} feature_mean and feature_std must both hold {self.feature_size} numbers; found "
                f"{mean.size} and {std.size}. Fit them with fit_scaler."
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ConfigError(
                f"{self.modality} feature_mean must be finite and feature_std positive; found other values. "
                "Fit them with fit_scaler."
            )
        self.feature_mean, self.feature_std = mean.tolist(), std.tolist()

    def fit_scaler(self, clips: Iterable[Any]) -> int:
        """Fits mean and standard deviation on raw frames, one pass, any number of clips.

        Args:
            clips: (n, D) raw frames per clip; exact zero frames and non-finite entries are left out.

        Returns:
            The number of frames used.

        Raises:
            InputError: If no usable frame was seen or a clip has another width.
        """
        moments = FrameMoments(self.feature_size, self.modality)
        for frames in clips:
            moments.update(frames)
        self.set_scaler(*moments.result())
        return moments.num_frames

    def standardise(self, frames: Any) -> Array:
        """Returns standardised frames (n, D) float32; see `standardise_counted`."""
        return self.standardise_counted(frames)[0]

    def standardise_counted(self, frames: Any) -> tuple[Array, RepairCounts]:
        """Standardises raw frames and counts the repairs.

        Args:
            frames: (n, D) raw frames, any real dtype.

        Returns:
            (n, D) float32, finite, within ±`clip_value` once the scaler is fitted; and the counts. Each value depends
            on its own entry and frame only.

        Raises:
            InputError: If the frames are not 2-D, not numeric, empty, or of another width.
        """
        raw = as_frames(frames, self.feature_size, self.modality)
        zero = ~raw.any(axis=1)
        bad = ~np.isfinite(raw)
        values = np.where(bad, np.float32(0), raw)
        clipped = 0
        if self.feature_mean is not None and self.feature_std is not None:
            scaled = (values.astype(np.float64) - np.array(self.feature_mean)) / np.array(self.feature_std)
            scaled[bad] = 0.0
            scaled[zero] = 0.0
            clipped = int((np.abs(scaled) > self.clip_value).sum())
            values = np.clip(scaled, -self.clip_value, self.clip_value).astype(np.float32)
        return values, RepairCounts(non_finite=int(bad.sum()), clipped=clipped, zero_frames=int(zero.sum()))

    def extract(self, signal: Any, rate: float | None = None) -> Array:
        """Turns one raw signal, or frames that are already computed, into raw features (n, D) float32."""
        raise NotImplementedError

    def __call__(
        self, signals: Any, rate: float | None = None, return_tensors: str | None = "pt", **kwargs: Any
    ) -> BatchFeature:
        """Extracts, standardises and pads one signal or a list of them.

        Args:
            signals: One raw signal, one (n, D) array of precomputed frames, or a list of such.
            rate: Samples or pictures per second of the raw signals; see `extract`.
            return_tensors: `"pt"`, `"np"` or None (= numpy).
            **kwargs: `sampling_rate`, the Hugging Face name of `rate`.

        Returns:
            `<modality>_values` (B, L, D) float32 and `<modality>_mask` (B, L) bool.
        """
        rate = kwargs.pop("sampling_rate", rate)
        if kwargs:
            raise InputError(
                f"unknown keyword(s) {sorted(kwargs)}; this extractor takes sampling_rate, return_tensors."
            )
        items = list(signals) if isinstance(signals, list | tuple) else [signals]
        if not items:
            raise InputError(f"{self.modality} needs at least one item; found an empty list. Give one signal or more.")
        rows = [self.standardise(self.extract(item, rate)) for item in items]
        values, mask = stack_padded(rows, max(map(len, rows)))
        names = (f"{self.modality}_values", f"{self.modality}_mask")
        return BatchFeature(dict(zip(names, (values, mask), strict=True)), tensor_type=return_tensors)
