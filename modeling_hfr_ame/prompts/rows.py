"""One row of a prompt store: what was asked about a sample, by which model, and what came back.

- The key is a hash of everything that decides the answer, so equal keys mean that nothing need be asked again.
- Every ingredient of the key is in the row. A reader recomputes it, so a row whose label flag, model or template was
  edited afterwards is noticed.
- Inputs are stored as hashes: a store can be passed on without the transcripts, pictures or sounds it was made from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from modeling_hfr_ame.errors import DataError

ROW_FORMAT: Final = "hfr-ame-prompt/1"
TRAINING_SPLIT: Final = "train"
ANSWERED: Final = "answered"
FAILED: Final = "failed"
CUE_NAMES: Final = ("language", "vision", "audio")


def canonical_json(value: Any) -> str:
    """Writes plain JSON in one way only: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of(value: Any) -> str:
    """Gives the sha256 of a text, or of the canonical JSON of anything else, as 64 hex digits."""
    text = value if isinstance(value, str) else canonical_json(value)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def storable_text(text: str) -> str:
    """Replaces what UTF-8 can't hold (lone surrogates) and drops NUL, so that any answer can be written and read."""
    return text.encode("utf-8", errors="replace").decode("utf-8").replace("\0", "")


@dataclass(frozen=True)
class PromptInputs:
    """Hashes of what a generator was shown.

    Attributes:
        transcript: Of the transcript; None = the sample has none.
        frames: One per picture, in time order; empty = none were shown.
        audio: Of the sound; None = not shown.
        features: Of the feature frames that were described in words; None = none were.
        label: Of the label as it was written; None = no label was shown.
    """

    transcript: str | None
    frames: tuple[str, ...] = ()
    audio: str | None = None
    features: str | None = None
    label: str | None = None

    @property
    def sha256(self) -> str:
        """One hash over all of them."""
        return sha256_of(asdict(self))


@dataclass(frozen=True)
class StoreDescription:
    """What all rows of one store file have in common.

    Attributes:
        dataset: `dataset_name` of the manifest.
        generator: `openai`, `local`, `local-audio`, `local-text`, `template`, or a name of your own.
        model_id: The model, without local paths.
        model_revision: Commit, hash of the files, or what the user stated; None = not known.
        template_id: Name and version of the instruction.
        template_sha: Hash of its wording.
        language: Language of the hints, "en" or "zh".
        decoding: Options of the generation, plain JSON.
        media: What of a clip was shown: `frames`, `max_width`, `sound_hz`. Empty = no clips were used.
        paper_protocol: Whether training rows were allowed to see their label.
        name: Stem of the file; empty until `named` gives it.
    """

    dataset: str
    generator: str
    model_id: str
    model_revision: str | None
    template_id: str
    template_sha: str
    language: str
    decoding: dict[str, Any]
    media: dict[str, Any] = field(default_factory=dict)
    paper_protocol: bool = False
    name: str = ""

    def named(self) -> StoreDescription:
        """Gives the description with the file name that belongs to it: readable, and unique to its content."""
        content = {key: value for key, value in asdict(self).items() if key != "name"}
        readable = "-".join(_slug(part) for part in (self.dataset, self.generator, self.model_id.rsplit("/", 1)[-1]))
        return StoreDescription(**content, name=f"{readable[:80]}-{sha256_of(content)[:8]}")

    @property
    def label_policy(self) -> str:
        """The policy as a card states it."""
        return "paper protocol: training rows show the label" if self.paper_protocol else "labels not shown"


