"""Corruptions of audio and vision: (frames, features) arrays of standardised features.

Both modalities are sequences of frames and share every kind; the modality only selects the random draws.

Design choices:

- A frame that is exactly zero was not observed (no face, a dropped packet). It stays exactly zero under every kind, so
  that a model can still recognise it; it takes no part in noise power, blur weights or impulses. Filling it in would
  turn a hole into data.
- Values are not clipped afterwards: clipping noise would change the signal-to-noise ratio that the level promises.
- Arithmetic is done in float64, element by element, and rounded once to float32, so results don't depend on thread
  count or batch shape.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import fft

from modeling_hfr_ame.corruption.keyed_draws import KeyedDraws, SampleKey
from modeling_hfr_ame.corruption.protocol import FRAME_MODALITIES, Corruption
from modeling_hfr_ame.corruption.runs import count_share, draw_run
from modeling_hfr_ame.errors import ConfigError, InputError

Frames = npt.NDArray[np.float32]

IMPULSE_VALUE = 4.0
# freezes are laid out in segments of this many frames, so that holds come in runs instead of single repeats
FREEZE_SEGMENT = (4, 16)
# as in scipy.ndimage, the Gaussian is cut off after this many standard deviations
BLUR_TRUNCATE = 4.0


def corrupt_frames(frames: Frames, corruption: Corruption | None, key: SampleKey, modality: str) -> Frames:
    """Damages one sample's audio or vision.

    Args:
        frames: (n, D) float32, standardised, without padding; n and D may be 0. Not modified.
        corruption: What to do; None for nothing.
        key: The sample, which selects the random draws.
        modality: "audio" or "vision".

    Returns:
        (n, D) float32, a new array. At severity 0 it holds the same bytes as `frames`.

    Raises:
        InputError: `frames` has another shape or dtype or a value that is not finite, or the corruption is "missing",
            which leaves no frames to return.
        ConfigError: The modality is not a frame modality or lacks the kind.
    """
    _check_frames(frames, modality)
    if corruption is None:
        return frames.copy()
    corruption.check_modality(modality)
    if corruption.removes_modality:
        raise InputError(
            f"'missing' makes {modality} absent, so there are no frames to return; "
            "test Corruption.removes_modality first, or use corrupt_sample"
        )
    if corruption.severity == 0.0 or frames.size == 0:
        return frames.copy()
    corrupted = _FRAME_KINDS[corruption.kind](frames, corruption.parameter, KeyedDraws(key, modality, corruption.kind))
    corrupted[~find_observed(frames)] = 0.0
    return corrupted


def find_observed(frames: Frames) -> npt.NDArray[np.bool_]:
    """Tells observed frames from those that are exactly zero in every feature.

    Args:
        frames: (n, D).

    Returns:
        (n,) bool, True where observed.
    """
    return np.any(frames != 0.0, axis=1)


def _check_frames(frames: Frames, modality: str) -> None:
    if modality not in FRAME_MODALITIES:
        raise ConfigError(
            f"frames belong to {' or '.join(FRAME_MODALITIES)}, found modality {modality!r}; use corrupt_words for text"
        )
    if not isinstance(frames, np.ndarray) or frames.ndim != 2 or frames.dtype != np.float32:
        found = f"{frames.dtype} {frames.shape}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise InputError(
            f"{modality} frames must be a float32 array of shape (frames, features), found {found}; "
            "encode the sample with the processor first"
        )
    if not np.isfinite(frames).all():
        raise InputError(
            f"{modality} frames must be finite, found {int((~np.isfinite(frames)).sum())} NaN or infinite values; "
            "encode the sample with the processor first"
        )


def _drop(frames: Frames, rate: float, draws: KeyedDraws) -> Frames:
    corrupted = frames.copy()
    corrupted[draws.uniform(len(frames)) < rate] = 0.0
    return corrupted


def _block(frames: Frames, rate: float, draws: KeyedDraws) -> Frames:
    corrupted = frames.copy()
    corrupted[draw_run(rate, len(frames), draws)] = 0.0
    return corrupted


def _noise(frames: Frames, snr_db: float, draws: KeyedDraws) -> Frames:
    # the drawn noise is scaled by its own power, so the ratio holds for this sample and not only on average
    signal = frames.astype(np.float64)
    noise = draws.normal(*frames.shape)
    noise[~find_observed(frames)] = 0.0
    signal_power = np.square(signal).sum()
    if signal_power == 0.0:
        return frames.copy()
    scale = math.sqrt(signal_power / np.square(noise).sum()) * 10.0 ** (-snr_db / 20.0)
    return (signal + scale * noise).astype(np.float32)


def _blur(frames: Frames, sigma: float, draws: KeyedDraws) -> Frames:
    # convolution of values and of the observed flags with the same kernel; their quotient is a weighted mean over
    # observed frames, so neither the ends nor holes pull the result towards zero
    observed = find_observed(frames).astype(np.float64)[:, None]
    values = frames.astype(np.float64)
    total, weight = values.copy(), observed.copy()
    for step in range(1, min(int(BLUR_TRUNCATE * sigma + 0.5), len(frames) - 1) + 1):
        factor = math.exp(-0.5 * (step / sigma) ** 2)
        for accumulated, source in ((total, values), (weight, observed)):
            accumulated[step:] += factor * source[:-step]
            accumulated[:-step] += factor * source[step:]
    return np.divide(total, weight, out=np.zeros_like(total), where=observed > 0.0).astype(np.float32)


def _lowpass(frames: Frames, cutoff: float, draws: KeyedDraws) -> Frames:
    frequencies = np.arange(len(frames)) / len(frames)
    removed = frequencies >= cutoff
    if not removed.any():
        return frames.copy()
    spectrum = fft.dct(frames.astype(np.float64), type=2, norm="ortho", axis=0)
    spectrum[removed] = 0.0
    return np.asarray(fft.idct(spectrum, type=2, norm="ortho", axis=0), dtype=np.float32)


def _freeze(frames: Frames, rate: float, draws: KeyedDraws) -> Frames:
    # Time is cut into segments of random length; each frame's place within its segment ranks it, and the frames ranked
    # highest are held. So holds are runs at the ends of segments, their number is exact, and they grow with the rate.
    length = len(frames)
    shortest, longest = FREEZE_SEGMENT
    sizes = shortest + (draws.uniform(length // shortest + 1) * (longest - shortest + 1)).astype(np.int64)
    ends = np.cumsum(sizes)
    segment = np.searchsorted(ends, np.arange(length), side="right")
    rank = 1.0 - (ends[segment] - np.arange(length)) / sizes[segment]
    rank[0] = -1.0  # before the first frame there is nothing to hold
    held = np.zeros(length, dtype=bool)
    held[np.argsort(-rank, kind="stable")[: min(count_share(rate, length), length - 1)]] = True
    latest_live = np.maximum.accumulate(np.where(held, 0, np.arange(length)))
    return frames[latest_live]


def _impulse(frames: Frames, share: float, draws: KeyedDraws) -> Frames:
    hit = draws.uniform(*frames.shape) < share
    sign = np.where(draws.uniform(*frames.shape) < 0.5, -1.0, 1.0)
    return np.where(hit, IMPULSE_VALUE * sign, frames).astype(np.float32)


_FRAME_KINDS: dict[str, Callable[[Frames, float, KeyedDraws], Frames]] = {
    "drop": _drop,
    "block": _block,
    "noise": _noise,
    "blur": _blur,
    "lowpass": _lowpass,
    "freeze": _freeze,
    "impulse": _impulse,
}
