"""How the parts of a media file cross a pipe: a kind, a number, a size, and the bytes of a plain array or JSON.

The reader trusts nothing: every kind has a largest size and a fixed meaning, and nothing is ever unpickled. The program
that writes has met a stranger's file.
"""

import json
import struct
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np

from modeling_hfr_ame.errors import MediaError
from modeling_hfr_ame.frame_sampling import Picture
from modeling_hfr_ame.media_decoding import AudioBlock, MediaPart, StreamEnd, TrackList

_HEADER = struct.Struct("<cdQ")
_SHAPE = struct.Struct("<II")
_TRACKS, _AUDIO, _PICTURE, _END, _FAILURE = b"T", b"A", b"P", b"E", b"X"
_MAX_BYTES = {
    _TRACKS: 4096,
    _AUDIO: 64 * 2**20,
    _PICTURE: 128 * 2**20,
    _END: 4096,
    _FAILURE: 65536,
}


def write_part(output: BinaryIO, part: MediaPart) -> None:
    """Writes one part."""
    if isinstance(part, AudioBlock):
        _write(output, _AUDIO, part.samples.tobytes())
    elif isinstance(part, Picture):
        height, width = part.pixels.shape[:2]
        _write(output, _PICTURE, _SHAPE.pack(height, width), part.pixels.tobytes(), value=part.time_s)
    else:
        kind = _TRACKS if isinstance(part, TrackList) else _END
        _write(output, kind, json.dumps(asdict(part)).encode())


def write_failure(output: BinaryIO, message: str) -> None:
    """Writes why the file can't be read."""
    _write(output, _FAILURE, message.encode()[: _MAX_BYTES[_FAILURE]])


def _write(output: BinaryIO, kind: bytes, *pieces: bytes, value: float = 0.0) -> None:
    output.write(_HEADER.pack(kind, value, sum(map(len, pieces))))
    for piece in pieces:
        output.write(piece)


class PartReader:
    """Reads parts from a pipe.

    Args:
        pipe: What the other process writes to.
        name: Name of the media file for messages.
    """

    def __init__(self, pipe: BinaryIO, name: str) -> None:
        self._pipe, self._name = pipe, name

    def read(self) -> MediaPart | None:
        """Reads the next part; None where the pipe ends.

        Raises:
            MediaError: The other process says that the file can't be read, or says something unknown.
        """
        header = self._pipe.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        kind, value, size = _HEADER.unpack(header)
        if size > _MAX_BYTES.get(kind, -1):
            raise self._nonsense()
        content = bytearray(size)
        if self._fill(memoryview(content)) < size:
            return None
        if kind == _FAILURE:
            raise MediaError(content.decode(errors="replace"))
        try:
            return self._part(kind, value, content)
        except (ValueError, TypeError, KeyError, struct.error) as error:
            raise self._nonsense() from error

    def _fill(self, view: memoryview) -> int:
        filled = 0
        while filled < len(view):
            count = self._pipe.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                break
            filled += count
        return filled

    def _part(self, kind: bytes, value: float, content: bytearray) -> MediaPart:
        if kind == _AUDIO:
            samples = np.frombuffer(content, np.float32)
            if not np.isfinite(samples).all():
                raise ValueError("samples")
            return AudioBlock(samples)
        if kind == _PICTURE:
            height, width = _SHAPE.unpack_from(content)
            if not np.isfinite(value) or not height or not width:
                raise ValueError("picture")
            return Picture(value, np.frombuffer(content, np.uint8, offset=_SHAPE.size).reshape(height, width, 3))
        facts: dict[str, Any] = json.loads(content)
        if kind == _TRACKS:
            stated = facts["duration_s"]
            return TrackList(bool(facts["audio"]), bool(facts["video"]), None if stated is None else float(stated))
        return StreamEnd(float(facts["audio_s"]), float(facts["video_s"]))

    def _nonsense(self) -> MediaError:
        return MediaError(
            f"{self._name} made the decoding process answer nonsense; treat the file as hostile and don't use it"
        )
