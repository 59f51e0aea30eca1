"""Files, bytes and arrays → waveforms, pictures or frames, for the pipeline.

Design choices:

- Content decides the kind, never a file name: `.npy` and wav by their first bytes, anything else goes to PyAV.
- A media file becomes frames of features while it is decoded, so a long recording needs little memory. The bits are
  those of a prepared dataset, since decoder, limits and extractors are the same code.
- A wav file needs the standard library only, if it has 16 bits and the model's rate. Everything else needs PyAV, which
  is optional.

Not covered: decoding in a process of its own, which takes the package; this file travels into model repositories.
"""

import io
import os
import wave
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import MediaError
from .feature_extraction_hfr_ame_audio import is_silent
from .feature_scaling import Array, as_numpy
from .media_decoding import (
    AudioBlock,
    DecodingRequest,
    MediaSource,
    StreamEnd,
    TrackList,
    av,
    open_source,
    stream_media,
)
from .media_limits import MediaLimits

_NPY_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class TrackFrames:
    """Features of a media file.

    Attributes:
        audio: (n, Da) raw frames; None = no audio track, nothing in it, silence, or not asked for.
        vision: (n, Dv) raw frames; None = no video track, nothing in it, or not asked for.
        has_audio: Whether there is an audio track, silent or not.
        has_video: Whether there is a video track.
    """

    audio: Array | None
    vision: Array | None
    has_audio: bool
    has_video: bool


def read_audio(
    value: Any, sampling_rate: float | None, extractor: Any, limits: MediaLimits | None = None
) -> tuple[Array | None, float | None]:
    """Reads what a caller gives as audio.

    Args:
        value: (n,) waveform or (n, Da) frames as array, tensor or nested list; a dict with `array` and `sampling_rate`;
            or the path or the bytes of a `.npy`, wav or media file.
        sampling_rate: Samples per second of a waveform in an array; None = not stated.
        extractor: The model's audio extractor; files are decoded at its rate.
        limits: What is refused of a file; None = the defaults of `MediaLimits`.

    Returns:
        The waveform with its rate, or the frames with None. None and None for a file whose track is silent or empty.

    Raises:
        MediaError: The file can't be read, is no media file, has no audio, or needs PyAV, which isn't installed.
    """
    if isinstance(value, dict) and "array" in value:
        value, sampling_rate = value["array"], value.get("sampling_rate", sampling_rate)
    if not _is_file(value):
        given = as_numpy(value)
        return given, sampling_rate if given.ndim == 1 else None
    array = _read_npy(value, limits or MediaLimits())
    if array is not None:
        return array, sampling_rate if array.ndim == 1 else None
    frames = read_tracks(value, extractor, None, limits)
    if not frames.has_audio:
        raise MediaError("audio needs a file with an audio track, found none; give another file or leave audio out")
    return frames.audio, None


def read_vision(value: Any, extractor: Any, limits: MediaLimits | None = None) -> Array | None:
    """Reads what a caller gives as vision.

    Args:
        value: (n, H, W, 3) uint8 pictures or (n, Dv) frames as array, tensor or nested list; or the path or the bytes
            of a `.npy` or media file.
        extractor: The model's vision extractor; pictures of a file are sampled at its rate.
        limits: What is refused of a file; None = the defaults of `MediaLimits`.

    Returns:
        Pictures or frames. None for a file whose video track is empty.

    Raises:
        MediaError: The file can't be read, is no media file, has no video, or needs PyAV, which isn't installed.
    """
    if not _is_file(value):
        return as_numpy(value)
    array = _read_npy(value, limits or MediaLimits())
    if array is not None:
        return array
    frames = read_tracks(value, None, extractor, limits)
    if not frames.has_video:
        raise MediaError("vision needs a file with a video track, found none; give another file or leave vision out")
    return frames.vision


def read_video(
    value: Any, audio_extractor: Any, vision_extractor: Any, limits: MediaLimits | None = None
) -> TrackFrames:
    """Reads both tracks of one media file, given by path or as bytes; see `read_tracks`.

    Raises:
        MediaError: The value is neither, or the file can't be decoded.
    """
    if not _is_file(value):
        raise MediaError(
            f"video must be the path or the bytes of a media file, found {type(value).__name__}; pass arrays as audio "
            "and vision"
        )
    return read_tracks(value, audio_extractor, vision_extractor, limits)


