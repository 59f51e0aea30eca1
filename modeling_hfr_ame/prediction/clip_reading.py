"""A file → a clip: the features of training, the words, and a few pictures."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from modeling_hfr_ame.data.clip_features import ClipFeatures, ClipFeatureSpec, extract_clip
from modeling_hfr_ame.errors import InputError, MediaError
from modeling_hfr_ame.media import MediaLimits, SpeechRecogniser, TimedWord, read_transcript, read_waveform
from modeling_hfr_ame.prediction.clip import Clip, words_of


def default_cache_folder() -> Path:
    """Folder of features in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hfr-ame" / "features"


def read_clip(
    path: Path,
    spec: ClipFeatureSpec,
    *,
    modalities: Collection[str],
    cache_dir: Path | None,
    text: str | None,
    transcript: str | Path | Sequence[TimedWord] | None,
    recogniser: SpeechRecogniser | None,
    max_thumbnails: int,
) -> Clip:
    """Reads a recording; see `Predictor.read`.

    Raises:
        InputError: The text holds no word.
        MediaError: The file can't be decoded or is refused.
    """
    cache = cache_dir or default_cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    result = extract_clip(path, spec, cache, num_thumbnails=max_thumbnails)
    features = result.load()
    if features is None:
        raise MediaError(str(result.failure))
    words, source = _read_words(text, transcript)
    notes = []
    if recogniser is not None and "text" in modalities and features.audio is not None:
        words = _hear(path, recogniser, spec.limits)
        source = None if words is None else "asr"
        notes.append(_note_on_hearing(words, recogniser))
    states = {
        "text": "absent" if words is None else "features",
        "audio": features.audio_state,
        "vision": features.vision_state,
    }
    if result.num_pictures and result.num_faceless == result.num_pictures:
        states["vision"] = "no_face"
        notes.append("No face was found in any picture, so the model sees nothing of the video.")
    elif result.num_faceless:
        notes.append(f"No face in {result.num_faceless} of {result.num_pictures} pictures.")
    if features.audio_state == "silent":
        notes.append("The audio track is silent and counts as absent.")
    return Clip(
        name=path.name,
        sha256=result.sha256,
        duration_s=_duration_s(features, spec),
        words=words,
        text_source=source,
        audio=features.audio,
        vision=features.vision,
        audio_rate_hz=spec.audio_frame_rate_hz,
        vision_rate_hz=spec.video_frame_rate_hz,
        states=states,
        thumbnails=features.thumbnails,
        notes=tuple(notes),
    )


def feature_spec(processor: Any, modalities: Collection[str], limits: MediaLimits) -> ClipFeatureSpec:
    """Says what features a processor's model was trained on.

    Raises:
        InputError: They can't be computed from a recording.
    """
    extractors = {"audio": processor.feature_extractor, "vision": processor.vision_feature_extractor}
    for name, extractor in extractors.items():
        if name in modalities and not extractor.accepts_raw_signal:
            raise InputError(
                f"this model takes {extractor.feature_size} precomputed {name} features, which can't be computed from "
                "a recording; use a model that was trained on clips (hfr-ame prepare CLIPS), or the pipeline with "
                "frames of your own"
            )
    return ClipFeatureSpec.of_processor(processor, limits)


def _hear(path: Path, recogniser: SpeechRecogniser, limits: MediaLimits) -> tuple[TimedWord, ...] | None:
    audio = read_waveform(path, recogniser.sampling_rate, limits=limits)
    return None if audio is None else recogniser.words(audio.waveform, audio.sampling_rate) or None


def _note_on_hearing(words: tuple[TimedWord, ...] | None, recogniser: SpeechRecogniser) -> str:
    if words is None:
        return f"{recogniser.name} heard no word, so text is absent."
    known = [word.confidence for word in words if word.confidence is not None]
    confidence = f" with a mean confidence of {sum(known) / len(known):.2f}" if known else ""
    return (
        f"The words were heard by {recogniser.name}{confidence}: a source of corruption that no estimate here knows of."
    )


def _duration_s(features: ClipFeatures, spec: ClipFeatureSpec) -> float:
    """Length up to the end of the last frame: a window that ends before it would lose it."""
    rates_hz = {"audio": spec.audio_frame_rate_hz, "vision": spec.video_frame_rate_hz}
    frames = {name: getattr(features, name) for name in rates_hz}
    lengths = [len(values) / rates_hz[name] for name, values in frames.items() if values is not None]
    return max(lengths, default=features.duration_s)


def _read_words(
    text: str | None, transcript: str | Path | Sequence[TimedWord] | None
) -> tuple[tuple[TimedWord, ...] | None, str | None]:
    if text is not None:
        return words_of(text), "text"
    if transcript is None:
        return None, None
    words = read_transcript(transcript) if isinstance(transcript, str | Path) else tuple(transcript)
    return (words, "transcript") if words else (None, None)
