"""A trained model with its processor, ready for recordings: read one, then score it as often as you like.

Design choices:

- Reading (decoding, features) is the costly step and happens once; scores, timelines, corruptions and restoration views
  of the same clip follow from what was read.
- The frames are the ones that training gets: the same functions, the same cache, the same bits.
- A window takes its frames from those of the whole recording. That differs slightly from cutting the file first: the
  face track and the loudness that voicing is compared with know the whole recording.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import modeling_hfr_ame  # noqa: F401  registers the models with the Auto classes
from modeling_hfr_ame.corruption import CorruptionRecipe
from modeling_hfr_ame.data.clip_features import ClipFeatureSpec
from modeling_hfr_ame.errors import ConfigError, DataError, HfrAmeError, InputError
from modeling_hfr_ame.media import MediaLimits, SpeechRecogniser, TimedWord
from modeling_hfr_ame.prediction.clip import Clip, clip_of_text
from modeling_hfr_ame.prediction.clip_reading import feature_spec, read_clip
from modeling_hfr_ame.prediction.encoded_clip import CLEAN, EncodedClip, read_recipe_or_clean
from modeling_hfr_ame.prediction.restoration_view import (
    RestorationView,
    check_restores,
    edges_of,
    twin_sample,
    view_modalities,
)
from modeling_hfr_ame.prediction.results import Prediction, Timeline, Window
from modeling_hfr_ame.sentiment_scores import read_score, run_batch
from modeling_hfr_ame.time_windows import window_spans

DEFAULT_WINDOW_S, DEFAULT_HOP_S = 8.0, 2.0
DEFAULT_NUM_THUMBNAILS = 24

Recipe = str | CorruptionRecipe | None


class Predictor:
    """Scores recordings and texts.

    Args:
        model: Any model of the package. It is put into eval mode and stays on its device.
        processor: The processor saved with it.
        limits: What is refused while decoding; None = the defaults.
        cache_dir: Folder for features; None = the user's cache folder.
        vocabulary: Words for the recipe `asr`; None = the whole words of the tokenizer.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        limits: MediaLimits | None = None,
        cache_dir: Path | None = None,
        vocabulary: Sequence[str] | None = None,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.limits = limits or MediaLimits()
        self.cache_dir = cache_dir
        self.modalities: tuple[str, ...] = tuple(model.config.modality_names)
        self._vocabulary = vocabulary
        self._recognisers: dict[str, SpeechRecogniser] = {}

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        *,
        device: str | torch.device | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        limits: MediaLimits | None = None,
        cache_dir: Path | None = None,
    ) -> "Predictor":
        """Loads a model and its processor.

        Args:
            name_or_folder: A repository's name, a run folder, or a parent of exactly one `seed-*` run folder.
            device: Where to run; None = the CPU.
            revision: Branch, tag or commit of a repository.
            trust_remote_code: Whether code from the repository may run. The package's own models need none.
            limits: See the class.
            cache_dir: See the class.

        Raises:
            DataError: Nothing that the Auto classes can load is there, or the folder holds several runs.
        """
        import transformers

        source = _only_run(name_or_folder)
        options = {"revision": revision, "trust_remote_code": trust_remote_code}
        try:
            model = transformers.AutoModelForSequenceClassification.from_pretrained(source, **options)
            processor = transformers.AutoProcessor.from_pretrained(source, **options)
        except HfrAmeError:
            raise
        except (
            OSError,
            ValueError,
            KeyError,
        ) as error:  # what transformers raises for missing files and unknown models
            raise DataError(
                f"a model and its processor must be loadable, {source} is not: {error}; pass a run folder, an exported "
                "folder or a repository's name"
            ) from error
        if not hasattr(model.config, "modality_names") or not hasattr(processor, "vision_feature_extractor"):
            raise DataError(
                f"a prediction needs a model of this package, found {type(model).__name__} in {source}; pass another"
            )
        return cls(model.to(torch.device(device or "cpu")), processor, limits=limits, cache_dir=cache_dir)

    @property
    def label_range(self) -> tuple[float, float]:
        """Lowest and highest score."""
        low, high = self.model.config.label_range
        return float(low), float(high)

    @property
    def restores(self) -> bool:
        """Whether `restore` works: HFR-AME with its restoration."""
        return hasattr(self.model, "restore_beside_clean") and bool(getattr(self.model.config, "use_hfr", False))

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Words that the recipe `asr` may put in place of others."""
        if self._vocabulary is not None:
            return frozenset(self._vocabulary)
        special = set(self.processor.tokenizer.all_special_tokens)
        return frozenset(w for w in self.processor.tokenizer.get_vocab() if w not in special and w.isalpha())

    @cached_property
    def feature_spec(self) -> ClipFeatureSpec:
        """What features the model was trained on; made once, since it may hold a feature model and hashes code.

        Raises:
            InputError: They can't be computed from a recording.
        """
        return feature_spec(self.processor, self.modalities, self.limits)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that a prediction depends on beside the clip: weights, configuration and processor."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        settings = [self.model.config.to_dict(), self.processor.to_dict(), asdict(self.limits)]
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
        digest.update(self.processor.tokenizer.backend_tokenizer.to_str().encode())
        return digest.hexdigest()

    def read(
        self,
        source: str | Path | None = None,
        *,
        text: str | None = None,
        transcript: str | Path | Sequence[TimedWord] | None = None,
        asr: str | Path | SpeechRecogniser | None = None,
        max_thumbnails: int = DEFAULT_NUM_THUMBNAILS,
    ) -> Clip:
        """Reads a recording, a text, or both.

        Args:
            source: A video or audio file; None = a text alone.
            text: What is said, without times.
            transcript: What is said: words with times, or a file with them (`.srt`, `.vtt`, `.json`) or without
                (`.txt`).
            asr: A speech recognition model that hears what is said: a folder, a Hub id, or one that is loaded.
            max_thumbnails: Pictures to keep; 0 = none.

        Raises:
            ConfigError: More than one source of words is named.
            InputError: Neither file nor text is given, or the text holds no word.
            MediaError: The file can't be decoded or is refused.
        """
        given = [
            name for name, value in (("text", text), ("transcript", transcript), ("asr", asr)) if value is not None
        ]
        if len(given) > 1:
            raise ConfigError(f"words come from one source, found {' and '.join(given)}; pass one of them")
        audio_rate_hz = float(self.processor.feature_extractor.frame_rate_hz)
        vision_rate_hz = float(self.processor.vision_feature_extractor.frame_rate_hz)
        if source is None:
            if text is None:
                raise InputError("a prediction needs a file or a text, found neither; pass one of them")
            return clip_of_text(text, audio_rate_hz, vision_rate_hz)
        return read_clip(
            Path(source),
            self.feature_spec,
            modalities=self.modalities,
            cache_dir=self.cache_dir,
            text=text,
            transcript=transcript,
            recogniser=None if asr is None else self._recogniser(asr),
            max_thumbnails=max_thumbnails,
        )

    def _recogniser(self, asr: str | Path | SpeechRecogniser) -> SpeechRecogniser:
        """Loads a recogniser once for all files."""
        if isinstance(asr, SpeechRecogniser):
            return asr
        if str(asr) not in self._recognisers:
            self._recognisers[str(asr)] = SpeechRecogniser(asr, self.model.device)
        return self._recognisers[str(asr)]

    def predict(self, clip: Clip, *, corruption: Recipe = None, seed: int = 0) -> Prediction:
        """Scores a whole clip in one go.

        Args:
            clip: From `read`. What is longer than the processor's maximum lengths is cut, and counted in `truncated`.
            corruption: A recipe such as `drop-0.5` or `noise-3-audio`; None = none.
            seed: Seed of its draws.

        Raises:
            ConfigError: The recipe is unknown.
            InputError: The clip has no modality that the model reads.
        """
        whole = EncodedClip.of(clip, self.processor, self.modalities)
        kept = whole.limited(self.processor)
        # Cut first, damage then: as evaluation does.
        prediction = self._score([self._corrupted(kept, clip, corruption, seed)], _recipe_name(corruption))[0]
        for name in ("audio", "vision"):
            if prediction.present[name]:
                prediction.truncated[name] = len(getattr(whole, name)) - len(getattr(kept, name))
        return prediction

    def timeline(
        self,
        clip: Clip,
        *,
        window_s: float = DEFAULT_WINDOW_S,
        hop_s: float = DEFAULT_HOP_S,
        corruption: Recipe = None,
        seed: int = 0,
        batch_size: int = 16,
    ) -> Timeline:
        """Scores sliding windows over a recording.

        Args:
            clip: From `read`, with a duration.
            window_s: Length of a window in seconds; a model is best where it resembles the clips of its training.
            hop_s: Distance of two starts in seconds, at most `window_s`.
            corruption: A recipe, which damages the whole recording once before it is cut; None = none.
            seed: Seed of its draws.
            batch_size: Windows per forward pass.

        Raises:
            ConfigError: The recipe is unknown, or a length is out of range.
            InputError: The clip is a text alone, or no window has a modality that the model reads.
        """
        if clip.duration_s is None:
            raise InputError("a timeline needs a recording, found a text alone; use predict")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, found {batch_size}; pass a positive number")
        spans = window_spans(clip.duration_s, window_s, hop_s)
        received = EncodedClip.of(clip, self.processor, self.modalities)
        received = self._corrupted(received, clip, corruption, seed)
        parts = [(span, received.between(*span)) for span in spans]
        kept = [(span, part) for span, part in parts if any(part.present.values())]
        if not kept:
            raise InputError(
                f"no window of {clip.name} has a modality that the model reads ({', '.join(self.modalities)}); give "
                "another file or words with times"
            )
        name = _recipe_name(corruption)
        predictions = [
            each
            for start in range(0, len(kept), batch_size)
            for each in self._score([part for _, part in kept[start : start + batch_size]], name)
        ]
        return Timeline(
            name=clip.name,
            duration_s=clip.duration_s,
            window_s=min(window_s, clip.duration_s),
            hop_s=hop_s,
            corruption=name,
            windows=tuple(
                Window(span[0], span[1], prediction, part.words or ())
                for (span, part), prediction in zip(kept, predictions, strict=True)
            ),
            skipped=tuple(span for span, part in parts if not any(part.present.values())),
            words=tuple(word for word in received.words or () if word.middle_s is not None),
            thumbnails=clip.thumbnails,
            notes=clip.notes + _timeline_notes(clip, self.modalities, predictions),
            label_range=self.label_range,
            metric_scheme=self.model.config.metric_scheme,
            modalities=self.modalities,
        )

    def restore(
        self,
        clip: Clip,
        corruption: str | CorruptionRecipe,
        *,
        seed: int = 0,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> RestorationView:
        """Shows what the model restores of a clip that is damaged on purpose.

        Args:
            clip: From `read`. What is longer than the processor's maximum lengths is cut.
            corruption: A recipe such as `drop-0.5`.
            seed: Seed of its draws.
            start_s: Start of the stretch to look at, in seconds; None = 0.
            end_s: Its end; None = the end of the clip.

        Raises:
            ConfigError: The recipe is unknown.
            InputError: The model has no restoration, the stretch is outside the clip, or nothing is left of it.
        """
        check_restores(self.model)
        if start_s is not None or end_s is not None:
            clip = clip.between(start_s or 0.0, clip.duration_s or 0.0 if end_s is None else end_s)
        clean = EncodedClip.of(clip, self.processor, self.modalities).limited(self.processor)
        # An unchanged copy has a source index as well, which the twin needs.
        received = self._corrupted(clean, clip, corruption, seed, always=True)
        sample, pieces = twin_sample(clean, received, self.processor)
        batch = {name: value.to(self.model.device) for name, value in self.processor.pad([sample]).items()}
        return RestorationView(
            name=clip.name,
            corruption=_recipe_name(corruption),
            seed=seed,
            clean=self._score([clean], CLEAN)[0],
            corrupted=self._score([received], _recipe_name(corruption))[0],
            modalities=view_modalities(self.model, self.processor, batch, pieces, clean.rates_hz),
            band_edges=edges_of(self.model.config),
            label_range=self.label_range,
        )

    def _corrupted(
        self, encoded: EncodedClip, clip: Clip, corruption: Recipe, seed: int, always: bool = False
    ) -> EncodedClip:
        recipe = read_recipe_or_clean(corruption)
        if recipe is None:
            if not always:
                return encoded
            recipe = CorruptionRecipe.from_name(CLEAN)
        if not any(encoded.present.values()):
            raise _nothing_to_read(clip.name, self.modalities)
        vocabulary: Collection[str] | None = self.vocabulary if recipe.needs_vocabulary else None
        return encoded.corrupted(recipe, clip.sha256, seed, vocabulary)

    def _score(self, parts: Sequence[EncodedClip], corruption: str) -> list[Prediction]:
        return list(self._scores(parts, corruption))

    @torch.inference_mode()
    def _scores(self, parts: Sequence[EncodedClip], corruption: str) -> Iterator[Prediction]:
        samples = [part.sample(self.processor) for part in parts]
        batch = self.processor.pad([sample for sample, _ in samples]).to(self.model.device)
        outputs = {name: value.cpu() for name, value in run_batch(self.model, batch).items()}
        for row, (part, (_, truncated)) in enumerate(zip(parts, samples, strict=True)):
            values = read_score(self.model.config, outputs, row)
            low, high = values.pop("label_range")
            yield Prediction(
                **values,
                present=part.present,
                truncated=truncated,
                label_range=(low, high),
                corruption=corruption,
                text=part.text,
            )


def _recipe_name(corruption: Recipe) -> str:
    recipe = read_recipe_or_clean(corruption)
    return CLEAN if recipe is None else recipe.name


def _nothing_to_read(name: str, modalities: Sequence[str]) -> InputError:
    return InputError(
        f"{name} has no modality that the model reads ({', '.join(modalities)}); add a text, or give another file"
    )


def _timeline_notes(clip: Clip, modalities: Sequence[str], predictions: Sequence[Prediction]) -> tuple[str, ...]:
    notes = []
    if clip.words is not None and "text" in modalities and not clip.has_word_times:
        notes.append("The text has no times, so the windows don't see it; give a transcript with times.")
    cut = sorted({name for each in predictions for name, steps in each.truncated.items() if steps})
    if cut:
        notes.append(f"Windows are longer than the model reads, their end is cut: {', '.join(cut)}. Use shorter ones.")
    return tuple(notes)


def _only_run(name_or_folder: str | Path) -> str:
    """Steps into the one `seed-*` folder of a run's parent."""
    folder = Path(name_or_folder)
    seeds = sorted(folder.glob("seed-*")) if folder.is_dir() and not (folder / "config.json").exists() else []
    if len(seeds) > 1:
        raise DataError(f"a prediction uses one model, found {len(seeds)} seed-* folders in {folder}; pass one of them")
    return str(seeds[0] if seeds else name_or_folder)
