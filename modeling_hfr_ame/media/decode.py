"""Decoding of one local media file into a mono waveform and evenly sampled RGB frames, by PyAV.

- Streaming: packets are decoded one after the other; only the waveform and the sampled, scaled frames are kept.
- Video is sampled by presentation time, so a variable frame rate gives the picture that a viewer would see.
- A damaged spot that the decoder conceals stays unnoticed, and so does a cut in a format without a stated duration.
- Files come from strangers: only local regular files in container formats that hold their own data (a playlist could
  name other files), within `MediaLimits`. A file that ends early is refused rather than read as a shorter one.
- One decoder thread: callers run several files in parallel, and a single thread gives the same frames everywhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from modeling_hfr_ame.errors import ConfigError, MediaError
from modeling_hfr_ame.media.frame_sampling import FrameSampler
from modeling_hfr_ame.media.limits import MediaLimits

if TYPE_CHECKING:
    from av import AudioStream, VideoStream
    from av.container import InputContainer

# Demuxers that read the one file they were given. hls, dash and concat are the ones this keeps out.
_CONTAINER_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "avi",
    "mpeg",
    "mpegts",
    "flv",
    "asf",
    "ogg",
    "wav",
    "flac",
    "mp3",
    "aac",
)
# FFmpeg's AV_TIME_BASE, the unit of a container's own duration.
_CONTAINER_CLOCK_HZ = 1_000_000
# A stream may end this much before the duration that its header states: one odd packet, padding, an edit list.
_MISSING_TAIL_S = 0.5
_MISSING_TAIL_SHARE = 0.05


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
    path: str | os.PathLike[str], sampling_rate: int = 16000, *, limits: MediaLimits | None = None
) -> MediaAudio | None:
    """Decodes the audio track of a local file; None if it has none. See `decode_media`."""
    return decode_media(path, sampling_rate=sampling_rate, limits=limits, video=False).audio


def decode_video_frames(
    path: str | os.PathLike[str],
    frame_rate_hz: float = 5.0,
    max_width: int = 320,
    *,
    limits: MediaLimits | None = None,
) -> MediaVideo | None:
    """Decodes evenly sampled frames of a local file; None if it has no video track. See `decode_media`."""
    return decode_media(path, frame_rate_hz=frame_rate_hz, max_width=max_width, limits=limits, audio=False).video


def decode_media(
    path: str | os.PathLike[str],
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
        path: A local regular file.
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
    if not (sampling_rate >= 1 and frame_rate_hz > 0 and max_width >= 1):
        raise ConfigError(
            f"sampling_rate, frame_rate_hz and max_width must be positive, found {sampling_rate}, {frame_rate_hz} and "
            f"{max_width}; the defaults suit the feature extractors"
        )
    file = _check_file(path, limits)
    with _open(file, limits) as container:
        audio_reader = _AudioReader.of(container, sampling_rate, limits, file.name) if audio else None
        video_reader = _VideoReader.of(container, frame_rate_hz, max_width, limits, file.name) if video else None
        readers: dict[int, _AudioReader | _VideoReader] = {
            reader.stream.index: reader for reader in (audio_reader, video_reader) if reader is not None
        }
        if readers:
            for packet in container.demux([reader.stream for reader in readers.values()]):
                for frame in packet.decode():
                    readers[packet.stream.index].add(frame)
        elif not _has_track(container):
            raise MediaError(f"{file.name} must hold an audio or a video track, found neither; give another file")
        media = Media(
            audio=audio_reader.finish() if audio_reader else None,
            video=video_reader.finish() if video_reader else None,
        )
        if audio and video and not any(_stated_s(reader.stream) for reader in readers.values()):
            # Matroska states one duration for the whole file, which only the longest track reaches.
            found_s = max((reader.duration_s for reader in readers.values()), default=0.0)
            _check_complete(file.name, "longest track", (container.duration or 0) / _CONTAINER_CLOCK_HZ, found_s)
    if readers and not any(reader.duration_s for reader in readers.values()):
        raise MediaError(f"{file.name} must hold audio samples or video frames, found none; give another file")
    return media


def _check_file(path: str | os.PathLike[str], limits: MediaLimits) -> Path:
    text = os.fspath(path)
    if "://" in text:
        raise MediaError(f"media are read from local files only, found the address {text!r}; download the file first")
    file = Path(text)
    try:
        status = file.stat()
    except OSError as error:
        raise MediaError(f"{file.name} can't be read ({error.strerror}); check the path") from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"media are read from regular files only, {file.name} is none; give a media file")
    if status.st_size == 0:
        raise MediaError(f"{file.name} is empty (0 bytes); get the file again")
    if status.st_size > limits.max_file_bytes:
        raise MediaError(
            f"{file.name} has {status.st_size} bytes, more than MediaLimits.max_file_bytes {limits.max_file_bytes}; "
            "cut the file or raise the limit"
        )
    return file


@contextmanager
def _open(file: Path, limits: MediaLimits) -> Iterator[InputContainer]:
    """Opens a file and turns FFmpeg's errors, also those met while decoding, into MediaError."""
    try:
        import av
    except ImportError as error:
        raise MediaError("decoding media needs PyAV, found no module 'av'; install hfr-ame[av]") from error
    options = {"format_whitelist": ",".join(_CONTAINER_FORMATS), "protocol_whitelist": "file"}
    try:
        with av.open(os.path.abspath(file), mode="r", options=options) as container:
            duration_s = (container.duration or 0) / _CONTAINER_CLOCK_HZ
            if duration_s > limits.max_duration_s:
                raise _too_long(file.name, duration_s, limits)
            yield container
    except av.FFmpegError as error:
        raise MediaError(
            f"{file.name} can't be decoded ({error.strerror}): it is damaged, cut off or no media file; "
            "get the file again or convert it to mp4"
        ) from error


