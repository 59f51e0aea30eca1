"""Decoding of one media file into a mono waveform and evenly sampled RGB frames, by PyAV, piece by piece.

- Streaming: packets are decoded one after the other and handed over at once; nothing is collected here.
- Video is sampled by presentation time, so a variable frame rate gives the picture that a viewer would see.
- A damaged spot that the decoder conceals stays unnoticed, and so does a cut in a format without a stated duration.
- Files come from strangers: only local regular files or bytes, in container formats that hold their own data, within
  `MediaLimits`. FFmpeg reads through this process and has no protocol of its own, so a playlist can't lead it anywhere.
- A file that ends early is refused rather than read as a shorter one.
- One decoder thread: callers run several files in parallel, and a single thread gives the same frames everywhere.

This file travels into model repositories, and a process that does nothing but decode loads it without torch.
"""

import io
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import ConfigError, MediaError
from .frame_sampling import FrameSampler, Picture
from .media_limits import MediaLimits

try:
    import av
except ImportError:  # arrays, .npy and 16-bit wav work without it
    av = None  # type: ignore[assignment]

MediaSource = str | os.PathLike[str] | bytes | bytearray | memoryview

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
# First bytes of what people take for a media file. FFmpeg refuses them as well, without saying why.
_PLAYLIST_HEADS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"<?xml", b"<MPD", b"<smil", b"<asx", b"v=0\r\n", b"v=0\n")
_PICTURE_HEADS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
_HEAD_BYTES = 64
# FFmpeg's AV_TIME_BASE, the unit of a container's own duration.
_CONTAINER_CLOCK_HZ = 1_000_000
# A stream may end this much before the duration that its header states: one odd packet, padding, an edit list.
_MISSING_TAIL_S = 0.5
_MISSING_TAIL_SHARE = 0.05


@dataclass(frozen=True)
class TrackList:
    """What a file holds, said before anything is decoded.

    Attributes:
        audio: Whether there is an audio track and it was asked for.
        video: Whether there is a video track and it was asked for.
        duration_s: The longest duration that the file's header states, in seconds; None = it states none.
    """

    audio: bool
    video: bool
    duration_s: float | None


@dataclass(frozen=True)
class AudioBlock:
    """A piece of the waveform.

    Attributes:
        samples: (n,) float32, the mean of the channels, nominally in [-1, 1].
    """

    samples: np.ndarray[Any, Any]


@dataclass(frozen=True)
class StreamEnd:
    """How long the tracks were.

    Attributes:
        audio_s: Seconds of audio; 0 without any.
        video_s: Seconds from the first to the end of the last frame; 0 without any.
    """

    audio_s: float
    video_s: float


MediaPart = TrackList | AudioBlock | Picture | StreamEnd


@dataclass(frozen=True)
class DecodingRequest:
    """What is wanted of a file.

    Attributes:
        sampling_rate: Samples per second of the waveform, in hertz; None = no audio.
        frame_rate_hz: Frames per second of the sampled video; None = no video.
        max_width: Width in pixels that an upright frame is scaled down to; a narrower frame keeps its size.

    Raises:
        ConfigError: A rate or the width isn't positive.
    """

    sampling_rate: int | None = 16000
    frame_rate_hz: float | None = 5.0
    max_width: int = 320

    def __post_init__(self) -> None:
        rate, frame_rate_hz = self.sampling_rate, self.frame_rate_hz
        if not ((rate is None or rate >= 1) and (frame_rate_hz is None or frame_rate_hz > 0) and self.max_width >= 1):
            raise ConfigError(
                f"sampling_rate, frame_rate_hz and max_width must be positive, found {rate}, {frame_rate_hz} and "
                f"{self.max_width}; the defaults suit the feature extractors"
            )


