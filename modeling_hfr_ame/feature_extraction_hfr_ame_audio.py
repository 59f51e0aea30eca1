"""Waveform → audio features: log-mel bands, energy, pitch, voicing, all in numpy.

Design choices:

- Sub-frames every 10 ms (25 ms window; 50 ms for pitch, which must hold three periods of 60 Hz), pooled into frames of
  0.1 s: prosody survives, sequences stay short.
- Levels below −100 dB of full scale are floored, so digital silence is finite and not far from a quiet room.
- Pitch is the autocorrelation of a windowed frame divided by the window's own autocorrelation. Of several peaks that
  are nearly as high, the shortest lag wins, or a tone would be found an octave too low.

Not covered: resampling, mixing down to mono, more than one speaker, jitter and shimmer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from transformers.audio_utils import mel_filter_bank, window_function

from .errors import ConfigError, InputError
from .feature_scaling import Array, FrameFeatureExtractor, as_frames, as_numpy
from .hub_backbones import NATIVE_BACKEND, pinned_hub_model
from .hub_features import HubAudioStream

NUM_MEL_BANDS = 24
AUDIO_FEATURE_NAMES = (
    *(f"log_mel_{band:02d}" for band in range(NUM_MEL_BANDS)),
    "log_energy_mean",
    "log_energy_std",
    "log_f0_mean",
    "log_f0_std",
    "voiced_fraction",
    "voicing_strength",
    "zero_crossing_rate",
    "spectral_centroid_khz",
    "spectral_flux",
)

_HOP_S, _WINDOW_S, _PITCH_WINDOW_S = 0.010, 0.025, 0.050
_PITCH_RANGE_HZ = (60.0, 400.0)
_ENERGY_FLOOR = 1e-10
# −100 dB below a full-scale sine under a 25 ms Hann window at 16 kHz, whose power is 1e4.
_POWER_FLOOR = 1e-6
_VOICING_THRESHOLD = 0.5
# A sub-frame this much weaker than the clip's loudest one (amplitude) is background, whatever its periodicity.
_BACKGROUND_RATIO = 0.03
_NEAR_PEAK = 0.9
_SILENCE_PEAK_DB = -90.0
# Far above the overshoot of lossy codecs, far below unscaled 16-bit samples.
_LARGEST_SAMPLE = 16.0
# 20 s at a time bounds the memory of long recordings to some tens of megabytes.
_CHUNK = 2000


def is_silent(waveform: Any, peak_db: float = _SILENCE_PEAK_DB) -> bool:
    """Tells whether a waveform holds nothing but silence.

    Args:
        waveform: (n,) samples, floats in [-1, 1] or integer PCM. Empty counts as silent.
        peak_db: Peak level in dB of full scale up to which a clip is silent. The default covers ±1 step of 16 bits.

    Returns:
        True if no sample lies above the level. The caller decides what to do, e.g. treat audio as absent.

    Raises:
        InputError: If the waveform is not 1-D, not numeric, or holds NaN or infinite samples.
    """
    samples = _as_waveform(waveform, allow_empty=True)
    return bool(np.abs(samples).max(initial=0.0) <= 10 ** (peak_db / 20))


class HfrAmeAudioFeatureExtractor(FrameFeatureExtractor):
    """Turns a mono waveform into standardised audio features.

    Args:
        feature_size: Width D of precomputed features; None means the native features `AUDIO_FEATURE_NAMES`.
        sampling_rate: Samples per second of the waveforms, in Hz; at least 8000.
        frame_rate_hz: Feature frames per second, at most 100.
        feature_names: D names; None = native, or numbered where `feature_size` is given.
        feature_mean: Fitted means of D features; None = not fitted.
        feature_std: Fitted standard deviations; None = not fitted.
        clip_value: Bound of standardised values.
        backend: `native`, or `hf:<id or path>` of the Hub model whose states are the features.
        backend_sha256: Hash of that model; None = the one that is there.

    Raises:
        ConfigError: If a value is out of range.

    Source:
        Our choice of features. Mel filters: `transformers.audio_utils`. Pitch: Boersma (1993), division by the window's
        autocorrelation.
    """

    modality = "audio"
    native_feature_names = AUDIO_FEATURE_NAMES
    model_input_names: ClassVar[list[str]] = ["audio_values", "audio_mask"]

    def __init__(
        self,
        feature_size: int | None = None,
        sampling_rate: int = 16000,
        frame_rate_hz: float = 10.0,
        feature_names: Sequence[str] | None = None,
        feature_mean: Sequence[float] | None = None,
        feature_std: Sequence[float] | None = None,
        clip_value: float = 5.0,
        backend: str = NATIVE_BACKEND,
        backend_sha256: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            feature_size,
            sampling_rate,
            frame_rate_hz,
            feature_names,
            feature_mean,
            feature_std,
            clip_value,
            backend,
            backend_sha256,
            **kwargs,
        )
        if sampling_rate < 8000 or frame_rate_hz > 1 / _HOP_S:
            raise ConfigError(
                f"sampling_rate must be at least 8000 Hz and frame_rate_hz at most 100; found {sampling_rate} and "
                f"{frame_rate_hz}. Use 16000 and 10 unless the recordings force another choice."
            )

    def extract(self, signal: Any, rate: float | None = None) -> Array:
        """Computes raw (not standardised) features of one waveform; 2-D frames pass through.

        Args:
            signal: (n,) mono samples, floats in about [-1, 1] or integer PCM; or (n, D) precomputed frames.
            rate: Samples per second of the waveform. Required for a waveform, ignored for frames.

        Returns:
            (n, D) float32, one row per `1 / frame_rate_hz` seconds (the last one may cover less), at least one row.

        Raises:
            InputError: If the rate is missing or differs, samples are not finite or far beyond ±1, or frames have
                another width.
        """
        samples = as_numpy(signal)
        if samples.ndim != 1:
            return as_frames(samples, self.feature_size, self.modality)
        stream = self.stream(rate)
        stream.push(_as_waveform(samples))
        return stream.finish()

    def stream(self, rate: float | None = None) -> Any:
        """Starts the features of a waveform that comes in pieces.

        Args:
            rate: Samples per second of the waveform; required.

        Returns:
            An object with `push(samples)`, which takes the next samples (n,), and `finish()`, which returns what
            `extract` gives for all of them at once.

        Raises:
            InputError: The rate is missing or differs, or the model takes precomputed features.
        """
        if not self.accepts_raw_signal:
            raise InputError(
                f"this model takes {self.feature_size} precomputed audio features and can't compute them from a "
                "waveform; pass frames (n, features) made with the same tool as the training data."
            )
        if rate != self.sampling_rate:
            raise InputError(
                f"a waveform needs sampling_rate={self.sampling_rate}; found {rate}. "
                "State the rate, and resample to it where it differs."
            )
        if self.backend != NATIVE_BACKEND:
            model = pinned_hub_model(self.modality, self.backend, self.backend_sha256)
            return HubAudioStream(model, self.sampling_rate, self.frame_rate_hz)
        return WaveformFeatureStream(self.sampling_rate, self.frame_rate_hz)


def _as_waveform(values: Any, allow_empty: bool = False) -> Array:
    """Returns checked (n,) float64 samples; integer PCM is divided by its full scale."""
    samples = as_numpy(values)
    if samples.ndim != 1 or samples.dtype.kind not in "fi" or (samples.size == 0 and not allow_empty):
        raise InputError(
            f"a waveform must be a 1-D float or signed integer array with at least one sample; found shape "
            f"{samples.shape}, dtype {samples.dtype}. Mix stereo down to mono; pass None for absent audio."
        )
    if samples.dtype.kind == "i":
        return samples / (float(np.iinfo(samples.dtype).max) + 1.0)
    samples = samples.astype(np.float64)
    num_bad = int((~np.isfinite(samples)).sum())
    if num_bad:
        raise InputError(
            f"audio samples must be finite; found {num_bad} NaN or infinite of {samples.size}. Decode the file again, "
            "or pass None to treat audio as absent."
        )
    peak = np.abs(samples).max(initial=0.0)
    if peak > _LARGEST_SAMPLE:
        raise InputError(
            f"float audio samples must lie in about [-1, 1]; found {peak:.4g}. Divide 16-bit samples by 32768, or pass "
            "them as int16."
        )
    return samples


class WaveformFeatureStream:
    """Makes native features of a waveform that comes in pieces; any pieces give the bits of the whole.

    Sub-frames are computed in blocks on a fixed grid, as soon as the samples under them are there.

    Args:
        rate: Samples per second, in hertz.
        frame_rate_hz: Feature frames per second.
    """

    def __init__(self, rate: int, frame_rate_hz: float) -> None:
        self._rate, self._frame_rate_hz = rate, frame_rate_hz
        self._hop = round(rate * _HOP_S)
        self._blocks: list[Array] = []
        # Samples before `_origin` are done with; `_length` counts all that ever came.
        self._origin = self._length = self._num_done = 0
        self._parts: list[tuple[Array, ...]] = []

    def push(self, samples: Any) -> None:
        """Takes the next samples (n,).

        Raises:
            InputError: They are not 1-D, not numeric, not finite or far beyond ±1.
        """
        block = _as_waveform(samples, allow_empty=True)
        self._blocks.append(block)
        self._length += len(block)
        while self._length >= self._end_of(self._num_done + _CHUNK):
            self._compute(self._num_done + _CHUNK)

    def finish(self) -> Array:
        """Returns all features (frames, 33) float32, at least one row.

        Raises:
            InputError: There was no sample.
        """
        if not self._length:
            raise InputError("a waveform must have at least one sample; found none. Pass None for absent audio.")
        self._compute(max(1, (self._length + self._hop // 2 - 1) // self._hop))
        return _pool_sub_frames(self._parts, self._num_done, self._frame_rate_hz)

    def _end_of(self, stop: int) -> int:
        """First sample that sub-frames before `stop` don't need."""
        window = round(self._rate * _PITCH_WINDOW_S)
        return (stop - 1) * self._hop + self._hop // 2 - window // 2 + window

    def _compute(self, stop: int) -> None:
        samples = self._blocks[0] if len(self._blocks) == 1 else np.concatenate(self._blocks)
        if stop > self._num_done:
            inside = _Inside(samples, self._origin)
            self._parts.append(_sub_frame_features(inside, self._rate, self._hop, self._num_done, stop))
        first_needed = max(self._origin, stop * self._hop - round(self._rate * _PITCH_WINDOW_S))
        self._blocks = [samples[first_needed - self._origin :]]
        self._origin, self._num_done = first_needed, stop


