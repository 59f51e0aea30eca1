"""A few small pictures of a recording, chosen while it streams by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from modeling_hfr_ame.frame_sampling import Picture

_WIDTH = 160


@dataclass(frozen=True)
class Thumbnail:
    """A small picture.

    Attributes:
        time_s: Its time in seconds from the first picture.
        pixels: (H, W, 3) uint8 RGB, at most 160 pixels wide.
    """

    time_s: float
    pixels: np.ndarray = field(repr=False)


class ThumbnailPicker:
    """Keeps evenly spaced pictures of a stream whose length nobody knows beforehand.

    Every s-th picture is kept. Where twice as many as wanted have come together, every second of them goes, and s
    doubles; so there are always at least as many as wanted, or all of them.

    Args:
        num_wanted: How many thumbnails; 0 = none.
    """

    def __init__(self, num_wanted: int) -> None:
        self._num_wanted = num_wanted
        self._stride = 1
        self._num_seen = 0
        self._kept: list[Thumbnail] = []

    def add(self, picture: Picture) -> None:
        """Looks at the next picture."""
        if self._num_wanted and self._num_seen % self._stride == 0:
            self._kept.append(Thumbnail(picture.time_s, _shrink(picture.pixels)))
            if len(self._kept) == 2 * self._num_wanted:
                del self._kept[1::2]
                self._stride *= 2
        self._num_seen += 1

    def finish(self) -> tuple[Thumbnail, ...]:
        """Returns the thumbnails, ascending in time."""
        count = min(self._num_wanted, len(self._kept))
        # The middle of each of `count` equal stretches.
        return tuple(self._kept[(2 * index + 1) * len(self._kept) // (2 * count)] for index in range(count))


def _shrink(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    if width <= _WIDTH:
        return pixels.copy()
    import cv2  # also needed for the features of a face; a missing OpenCV was named before

    return np.asarray(
        cv2.resize(pixels, (_WIDTH, max(1, round(height * _WIDTH / width))), interpolation=cv2.INTER_AREA)
    )
