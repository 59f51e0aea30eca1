"""Features from a Hub vision or audio model in place of the light defaults.

- One row per frame of time: the states of a face's patches, averaged; or the states of an audio model, averaged over
  the frame.
- Signals come in pieces and reach the model in blocks on a fixed grid; any pieces give the bits of the whole.

Not covered: models whose states aren't in the order of time, such as the Audio Spectrogram Transformer.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from .errors import InputError
from .face_track import FaceTrack, TrackedPicture
from .feature_scaling import Array
from .hub_backbones import HubModel

_BLOCK_S = 20.0
# A face with this much around its box, so that chin and hair are on it.
_FACE_MARGIN = 1.4


class HubVisionStream:
    """Features of pictures that come one by one, from the face in each.

    Args:
        model: The model.
        rate: Pictures per second.
    """

    def __init__(self, model: HubModel, rate: float) -> None:
        self._model, self._track = model, FaceTrack(rate)
        self._rows: list[Array] = []

    def push(self, picture: Array) -> None:
        """Takes the next picture (H, W, 3) uint8 RGB."""
        for each in self._track.push(picture):
            self._take(each)

    def finish(self) -> Array:
        """Returns all features (n, D) float32; an exact zero row where no face is known."""
        for each in self._track.finish():
            self._take(each)
        return np.stack(self._rows) if self._rows else np.empty((0, self._model.feature_size), np.float32)

    def _take(self, tracked: TrackedPicture) -> None:
        row = np.zeros(self._model.feature_size, np.float32)
        if tracked.has_face:
            # One at a time: a batch of another size could round otherwise.
            inputs = self._model.preprocessing(images=[_cut_face(tracked)], return_tensors="pt")
            row = self._model.states(**inputs).mean(dim=1)[0].numpy()
        self._rows.append(row)


class HubAudioStream:
    """Features of a waveform that comes in pieces.

    Args:
        model: The model.
        rate: Samples per second.
        frame_rate_hz: Feature frames per second.
    """

    def __init__(self, model: HubModel, rate: int, frame_rate_hz: float) -> None:
        self._model, self._rate, self._frame_rate_hz = model, rate, frame_rate_hz
        # A whole number of feature frames.
        self._frames_per_block = max(1, round(_BLOCK_S * frame_rate_hz))
        self._block = round(self._frames_per_block / frame_rate_hz * rate)
        self._pending: list[Array] = []
        self._num_pending = 0
        self._rows: list[Array] = []

    def push(self, samples: Any) -> None:
        """Takes the next samples (n,)."""
        self._pending.append(np.asarray(samples, dtype=np.float32))
        self._num_pending += len(self._pending[-1])
        if self._num_pending >= self._block:
            waiting = np.concatenate(self._pending)
            while len(waiting) >= self._block:
                self._rows.append(self._run(waiting[: self._block]))
                waiting = waiting[self._block :]
            self._pending, self._num_pending = [waiting], len(waiting)

    def finish(self) -> Array:
        """Returns all features (n, D) float32, at least one row.

        Raises:
            InputError: There was no sample.
        """
        rest = np.concatenate(self._pending) if self._pending else np.empty(0, np.float32)
        if not self._rows and not len(rest):
            raise InputError("a waveform must have at least one sample; found none. Pass None for absent audio.")
        # Less than half a frame at the end belongs to the frame before, if there is one.
        if not self._rows or len(rest) * self._frame_rate_hz >= 0.5 * self._rate:
            self._rows.append(self._run(rest))
        return np.concatenate(self._rows)

    def _run(self, samples: Array) -> Array:
        seconds = len(samples) / self._rate
        count = min(self._frames_per_block, max(1, round(seconds * self._frame_rate_hz)))
        # Models with strides need some tens of milliseconds to give one state.
        padded = np.pad(samples, (0, max(0, round(0.1 * self._rate) - len(samples))))
        inputs = self._model.preprocessing(padded, sampling_rate=self._rate, return_tensors="pt")
        inputs.pop("attention_mask", None)
        states = self._model.states(**inputs)[0]
        # Whisper pads to its 30 s; its states beyond the sound are cut.
        covered_s = _covered_s(self._model.preprocessing, len(padded) / self._rate)
        length = max(1, min(len(states), round(len(states) * seconds / covered_s)))
        return _mean_per_frame(states[:length].numpy(), count)


def _covered_s(preprocessing: Any, seconds: float) -> float:
    """How many seconds the model is given, padding included."""
    return float(getattr(preprocessing, "chunk_length", 0) or seconds)


def _mean_per_frame(states: Array, count: int) -> Array:
    """Averages states (n, D), evenly spaced in time, over `count` frames; a frame without any takes the nearest."""
    edges = np.linspace(0, len(states), count + 1)
    rows = []
    for first, last in pairwise(edges.tolist()):
        # A state belongs to the frame that holds its centre.
        start, stop = int(np.ceil(first - 0.5)), int(np.ceil(last - 0.5))
        if start >= stop:
            start = min(int((first + last) / 2), len(states) - 1)
            stop = start + 1
        rows.append(states[start:stop].mean(axis=0))
    return np.stack(rows).astype(np.float32)


def _cut_face(tracked: TrackedPicture) -> Array:
    """Cuts the face out of the colour picture, with a margin, as far as the picture goes; (h, w, 3) uint8."""
    scale = tracked.picture.shape[0] / tracked.grey.shape[0]
    centre, size = tracked.box[:2] * scale, tracked.box[2:] * scale * _FACE_MARGIN
    low = np.maximum(np.floor(centre - size / 2), 0).astype(int)
    high = np.maximum(np.ceil(centre + size / 2), low + 1).astype(int)
    return np.ascontiguousarray(tracked.picture[low[1] : high[1], low[0] : high[0]])