@dataclass(frozen=True)
class _Inside:
    """A stretch of a waveform; `origin` is the index of its first sample."""

    samples: Array
    origin: int


def _pool_sub_frames(parts: Sequence[tuple[Array, ...]], num_sub: int, frame_rate_hz: float) -> Array:
    """Pools the features of all sub-frames; (frames, 33) float32."""
    log_mel, log_energy, f0, strength, crossings, centroid = (np.concatenate(each) for each in zip(*parts, strict=True))
    loud = log_energy > max(log_energy.max() + 2 * np.log(_BACKGROUND_RATIO), np.log(2 * _ENERGY_FLOOR))
    voiced = loud & (strength > _VOICING_THRESHOLD)
    log_f0 = np.log(f0)
    flux = np.abs(np.diff(log_mel, axis=0, prepend=log_mel[:1])).mean(axis=1)

    frame = np.floor((np.arange(num_sub) + 0.5) * _HOP_S * frame_rate_hz).astype(np.int64)
    starts = np.flatnonzero(np.diff(frame, prepend=-1))
    pool = _Pool(starts, num_sub)
    num_voiced = np.maximum(pool.sum(voiced.astype(np.float64)), 1.0)
    f0_mean = pool.sum(log_f0 * voiced) / num_voiced
    f0_deviation = (log_f0 - pool.spread(f0_mean)) * voiced
    energy_mean = pool.mean(log_energy)
    scalars = [
        energy_mean,
        np.sqrt(pool.mean((log_energy - pool.spread(energy_mean)) ** 2)),
        f0_mean,
        np.sqrt(pool.sum(f0_deviation**2) / num_voiced),
        pool.mean(voiced.astype(np.float64)),
        pool.mean(strength * loud),
        pool.mean(crossings),
        pool.mean(centroid),
        pool.mean(flux),
    ]
    return np.concatenate([pool.mean(log_mel), np.stack(scalars, axis=1)], axis=1).astype(np.float32)


