"""Whole tracks of one media file, decoded in this process, for callers that want arrays.

Files of strangers are better read by `read_media`, which decodes in a process of its own and hands over piece by piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modeling_hfr_ame.errors import MediaError
from modeling_hfr_ame.frame_sampling import Picture
from modeling_hfr_ame.media_decoding import (
    AudioBlock,
    DecodingRequest,
    MediaSource,
    TrackList,
    open_source,
    stream_media,
)
from modeling_hfr_ame.media_limits import MediaLimits


@dataclass(frozen=True)
class MediaAudio:
    """The audio track of a file.

    Attributes:
        waveform: (n,) float32, the mean of the channels, nominally in [-1, 1]. n = 0 for a track without samples.
        sampling_rate: Samples per second.
    """

    waveform: np.ndarray
    sampling_rate: int


@dataclass(frozen=True)
class MediaVideo:
    """The video track of a file, sampled at an even rate.

    Attributes:
        frames: (n, H, W, 3) uint8 RGB, upright. n = 0 for a track without frames.
        times_s: (n,) float64 presentation time of each frame, in seconds from the first frame of the track. A frame
            that stays on screen is repeated with its time.
        frame_rate_hz: Sampled frames per second.
    """

    frames: np.ndarray
    times_s: np.ndarray
    frame_rate_hz: float


@dataclass(frozen=True)
class Media:
    """Both tracks of a file; None where the file has no such track."""

    audio: MediaAudio | None
    video: MediaVideo | None


def decode_audio(
    source: MediaSource, sampling_rate: int = 16000, *, limits: MediaLimits | None = None
) -> MediaAudio | None:
    """Decodes the audio track of a local file; None if it has none. See `decode_media`."""
    return decode_media(source, sampling_rate=sampling_rate, limits=limits, video=False).audio


def decode_video_frames(
    source: MediaSource,
    frame_rate_hz: float = 5.0,
    max_width: int = 320,
    *,
    limits: MediaLimits | None = None,
) -> MediaVideo | None:
    """Decodes evenly sampled frames of a local file; None if it has no video track. See `decode_media`."""
    return decode_media(source, frame_rate_hz=frame_rate_hz, max_width=max_width, limits=limits, audio=False).video


def decode_media(
    source: MediaSource,
    *,
    sampling_rate: int = 16000,
    frame_rate_hz: float = 5.0,
    max_width: int = 320,
    limits: MediaLimits | None = None,
    audio: bool = True,
    video: bool = True,
) -> Media:
    """Decodes the wanted tracks of a local file in one pass.

    Of several tracks of a kind the one that FFmpeg calls best is taken; a cover picture is not a video track.

    Args:
        source: A local regular file, or its bytes.
        sampling_rate: Samples per second of the waveform, in hertz.
        frame_rate_hz: Frames per second of the sampled video.
        max_width: Width in pixels that an upright frame is scaled down to; a narrower frame keeps its size.
        limits: What is refused; None = the defaults of `MediaLimits`.
        audio: Whether to decode the audio track.
        video: Whether to decode the video track.

    Returns:
        The tracks, None where the file has no such track or it wasn't wanted.

    Raises:
        ConfigError: A rate or the width isn't positive.
        MediaError: The path isn't a local regular file, the file is empty, damaged, cut off or no media file, no track
            holds anything, or a limit is passed.
    """
    limits = limits or MediaLimits()
    # Made with both rates first, so that a wrong one is named although its track isn't wanted.
    DecodingRequest(sampling_rate, frame_rate_hz, max_width)
    request = DecodingRequest(sampling_rate if audio else None, frame_rate_hz if video else None, max_width)
    tracks = TrackList(False, False, None)
    blocks: list[np.ndarray] = []
    pictures: list[Picture] = []
    num_bytes = 0
    with open_source(source, limits) as (file, name):
        for part in stream_media(file, name, request, limits):
            if isinstance(part, TrackList):
                tracks = part
            elif isinstance(part, AudioBlock):
                blocks.append(part.samples)
            elif isinstance(part, Picture):
                pictures.append(part)
                num_bytes += part.pixels.nbytes
            if num_bytes > limits.max_sampled_bytes:
                raise MediaError(
                    f"{name} gives more sampled frames than MediaLimits.max_sampled_bytes {limits.max_sampled_bytes} "
                    "holds; cut the file, sample fewer or smaller frames, or raise it"
                )
    waveform = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    frames = np.stack([each.pixels for each in pictures]) if pictures else np.empty((0, 0, 0, 3), np.uint8)
    times_s = np.array([each.time_s for each in pictures])
    return Media(
        audio=MediaAudio(waveform, sampling_rate) if tracks.audio else None,
        video=MediaVideo(frames, times_s, frame_rate_hz) if tracks.video else None,
    )
