"""The interface between a run and whatever writes the hints.

A generator takes requests as they come and yields answers as they are ready, in any order. What it has yielded is
written at once, so a crash costs at most what is under way. A sample that it can't answer is an answer with an error;
only what makes every further request pointless (a wrong key, a missing model) is raised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.prompts.clips import Clip
from modeling_hfr_ame.prompts.rows import PromptInputs


@dataclass(frozen=True)
class PromptRequest:
    """What is asked about one sample.

    Attributes:
        key: Key of the row that the answer becomes.
        sample_id: Id in the dataset.
        split: Its split.
        transcript: What is said; None = not known.
        instruction: The whole text that a model is shown.
        label: The label as text; None = not shown.
        clip: The clip; None = there is none or the generator shows none.
        features: (n, D) float32 frames by modality, for generators that describe features in words.
        inputs: Hashes of what is shown.
    """

    key: str
    sample_id: str
    split: str
    transcript: str | None
    instruction: str
    label: str | None
    inputs: PromptInputs
    clip: Clip | None = None
    features: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def num_pictures(self) -> int:
        """Number of pictures that go with it."""
        return len(self.inputs.frames)


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        text: The hints; blank counts as an error.
        error: Why there is none; None = there is a text.
        n_in: Tokens read; None = not told.
        n_out: Tokens written; None = not told.
        finish: Why the model stopped; None = not told.
        served_model: The name that an endpoint says it answered with.
    """

    text: str = ""
    error: str | None = None
    n_in: int | None = None
    n_out: int | None = None
    finish: str | None = None
    served_model: str | None = None


class PromptGenerator(ABC):
    """Writes hints.

    Attributes:
        kind: Name in rows and files, such as `openai`.
        model_id: The model, without local paths.
        model_revision: Commit, hash of its files, or what the user stated; None = not known.
        decoding: Options that the answer depends on, plain JSON.
        shows_pictures: Whether it can be shown pictures.
        reads_features: Whether it describes feature frames.
        wording: Id and hash of its own wording, where it writes without an instruction; None = it is instructed.
    """

    kind: str = ""
    model_id: str = ""
    model_revision: str | None = None
    decoding: dict[str, Any]
    shows_pictures: bool = False
    reads_features: bool = False
    wording: tuple[str, str] | None = None

    @property
    def sound_hz(self) -> int | None:
        """Samples per second of the sound that it can be shown; None = it is shown none."""
        return None

    def prepare(self, dataset: Path, manifest: dict[str, Any], language: str) -> None:  # noqa: B027
        """Takes what holds for the whole dataset, before any other attribute is read; most need nothing.

        Args:
            dataset: Folder of the stored dataset.
            manifest: Its manifest.
            language: Language of the hints.

        Raises:
            ConfigError: The generator can't write in that language.
        """

    @abstractmethod
    def answer(self, requests: Iterable[PromptRequest]) -> Iterator[tuple[PromptRequest, Answer]]:
        """Answers requests, each exactly once, in any order, reading ahead no further than it works ahead.

        Args:
            requests: Read lazily.

        Yields:
            A request and its answer, as soon as it is ready.

        Raises:
            ConfigError: Nothing more can be answered: a wrong key, an unknown model.
        """
