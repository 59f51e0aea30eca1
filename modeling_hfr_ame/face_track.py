"""One face per clip, found and followed picture by picture.

- The largest detection, or the one that continues the track. Boxes are smoothed by a running median, and a box is
  carried over gaps of up to one second.
- A picture leaves about half a second after it came, when the median over its surroundings is known; so a recording of
  any length needs the memory of a few pictures.

Source: OpenCV's bundled `haarcascade_frontalface_default.xml`.
"""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .feature_scaling import Array

try:
    import cv2
except ImportError:  # precomputed features need no OpenCV
    cv2 = None  # type: ignore[assignment]

_DETECTION_SIZE = 320
_MIN_FACE = 40
# The neighbourhood is this many boxes wide, and a face may grow or shrink by this factor between pictures.
_NEARBY, _SIZE_CHANGE = 2.0, 1.4
_FULL_SEARCH_S = 2.0
_MAX_GAP_S = 1.0
_SMOOTHING_S = 1.0

# A cascade object is not safe to share between threads, and it can't be copied or pickled, so it is no attribute.
_per_thread = threading.local()


@dataclass(frozen=True)
class TrackedPicture:
    """A picture and where the face is.

    Attributes:
        picture: (H, W, 3) uint8 RGB.
        grey: (h, w) uint8, its longest side at most 320 pixels.
        box: (4,) centre x, centre y, width, height in pixels of `grey`; NaN where no face is known.
        detected: Whether the face was found in this very picture, not carried over.
    """

    picture: Array
    grey: Array
    box: Array
    detected: bool

    @property
    def has_face(self) -> bool:
        """Whether a face is known."""
        return not np.isnan(self.box[0])


class FaceTrack:
    """Finds and follows the face of one clip.

    Args:
        rate: Pictures per second.

    Raises:
        InputError: OpenCV is missing.
    """

    def __init__(self, rate: float) -> None:
        face_cascade()
        self._rate = rate
        self._reach = int(_SMOOTHING_S * rate / 2)
        self._gap = int(_MAX_GAP_S * rate)
        self._detections: list[Array] = []
        self._waiting: deque[tuple[Array, Array]] = deque()
        self._previous: Array | None = None

    def push(self, picture: Array) -> Iterator[TrackedPicture]:
        """Takes the next picture (H, W, 3); yields those whose box is now certain."""
        grey = _shrunk_grey(picture)
        self._waiting.append((picture, grey))
        self._detections.append(self._detect(grey))
        if len(self._waiting) > self._reach:
            yield self._release()

    def finish(self) -> Iterator[TrackedPicture]:
        """Yields the last pictures."""
        while self._waiting:
            yield self._release()

    def _release(self) -> TrackedPicture:
        index = len(self._detections) - len(self._waiting)
        # All that the box at `index` depends on.
        first = max(0, index - self._reach - self._gap)
        around = np.array(self._detections[first : index + self._reach + 1])
        picture, grey = self._waiting.popleft()
        box = _steady_track(around, self._rate)[index - first]
        return TrackedPicture(picture, grey, box, not np.isnan(self._detections[index][0]))

    def _detect(self, grey: Array) -> Array:
        """Finds one face; (4,) centre x, centre y, width, height, NaN if none is found.

        The neighbourhood of the previous face is searched first, which is several times faster. The whole picture is
        searched where that fails, and every two seconds, so that a false detection can't hold the track for long.
        """
        period = max(1, round(_FULL_SEARCH_S * self._rate))
        found = None
        if self._previous is not None and len(self._detections) % period:
            found = _search(grey, self._previous, nearby=True)
        if found is None:
            found = _search(grey, self._previous)
        if found is None:
            return np.full(4, np.nan)
        self._previous = found
        return np.concatenate([found[:2] + found[2:] / 2, found[2:]])


def face_cascade() -> Any:
    """Returns this thread's cascade.

    Raises:
        InputError: OpenCV or its data files are missing.
    """
    cascade = getattr(_per_thread, "cascade", None)
    if cascade is None:
        # Some system builds of OpenCV lack the `data` module, and OpenCV 5 lacks the files.
        data = getattr(cv2, "data", None)
        path = None if data is None else Path(data.haarcascades) / "haarcascade_frontalface_default.xml"
        if path is None or not path.exists():
            raise InputError(
                "face features need OpenCV 4 with its bundled cascades; it was not found. Install "
                "opencv-python-headless>=4.10,<5, or pass precomputed vision features (n, features)."
            )
        cascade = _per_thread.cascade = cv2.CascadeClassifier(str(path))
    return cascade


def _shrunk_grey(picture: Array) -> Array:
    """Makes a picture (H, W, 3) grey and shrinks its longest side to 320 pixels; (h, w) uint8."""
    height, width = picture.shape[:2]
    scale = min(1.0, _DETECTION_SIZE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey if scale == 1.0 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA))


def _search(picture: Array, previous: Array | None, nearby: bool = False) -> Array | None:
    """Returns the box (left, top, width, height) of the largest face, those that overlap the previous box favoured."""
    low, smallest, largest = np.zeros(2, dtype=np.int64), _MIN_FACE, 0
    if previous is not None and nearby:
        margin = previous[2:] * (_NEARBY - 1) / 2
        low = np.maximum(previous[:2] - margin, 0).astype(np.int64)
        high = (previous[:2] + previous[2:] + margin).astype(np.int64)
        picture = picture[low[1] : high[1], low[0] : high[0]]
        smallest, largest = max(_MIN_FACE, int(previous[2] / _SIZE_CHANGE)), int(previous[2] * _SIZE_CHANGE)
    limits = {"minSize": (smallest, smallest), "maxSize": (largest, largest)}  # 0 = no limit
    found = face_cascade().detectMultiScale(picture, scaleFactor=1.1, minNeighbors=5, **limits)
    if len(found) == 0:
        return None
    # Sorted, because the detector's threads may list equal boxes in any order.
    candidates = np.array(sorted(map(tuple, found)), dtype=np.float64)
    candidates[:, :2] += low
    score = candidates[:, 2:].prod(axis=1)
    if previous is not None:
        score *= 1.0 + 3.0 * _overlap(candidates, previous)
    return np.asarray(candidates[int(np.argmax(score))])


def _overlap(candidates: Array, box: Array) -> Array:
    """Returns intersection over union of (m, 4) boxes (left, top, width, height) with one box."""
    low = np.maximum(candidates[:, :2], box[:2])
    high = np.minimum(candidates[:, :2] + candidates[:, 2:], box[:2] + box[2:])
    common = np.clip(high - low, 0.0, None).prod(axis=1)
    return np.asarray(common / (candidates[:, 2:].prod(axis=1) + box[2:].prod() - common))


def _steady_track(detections: Array, rate: float) -> Array:
    """Carries boxes over gaps of up to one second, then smooths them by a running median of about one second.

    Args:
        detections: (n, 4), NaN rows where no face was found.
        rate: Pictures per second.

    Returns:
        (n, 4), NaN rows where no face is known.
    """
    index = np.arange(len(detections))
    last = np.maximum.accumulate(np.where(np.isnan(detections[:, 0]), -1, index))
    known = (last >= 0) & (index - last <= _MAX_GAP_S * rate)
    carried = np.where(known[:, None], detections[np.maximum(last, 0)], np.nan)
    reach = int(_SMOOTHING_S * rate / 2)
    padded = np.pad(carried, ((reach, reach), (0, 0)), constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    steady = np.full_like(carried, np.nan)
    steady[known] = np.nanmedian(around[known], axis=-1)
    return steady
