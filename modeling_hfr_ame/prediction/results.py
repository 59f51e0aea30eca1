"""What a prediction says: of one clip, of the windows of a recording, of one file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.media import TimedWord
from modeling_hfr_ame.prediction.clip import Thumbnail
from modeling_hfr_ame.sentiment_scores import polarity_label, sentiment_bin
from modeling_hfr_ame.time_windows import mean_over_time


@dataclass(frozen=True)
class Prediction:
    """A score and what stands behind it.

    Attributes:
        score: In `label_range`.
        label: `negative`, `neutral` or `positive`, the sign of `bin`.
        bin: See `sentiment_bin`.
        severity: Per modality how corrupted the model takes it to be, in [0, 1]; 1 for an absent one. None where the
            model doesn't estimate it.
        gates: For each present modality the mean gate of each frequency band, lowest band first, 1 = unchanged; None
            where the model has none.
        present: Per modality whether the model received it, after corruption.
        truncated: Per modality the steps (tokens, frames) that were cut at the processor's maximum length.
        label_range: Lowest and highest score.
        corruption: Name of the recipe; `clean` for none.
        text: The words that the model received; None without.
    """

    score: float
    label: str
    bin: int
    severity: dict[str, float] | None
    gates: dict[str, list[float]] | None
    present: dict[str, bool]
    truncated: dict[str, int]
    label_range: tuple[float, float]
    corruption: str
    text: str | None

    def as_dict(self) -> dict[str, Any]:
        """Gives the prediction as plain JSON."""
        return {
            "score": self.score,
            "label": self.label,
            "bin": self.bin,
            "severity": self.severity,
            "gates": self.gates,
            "present": self.present,
            "truncated": self.truncated,
            "label_range": list(self.label_range),
            "corruption": self.corruption,
            "text": self.text,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Prediction":
        """Reads what `as_dict` gave."""
        low, high = content["label_range"]
        return cls(**{**content, "label_range": (low, high)})


@dataclass(frozen=True)
class Window:
    """One stretch of a recording.

    Attributes:
        start_s: Start in seconds.
        end_s: End in seconds.
        prediction: What the model says of it.
        words: The words in it, by the middle of each, as they were received.
    """

    start_s: float
    end_s: float
    prediction: Prediction
    words: tuple[TimedWord, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Gives the window as plain JSON."""
        words = [word.as_dict() for word in self.words]
        return {"start_s": self.start_s, "end_s": self.end_s, **self.prediction.as_dict(), "words": words}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Window":
        """Reads what `as_dict` gave."""
        rest = dict(content)
        start_s, end_s, words = rest.pop("start_s"), rest.pop("end_s"), rest.pop("words")
        return cls(start_s, end_s, Prediction.from_dict(rest), tuple(TimedWord(**word) for word in words))


