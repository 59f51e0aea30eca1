"""Files, bytes and arrays → waveforms, pictures or frames, for the pipeline.

Design choices:

- Content decides the kind, never a file name: `.npy` and wav by their first bytes, anything else goes to PyAV.
- A file is read into memory, within a limit, before it is looked at. FFmpeg therefore sees one block of bytes and can't
  be led to another file or to the network.
- A wav file needs the standard library only, if its rate is the model's. Everything else needs PyAV, which is optional.
- Pictures are sampled as the package's own media room samples them when it prepares a dataset; a test holds both equal.

This file travels into model repositories, so it can't use that room.
"""

import io
import os
import stat
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import MediaError
from .feature_scaling import Array, as_numpy

try:
    import av
except ImportError:  # arrays, .npy and wav work without it
    av = None  # type: ignore[assignment]

MAX_FILE_BYTES = 256 * 2**20
MAX_DURATION_S = 300.0
MAX_PICTURE_PIXELS = 4096
MAX_PICTURE_BYTES = 2**30
MAX_FRAME_COUNT = 36_000
_MAX_WIDTH = 320
_TIME_TOLERANCE_S = 1e-3
_MISSING_TAIL_S, _MISSING_TAIL_SHARE = 0.5, 0.05
_NPY_MAGIC = b"\x93NUMPY"
# Demuxers that need nothing but the bytes they were given; playlists are what this keeps out.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,asf,ogg,wav,flac,mp3,aac"


@dataclass(frozen=True)
class Tracks:
    """What a media file holds.

    Args:
        waveform: (n,) float mono samples; None = no audio track, or not asked for.
        pictures: (n, H, W, 3) uint8 RGB; None = no video track, or not asked for.
    """

    waveform: Array | None = None
    pictures: Array | None = None


def read_audio(value: Any, sampling_rate: float | None, model_rate: int) -> tuple[Array, float | None]:
    """Reads what a caller gives as audio.

    Args:
        value: (n,) waveform or (n, Da) frames as array, tensor or nested list; a dict with `array` and `sampling_rate`;
            or the path or the bytes of a `.npy`, wav or media file.
        sampling_rate: Samples per second of a waveform in an array; None = not stated.
        model_rate: Samples per second that the model takes; files are decoded at it.

    Returns:
        The waveform with its rate, or the frames with None.

    Raises:
        MediaError: The file can't be read, is no media file, has no audio, or needs PyAV, which isn't installed.
    """
    if isinstance(value, dict) and "array" in value:
        value, sampling_rate = value["array"], value.get("sampling_rate", sampling_rate)
    if not _is_file(value):
        array = as_numpy(value)
        return array, sampling_rate if array.ndim == 1 else None
    content = _content(value)
    if content.startswith(_NPY_MAGIC):
        return read_audio(_read_npy(content), sampling_rate, model_rate)
    waveform = decode_tracks(content, model_rate, None).waveform
    if waveform is None:
        raise MediaError("audio needs a file with an audio track, found none; give another file or leave audio out")
    return waveform, model_rate


def read_vision(value: Any, frame_rate_hz: float) -> Array:
    """Reads what a caller gives as vision.

    Args:
        value: (n, H, W, 3) uint8 pictures or (n, Dv) frames as array, tensor or nested list; or the path or the bytes
            of a `.npy` or media file.
        frame_rate_hz: Pictures per second to sample from a media file.

    Returns:
        Pictures or frames.

    Raises:
        MediaError: The file can't be read, is no media file, has no video, or needs PyAV, which isn't installed.
    """
    if not _is_file(value):
        return as_numpy(value)
    content = _content(value)
    if content.startswith(_NPY_MAGIC):
        return _read_npy(content)
    pictures = decode_tracks(content, None, frame_rate_hz).pictures
    if pictures is None:
        raise MediaError("vision needs a file with a video track, found none; give another file or leave vision out")
    return pictures


def read_video(value: Any, model_rate: int, frame_rate_hz: float) -> Tracks:
    """Reads both tracks of one media file, given by path or as bytes.

    Raises:
        MediaError: The value is neither, or the file can't be decoded.
    """
    if not _is_file(value):
        raise MediaError(
            f"video must be the path or the bytes of a media file, found {type(value).__name__}; pass arrays as audio "
            "and vision"
        )
    return decode_tracks(_content(value), model_rate, frame_rate_hz)


