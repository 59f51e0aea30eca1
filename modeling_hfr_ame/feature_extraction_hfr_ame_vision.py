"""RGB frames → face features: eye and mouth shape, head position and motion, from OpenCV's bundled face cascade.

Design choices:

- One face per clip, followed by `face_track`. A picture without a known face is an exact zero row: not observed.
- Every picture is described by itself and its predecessor, so a clip that streams by gives the bits of the whole.
- The crop is grey and contrast-normalised, so that exposure does not look like expression.
- Low-frequency DCT coefficients of the eye and the mouth region keep shape at 15 numbers each.

Not covered: profile faces, several speakers, identity; appearance features are not normalised per speaker.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from transformers import ProcessorMixin

from .errors import InputError
from .face_track import FaceTrack, TrackedPicture
from .feature_scaling import Array, FrameFeatureExtractor, as_frames, as_numpy
from .hub_backbones import NATIVE_BACKEND, pinned_hub_model
from .hub_features import HubVisionStream

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

_RATE_TOLERANCE = 0.01
# Grey levels; a flat crop (sensor noise only) must not be blown up to full contrast.
_MIN_CONTRAST = 8.0


class HfrAmeVisionFeatureExtractor(FrameFeatureExtractor):
    """Turns video frames into standardised face features.

    Args:
        feature_size: Width D of precomputed features; None means the native features `VISION_FEATURE_NAMES`.
        frame_rate_hz: Pictures per second that the caller samples, which is also the rate of the features; > 0.
        feature_names: D names; None = native, or numbered where `feature_size` is given.
        feature_mean: Fitted means of D features; None = not fitted.
        feature_std: Fitted standard deviations; None = not fitted.
        clip_value: Bound of standardised values.
        backend: `native`, or `hf:<id or path>` of the Hub model whose states are the features.
        backend_sha256: Hash of that model; None = the one that is there.

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
        backend: str = NATIVE_BACKEND,
        backend_sha256: str | None = None,
        **kwargs: Any,
    ) -> None:
        # One picture gives one frame; the base class's second name for the rate comes back from the saved JSON.
        kwargs.pop("sampling_rate", None)
        super().__init__(
            feature_size,
            frame_rate_hz,
            frame_rate_hz,
            feature_names,
            feature_mean,
            feature_std,
            clip_value,
            backend,
            backend_sha256,
            **kwargs,
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
        stream = self.stream(rate)
        for picture in pictures:
            stream.push(picture)
        return stream.finish()

    def stream(self, rate: float | None = None) -> Any:
        """Starts the features of pictures that come one by one.

        Args:
            rate: Pictures per second; None means that they are sampled at `frame_rate_hz`.

        Returns:
            An object with `push(picture)`, which takes the next picture (H, W, 3) uint8 RGB, and `finish()`, which
            returns what `extract` gives for all of them at once.

        Raises:
            InputError: The rate differs, OpenCV is missing, or the model takes precomputed features.
        """
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
        if self.backend != NATIVE_BACKEND:
            model = pinned_hub_model(self.modality, self.backend, self.backend_sha256)
            return HubVisionStream(model, self.frame_rate_hz)
        return FaceFeatureStream(self.frame_rate_hz)


class FaceFeatureStream:
    """Makes native features of pictures that come one by one.

    Args:
        rate: Pictures per second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._track = FaceTrack(rate)
        self._previous: tuple[Array, Array] | None = None  # crop and box, where the last picture had a face
        self._rows: list[Array] = []

    def push(self, picture: Array) -> None:
        """Takes the next picture (H, W, 3) uint8 RGB."""
        self._describe(self._track.push(picture))

    def finish(self) -> Array:
        """Returns all features (n, 46) float32; an exact zero row where no face is known."""
        self._describe(self._track.finish())
        return np.stack(self._rows) if self._rows else np.empty((0, len(VISION_FEATURE_NAMES)), np.float32)

    def _describe(self, tracked: Iterable[TrackedPicture]) -> None:
        for each in tracked:
            if not each.has_face:
                self._previous = None
                self._rows.append(np.zeros(len(VISION_FEATURE_NAMES), np.float32))
                continue
            crop = _crop(each.grey, each.box)
            self._rows.append(_features(each, crop, self._previous, self._rate))
            self._previous = crop, each.box


def _features(tracked: TrackedPicture, crop: Array, previous: tuple[Array, Array] | None, rate: float) -> Array:
    """Computes all native features of one picture; `previous` is crop and box of the one before; (46,) float32."""
    box = tracked.box
    height, width = tracked.grey.shape
    # Differences to the previous picture exist only where both hold a face.
    change, shift = np.zeros_like(crop), np.zeros(2)
    if previous is not None:
        change = np.abs(crop - previous[0])
        shift = (box[:2] - previous[1][:2]) * rate / box[2]
    step = CROP_SIZE // _NUM_CELLS
    cells = change.reshape(_NUM_CELLS, step, _NUM_CELLS, step).mean(axis=(1, 3))
    columns = [
        _low_frequencies(crop[_EYES][None], _EYE_DCT)[0],
        _low_frequencies(crop[_MOUTH][None], _MOUTH_DCT)[0],
        [box[0] / width - 0.5, box[1] / height - 0.5, np.log(box[3] / height)],
        shift,
        [float(tracked.detected), change.mean()],
        cells.ravel(),
    ]
    return np.concatenate(columns).astype(np.float32)


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