def _has_track(container: InputContainer) -> bool:
    return bool(container.streams.audio or container.streams.video)


def _too_long(name: str, duration_s: float, limits: MediaLimits) -> MediaError:
    return MediaError(
        f"{name} lasts {duration_s:.1f} s, more than MediaLimits.max_duration_s {limits.max_duration_s:g}; "
        "cut the file or raise the limit"
    )


def _stated_s(stream: Any) -> float:
    """Duration of a track in its own header; 0 = not stated."""
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0


def _check_complete(name: str, kind: str, stated_s: float, found_s: float) -> None:
    """Refuses what ends well before its header says: a cut-off file must not pass for a short one."""
    if stated_s - found_s > max(_MISSING_TAIL_S, _MISSING_TAIL_SHARE * stated_s):
        raise MediaError(
            f"{name} is cut off: its {kind} ends after {found_s:.2f} s of the {stated_s:.2f} s in its header; "
            "get the file again"
        )


class _AudioReader:
    """Collects the resampled waveform of one audio track."""

    def __init__(self, stream: AudioStream, sampling_rate: int, limits: MediaLimits, name: str) -> None:
        from av import AudioResampler

        self.stream, self.sampling_rate, self.limits, self.name = stream, sampling_rate, limits, name
        # FFmpeg's own mix to mono is 3 dB louder for stereo than for mono, so channels are averaged here.
        self._resampler = AudioResampler(format="fltp", rate=sampling_rate)
        self._blocks: list[np.ndarray] = []
        self._num_samples = 0

    @classmethod
    def of(cls, container: InputContainer, sampling_rate: int, limits: MediaLimits, name: str) -> _AudioReader | None:
        stream = cast("AudioStream | None", container.streams.best("audio"))
        return None if stream is None else cls(stream, sampling_rate, limits, name)

    @property
    def duration_s(self) -> float:
        return self._num_samples / self.sampling_rate

    def add(self, frame: Any) -> None:
        try:
            self._append(self._resampler.resample(frame))
        except ValueError as error:
            if isinstance(error, MediaError):
                raise
            raise MediaError(
                f"{self.name} must keep one audio format, found a change after {self.duration_s:.2f} s ({error}); "
                "convert the file"
            ) from error

    def _append(self, frames: list[Any]) -> None:
        for frame in frames:
            block = frame.to_ndarray().mean(axis=0)
            self._blocks.append(block)
            self._num_samples += len(block)
        if self.duration_s > self.limits.max_duration_s:
            raise _too_long(self.name, self.duration_s, self.limits)

    def finish(self) -> MediaAudio:
        if self._blocks:
            self._append(self._resampler.resample(None))
        _check_complete(self.name, "audio", _stated_s(self.stream), self.duration_s)
        waveform = np.concatenate(self._blocks) if self._blocks else np.empty(0, np.float32)
        return MediaAudio(np.ascontiguousarray(waveform, dtype=np.float32), self.sampling_rate)


