"""What the page computes, without the page: read once, then compare clean and corrupted as often as a slider moves."""

import copy
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling_hfr_ame.errors import ConfigError, InputError
from modeling_hfr_ame.prediction import (
    Clip,
    CorruptionChoice,
    Prediction,
    Predictor,
    RestorationView,
    TimedWord,
    Timeline,
    corruption_choices,
    recipe_name,
)

CLEAN = "clean"
WHOLE_MODALITIES = "missing"  # the kind without a level
_LONGEST_WINDOW_S, _SHORTEST_WINDOW_S = 8.0, 1.0
_NUM_WINDOWS, _HOPS_PER_WINDOW = 4, 4


@dataclass(frozen=True)
class Comparison:
    """The scores of one clip with and without a corruption.

    Attributes:
        clean: Without.
        corrupted: With; equal to `clean` where the recipe is `clean`.
    """

    clean: Prediction
    corrupted: Prediction

    @property
    def change(self) -> float:
        """By how much the corruption moves the score."""
        return self.corrupted.score - self.clean.score


class ClipScorer:
    """A predictor with the habits that a page for strangers needs.

    Features are cached on disk while a recording is read, and removed with it: they are personal data.

    Args:
        predictor: What scores.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    @property
    def choices(self) -> dict[str, CorruptionChoice]:
        """The kinds of corruption that exist for a modality of the model, by name."""
        readable = set(self.predictor.modalities)
        return {each.kind: each for each in corruption_choices() if readable & set(each.modalities)}

    def places(self, kind: str) -> list[str]:
        """Lists the model's modalities where a kind of corruption exists.

        Raises:
            ConfigError: The kind is unknown.
        """
        if kind not in self.choices:
            raise ConfigError(f"unknown corruption kind {kind!r}; choose one of {', '.join(self.choices)}")
        return [name for name in self.predictor.modalities if name in self.choices[kind].modalities]

    def recipe(self, kind: str, level: float, places: Sequence[str]) -> str:
        """Turns the positions of the controls into a recipe.

        Args:
            kind: Kind of corruption.
            level: 0 = none; ignored for `missing`.
            places: Modalities; none = no corruption.

        Returns:
            The name of the recipe, `clean` for none.

        Raises:
            ConfigError: The kind is unknown, or the level is outside its scale.
        """
        chosen = [name for name in self.places(kind) if name in places]
        if not chosen:
            return CLEAN
        return recipe_name(kind, None if kind == WHOLE_MODALITIES else level, chosen)

    def read(
        self,
        recording: str | Path | None = None,
        *,
        text: str | None = None,
        transcript: str | Path | Sequence[TimedWord] | None = None,
    ) -> Clip:
        """Reads a recording, a text, or both, and leaves nothing on the disk.

        Args:
            recording: A video or audio file; None = a text alone.
            text: What is said; blank = nothing.
            transcript: What is said, with times; see `Predictor.read`.

        Raises:
            ConfigError: Words come from two sources.
            InputError: There is nothing to read.
            MediaError: The file can't be decoded or is refused.
        """
        words = (text or "").strip() or None
        if recording is None and transcript is not None:
            raise InputError("a transcript belongs to a recording, found none; add one, or type the words instead")
        if recording is None and words is None:
            raise InputError(
                "there must be something to score, found neither a recording nor a text; upload a clip, record one, or "
                "type some words"
            )
        reader = copy.copy(self.predictor)
        with tempfile.TemporaryDirectory(prefix="hfr-ame-features-") as folder:
            reader.cache_dir = Path(folder)
            return reader.read(recording, text=words, transcript=transcript)

    def compare(self, clip: Clip, recipe: str, *, seed: int = 0, clean: Prediction | None = None) -> Comparison:
        """Scores a clip with and without a corruption.

        Args:
            clip: From `read`.
            recipe: Such as `drop-0.5`, or `clean`.
            seed: Seed of its draws.
            clean: The clean score, if it is known.

        Raises:
            ConfigError: The recipe is unknown.
            InputError: The clip has nothing that the model reads.
        """
        clean = clean or self.predictor.predict(clip)
        is_clean = recipe == CLEAN
        return Comparison(clean, clean if is_clean else self.predictor.predict(clip, corruption=recipe, seed=seed))

    def timeline(self, clip: Clip, recipe: str, *, seed: int = 0) -> Timeline:
        """Scores windows over a clip, about a quarter of it long and at most 8 seconds.

        Raises:
            InputError: The clip is a text alone.
        """
        window_s = choose_window_s(clip.duration_s or 0.0)
        hop_s = round(window_s / _HOPS_PER_WINDOW, 1)
        return self.predictor.timeline(
            clip, window_s=window_s, hop_s=hop_s, corruption=_none_if_clean(recipe), seed=seed
        )

    def restore(self, clip: Clip, recipe: str, *, seed: int = 0) -> RestorationView:
        """Shows what the model restores of a corruption.

        Raises:
            InputError: The model has no restoration, or nothing is left of the clip.
        """
        return self.predictor.restore(clip, recipe, seed=seed)

    def describe(self, clip: Clip, comparison: Comparison) -> dict[str, Any]:
        """Says everything about a comparison as plain JSON."""
        return {
            "clip": {
                "name": clip.name,
                "duration_s": clip.duration_s,
                "states": clip.states,
                "text_source": clip.text_source,
                "notes": list(clip.notes),
            },
            "clean": comparison.clean.as_dict(),
            "corrupted": comparison.corrupted.as_dict(),
            "change": comparison.change,
        }


def choose_window_s(duration_s: float) -> float:
    """Chooses the length of a timeline's windows for a recording, in whole tenths of a second."""
    wanted = math.floor(10 * duration_s / _NUM_WINDOWS) / 10
    return min(_LONGEST_WINDOW_S, max(_SHORTEST_WINDOW_S, wanted))


def _none_if_clean(recipe: str) -> str | None:
    return None if recipe == CLEAN else recipe
