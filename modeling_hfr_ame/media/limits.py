"""How large a media file may be before decoding it is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaLimits:
    """Hard limits of one media file; each is checked against the header and again while decoding.

    Attributes:
        max_file_bytes: Size of the file.
        max_duration_s: Duration of each stream in seconds.
        max_frame_width: Width of a source frame in pixels.
        max_frame_height: Height of a source frame in pixels.
        max_frame_count: Decoded source frames.
        max_frame_rate_hz: Average source frame rate.
        max_sampled_bytes: Sampled and scaled frames, which stay in memory: 5 minutes at 5 frames per second and
            320 x 240 pixels are 350 MB.
    """

    max_file_bytes: int = 512 * 2**20
    max_duration_s: float = 300.0
    max_frame_width: int = 4096
    max_frame_height: int = 4096
    max_frame_count: int = 36_000
    max_frame_rate_hz: float = 240.0
    max_sampled_bytes: int = 2**30
