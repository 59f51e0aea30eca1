"""One recording as prediction sees it: words with times, raw frames, and a few pictures to recognise it by."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from modeling_hfr_ame.errors import InputError
from modeling_hfr_ame.media import Thumbnail, TimedWord
from modeling_hfr_ame.time_windows import cut_frames


@dataclass(frozen=True)
class Clip:
    """A recording, a text, or both, with features of training quality.

    Attributes:
        name: File name; `text` for a text alone.
        sha256: Hash of the file's bytes, of the text for a text alone. Names the clip in corruption draws.
        duration_s: Length in seconds; None for a text alone.
        words: The words; None = text is absent.
        text_source: `text`, `transcript` or `asr`; None = text is absent.
        audio: (n, Da) raw frames, as training gets them; None = absent.
        vision: (n, Dv) raw frames; None = absent.
        audio_rate_hz: Audio frames per second.
        vision_rate_hz: Vision frames per second.
        states: Per modality `features`, or why it is absent: `absent`, `no_track`, `silent`, `empty`; or `no_face`,
            which is present without a single observed frame.
        thumbnails: Pictures, ascending in time.
        notes: What a reader of the result should know, one sentence each.
    """

    name: str
    sha256: str
    duration_s: float | None
    words: tuple[TimedWord, ...] | None
    text_source: str | None
    audio: np.ndarray | None = field(repr=False)
    vision: np.ndarray | None = field(repr=False)
    audio_rate_hz: float
    vision_rate_hz: float
    states: dict[str, str]
    thumbnails: tuple[Thumbnail, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str | None:
        """The words with spaces between; None = absent."""
        return None if self.words is None else " ".join(word.text for word in self.words)

    @property
    def has_word_times(self) -> bool:
        """Whether there are words and every one has its time."""
        return bool(self.words) and all(word.middle_s is not None for word in self.words or ())

    @property
    def has_anything(self) -> bool:
        """Whether any modality is there."""
        return self.words is not None or self.audio is not None or self.vision is not None

    def between(self, start_s: float, end_s: float) -> "Clip":
        """Cuts a stretch out; times start at 0 again.

        Args:
            start_s: Start in seconds.
            end_s: End in seconds.

        Returns:
            The stretch. Words without times, which can't be cut, are left out.

        Raises:
            InputError: The clip is a text alone, or the stretch is empty or outside.
        """
        if self.duration_s is None or not 0 <= start_s < end_s <= self.duration_s + 1e-6:
            raise InputError(
                f"a stretch must lie within the recording, found {start_s:g} to {end_s:g} s of "
                f"{0.0 if self.duration_s is None else self.duration_s:g} s; choose another one"
            )
        words = words_between(self.words, start_s, end_s)
        return replace(
            self,
            duration_s=end_s - start_s,
            words=tuple(shifted(word, -start_s) for word in words) or None,
            audio=None if self.audio is None else cut_frames(self.audio, self.audio_rate_hz, start_s, end_s),
            vision=None if self.vision is None else cut_frames(self.vision, self.vision_rate_hz, start_s, end_s),
            thumbnails=tuple(
                Thumbnail(each.time_s - start_s, each.pixels)
                for each in self.thumbnails
                if start_s <= each.time_s < end_s
            ),
        )


def words_between(words: Sequence[TimedWord] | None, start_s: float, end_s: float) -> tuple[TimedWord, ...]:
    """Finds the words whose middle lies in a stretch; words without times lie in none."""
    return tuple(w for w in words or () if w.middle_s is not None and start_s <= w.middle_s < end_s)


def shifted(word: TimedWord, by_s: float) -> TimedWord:
    """Moves a word in time; one without times stays as it is."""
    return replace(
        word,
        start_s=None if word.start_s is None else word.start_s + by_s,
        end_s=None if word.end_s is None else word.end_s + by_s,
    )


def clip_of_text(text: str, audio_rate_hz: float, vision_rate_hz: float) -> Clip:
    """Makes the clip of a text alone.

    Args:
        text: At least one word.
        audio_rate_hz: Audio frames per second of the model.
        vision_rate_hz: Vision frames per second of the model.

    Raises:
        InputError: The text holds no word.
    """
    words = words_of(text)
    return Clip(
        name="text",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        duration_s=None,
        words=words,
        text_source="text",
        audio=None,
        vision=None,
        audio_rate_hz=audio_rate_hz,
        vision_rate_hz=vision_rate_hz,
        states={"text": "features", "audio": "absent", "vision": "absent"},
    )


def words_of(text: str) -> tuple[TimedWord, ...]:
    """Splits a text at white space into words without times.

    Raises:
        InputError: The text holds no word.
    """
    words = tuple(TimedWord(word) for word in text.split())
    if not words:
        raise InputError(f"a text must hold a word, found {text!r:.40}; write some, or leave the text out")
    return words