def decode_tracks(content: bytes, sampling_rate: int | None, frame_rate_hz: float | None) -> Tracks:
    """Decodes a wav or media file.

    Args:
        content: The file.
        sampling_rate: Samples per second of the waveform; None = audio isn't wanted.
        frame_rate_hz: Pictures per second; None = video isn't wanted.

    Returns:
        The tracks that are wanted and there.

    Raises:
        MediaError: The content is damaged, cut off, no media file or beyond a limit, or PyAV is needed and missing.
    """
    if sampling_rate is not None and content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        waveform = _read_wav(content, sampling_rate)
        if waveform is not None:
            return Tracks(waveform=waveform)
    if av is None:
        raise MediaError(
            "media files need PyAV (the package av), found none; pip install av, or give a .npy array or a 16-bit wav "
            f"at {sampling_rate or 16000} Hz"
        )
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
    try:
        with av.open(io.BytesIO(content), mode="r", options=options) as container:
            if (container.duration or 0) > MAX_DURATION_S * av.time_base:
                raise _too_long((container.duration or 0) / av.time_base)
            waveform = None if sampling_rate is None else _waveform(container, sampling_rate)
            container.seek(0)
            pictures = None if frame_rate_hz is None else _pictures(container, frame_rate_hz)
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(
            f"a media file must be decodable, found {error}: it is damaged, cut off or no media file; get it again, or "
            "convert it to mp4 or wav"
        ) from error
    return Tracks(waveform, pictures)


def _is_file(value: Any) -> bool:
    return isinstance(value, str | os.PathLike | bytes | bytearray | memoryview)


def _content(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        size, name = memoryview(value).nbytes, "the data"
    else:
        if "://" in os.fspath(value):
            raise MediaError(f"media are read from local files, found the address {value!r}; download the file first")
        path = Path(value)
        name = path.name
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            raise MediaError(f"{name} must be a readable file, found {error!r}; check the path") from error
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"media are read from regular files, {name} is none; give a media or .npy file")
        size = status.st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise MediaError(f"media must have 1 to {MAX_FILE_BYTES} bytes, {name} has {size}; give another file or cut it")
    return bytes(value) if name == "the data" else path.read_bytes()


def _read_npy(content: bytes) -> Array:
    """Reads one array; its stated size is compared with the bytes that are there before anything is allocated."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        stated = dtype.itemsize * int(np.prod([1, *shape], dtype=object))
        if dtype.hasobject or stated != len(content) - stream.tell():
            raise ValueError(f"{dtype} {shape} in {len(content) - stream.tell()} bytes")
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, TypeError, SyntaxError, OverflowError) as error:
        raise MediaError(
            f"an .npy file must hold one complete array of plain numbers, found {error}; write it with numpy.save"
        ) from error


def _read_wav(content: bytes, sampling_rate: int) -> Array | None:
    """Reads PCM of the wanted rate; None for what PyAV has to convert."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            if (rate != sampling_rate or width != 2) and av is not None:
                return None
            if rate != sampling_rate or width != 2:
                raise MediaError(
                    f"without PyAV a wav file must have 16 bits and {sampling_rate} samples per second, found "
                    f"{8 * width} and {rate}; pip install av, or convert the file"
                )
            if file.getnframes() > MAX_DURATION_S * rate:
                raise _too_long(file.getnframes() / rate)
            stated, data = file.getnframes(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        if av is not None:
            return None
        raise MediaError(f"a wav file must be complete PCM, found {error}; get it again, or pip install av") from error
    if len(data) != stated * width * channels:
        raise MediaError(
            f"a wav file must be complete, found {len(data)} of {stated * width * channels} bytes; get it again"
        )
    samples = np.frombuffer(data, dtype="<i2").reshape(-1, channels).astype(np.float32) / 32768.0
    return np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32))


def _too_long(duration_s: float) -> MediaError:
    return MediaError(f"media may last {MAX_DURATION_S:g} s, found {duration_s:.1f} s; cut the file")


