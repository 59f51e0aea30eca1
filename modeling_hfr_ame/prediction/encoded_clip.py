"""A clip as the model's processor sees it, before padding: corrupted here, cut into windows here.

Corruption acts on words and on standardised frames, as in training and evaluation. Standardisation looks at one frame
at a time, so cutting before or after it gives the same bits.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from modeling_hfr_ame.corruption import CorruptionRecipe, SampleKey, corrupt_sample
from modeling_hfr_ame.errors import ConfigError, InputError
from modeling_hfr_ame.media import TimedWord
from modeling_hfr_ame.prediction.clip import Clip, words_between
from modeling_hfr_ame.time_windows import cut_frames

CLEAN = "clean"
# Names of a draw that no stored dataset has, so that a draw here never repeats one of an evaluation.
KEY_DATASET, KEY_SPLIT = "prediction", "clip"


@dataclass(frozen=True)
class EncodedClip:
    """Words and standardised frames of a clip.

    Attributes:
        words: The words; None = absent.
        source_index: For each word the index of the word that it replaces in the clean text; None = absent or clean.
        audio: (n, Da) float32; None = absent.
        vision: (n, Dv) float32; None = absent.
        rates_hz: Frames per second of audio and vision.
        severity: (3,) what a recipe did, in [0, 1].
    """

    words: tuple[TimedWord, ...] | None
    audio: np.ndarray | None
    vision: np.ndarray | None
    rates_hz: dict[str, float]
    source_index: np.ndarray | None = None
    severity: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32))

    @classmethod
    def of(cls, clip: Clip, processor: Any, modalities: Collection[str]) -> "EncodedClip":
        """Standardises a clip.

        Args:
            clip: The clip.
            processor: The processor saved with the model.
            modalities: Modalities that the model reads; the others count as absent.

        Raises:
            InputError: The frames have another width than the model's.
        """
        extractors = {"audio": processor.feature_extractor, "vision": processor.vision_feature_extractor}
        frames = {"audio": clip.audio, "vision": clip.vision}
        values = {
            name: extractors[name].standardise(array) if array is not None and name in modalities else None
            for name, array in frames.items()
        }
        return cls(
            words=clip.words if "text" in modalities else None,
            audio=values["audio"],
            vision=values["vision"],
            rates_hz={"audio": clip.audio_rate_hz, "vision": clip.vision_rate_hz},
        )

    @property
    def present(self) -> dict[str, bool]:
        """Which modalities are there."""
        return {
            "text": self.words is not None,
            "audio": self.audio is not None,
            "vision": self.vision is not None,
        }

    @property
    def text(self) -> str | None:
        """The words with spaces between; None = absent."""
        return None if self.words is None else " ".join(word.text for word in self.words)

    def limited(self, processor: Any) -> "EncodedClip":
        """Cuts the frames at the processor's maximum lengths; tokens are cut when they are made."""
        return replace(
            self,
            audio=None if self.audio is None else self.audio[: processor.max_audio_length],
            vision=None if self.vision is None else self.vision[: processor.max_vision_length],
        )

    def between(self, start_s: float, end_s: float) -> "EncodedClip":
        """Cuts a stretch out; words keep their times."""
        return replace(
            self,
            words=words_between(self.words, start_s, end_s) or None,
            source_index=None,
            audio=None if self.audio is None else cut_frames(self.audio, self.rates_hz["audio"], start_s, end_s),
            vision=None if self.vision is None else cut_frames(self.vision, self.rates_hz["vision"], start_s, end_s),
        )

    def corrupted(
        self, recipe: CorruptionRecipe, sample_id: str, seed: int, vocabulary: Collection[str] | None
    ) -> "EncodedClip":
        """Applies a recipe.

        Args:
            recipe: What happens.
            sample_id: Names the clip in the draws.
            seed: Seed of the draws.
            vocabulary: Words for `asr`; None where the recipe needs none.

        Returns:
            The corrupted clip. A new word stands at the time of the word that it replaces.

        Raises:
            InputError: Nothing is there to corrupt.
        """
        key = SampleKey(KEY_DATASET, KEY_SPLIT, sample_id, seed)
        plain = None if self.words is None else [word.text for word in self.words]
        result = corrupt_sample(plain, self.audio, self.vision, recipe, key, vocabulary)
        words = None
        if result.words is not None and result.source_index is not None and self.words is not None:
            words = tuple(
                replace(self.words[source], text=text) if source >= 0 else TimedWord(text)
                for text, source in zip(result.words, result.source_index.tolist(), strict=True)
            )
        return replace(
            self,
            words=words,
            source_index=result.source_index,
            audio=result.audio,
            vision=result.vision,
            severity=result.severity,
        )

    def sample(self, processor: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """Gives an un-padded sample for `processor.pad` and, per present modality, the steps that were cut.

        Raises:
            InputError: No modality is there.
        """
        cut = {"text": 0, "audio": 0, "vision": 0}
        sample: dict[str, Any] = {}
        if self.words is not None:
            encoded, repairs = processor.encode_counted(text=[word.text for word in self.words])
            sample["input_ids"], cut["text"] = encoded["input_ids"], repairs["text"].truncated
        short = self.limited(processor)
        for name in ("audio", "vision"):
            whole, kept = getattr(self, name), getattr(short, name)
            if kept is not None:
                sample[f"{name}_values"], cut[name] = kept, len(whole) - len(kept)
        if not sample:
            raise InputError(
                "a prediction needs a modality that the model reads, found none; add a text, or give another file"
            )
        return sample, {name: steps for name, steps in cut.items() if self.present[name]}


def read_recipe_or_clean(corruption: "str | CorruptionRecipe | None") -> CorruptionRecipe | None:
    """Reads a recipe by its name; None for no corruption.

    Raises:
        ConfigError: The name is no recipe, or the recipe is one of the published masks, which need a whole split.
    """
    if corruption is None or isinstance(corruption, CorruptionRecipe):
        recipe = corruption
    else:
        try:
            recipe = CorruptionRecipe.from_name(corruption)
        except ConfigError as error:
            raise ConfigError(f"a clip is corrupted by a recipe such as drop-0.5 or noise-3-audio: {error}") from error
    return None if recipe is None or recipe.corruption is None else recipe