class _VideoReader:
    """Samples the frames of one video track."""

    def __init__(
        self, stream: VideoStream, frame_rate_hz: float, max_width: int, limits: MediaLimits, name: str
    ) -> None:
        self.stream, self.limits, self.name = stream, limits, name
        self._sampler = FrameSampler(frame_rate_hz, max_width)
        self._num_frames = 0
        rate_hz = float(stream.average_rate or 0)
        if rate_hz > limits.max_frame_rate_hz:
            raise MediaError(
                f"{name} has {rate_hz:g} frames per second, more than MediaLimits.max_frame_rate_hz "
                f"{limits.max_frame_rate_hz:g}; convert the file or raise the limit"
            )
        self._check_size(stream.codec_context.width, stream.codec_context.height)
        self._frame_s = 1.0 / rate_hz if rate_hz else 0.0
        stream.codec_context.thread_count = 1

    @classmethod
    def of(
        cls, container: InputContainer, frame_rate_hz: float, max_width: int, limits: MediaLimits, name: str
    ) -> _VideoReader | None:
        from av.stream import Disposition

        stream = cast("VideoStream | None", container.streams.best("video"))
        if stream is None or Disposition.attached_pic in Disposition(stream.disposition):
            return None
        return cls(stream, frame_rate_hz, max_width, limits, name)

    @property
    def duration_s(self) -> float:
        return self._sampler.last_time_s + self._frame_s if self._num_frames else 0.0

    def add(self, frame: Any) -> None:
        self._num_frames += 1
        if self._num_frames > self.limits.max_frame_count:
            raise MediaError(
                f"{self.name} has more frames than MediaLimits.max_frame_count {self.limits.max_frame_count}; "
                "cut the file or raise the limit"
            )
        self._check_size(frame.width, frame.height)
        # A frame without a time of its own follows its predecessor at the header's rate.
        time_s = self._sampler.place(frame.time if frame.time is not None else self._num_frames * self._frame_s)
        # Before the frame is added: a jump in time would be filled with copies of the picture before it.
        if time_s + self._frame_s > self.limits.max_duration_s:
            raise _too_long(self.name, time_s + self._frame_s, self.limits)
        self._sampler.add(frame, time_s)
        if self._sampler.num_bytes > self.limits.max_sampled_bytes:
            raise MediaError(
                f"{self.name} gives more sampled frames than MediaLimits.max_sampled_bytes "
                f"{self.limits.max_sampled_bytes} holds; cut the file, sample fewer or smaller frames, or raise it"
            )

    def _check_size(self, width: int, height: int) -> None:
        if width > self.limits.max_frame_width or height > self.limits.max_frame_height:
            raise MediaError(
                f"{self.name} has frames of {width} x {height} pixels, more than MediaLimits.max_frame_width x "
                f"max_frame_height {self.limits.max_frame_width} x {self.limits.max_frame_height}; "
                "scale the file down or raise the limit"
            )

    def finish(self) -> MediaVideo:
        _check_complete(self.name, "video", _stated_s(self.stream), self.duration_s)
        frames, times_s = self._sampler.finish(self._frame_s)
        return MediaVideo(frames, times_s, self._sampler.frame_rate_hz)