@dataclass(frozen=True)
class PromptRow:
    """One row.

    Attributes:
        key: See `row_key`.
        sample_id: Id in the dataset.
        split: Split of the dataset when the row was made.
        status: `answered` or `failed`.
        text: The hints; empty where failed.
        cues: The same by modality (`language`, `vision`, `audio`); None where the answer has no such part.
        description: What the row shares with its file.
        label_shown: Whether this row's label was shown.
        inputs: Hashes of what was shown.
        created: UTC time, ISO 8601.
        n_in: Tokens read, as the model counts them; None = not told.
        n_out: Tokens written.
        finish: Why the model stopped (`stop`, `length`, …); None = not told.
        served_model: The name that an endpoint says it answered with.
        error: Why there is no answer; None where answered.
    """

    key: str
    sample_id: str
    split: str
    status: str
    text: str
    cues: dict[str, str | None]
    description: StoreDescription
    label_shown: bool
    inputs: PromptInputs
    created: str
    n_in: int | None = None
    n_out: int | None = None
    finish: str | None = None
    served_model: str | None = None
    error: str | None = None

    @property
    def answered(self) -> bool:
        """Whether there is a text."""
        return self.status == ANSWERED

    def to_line(self) -> bytes:
        """Writes the row as one line of JSON, with its line feed."""
        flat = asdict(self)
        description = flat.pop("description")
        description.pop("name")
        flat["inputs"]["frames"] = list(self.inputs.frames)
        row = {"format": ROW_FORMAT, **flat, **description, "inputs_sha": self.inputs.sha256}
        return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")

    @classmethod
    def from_line(cls, line: bytes, *, name: str) -> PromptRow:
        """Reads one line and checks it.

        Args:
            line: Bytes, with or without the line feed.
            name: Stem of the file.

        Returns:
            The row.

        Raises:
            DataError: The line isn't a row of ours, its key doesn't fit its content, or it contradicts itself.
        """
        try:
            values = json.loads(line)
            if not isinstance(values, dict) or values.pop("format", None) != ROW_FORMAT:
                raise ValueError(f"it doesn't state the format {ROW_FORMAT}")
            inputs = _read_inputs(values.pop("inputs"))
            stated_inputs = values.pop("inputs_sha")
            shared = {key: values.pop(key) for key in _SHARED_FIELDS}
            row = cls(**values, inputs=inputs, description=StoreDescription(**shared, name=name))
            expected = row_key(row.sample_id, row.inputs, row.description, row.label_shown)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"not a row of a prompt store ({error})") from error
        if row.key != expected or stated_inputs != inputs.sha256:
            raise DataError(f"the key of sample {row.sample_id!r} doesn't fit the row, which was changed after writing")
        _check_consistent(row)
        return row


_SHARED_FIELDS = tuple(item.name for item in fields(StoreDescription) if item.name != "name")


def row_key(sample_id: str, inputs: PromptInputs, description: StoreDescription, label_shown: bool) -> str:
    """Gives the key of a row: sha256 over all that decides the answer.

    Args:
        sample_id: Id in the dataset.
        inputs: Transcript, frame, audio, feature and label hashes.
        description: Template id and hash, model id and revision, and decoding options are read.
        label_shown: Whether this row's label was shown.

    Returns:
        64 hex digits.
    """
    return sha256_of(
        {
            "sample_id": sample_id,
            "inputs": asdict(inputs),
            "template": [description.template_id, description.template_sha, description.language],
            "model": [description.model_id, description.model_revision],
            "decoding": description.decoding,
            "label_shown": label_shown,
        }
    )


def _read_inputs(values: Mapping[str, Any]) -> PromptInputs:
    return PromptInputs(**{**values, "frames": tuple(values["frames"])})


def _check_consistent(row: PromptRow) -> None:
    """Refuses rows that say two things at once, which no version of this package writes."""
    if row.label_shown != (row.inputs.label is not None):
        raise DataError(f"sample {row.sample_id!r} states label_shown={row.label_shown} against its inputs")
    if row.label_shown and not row.description.paper_protocol:
        raise DataError(f"sample {row.sample_id!r} saw its label although the store isn't a paper_protocol one")
    if row.status not in (ANSWERED, FAILED) or row.answered != bool(row.text.strip()):
        raise DataError(
            f"sample {row.sample_id!r} has the status {row.status!r} and {len(row.text)} characters of text"
        )


def _slug(text: str) -> str:
    return "".join(character if character.isalnum() and character.isascii() else "_" for character in text).strip("_")