@contextmanager
def open_source(source: MediaSource, limits: MediaLimits) -> Iterator[tuple[BinaryIO, str]]:
    """Opens a local regular file, or bytes.

    Args:
        source: Path or content.
        limits: The size is checked.

    Yields:
        The open file and a name for messages.

    Raises:
        MediaError: The path isn't a local regular file that can be read, or there is nothing or too much in it.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        _check_size("the data", memoryview(source).nbytes, limits)
        yield io.BytesIO(source), "the data"
        return
    text = os.fspath(source)
    if "://" in text:
        raise MediaError(f"media are read from local files only, found the address {text!r}; download the file first")
    path = Path(text)
    try:
        _check_regular(path.stat(), path.name)
        # Between the two looks at it, the file may have become a pipe, on which opening would wait.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"{path.name} can't be read ({reason}); check the path") from error
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        _check_regular(status, path.name)
        _check_size(path.name, status.st_size, limits)
        yield file, path.name


def stream_media(file: BinaryIO, name: str, request: DecodingRequest, limits: MediaLimits) -> Iterator[MediaPart]:
    """Decodes the wanted tracks of an open file in one pass.

    Of several tracks of a kind the one that FFmpeg calls best is taken; a cover picture is not a video track.

    Args:
        file: Readable and seekable.
        name: Name of the file for messages.
        request: What is wanted.
        limits: What is refused.

    Yields:
        A `TrackList`, then `AudioBlock` and `Picture` as they come, then a `StreamEnd`.

    Raises:
        MediaError: The file is damaged, cut off or no media file, no track holds anything, a limit is passed, or PyAV
            is missing.
    """
    if av is None:
        raise MediaError("decoding media needs PyAV, found no module 'av'; pip install av, or give .npy or 16-bit wav")
    _check_kind(file, name)
    deadline = time.monotonic() + limits.max_wall_s
    with _open(file, name, limits) as container:
        audio = _AudioReader.of(container, request.sampling_rate, limits, name)
        video = _VideoReader.of(container, request, limits, name)
        readers: dict[int, Any] = {reader.stream.index: reader for reader in (audio, video) if reader is not None}
        both_wanted = request.sampling_rate is not None and request.frame_rate_hz is not None
        if not readers and (both_wanted or not (container.streams.audio or container.streams.video)):
            raise MediaError(f"{name} must hold an audio or a video track, found none to decode; give another file")
        yield TrackList(audio is not None, video is not None, _longest_stated_s(container) or None)
        if readers:
            for packet in container.demux([reader.stream for reader in readers.values()]):
                if time.monotonic() > deadline:
                    raise _too_slow(name, limits)
                for frame in packet.decode():
                    yield from readers[packet.stream.index].add(frame)
        for reader in readers.values():
            yield from reader.finish()
        lengths_s = [reader.duration_s if reader else 0.0 for reader in (audio, video)]
        if len(readers) == 2 and not any(_stated_s(reader.stream) for reader in readers.values()):
            # Matroska states one duration for the whole file, which only the longest track reaches.
            _check_complete(name, "longest track", (container.duration or 0) / _CONTAINER_CLOCK_HZ, max(lengths_s))
    if readers and not any(lengths_s):
        raise MediaError(f"{name} must hold audio samples or video frames, found none; give another file")
    yield StreamEnd(*lengths_s)


def _check_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"media are read from regular files only, {name} is none; give a media file")


def _check_size(name: str, size: int, limits: MediaLimits) -> None:
    if size == 0:
        raise MediaError(f"{name} is empty (0 bytes); get the file again")
    if size > limits.max_file_bytes:
        raise MediaError(
            f"{name} has {size} bytes, more than MediaLimits.max_file_bytes {limits.max_file_bytes}; "
            "cut the file or raise the limit"
        )


def _check_kind(file: BinaryIO, name: str) -> None:
    """Names two kinds of files that are no recordings; FFmpeg would only say that the data are invalid."""
    head = file.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    if head.startswith(_PLAYLIST_HEADS):
        raise MediaError(f"{name} is a playlist, which names other files; give the media file itself")
    if head.startswith(_PICTURE_HEADS) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        raise MediaError(f"{name} is a still picture, not a recording; give a video, or pictures as an array")


class _PlainFile:
    """Reading and seeking, and nothing else: PyAV would take a file's name for a hint."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def _open(file: BinaryIO, name: str, limits: MediaLimits) -> Iterator[Any]:
    """Opens a container and turns FFmpeg's errors, also those met while decoding, into MediaError."""
    options = {"format_whitelist": ",".join(_CONTAINER_FORMATS), "protocol_whitelist": "none"}
    try:
        with av.open(_PlainFile(file), mode="r", options=options) as container:
            duration_s = (container.duration or 0) / _CONTAINER_CLOCK_HZ
            if duration_s > limits.max_duration_s:
                raise _too_long(name, duration_s, limits)
            yield container
    except MemoryError as error:
        raise MediaError(
            f"{name} needs more memory than MediaLimits.max_memory_bytes {limits.max_memory_bytes}; scale the file "
            "down or raise the limit"
        ) from error
    except av.FFmpegError as error:
        raise MediaError(
            f"{name} can't be decoded ({error.strerror}): it is damaged, cut off or no media file; "
            "get the file again or convert it to mp4"
        ) from error


def _too_long(name: str, duration_s: float, limits: MediaLimits) -> MediaError:
    return MediaError(
        f"{name} lasts {duration_s:.1f} s, more than MediaLimits.max_duration_s {limits.max_duration_s:g}; "
        "cut the file or raise the limit"
    )


