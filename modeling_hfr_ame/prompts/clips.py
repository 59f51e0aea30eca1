"""What a generator is shown of a clip: a few pictures and the sound, decoded when it is their turn.

A clip is named in a key by the hash of its file and by what is taken from it, so that a run that goes on after a crash
needs to decode only the clips that are still to be asked about.

Deviations:
    MMSLF's code reads pictures from a folder extracted beforehand, drops to text alone where the folder is missing, and
    never sends sound. Here a sample without a clip says so in its instruction and in its row, and a clip that can't be
    decoded is a failed row.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from modeling_hfr_ame.errors import ConfigError, MediaError
from modeling_hfr_ame.prompts.rows import sha256_of

if TYPE_CHECKING:
    from modeling_hfr_ame.media import MediaLimits

SAMPLING_VERSION: Final = 1
"""Raised when other pictures are taken from the same clip."""
_JPEG_QUALITY: Final = 85
_SAMPLED_HZ: Final = 5.0


@dataclass(frozen=True)
class ClipView:
    """What is taken from each clip.

    Attributes:
        num_frames: Pictures, evenly spaced from the first to the last; 0 = none.
        max_width: Width in pixels to which a picture is scaled down.
        sound_hz: Sampling rate of the sound; None = no sound. A run sets it to what its generator takes.
        limits: What is refused while decoding; None = the defaults of `MediaLimits`.
    """

    num_frames: int = 3
    max_width: int = 320
    sound_hz: int | None = None
    limits: MediaLimits | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.num_frames < 0 or self.max_width < 1:
            raise ConfigError(
                f"num_frames must be 0 or more and max_width positive, found {self.num_frames} and {self.max_width}; "
                "the defaults are 3 and 320"
            )

    def describe(self) -> dict[str, Any]:
        """Gives the view as plain JSON for a store."""
        pictures = {"frames": self.num_frames, "max_width": self.max_width} if self.num_frames else {}
        sound = {"sound_hz": self.sound_hz} if self.sound_hz else {}
        return {**pictures, **sound}


class Clip:
    """One clip as a view shows it. Nothing is decoded before `frames` or `waveform` is read.

    Args:
        path: The file.
        view: What is taken from it.
    """

    def __init__(self, path: Path, view: ClipView) -> None:
        self.path = path
        self.view = view

    @cached_property
    def sha256(self) -> str:
        """Hash of the file.

        Raises:
            MediaError: The file can't be read.
        """
        try:
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise MediaError(f"{self.path.name} can't be read ({error.strerror}); check the folder of clips") from error

    @property
    def frame_hashes(self) -> tuple[str, ...]:
        """One hash per picture: of the file, the picture's place and its width."""
        count, width = self.view.num_frames, self.view.max_width
        return tuple(sha256_of([SAMPLING_VERSION, self.sha256, count, place, width]) for place in range(count))

    @property
    def audio_hash(self) -> str | None:
        """Hash of the file and the sampling rate; None where no sound is taken."""
        if self.view.sound_hz is None:
            return None
        return sha256_of([SAMPLING_VERSION, self.sha256, "audio", self.view.sound_hz])

    def frames(self) -> np.ndarray:
        """Decodes the pictures.

        Returns:
            (num_frames, H, W, 3) uint8 RGB in time order, first and last of the clip included. A clip with fewer
            pictures repeats them.

        Raises:
            MediaError: The clip can't be decoded or has no pictures.
        """
        from modeling_hfr_ame.media import decode_video_frames

        video = decode_video_frames(
            self.path, frame_rate_hz=_SAMPLED_HZ, max_width=self.view.max_width, limits=self.view.limits
        )
        if video is None or not len(video.frames):
            raise MediaError(f"{self.path.name} must hold pictures, found none; get the clip again or leave it out")
        return video.frames[evenly_spaced(len(video.frames), self.view.num_frames)]

    def jpegs(self) -> list[bytes]:
        """Decodes the pictures and packs each as JPEG; see `frames`."""
        from PIL import Image

        packed = []
        for pixels in self.frames():
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
            packed.append(buffer.getvalue())
        return packed

    def waveform(self) -> np.ndarray:
        """Decodes the sound.

        Returns:
            (n,) float32 mono at the view's sampling rate.

        Raises:
            MediaError: The clip can't be decoded or has no sound.
        """
        assert self.view.sound_hz is not None, "the view takes no sound"
        from modeling_hfr_ame.media import decode_audio

        audio = decode_audio(self.path, sampling_rate=self.view.sound_hz, limits=self.view.limits)
        if audio is None or not len(audio.waveform):
            raise MediaError(f"{self.path.name} must hold sound, found none; get the clip again or leave it out")
        return audio.waveform


def evenly_spaced(total: int, count: int) -> list[int]:
    """Gives `count` places in 0 … total − 1, evenly spaced, first and last included; the middle where count is 1."""
    if count == 1:
        return [(total - 1) // 2]
    return [round(place * (total - 1) / (count - 1)) for place in range(count)]


def clips_by_sample(folder: str | Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Path]:
    """Finds the clips of samples.

    Args:
        folder: As `prepare_mosi_clips` takes it.
        rows: With `id`, `video_id` and `clip_id`.

    Returns:
        Path by sample id, for the samples that have a clip.

    Raises:
        DataError: The folder is missing, holds two clips of one sample, or holds no clip of any sample.
    """
    from modeling_hfr_ame.data.mosi_clips import ClipName, find_clips

    names = [ClipName(row["id"], row["video_id"], row["clip_id"]) for row in rows]
    return find_clips(folder, names)[0]
