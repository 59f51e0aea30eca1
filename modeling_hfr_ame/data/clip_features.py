"""Features of raw clips: one clip at a time, in parallel processes, each result kept in a cache on disk.

- A clip is decoded in a process of its own within limits, and its features are made while it streams by, so a long
  recording needs little memory and a hostile one reaches little.
- The cache is keyed by the clip's bytes and by everything that the features depend on (rates, limits, the extractors'
  code, the decoder's version). A second run after a crash goes on where the first one ended, and never reuses a stale
  result.
- The cache is also how a worker hands its arrays over, so memory stays small for any number of clips.
- A clip that can't be decoded is a result with a reason. Failures are not cached: the file may be replaced.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import multiprocessing
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.data.manifest import sha256_file
from modeling_hfr_ame.errors import DataError, HfrAmeError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor, is_silent
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.hub_backbones import NATIVE_BACKEND
from modeling_hfr_ame.media import AudioBlock, MediaLimits, MediaStream, Thumbnail, read_media
from modeling_hfr_ame.media.thumbnails import ThumbnailPicker

logger = logging.getLogger(__name__)

# Raised when the entry's layout or the way clips become features changes.
_CACHE_VERSION = 2


@dataclass(frozen=True)
class ClipFeatureSpec:
    """What the features of a clip depend on.

    Attributes:
        audio_frame_rate_hz: Audio feature frames per second.
        video_frame_rate_hz: Sampled pictures, hence vision feature frames, per second.
        limits: What is refused while decoding.
        audio_backend: `native`, or `hf:<id or path>` of a Hub audio model.
        vision_backend: `native`, or `hf:<id or path>` of a Hub vision model.
        audio_backend_sha256: Hash of the audio model that it must be; None = the one that is there.
        vision_backend_sha256: Likewise for vision.
    """

    audio_frame_rate_hz: float = 10.0
    video_frame_rate_hz: float = 5.0
    limits: MediaLimits = field(default_factory=MediaLimits)
    audio_backend: str = NATIVE_BACKEND
    vision_backend: str = NATIVE_BACKEND
    audio_backend_sha256: str | None = None
    vision_backend_sha256: str | None = None

    @classmethod
    def of_processor(cls, processor: Any, limits: MediaLimits | None = None) -> ClipFeatureSpec:
        """Says what features a processor's model was trained on; they are then the same bits."""
        audio, vision = processor.feature_extractor, processor.vision_feature_extractor
        return cls(
            audio_frame_rate_hz=float(audio.frame_rate_hz),
            video_frame_rate_hz=float(vision.frame_rate_hz),
            limits=limits or MediaLimits(),
            audio_backend=audio.backend,
            vision_backend=vision.backend,
            audio_backend_sha256=audio.backend_sha256,
            vision_backend_sha256=vision.backend_sha256,
        )

    @cached_property
    def audio_extractor(self) -> HfrAmeAudioFeatureExtractor:
        """The extractor of audio features."""
        return HfrAmeAudioFeatureExtractor(
            frame_rate_hz=self.audio_frame_rate_hz,
            backend=self.audio_backend,
            backend_sha256=self.audio_backend_sha256,
        )

    @cached_property
    def vision_extractor(self) -> HfrAmeVisionFeatureExtractor:
        """The extractor of vision features."""
        return HfrAmeVisionFeatureExtractor(
            frame_rate_hz=self.video_frame_rate_hz,
            backend=self.vision_backend,
            backend_sha256=self.vision_backend_sha256,
        )

    @property
    def feature_names(self) -> dict[str, list[str]]:
        """Names of the features per modality."""
        return {
            "audio": list(self.audio_extractor.feature_names),
            "vision": list(self.vision_extractor.feature_names),
        }

    def describe(self) -> dict[str, Any]:
        """Gives the spec as plain JSON for a manifest."""
        return {
            "audio": {
                "extractor": type(self.audio_extractor).__name__,
                "sampling_rate": self.audio_extractor.sampling_rate,
                "frame_rate_hz": self.audio_frame_rate_hz,
                **_describe_backend(self.audio_extractor),
            },
            "vision": {
                "extractor": type(self.vision_extractor).__name__,
                "frame_rate_hz": self.video_frame_rate_hz,
                **_describe_backend(self.vision_extractor),
            },
            "limits": asdict(self.limits),
            "versions": {name: _installed_version(name) for name in ("av", "numpy", "opencv-python-headless")},
        }

    @cached_property
    def digest(self) -> str:
        """Hash of everything that the features depend on, beside the clip."""
        text = json.dumps([_CACHE_VERSION, _code_sha256(), self.describe(), self.feature_names], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class ClipFeatures:
    """Features of one clip.

    Attributes:
        audio: (n, Da) float32; None = no track, an empty or a silent one.
        vision: (n, Dv) float32, an exact zero row where no face is known; None = no track or an empty one.
        audio_state: `features`, `no_track`, `empty` or `silent`.
        vision_state: `features`, `no_track` or `empty`.
        duration_s: Length of the longer track in seconds.
        thumbnails: Small pictures, as many as were asked for and the clip has.
    """

    audio: np.ndarray | None
    vision: np.ndarray | None
    audio_state: str
    vision_state: str
    duration_s: float
    thumbnails: tuple[Thumbnail, ...] = ()


@dataclass(frozen=True)
class ClipResult:
    """How one clip went.

    Attributes:
        sha256: Hash of the clip's bytes; empty if it can't be read.
        entry: The cache entry with its features; None = the clip failed.
        failure: Why it failed; None = it did not.
        audio_state: `ClipFeatures.audio_state`, or `failed`.
        vision_state: `ClipFeatures.vision_state`, or `failed`.
        num_pictures: Sampled pictures.
        num_faceless: Pictures in which no face is known.
        duration_s: `ClipFeatures.duration_s`; 0 if the clip failed.
    """

    sha256: str
    entry: Path | None = None
    failure: str | None = None
    audio_state: str = "failed"
    vision_state: str = "failed"
    num_pictures: int = 0
    num_faceless: int = 0
    duration_s: float = 0.0

    @classmethod
    def of(cls, sha256: str, entry: Path, features: ClipFeatures) -> ClipResult:
        """Makes the result of a clip whose features are in the cache."""
        vision = features.vision
        return cls(
            sha256,
            entry,
            audio_state=features.audio_state,
            vision_state=features.vision_state,
            num_pictures=0 if vision is None else len(vision),
            num_faceless=0 if vision is None else int((~vision.any(axis=1)).sum()),
            duration_s=features.duration_s,
        )

    def load(self) -> ClipFeatures | None:
        """Reads the features from the cache; None if the clip failed.

        Raises:
            DataError: The cache lost the clip's entry, or holds a damaged one.
        """
        if self.entry is None:
            return None
        features = _read_entry(self.entry)
        if features is None:
            raise DataError(f"the cache entry {self.entry.name} went missing or is damaged; run the builder again")
        return features


def extract_clips(
    clips: Mapping[str, Path], spec: ClipFeatureSpec, cache: Path, *, workers: int
) -> Iterator[tuple[str, ClipResult]]:
    """Extracts the features of many clips.

    Args:
        clips: Files by id.
        spec: What to extract.
        cache: Folder of the cache; made if it is missing.
        workers: Processes; 1 = this process.

    Yields:
        Id and result of each clip, in the order in which they finish.

    Raises:
        DataError: `workers` is below 1, or a worker process died.
        InputError: OpenCV is missing.
    """
    if workers < 1:
        raise DataError(f"workers must be at least 1, found {workers}; pass the number of processes")
    cache.mkdir(parents=True, exist_ok=True)
    # Computed before any clip: the value travels with the spec, so every worker and every clip uses the same key.
    logger.debug("feature cache key %s", spec.digest)
    if workers == 1:
        for clip_id, path in clips.items():
            yield clip_id, extract_clip(path, spec, cache)
        return
    # spawn: a forked child of a process that runs OpenMP or decoder threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, max(1, len(clips))), mp_context=context, initializer=_start_worker)
    try:
        futures = {pool.submit(extract_clip, path, spec, cache): clip_id for clip_id, path in clips.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died while decoding a clip (killed, or out of memory); run the builder again: finished "
            "clips are kept, and workers=1 shows which clip it is"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def extract_clip(path: Path, spec: ClipFeatureSpec, cache: Path, *, num_thumbnails: int = 0) -> ClipResult:
    """Extracts the features of one clip, or finds them in the cache.

    Args:
        path: The clip.
        spec: What to extract.
        cache: An existing folder.
        num_thumbnails: How many small pictures to keep beside the features.

    Returns:
        The result; a clip that can't be read or decoded gives one with a reason.

    Raises:
        InputError: OpenCV is missing, or the extractors take precomputed features.
    """
    # Made before the clip is looked at: what can go wrong here is no clip's fault.
    reader = _ClipReader(spec, num_thumbnails)
    try:
        sha256 = sha256_file(path) if path.is_file() else ""
    except OSError as error:
        return ClipResult("", failure=f"{path.name} can't be read ({error.strerror})")
    with_pictures = f"-{num_thumbnails}" if num_thumbnails else ""
    entry = cache / f"{sha256[:32]}-{spec.digest[:16]}{with_pictures}.npz"
    if sha256 and (cached := _read_entry(entry)) is not None:
        return ClipResult.of(sha256, entry, cached)
    try:
        with read_media(
            path,
            sampling_rate=spec.audio_extractor.sampling_rate,
            frame_rate_hz=spec.video_frame_rate_hz,
            limits=spec.limits,
        ) as stream:
            features = reader.read(stream)
    except HfrAmeError as error:
        return ClipResult(sha256, failure=str(error))
    _write_entry(entry, features)
    return ClipResult.of(sha256, entry, features)


class _ClipReader:
    """Makes the features of one clip while it streams by."""

    def __init__(self, spec: ClipFeatureSpec, num_thumbnails: int) -> None:
        self._audio = spec.audio_extractor.stream(spec.audio_extractor.sampling_rate)
        self._vision = spec.vision_extractor.stream(spec.video_frame_rate_hz)
        self._picker = ThumbnailPicker(num_thumbnails)
        self._num_samples = self._num_pictures = 0
        self._peak = 0.0

    def read(self, stream: MediaStream) -> ClipFeatures:
        for part in stream:
            if isinstance(part, AudioBlock):
                self._num_samples += len(part.samples)
                self._peak = max(self._peak, float(np.abs(part.samples).max(initial=0.0)))
                self._audio.push(part.samples)
            else:
                self._num_pictures += 1
                self._vision.push(part.pixels)
                self._picker.add(part)
        audio_state = self._audio_state(stream.tracks.audio)
        vision_state = "features" if self._num_pictures else "empty" if stream.tracks.video else "no_track"
        assert stream.end is not None
        return ClipFeatures(
            audio=self._audio.finish() if audio_state == "features" else None,
            vision=self._vision.finish() if vision_state == "features" else None,
            audio_state=audio_state,
            vision_state=vision_state,
            duration_s=max(stream.end.audio_s, stream.end.video_s),
            thumbnails=self._picker.finish(),
        )

    def _audio_state(self, has_track: bool) -> str:
        if not has_track:
            return "no_track"
        if not self._num_samples:
            return "empty"
        return "silent" if is_silent(np.array([self._peak])) else "features"


def _write_entry(entry: Path, features: ClipFeatures) -> None:
    """Writes an entry whole or not at all: another process, or a later run, may read it at any time."""
    arrays: dict[str, Any] = {
        "audio_state": np.array(features.audio_state),
        "vision_state": np.array(features.vision_state),
        "duration_s": np.array(features.duration_s),
    }
    for modality in ("audio", "vision"):
        frames = getattr(features, modality)
        if frames is not None:
            arrays[modality] = frames
    if features.thumbnails:
        arrays["thumbnails"] = np.stack([each.pixels for each in features.thumbnails])
        arrays["thumbnail_times_s"] = np.array([each.time_s for each in features.thumbnails])
    handle, name = tempfile.mkstemp(dir=entry.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(name, entry)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _read_entry(entry: Path) -> ClipFeatures | None:
    """Reads an entry; None if there is none or it is damaged."""
    try:
        # Opened here, because np.load leaves a damaged file open.
        with open(entry, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            pairs = zip(arrays.get("thumbnail_times_s", ()), arrays.get("thumbnails", ()), strict=True)
            return ClipFeatures(
                audio=arrays.get("audio"),
                vision=arrays.get("vision"),
                audio_state=str(arrays["audio_state"]),
                vision_state=str(arrays["vision_state"]),
                duration_s=float(arrays["duration_s"]),
                thumbnails=tuple(Thumbnail(float(time_s), pixels) for time_s, pixels in pairs),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _start_worker() -> None:
    """Keeps a worker on one core: the parallelism is over clips."""
    with suppress(ImportError):
        import cv2

        cv2.setNumThreads(1)


def _describe_backend(extractor: Any) -> dict[str, str]:
    if extractor.backend == NATIVE_BACKEND:
        return {}
    return {
        "backend": extractor.backend,
        "backend_sha256": extractor.backend_sha256,
        "torch": _installed_version("torch") or "",
        "transformers": _installed_version("transformers") or "",
    }


def _installed_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _code_sha256() -> str:
    """Hash of the code between a clip and its features, so that a changed feature is never read from a cache."""
    from modeling_hfr_ame import (
        face_track,
        feature_extraction_hfr_ame_audio,
        feature_extraction_hfr_ame_vision,
        feature_scaling,
        frame_sampling,
        hub_backbones,
        hub_features,
        media_decoding,
    )

    digest = hashlib.sha256()
    for module in (
        media_decoding,
        frame_sampling,
        feature_scaling,
        face_track,
        feature_extraction_hfr_ame_audio,
        feature_extraction_hfr_ame_vision,
        hub_backbones,
        hub_features,
    ):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()