def _too_slow(name: str, limits: MediaLimits) -> MediaError:
    return MediaError(
        f"{name} takes longer to read than MediaLimits.max_wall_s {limits.max_wall_s:g}; cut the file, convert it to "
        "mp4 or raise the limit"
    )


def _stated_s(stream: Any) -> float:
    """Duration of a track in its own header; 0 = not stated."""
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0


def _longest_stated_s(container: Any) -> float:
    stated = [_stated_s(stream) for stream in (*container.streams.audio, *container.streams.video)]
    return max([(container.duration or 0) / _CONTAINER_CLOCK_HZ, *stated])


def _check_complete(name: str, kind: str, stated_s: float, found_s: float) -> None:
    """Refuses what ends well before its header says: a cut-off file must not pass for a short one."""
    if stated_s - found_s > max(_MISSING_TAIL_S, _MISSING_TAIL_SHARE * stated_s):
        raise MediaError(
            f"{name} is cut off: its {kind} ends after {found_s:.2f} s of the {stated_s:.2f} s in its header; "
            "get the file again"
        )


class _AudioReader:
    """Resamples one audio track."""

    def __init__(self, stream: Any, sampling_rate: int, limits: MediaLimits, name: str) -> None:
        self.stream, self.sampling_rate, self.limits, self.name = stream, sampling_rate, limits, name
        stream.codec_context.thread_count = 1
        # FFmpeg's own mix to mono is 3 dB louder for stereo than for mono, so channels are averaged here.
        self._resampler = av.AudioResampler(format="fltp", rate=sampling_rate)
        self._num_samples = 0
        self._started = False

    @classmethod
    def of(cls, container: Any, sampling_rate: int | None, limits: MediaLimits, name: str) -> "_AudioReader | None":
        stream = container.streams.best("audio")
        return None if stream is None or sampling_rate is None else cls(stream, sampling_rate, limits, name)

    @property
    def duration_s(self) -> float:
        return self._num_samples / self.sampling_rate

    def add(self, frame: Any) -> Iterator[AudioBlock]:
        self._started = True
        try:
            resampled = self._resampler.resample(frame)
        except ValueError as error:
            raise MediaError(
                f"{self.name} must keep one audio format, found a change after {self.duration_s:.2f} s ({error}); "
                "convert the file"
            ) from error
        yield from self._blocks(resampled)

    def _blocks(self, frames: list[Any]) -> Iterator[AudioBlock]:
        for frame in frames:
            samples = np.ascontiguousarray(frame.to_ndarray().mean(axis=0), dtype=np.float32)
            if not np.isfinite(samples).all():
                raise MediaError(
                    f"{self.name} must hold finite audio samples, found NaN or infinite ones after "
                    f"{self.duration_s:.2f} s; write the file again from its source"
                )
            self._num_samples += len(samples)
            if self.duration_s > self.limits.max_duration_s:
                raise _too_long(self.name, self.duration_s, self.limits)
            yield AudioBlock(samples)

    def finish(self) -> Iterator[AudioBlock]:
        if self._started:
            yield from self._blocks(self._resampler.resample(None))
        _check_complete(self.name, "audio", _stated_s(self.stream), self.duration_s)


class _VideoReader:
    """Samples the frames of one video track."""

    def __init__(self, stream: Any, frame_rate_hz: float, max_width: int, limits: MediaLimits, name: str) -> None:
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
    def of(cls, container: Any, request: DecodingRequest, limits: MediaLimits, name: str) -> "_VideoReader | None":
        stream = container.streams.best("video")
        if stream is not None and _is_cover(stream):
            stream = next((other for other in container.streams.video if not _is_cover(other)), None)
        if stream is None or request.frame_rate_hz is None:
            return None
        return cls(stream, request.frame_rate_hz, request.max_width, limits, name)

    @property
    def duration_s(self) -> float:
        return self._sampler.last_time_s + self._frame_s if self._num_frames else 0.0

    def add(self, frame: Any) -> list[Picture]:
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
        return self._sampler.add(frame, time_s)

    def _check_size(self, width: int, height: int) -> None:
        if width > self.limits.max_frame_width or height > self.limits.max_frame_height:
            raise MediaError(
                f"{self.name} has frames of {width} x {height} pixels, more than MediaLimits.max_frame_width x "
                f"max_frame_height {self.limits.max_frame_width} x {self.limits.max_frame_height}; "
                "scale the file down or raise the limit"
            )

    def finish(self) -> list[Picture]:
        _check_complete(self.name, "video", _stated_s(self.stream), self.duration_s)
        return self._sampler.finish(self._frame_s)


def _is_cover(stream: Any) -> bool:
    return av.stream.Disposition.attached_pic in av.stream.Disposition(stream.disposition)
