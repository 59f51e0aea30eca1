"""RGB frames → face features: eye and mouth shape, head position and motion, from OpenCV's bundled face cascade.

Design choices:

- One face per clip: the largest detection, or the one that continues the track. Boxes are smoothed by a running median,
  and a box is carried over gaps of up to one second. A frame without a box is an exact zero row: not observed.
- The crop is grey and contrast-normalised, so that exposure does not look like expression.
- Low-frequency DCT coefficients of the eye and the mouth region keep shape at 15 numbers each.

Not covered: profile faces, several speakers, identity; appearance features are not normalised per speaker.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from transformers import ProcessorMixin

from .errors import InputError
from .feature_scaling import Array, FrameFeatureExtractor, as_frames, as_numpy

try:
    import cv2
except ImportError:  # precomputed features need no OpenCV
    cv2 = None  # type: ignore[assignment]

_PROCESSOR_KEY = "vision_feature_extractor"

# Regions of the 48 × 48 crop of a frontal cascade box, (rows, columns), and their numbers of DCT coefficients,
# (vertical, horizontal). The mouth gets more vertical ones, because it opens vertically.
CROP_SIZE = 48
_EYES, _EYE_DCT = (slice(10, 26), slice(4, 44)), (3, 5)
_MOUTH, _MOUTH_DCT = (slice(30, 46), slice(10, 38)), (5, 3)
_NUM_CELLS = 3

VISION_FEATURE_NAMES = (
    *(f"eye_dct_{v}{h}" for v in range(_EYE_DCT[0]) for h in range(_EYE_DCT[1])),
    *(f"mouth_dct_{v}{h}" for v in range(_MOUTH_DCT[0]) for h in range(_MOUTH_DCT[1])),
    "head_x",
    "head_y",
    "head_size",
    "head_velocity_x",
    "head_velocity_y",
    "face_detected",
    "face_motion",
    *(f"cell_motion_{row}{column}" for row in range(_NUM_CELLS) for column in range(_NUM_CELLS)),
)

_DETECTION_SIZE = 320
_MIN_FACE = 40
# The neighbourhood is this many boxes wide, and a face may grow or shrink by this factor between pictures.
_NEARBY, _SIZE_CHANGE = 2.0, 1.4
_FULL_SEARCH_S = 2.0
_MAX_GAP_S = 1.0
_SMOOTHING_S = 1.0
_RATE_TOLERANCE = 0.01
# Grey levels; a flat crop (sensor noise only) must not be blown up to full contrast.
_MIN_CONTRAST = 8.0

# A cascade object is not safe to share between threads, and it can't be copied or pickled, so it is no attribute.
_per_thread = threading.local()


class HfrAmeVisionFeatureExtractor(FrameFeatureExtractor):
    """Turns video frames into standardised face features.

    Args:
        feature_size: Width D of precomputed features; None means the native features `VISION_FEATURE_NAMES`.
        frame_rate_hz: Pictures per second that the caller samples, which is also the rate of the features; > 0.
        feature_names: D names; None = native, or numbered where `feature_size` is given.
        feature_mean: Fitted means of D features; None = not fitted.
        feature_std: Fitted standard deviations; None = not fitted.
        clip_value: Bound of standardised values.

    Raises:
        ConfigError: If a value is out of range.

    Source:
        Our choice of features. Face boxes: OpenCV's `haarcascade_frontalface_default.xml`.
    """

    modality = "vision"
    native_feature_names = VISION_FEATURE_NAMES
    model_input_names: ClassVar[list[str]] = ["vision_values", "vision_mask"]

    def __init__(
        self,
        feature_size: int | None = None,
        frame_rate_hz: float = 5.0,
        feature_names: Sequence[str] | None = None,
        feature_mean: Sequence[float] | None = None,
        feature_std: Sequence[float] | None = None,
        clip_value: float = 5.0,
        **kwargs: Any,
    ) -> None:
        # One picture gives one frame; the base class's second name for the rate comes back from the saved JSON.
        kwargs.pop("sampling_rate", None)
        super().__init__(
            feature_size, frame_rate_hz, frame_rate_hz, feature_names, feature_mean, feature_std, clip_value, **kwargs
        )

    @classmethod
    def get_feature_extractor_dict(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Finds the settings of a saved extractor, in a processor's file first.

        The library looks there for `feature_extractor`, which is the audio extractor.
        """
        processor, unused = ProcessorMixin.get_processor_dict(pretrained_model_name_or_path, **kwargs)
        if _PROCESSOR_KEY in processor:
            return processor[_PROCESSOR_KEY], unused
        return super().get_feature_extractor_dict(pretrained_model_name_or_path, **kwargs)

    def extract(self, signal: Any, rate: float | None = None) -> Array:
        """Computes raw (not standardised) face features of one clip; 2-D frames pass through.

        Args:
            signal: (n, H, W, 3) uint8 RGB pictures; or (n, D) precomputed frames.
            rate: Pictures per second. None means that they were sampled at `frame_rate_hz`. Ignored for frames.

        Returns:
            (n, D) float32; an exact zero row where no face is known.

        Raises:
            InputError: If the rate differs, the pictures are not (n, H, W, 3) uint8, OpenCV is missing, or precomputed
                frames have another width.
        """
        pictures = as_numpy(signal)
        if pictures.ndim == 2:
            return as_frames(pictures, self.feature_size, self.modality)
        if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8 or 0 in pictures.shape:
            raise InputError(
                f"vision must be pictures (n, height, width, 3) of dtype uint8, RGB, or frames (n, features); found "
                f"shape {pictures.shape}, dtype {pictures.dtype}. Put the colour axis last, scale to 0–255, and pass "
                "None for absent vision."
            )
        if not self.accepts_raw_signal:
            raise InputError(
                f"this model takes {self.feature_size} precomputed vision features and can't compute them from "
                "pictures; pass frames (n, features) made with the same tool as the training data."
            )
        if rate is not None and abs(rate - self.frame_rate_hz) > _RATE_TOLERANCE * self.frame_rate_hz:
            raise InputError(
                f"pictures must be sampled at {self.frame_rate_hz} per second; found video_frame_rate {rate}. "
                "Pick frames at that rate while decoding."
            )
        grey = _grey(pictures)
        detections = _detect(grey, self.frame_rate_hz)
        boxes = _steady_track(detections, self.frame_rate_hz)
        return _describe(grey, boxes, ~np.isnan(detections[:, 0]), self.frame_rate_hz)


