"""Sampling of a video track by presentation time."""

from dataclasses import dataclass
from typing import Any

import numpy as np

# Presentation times are rounded to the stream's time base; a frame due this little after a sampling instant is on time.
_TIME_TOLERANCE_S = 1e-3


@dataclass(frozen=True)
class Picture:
    """The frame that is on screen at one sampling instant.

    Attributes:
        time_s: Its presentation time in seconds from the first frame of the track.
        pixels: (H, W, 3) uint8 RGB, upright. A frame that stays on screen is the same array at the next instant.
    """

    time_s: float
    pixels: np.ndarray[Any, Any]


class FrameSampler:
    """Picks, for each instant 0, 1/r, 2/r, … from the first frame on, the frame that is on screen.

    Frames are converted only when picked: most source frames are never turned into RGB.
    """

    def __init__(self, frame_rate_hz: float, max_width: int) -> None:
        """Starts an empty track.

        Args:
            frame_rate_hz: Sampling instants per second.
            max_width: Width in pixels that an upright frame is scaled down to.
        """
        self.frame_rate_hz = frame_rate_hz
        self.last_time_s = 0.0
        self._max_width = max_width
        self._first_time_s: float | None = None
        self._pending: Any = None
        self._size: tuple[int, int] | None = None
        self._num_picked = 0

    def place(self, stream_time_s: float) -> float:
        """Turns a time of the stream's own clock into seconds from the first frame, never before the last frame."""
        if self._first_time_s is None:
            self._first_time_s = stream_time_s
        # A broken muxer may step back; such a frame replaces the picture without moving the clock.
        return max(stream_time_s - self._first_time_s, self.last_time_s)

    def add(self, frame: Any, time_s: float) -> list[Picture]:
        """Takes the next decoded frame, which `place` put at `time_s`; returns the pictures that this makes certain."""
        pictures = self._pick_until(time_s)
        self._pending, self.last_time_s = frame, time_s
        return pictures

    def finish(self, last_frame_s: float) -> list[Picture]:
        """Ends the track.

        Args:
            last_frame_s: How long the last frame stays on screen, in seconds.

        Returns:
            The last pictures.
        """
        return self._pick_until(self.last_time_s + max(last_frame_s, 2 * _TIME_TOLERANCE_S))

    def _pick_until(self, end_s: float) -> list[Picture]:
        """Picks the pending frame for every sampling instant before `end_s`."""
        pictures: list[Picture] = []
        while self._pending is not None and self._num_picked / self.frame_rate_hz < end_s - _TIME_TOLERANCE_S:
            pictures.append(pictures[0] if pictures else Picture(self.last_time_s, self._to_rgb(self._pending)))
            self._num_picked += 1
        return pictures

    def _to_rgb(self, frame: Any) -> np.ndarray[Any, Any]:
        """Scales, converts and turns a frame upright; a change of size within a track is scaled to the first size."""
        quarter_turns = round(frame.rotation / 90) % 4
        if self._size is None:
            width, height = frame.width, frame.height
            upright_width = height if quarter_turns % 2 else width
            scale = min(1.0, self._max_width / upright_width)
            self._size = (max(1, round(width * scale)), max(1, round(height * scale)))
        width, height = self._size
        pixels = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, quarter_turns))