class _Pool:
    """Sums and means of sub-frames over the frames they belong to."""

    def __init__(self, starts: Array, num_sub: int) -> None:
        self.starts = starts
        self.counts = np.diff(starts, append=num_sub)

    def sum(self, values: Array) -> Array:
        return np.asarray(np.add.reduceat(values, self.starts, axis=0))

    def mean(self, values: Array) -> Array:
        return self.sum(values) / self.counts.reshape(-1, *([1] * (values.ndim - 1)))

    def spread(self, values: Array) -> Array:
        return np.repeat(values, self.counts, axis=0)


def _sub_frame_features(samples: _Inside, rate: int, hop: int, start: int, stop: int) -> tuple[Array, ...]:
    """Computes sub-frames start … stop−1: log-mel (m, 24); log energy, f0 in Hz, strength, crossings, centroid (m,)."""
    window = round(rate * _WINDOW_S)
    frames = _centred_windows(samples, window, hop, start, stop)
    num_fft = 1 << (window - 1).bit_length()
    tapered = frames * window_function(window, "hann")
    power = np.abs(np.fft.rfft(tapered, num_fft, axis=1)) ** 2
    filters = mel_filter_bank(num_fft // 2 + 1, NUM_MEL_BANDS, 0.0, rate / 2, rate)
    log_mel = np.log(np.maximum(power @ filters, _POWER_FLOOR))
    log_energy = np.log((frames**2).mean(axis=1) + _ENERGY_FLOOR)
    crossings = (np.signbit(frames[:, 1:]) != np.signbit(frames[:, :-1])).mean(axis=1)
    khz = np.linspace(0.0, rate / 2000, power.shape[1])
    centroid = power @ khz / (power.sum(axis=1) + _POWER_FLOOR)
    f0, strength = _pitch(_centred_windows(samples, round(rate * _PITCH_WINDOW_S), hop, start, stop), rate)
    return log_mel, log_energy, f0, strength, crossings, centroid


def _centred_windows(stretch: _Inside, window: int, hop: int, start: int, stop: int) -> Array:
    """Returns (stop − start, window) samples around the centres hop·j + hop/2; outside the clip they are 0."""
    samples = stretch.samples
    first = start * hop + hop // 2 - window // 2 - stretch.origin
    last = (stop - 1) * hop + hop // 2 - window // 2 + window - stretch.origin
    inside = samples[max(first, 0) : min(last, len(samples))]
    before = max(-first, 0)
    padded = np.pad(inside, (before, last - first - before - len(inside)))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]