def _check_complete(stream: Any, kind: str, found_s: float) -> None:
    """Refuses what ends well before its header says: a cut-off file must not pass for a short one."""
    stated_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    if stated_s - found_s > max(_MISSING_TAIL_S, _MISSING_TAIL_SHARE * stated_s):
        raise MediaError(
            f"a media file must be complete, its {kind} ends after {found_s:.2f} s of {stated_s:.2f} s; get it again"
        )


def _waveform(container: Any, sampling_rate: int) -> Array | None:
    stream = container.streams.best("audio")
    if stream is None:
        return None
    resampler = av.AudioResampler(format="fltp", rate=sampling_rate)
    blocks: list[Array] = []
    length = 0
    for frame in (*_decoded(container, stream), None):
        if frame is None and not blocks:
            break
        for part in resampler.resample(frame):
            # FFmpeg's own mix to mono is 3 dB louder for stereo than for mono, so channels are averaged here.
            blocks.append(part.to_ndarray().mean(axis=0))
            length += len(blocks[-1])
        if length > MAX_DURATION_S * sampling_rate:
            raise _too_long(length / sampling_rate)
    _check_complete(stream, "audio", length / sampling_rate)
    return np.concatenate(blocks).astype(np.float32) if blocks else np.empty(0, np.float32)


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        yield from packet.decode()


def _pictures(container: Any, rate_hz: float) -> Array | None:
    """Keeps, for each instant 0, 1/r, 2/r, … from the first picture on, the one that is on screen."""
    stream = container.streams.best("video")
    if stream is None or av.stream.Disposition.attached_pic in av.stream.Disposition(stream.disposition):
        return None
    stream.codec_context.thread_count = 1
    frame_s = 1.0 / float(stream.average_rate) if stream.average_rate else 0.0
    kept: list[Array] = []
    pending, pending_s, first_s, size = None, 0.0, 0.0, None
    for index, frame in enumerate(_decoded(container, stream), start=1):
        _check_picture(frame, index)
        # A picture without a time of its own follows its predecessor at the header's rate.
        stream_s = frame.time if frame.time is not None else index * frame_s
        first_s = stream_s if pending is None else first_s
        time_s = max(stream_s - first_s, pending_s)
        if time_s + frame_s > MAX_DURATION_S:
            raise _too_long(time_s + frame_s)
        size = _scaled_size(frame) if size is None else size
        _keep_until(kept, pending, size, time_s, rate_hz)
        pending, pending_s = frame, time_s
    if pending is not None and size is not None:
        _keep_until(kept, pending, size, pending_s + max(frame_s, 2 * _TIME_TOLERANCE_S), rate_hz)
    _check_complete(stream, "video", pending_s + frame_s if pending is not None else 0.0)
    return np.stack(kept) if kept else np.empty((0, 1, 1, 3), np.uint8)


def _check_picture(frame: Any, index: int) -> None:
    if max(frame.width, frame.height) > MAX_PICTURE_PIXELS or index > MAX_FRAME_COUNT:
        raise MediaError(
            f"video may have {MAX_FRAME_COUNT} pictures of {MAX_PICTURE_PIXELS} pixels on a side, found {index} of "
            f"{frame.width} x {frame.height}; cut the file or scale it down"
        )


def _scaled_size(frame: Any) -> tuple[int, int]:
    upright_width = frame.height if round(frame.rotation / 90) % 2 else frame.width
    scale = min(1.0, _MAX_WIDTH / upright_width)
    return max(1, round(frame.width * scale)), max(1, round(frame.height * scale))


def _keep_until(kept: list[Array], frame: Any, size: tuple[int, int], end_s: float, rate_hz: float) -> None:
    picture: Array | None = None
    while frame is not None and len(kept) / rate_hz < end_s - _TIME_TOLERANCE_S:
        if picture is None:
            pixels = frame.reformat(width=size[0], height=size[1], format="rgb24").to_ndarray()
            picture = np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
        kept.append(picture)
        if len(kept) * picture.nbytes > MAX_PICTURE_BYTES:
            raise MediaError(f"sampled pictures may take {MAX_PICTURE_BYTES} bytes, found more; cut or scale the file")
