"""One picture of a cartoon talker, drawn so that OpenCV's frontal-face cascade takes it for a face.

The cascade looks at brightness only: eyes darker than cheeks and forehead, a bright nose between dark eyes, a dark
mouth below. So the face has shaded eye sockets and a lit nose ridge, and is blurred a little, as a camera would.
"""

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modeling_hfr_ame.errors import MediaError

FRAME_SIZE: Final = (320, 240)  # width, height in pixels
_SUBPIXEL_BITS = 4  # OpenCV draws on a grid of 1/16 pixel, so that small movements show

Colour = tuple[float, ...]


@dataclass(frozen=True)
class FaceLook:
    """How a talker looks.

    Attributes:
        skin: RGB in [0, 255].
        hair: RGB in [0, 255].
        half_width: Half of the face's width in pixels.
        half_height: Half of the face's height in pixels.
        centre: Resting position of the face, (x, y) in pixels.
    """

    skin: Colour
    hair: Colour
    half_width: float
    half_height: float
    centre: tuple[float, float]


@dataclass(frozen=True)
class FacePose:
    """What a face does in one frame.

    Attributes:
        mouth_curve: In [-1, 1]: −1 corners down, 1 a smile.
        mouth_open: In [0, 1], about.
        brow_raise: In [-1, 1].
        eyes_open: In [0, 1].
        shift: Offset from the resting position, (x, y) in pixels.
    """

    mouth_curve: float
    mouth_open: float
    brow_raise: float
    eyes_open: float
    shift: tuple[float, float]


def draw_face(look: FaceLook, pose: FacePose) -> NDArray[np.uint8]:
    """Draws one frame.

    Args:
        look: The talker.
        pose: What the face does.

    Returns:
        (240, 320, 3) RGB picture.

    Raises:
        MediaError: OpenCV is not installed.
    """
    canvas = _Canvas(look, _resting_face(look), pose.shift)
    for side in (-1.0, 1.0):
        eye_height = 0.075 * pose.eyes_open + 0.012
        canvas.ellipse((0.42 * side, -0.15), (0.20, eye_height), (235.0, 235.0, 235.0))
        canvas.ellipse((0.42 * side, -0.15), (0.105, eye_height), (40.0, 30.0, 25.0))
        brow = -0.34 - 0.06 * pose.brow_raise
        canvas.curve((0.42 * side, brow), 0.25, -0.05, 0.06, look.hair)
    canvas.ellipse((0.0, 0.57), (0.24, 0.02 + 0.09 * pose.mouth_open), (70.0, 25.0, 30.0))
    canvas.curve((0.0, 0.56), 0.36, 0.15 * pose.mouth_curve, 0.055, (120.0, 45.0, 50.0))
    canvas.blur(0.015)
    return np.clip(np.rint(canvas.pixels), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=8)
def _resting_face(look: FaceLook) -> NDArray[np.float32]:
    """Draws what doesn't move, (240, 320, 3): background, hair, skin and shadows. Its wide blurs are the slow part."""
    width, height = FRAME_SIZE
    shade = np.linspace(150.0, 115.0, height, dtype=np.float32)[:, None, None]
    tint = np.array([0.95, 1.0, 1.05], dtype=np.float32)
    canvas = _Canvas(look, np.broadcast_to(shade * tint, (height, width, 3)), (0.0, 0.0))
    skin = np.array(look.skin)
    canvas.ellipse((0.0, -0.16), (1.16, 1.12), look.hair)
    canvas.ellipse((0.0, 1.35), (0.62, 0.6), 0.82 * skin)  # neck
    canvas.ellipse((0.0, 0.0), (1.0, 1.0), skin)
    canvas.ellipse((0.0, -0.52), (0.68, 0.26), 1.06 * skin)  # lit forehead
    for side in (-1.0, 1.0):
        canvas.ellipse((0.42 * side, -0.17), (0.31, 0.15), 0.66 * skin)  # socket
        canvas.ellipse((0.50 * side, 0.24), (0.26, 0.17), 1.08 * skin)  # cheek
    canvas.blur(0.10)
    canvas.ellipse((0.0, 0.05), (0.10, 0.30), 1.10 * skin)
    canvas.ellipse((0.0, 0.30), (0.19, 0.055), 0.72 * skin)  # shadow under the nose
    canvas.blur(0.045)
    return canvas.pixels


class _Canvas:
    """Draws in face units: (0, 0) is the face's centre, 1 half its width or half its height."""

    def __init__(self, look: FaceLook, background: NDArray[np.float32], shift: tuple[float, float]) -> None:
        self._cv2 = _import_cv2()
        self._centre = np.add(look.centre, shift)
        self._scale = np.array([look.half_width, look.half_height])
        # The background is a smooth ramp, so moving all of it shows nothing but the face moving.
        motion = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
        self.pixels = self._cv2.warpAffine(
            np.ascontiguousarray(background), motion, FRAME_SIZE, borderMode=self._cv2.BORDER_REPLICATE
        )

    def ellipse(self, centre: tuple[float, float], half_axes: tuple[float, float], colour: Any) -> None:
        self._cv2.ellipse(
            self.pixels,
            self._grid(self._centre + self._scale * centre),
            self._grid(self._scale * half_axes),
            0.0,
            0.0,
            360.0,
            tuple(float(value) for value in colour),
            thickness=-1,
            shift=_SUBPIXEL_BITS,
        )

    def curve(self, middle: tuple[float, float], half_width: float, sag: float, thickness: float, colour: Any) -> None:
        """Draws a parabola whose middle lies lower than its ends by `sag`."""
        x = np.linspace(-1.0, 1.0, 17)
        points = np.stack([middle[0] + half_width * x, middle[1] + sag * (0.5 - x**2)], axis=1)
        self._cv2.polylines(
            self.pixels,
            [np.array([self._grid(point) for point in self._centre + self._scale * points], dtype=np.int32)],
            isClosed=False,
            color=tuple(float(value) for value in colour),
            thickness=max(1, round(thickness * float(self._scale[1]))),
            shift=_SUBPIXEL_BITS,
        )

    def blur(self, width: float) -> None:
        self.pixels = self._cv2.GaussianBlur(self.pixels, (0, 0), width * float(self._scale[0]))

    @staticmethod
    def _grid(point: Any) -> tuple[int, int]:
        x, y = (round(float(value) * 2**_SUBPIXEL_BITS) for value in point)
        return x, y


def _import_cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MediaError("drawing faces needs OpenCV, which is not installed; install hfr-ame[av]") from error
    return cv2