def _face_cascade() -> Any:
    """Returns this thread's cascade, or says how to get OpenCV with its data files."""
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


def _grey(pictures: Array) -> list[Array]:
    """Shrinks pictures to a longest side of 320 pixels and makes them grey; n arrays (h, w) uint8."""
    _face_cascade()
    height, width = pictures.shape[1:3]
    scale = min(1.0, _DETECTION_SIZE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = (cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY) for picture in pictures)
    return [picture if scale == 1.0 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in grey]


def _detect(grey: Sequence[Array], rate: float) -> Array:
    """Finds one face per picture; (n, 4) float64 rows of centre x, centre y, width, height, NaN where none is found.

    The neighbourhood of the previous face is searched first, which is several times faster. The whole picture is
    searched where that fails, and every two seconds, so that a false detection can't hold the track for long.
    """
    boxes = np.full((len(grey), 4), np.nan)
    previous: Array | None = None
    period = max(1, round(_FULL_SEARCH_S * rate))
    for index, picture in enumerate(grey):
        found = None if previous is None or index % period == 0 else _search(picture, previous, nearby=True)
        if found is None:
            found = _search(picture, previous)
        if found is not None:
            previous = found
            boxes[index] = (*(found[:2] + found[2:] / 2), *found[2:])
    return boxes


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
    found = _face_cascade().detectMultiScale(picture, scaleFactor=1.1, minNeighbors=5, **limits)
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


def _describe(grey: Sequence[Array], boxes: Array, detected: Array, rate: float) -> Array:
    """Computes all native features; n pictures (h, w), boxes (n, 4), detected (n,) → (n, 46) float32."""
    known = ~np.isnan(boxes[:, 0])
    features = np.zeros((len(grey), len(VISION_FEATURE_NAMES)))
    if not known.any():
        return features.astype(np.float32)
    height, width = grey[0].shape
    crops = np.zeros((len(grey), CROP_SIZE, CROP_SIZE))
    for index in np.flatnonzero(known):
        crops[index] = _crop(grey[int(index)], boxes[index])
    # Differences to the previous picture exist only where both hold a face.
    both = known & np.concatenate([[False], known[:-1]])
    change = np.abs(np.diff(crops, axis=0, prepend=crops[:1])) * both[:, None, None]
    step = CROP_SIZE // _NUM_CELLS
    cells = change.reshape(-1, _NUM_CELLS, step, _NUM_CELLS, step).mean(axis=(2, 4)).reshape(len(grey), -1)
    shift = np.diff(boxes[:, :2], axis=0, prepend=boxes[:1, :2]) * rate / boxes[:, 2:3]
    geometry = np.stack(
        [boxes[:, 0] / width - 0.5, boxes[:, 1] / height - 0.5, np.log(boxes[:, 3] / height), detected], axis=1
    )
    columns = [
        _low_frequencies(crops[:, *_EYES], _EYE_DCT),
        _low_frequencies(crops[:, *_MOUTH], _MOUTH_DCT),
        geometry[:, :3],
        np.where(both[:, None], shift, 0.0),
        geometry[:, 3:],
        change.mean(axis=(1, 2))[:, None],
        cells,
    ]
    features[known] = np.concatenate(columns, axis=1)[known]
    return features.astype(np.float32)


def _crop(picture: Array, box: Array) -> Array:
    """Cuts a box with sub-pixel precision and normalises its contrast; (48, 48) float64 of mean 0, deviation ≤ 1."""
    centre_x, centre_y, width, height = box
    size = 2 * CROP_SIZE  # twice the target, then area averaging: a direct step would alias on large faces
    step_x, step_y = width / size, height / size
    matrix = np.array(
        [
            [step_x, 0.0, centre_x - width / 2 + step_x / 2 - 0.5],
            [0.0, step_y, centre_y - height / 2 + step_y / 2 - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    large = cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    crop = large.reshape(CROP_SIZE, 2, CROP_SIZE, 2).mean(axis=(1, 3))
    return np.asarray((crop - crop.mean()) / max(float(crop.std()), _MIN_CONTRAST))


def _low_frequencies(regions: Array, counts: tuple[int, int]) -> Array:
    """Returns the lowest 2-D DCT-II coefficients of (n, h, w), divided by √(h·w); (n, counts[0] · counts[1])."""
    height, width = regions.shape[1:]
    vertical, horizontal = _dct_rows(height, counts[0]), _dct_rows(width, counts[1])
    coefficients = np.einsum("vh,nhw,kw->nvk", vertical, regions, horizontal, optimize=True)
    return np.asarray(coefficients.reshape(len(regions), -1) / np.sqrt(height * width))


def _dct_rows(length: int, count: int) -> Array:
    """Returns the first `count` orthonormal DCT-II basis rows; (count, length)."""
    rows = np.cos(np.pi * np.arange(count)[:, None] * (np.arange(length)[None, :] + 0.5) / length)
    rows[0] /= np.sqrt(2.0)
    return np.asarray(rows * np.sqrt(2.0 / length))