def _pitch(frames: Array, rate: int) -> tuple[Array, Array]:
    """Finds the pitch of each window; frames (m, w) → f0 (m,) in Hz inside the search range, strength (m,) ≤ 1."""
    first, last = int(rate / _PITCH_RANGE_HZ[1]), int(np.ceil(rate / _PITCH_RANGE_HZ[0]))
    taper = window_function(frames.shape[1], "hann")
    num_fft = -(-(frames.shape[1] + last + 1) // 128) * 128
    of_signal = _autocorrelation((frames - frames.mean(axis=1, keepdims=True)) * taper, num_fft)
    of_taper = _autocorrelation(taper[None], num_fft)
    lags = slice(first - 1, last + 2)
    energy = of_signal[:, :1]
    curve = of_signal[:, lags] / np.where(energy > 0, energy, 1.0) / (of_taper[:, lags] / of_taper[:, :1])
    before, here, after = curve[:, :-2], curve[:, 1:-1], curve[:, 2:]
    is_peak = (here >= before) & (here > after)
    highest = np.where(is_peak, here, 0.0).max(axis=1, keepdims=True)
    chosen = np.argmax(is_peak & (here >= _NEAR_PEAK * highest) & (highest > 0), axis=1)[:, None]
    left, top, right = (np.take_along_axis(part, chosen, axis=1)[:, 0] for part in (before, here, after))
    bend = left - 2 * top + right
    offset = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
    lag = first + chosen[:, 0] + np.clip(offset, -0.5, 0.5)
    return rate / lag, np.clip(highest[:, 0], 0.0, 1.0)


def _autocorrelation(frames: Array, num_fft: int) -> Array:
    return np.fft.irfft(np.abs(np.fft.rfft(frames, num_fft, axis=1)) ** 2, num_fft, axis=1)