@dataclass(frozen=True)
class Timeline:
    """Predictions of sliding windows over a recording.

    Attributes:
        name: Name of the file.
        duration_s: Length in seconds.
        window_s: Length of a window in seconds.
        hop_s: Distance of two starts in seconds.
        corruption: Name of the recipe; `clean` for none.
        windows: Ascending. A window in which the model receives nothing is left out.
        skipped: Spans in seconds of the windows left out.
        words: All words with their times, as they were received.
        thumbnails: Pictures with their times; not part of `as_dict`.
        notes: What a reader should know.
        label_range: Lowest and highest score.
        metric_scheme: Scheme that turns a score into a bin.
        modalities: Modalities that the model reads.
    """

    name: str
    duration_s: float
    window_s: float
    hop_s: float
    corruption: str
    windows: tuple[Window, ...]
    skipped: tuple[tuple[float, float], ...]
    words: tuple[TimedWord, ...]
    thumbnails: tuple[Thumbnail, ...] = field(repr=False)
    notes: tuple[str, ...]
    label_range: tuple[float, float]
    metric_scheme: str
    modalities: tuple[str, ...]

    @property
    def centres_s(self) -> np.ndarray:
        """(W,) middle of each window in seconds."""
        return np.array([(window.start_s + window.end_s) / 2 for window in self.windows])

    @property
    def scores(self) -> np.ndarray:
        """(W,) score of each window."""
        return np.array([window.prediction.score for window in self.windows])

    @property
    def score(self) -> float:
        """Mean over time: each instant counts with the mean of the windows that hold it."""
        spans = [(window.start_s, window.end_s) for window in self.windows]
        return mean_over_time(spans, self.scores.tolist())

    @property
    def bin(self) -> int:
        """Bin of the mean score."""
        return sentiment_bin(self.score, self.metric_scheme)

    @property
    def label(self) -> str:
        """Label of the mean score."""
        return polarity_label(self.bin)

    def as_dict(self) -> dict[str, Any]:
        """Gives the timeline without its pictures as plain JSON."""
        return {
            "name": self.name,
            "duration_s": self.duration_s,
            "window_s": self.window_s,
            "hop_s": self.hop_s,
            "corruption": self.corruption,
            "score": self.score,
            "label": self.label,
            "bin": self.bin,
            "windows": [window.as_dict() for window in self.windows],
            "skipped": [list(span) for span in self.skipped],
            "words": [word.as_dict() for word in self.words],
            "notes": list(self.notes),
            "label_range": list(self.label_range),
            "metric_scheme": self.metric_scheme,
            "modalities": list(self.modalities),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Timeline":
        """Reads what `as_dict` gave; the result has no pictures."""
        rest = {name: value for name, value in content.items() if name not in ("score", "label", "bin")}
        low, high = rest["label_range"]
        return cls(
            **rest
            | {
                "windows": tuple(Window.from_dict(window) for window in rest["windows"]),
                "skipped": tuple((start_s, end_s) for start_s, end_s in rest["skipped"]),
                "words": tuple(TimedWord(**word) for word in rest["words"]),
                "thumbnails": (),
                "notes": tuple(rest["notes"]),
                "label_range": (low, high),
                "modalities": tuple(rest["modalities"]),
            }
        )


@dataclass(frozen=True)
class FilePrediction:
    """How one file went.

    Attributes:
        path: The file.
        sha256: Hash of its bytes; empty where it can't be read.
        duration_s: Length in seconds; None where it failed.
        states: Per modality what was found: see `Clip.states`.
        notes: What a reader should know.
        prediction: Of the whole file in one go, cut at the processor's maximum lengths; None where it failed.
        timeline: Of a long file; None for a short or failed one.
        error: Message of a file that failed.
        error_class: Name of its error class.
        resumed: Whether the result comes from the journal of an earlier run.
    """

    path: Path
    sha256: str
    duration_s: float | None = None
    states: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    prediction: Prediction | None = None
    timeline: Timeline | None = None
    error: str | None = None
    error_class: str | None = None
    resumed: bool = False

    @property
    def score(self) -> float | None:
        """Mean of the timeline where there is one, else of the whole file; None where it failed."""
        answer = self.timeline or self.prediction
        return None if answer is None else answer.score

    @property
    def label(self) -> str | None:
        """Label of `score`."""
        answer = self.timeline or self.prediction
        return None if answer is None else answer.label

    @property
    def bin(self) -> int | None:
        """Bin of `score`."""
        answer = self.timeline or self.prediction
        return None if answer is None else answer.bin

    def as_dict(self) -> dict[str, Any]:
        """Gives the result without pictures as plain JSON."""
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "duration_s": self.duration_s,
            "score": self.score,
            "label": self.label,
            "bin": self.bin,
            "states": self.states,
            "notes": list(self.notes),
            "prediction": None if self.prediction is None else self.prediction.as_dict(),
            "timeline": None if self.timeline is None else self.timeline.as_dict(),
            "error": self.error,
            "error_class": self.error_class,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], path: Path) -> "FilePrediction":
        """Reads what `as_dict` gave, for the same content at a path."""
        prediction, timeline = content["prediction"], content["timeline"]
        return cls(
            path=path,
            sha256=content["sha256"],
            duration_s=content["duration_s"],
            states=content["states"],
            notes=tuple(content["notes"]),
            prediction=None if prediction is None else Prediction.from_dict(prediction),
            timeline=None if timeline is None else Timeline.from_dict(timeline),
            error=content["error"],
            error_class=content["error_class"],
            resumed=True,
        )
