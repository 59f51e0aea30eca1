"""Decoding in a process of its own: what a hostile file can reach is a process without secrets, memory or time.

- FFmpeg is a million lines of C that read what strangers wrote. The process that runs it gets the open file, a pipe and
  nothing else: no environment beyond what Python needs, no files to write, bounded memory and processor time.
- A clock in this process ends it after `MediaLimits.max_wall_s`, and closing the stream ends it at once.
- The parts come through the pipe as plain arrays while the file is still being decoded, so nothing is held in memory,
  and features are made at the same time, on another core where there is one.
- The process starts in a fraction of a second, since it loads PyAV and numpy only.

Not covered: a sandbox of the kernel. A decoder that is taken over can still read what this user can read.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from modeling_hfr_ame.errors import MediaError
from modeling_hfr_ame.frame_sampling import Picture
from modeling_hfr_ame.media.decode import MediaAudio
from modeling_hfr_ame.media.part_frames import PartReader
from modeling_hfr_ame.media_decoding import (
    AudioBlock,
    DecodingRequest,
    MediaSource,
    StreamEnd,
    TrackList,
    open_source,
)
from modeling_hfr_ame.media_limits import MediaLimits

_PROGRAM = Path(__file__).with_name("decoder_process.py")
# What Python needs to start and to find PyAV. Tokens and other secrets stay behind.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG", "LC_ALL")
_PIPE_BYTES = 2**20


def read_media(
    source: MediaSource,
    *,
    sampling_rate: int = 16000,
    frame_rate_hz: float = 5.0,
    max_width: int = 320,
    limits: MediaLimits | None = None,
    audio: bool = True,
    video: bool = True,
) -> MediaStream:
    """Decodes a local file piece by piece in a process of its own.

    Args:
        source: A local regular file, or its bytes.
        sampling_rate: Samples per second of the waveform, in hertz.
        frame_rate_hz: Frames per second of the sampled video.
        max_width: Width in pixels that an upright frame is scaled down to.
        limits: What is refused; None = the defaults of `MediaLimits`.
        audio: Whether to decode the audio track.
        video: Whether to decode the video track.

    Returns:
        A context manager that iterates over `AudioBlock` and `Picture`, the same as `decode_media` collects.

    Raises:
        ConfigError: A rate or the width isn't positive.
        MediaError: As `decode_media`; also in the course of the iteration.
    """
    DecodingRequest(sampling_rate, frame_rate_hz, max_width)
    request = DecodingRequest(sampling_rate if audio else None, frame_rate_hz if video else None, max_width)
    return MediaStream(source, request, limits or MediaLimits())


def read_waveform(
    source: MediaSource, sampling_rate: int = 16000, *, limits: MediaLimits | None = None
) -> MediaAudio | None:
    """Decodes the audio track in a process of its own; None if there is none. See `read_media`."""
    with read_media(source, sampling_rate=sampling_rate, limits=limits, video=False) as stream:
        blocks = [part.samples for part in stream if isinstance(part, AudioBlock)]
    if not stream.tracks.audio:
        return None
    return MediaAudio(np.concatenate(blocks) if blocks else np.empty(0, np.float32), sampling_rate)


class MediaStream:
    """The parts of one file, as another process decodes them.

    Attributes:
        tracks: Which tracks there are; known from the start of the iteration.
        end: How long they were; None until the iteration has ended.
    """

    def __init__(self, source: MediaSource, request: DecodingRequest, limits: MediaLimits) -> None:
        self.tracks = TrackList(False, False, None)
        self.end: StreamEnd | None = None
        self._limits = limits
        self._timed_out = False
        with ExitStack() as stack:
            file, self._name = stack.enter_context(open_source(source, limits))
            order = {"name": self._name, "request": asdict(request), "limits": asdict(limits)}
            self._process = subprocess.Popen(
                # -P: a file of the current folder must not pass for a library.
                [sys.executable, "-P", str(_PROGRAM), json.dumps(order)],
                stdin=_with_descriptor(file, stack),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=_PIPE_BYTES,
                env=_environment(),
            )
        _widen(self._process.stdout)
        self._clock = threading.Timer(limits.max_wall_s, self._stop_late)
        self._clock.daemon = True
        self._clock.start()

    @property
    def process_id(self) -> int:
        """Number of the process that decodes."""
        return self._process.pid

    def __enter__(self) -> MediaStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[AudioBlock | Picture]:
        """Yields the parts.

        Raises:
            MediaError: The file can't be read, passes a limit, or ends the process.
        """
        reader = PartReader(cast(BinaryIO, self._process.stdout), self._name)
        # What the clock cuts off in the middle of a part looks like the end of the pipe.
        while (part := reader.read()) is not None:
            if isinstance(part, TrackList):
                self.tracks = part
            elif isinstance(part, StreamEnd):
                self.end = part
            else:
                yield part
        if self.end is None:
            self.close()
            raise self._how_it_ended()

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._clock.cancel()
        with suppress(OSError):
            self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def _stop_late(self) -> None:
        self._timed_out = True
        with suppress(OSError):
            self._process.kill()

    def _how_it_ended(self) -> MediaError:
        code = self._process.returncode
        if self._timed_out or code == -getattr(signal, "SIGXCPU", 0):
            return MediaError(
                f"{self._name} takes longer to read than MediaLimits.max_wall_s {self._limits.max_wall_s:g}; cut the "
                "file, convert it to mp4 or raise the limit"
            )
        return MediaError(
            f"{self._name} ended the process that decodes it (code {code}): it is damaged, hostile, or needs more "
            f"memory than MediaLimits.max_memory_bytes {self._limits.max_memory_bytes}; convert it or leave it out"
        )


def _with_descriptor(file: BinaryIO, stack: ExitStack) -> Any:
    """Gives an open file of the system, which another process can inherit; bytes go to an unnamed temporary one."""
    try:
        file.fileno()
    except OSError:
        copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        return copy
    return file


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # One thread: a thread's stack and memory arena count as address space.
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


def _widen(pipe: Any) -> None:
    """Makes room for several pictures, so that decoding doesn't wait for each one to be read."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