def read_tracks(
    source: MediaSource, audio_extractor: Any, vision_extractor: Any, limits: MediaLimits | None = None
) -> TrackFrames:
    """Decodes a wav or media file and makes features on the way.

    Args:
        source: Path or bytes.
        audio_extractor: The model's audio extractor; None = audio isn't wanted.
        vision_extractor: The model's vision extractor; None = video isn't wanted.
        limits: What is refused; None = the defaults of `MediaLimits`.

    Returns:
        The features of the tracks that are wanted and there.

    Raises:
        MediaError: The file is damaged, cut off, no media file or beyond a limit, or PyAV is needed and missing.
        InputError: The model takes features that can't be computed from a recording.
    """
    limits = limits or MediaLimits()
    rate = None if audio_extractor is None else int(audio_extractor.sampling_rate)
    frame_rate_hz = None if vision_extractor is None else float(vision_extractor.frame_rate_hz)
    audio: Any = None
    vision: Any = None
    tracks = TrackList(False, False, None)
    peak, num_pictures = 0.0, 0
    with open_source(source, limits) as (file, name):
        for part in _parts(file, name, DecodingRequest(rate, frame_rate_hz), limits):
            if isinstance(part, TrackList):
                tracks = part
                audio = audio_extractor.stream(rate) if part.audio else None
                vision = vision_extractor.stream(frame_rate_hz) if part.video else None
            elif isinstance(part, AudioBlock):
                peak = max(peak, float(np.abs(part.samples).max(initial=0.0)))
                audio.push(part.samples)
            elif not isinstance(part, StreamEnd):
                num_pictures += 1
                vision.push(part.pixels)
    return TrackFrames(
        # A track without samples has no peak either.
        audio=None if audio is None or is_silent(np.array([peak])) else audio.finish(),
        vision=vision.finish() if vision is not None and num_pictures else None,
        has_audio=tracks.audio,
        has_video=tracks.video,
    )


def _parts(file: Any, name: str, request: DecodingRequest, limits: MediaLimits) -> Any:
    """Yields the parts of a file; those of a plain wav file without PyAV."""
    head = file.read(12)
    file.seek(0)
    if request.sampling_rate is not None and head[:4] == b"RIFF" and head[8:] == b"WAVE":
        samples = _read_wav(file, name, request.sampling_rate, limits)
        if samples is not None:
            return iter([TrackList(True, False, None), AudioBlock(samples)])
        file.seek(0)
    return stream_media(file, name, request, limits)


def _is_file(value: Any) -> bool:
    return isinstance(value, str | os.PathLike | bytes | bytearray | memoryview)


def _read_npy(source: MediaSource, limits: MediaLimits) -> Array | None:
    """Reads one array; None if the file is another kind.

    The size that it states is compared with the bytes that are there before anything is allocated.
    """
    with open_source(source, limits) as (file, _):
        if file.read(len(_NPY_MAGIC)) != _NPY_MAGIC:
            return None
        file.seek(0)
        content = file.read()
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


def _read_wav(source: Any, name: str, sampling_rate: int, limits: MediaLimits) -> Array | None:
    """Reads 16-bit PCM of the wanted rate; None for what PyAV has to convert."""
    try:
        with wave.open(source) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            if (rate != sampling_rate or width != 2) and av is not None:
                return None
            if rate != sampling_rate or width != 2:
                raise MediaError(
                    f"without PyAV a wav file must have 16 bits and {sampling_rate} samples per second, {name} has "
                    f"{8 * width} and {rate}; pip install av, or convert the file"
                )
            stated = file.getnframes()
            if stated > limits.max_duration_s * rate:
                raise MediaError(
                    f"{name} lasts {stated / rate:.1f} s, more than MediaLimits.max_duration_s "
                    f"{limits.max_duration_s:g}; cut the file or raise the limit"
                )
            data = file.readframes(stated)
    except (wave.Error, EOFError) as error:
        if av is not None:
            return None
        raise MediaError(f"a wav file must be complete PCM, found {error}; get it again, or pip install av") from error
    if len(data) != stated * width * channels:
        raise MediaError(
            f"a wav file must be complete, found {len(data)} of {stated * width * channels} bytes; get {name} again"
        )
    samples = np.frombuffer(data, dtype="<i2").reshape(-1, channels).astype(np.float32) / 32768.0
    return np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32))
