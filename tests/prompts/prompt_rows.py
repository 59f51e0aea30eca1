"""Small datasets and prompt rows for the tests of this folder."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from modeling_hfr_ame.prompts.generator import Answer, PromptGenerator, PromptRequest
from modeling_hfr_ame.prompts.rows import PromptInputs, PromptRow, StoreDescription, row_key, sha256_of

TEXTS = {
    "train": ["i really loved this movie", "it was not very good", "the plot is boring but the cast is great", None],
    "validation": ["a waste of time", "nice music"],
    "test": ["i saw it on monday", "terrible acting"],
}


def write_dataset(folder: Path, texts: dict[str, list[str | None]] | None = None) -> Path:
    # Not at the top: children that only write rows start without `datasets`.
    from tests.data.stored_row_making import make_row, write

    splits: dict[str, list[dict[str, Any]]] = {}
    index = 0
    for split, words in (texts or TEXTS).items():
        splits[split] = []
        for text in words:
            splits[split].append(make_row(index, text=text, label=-3 + 0.5 * (index % 13)))
            index += 1
    return write(folder, splits)


def describe_store(**changes: Any) -> StoreDescription:
    values: dict[str, Any] = {
        "dataset": "test_builder",
        "generator": "openai",
        "model_id": "org/some-model",
        "model_revision": "1",
        "template_id": "hints-en/1",
        "template_sha": "a" * 64,
        "language": "en",
        "decoding": {"max_tokens": 300},
    }
    return StoreDescription(**{**values, **changes}).named()


def prompt_row(
    sample_id: str = "v0$_$1",
    *,
    split: str = "train",
    text: str = "Language: warm.",
    transcript: str | None = "fine",
    label: str | None = None,
    description: StoreDescription | None = None,
    **changes: Any,
) -> PromptRow:
    description = description or describe_store(paper_protocol=label is not None)
    inputs = PromptInputs(
        transcript=None if transcript is None else sha256_of(transcript),
        label=None if label is None else sha256_of(label),
    )
    failed = not text
    values: dict[str, Any] = {
        "key": row_key(sample_id, inputs, description, label is not None),
        "sample_id": sample_id,
        "split": split,
        "status": "failed" if failed else "answered",
        "text": text,
        "cues": {"language": "warm." if text else None, "vision": None, "audio": None},
        "description": description,
        "label_shown": label is not None,
        "inputs": inputs,
        "created": "2026-01-01T00:00:00+00:00",
        "error": "status 500" if failed else None,
    }
    return PromptRow(**{**values, **changes})


class EchoGenerator(PromptGenerator):
    """Answers with the instruction, after failing as often as told."""

    kind = "echo"
    model_id = "tests/echo"

    def __init__(self, failures: dict[str, int] | None = None) -> None:
        self.decoding = {}
        self.failures = failures or {}
        self.asked: list[str] = []

    def answer(self, requests: Iterable[PromptRequest]) -> Iterator[tuple[PromptRequest, Answer]]:
        for request in requests:
            self.asked.append(request.sample_id)
            if self.failures.get(request.sample_id, 0) > 0:
                self.failures[request.sample_id] -= 1
                yield request, Answer(error="no luck")
            else:
                yield request, Answer(text=f"Language: {request.instruction}", n_in=10, n_out=5)


def text_requests(count: int, description: StoreDescription) -> list[PromptRequest]:
    """Makes requests from words alone, without a dataset."""
    requests = []
    for index in range(count):
        inputs = PromptInputs(transcript=sha256_of(f"words {index}"))
        requests.append(
            PromptRequest(
                key=row_key(f"v{index}", inputs, description, label_shown=False),
                sample_id=f"v{index}",
                split="train",
                transcript=f"words {index}",
                instruction=f"What about words {index}?",
                label=None,
                inputs=inputs,
            )
        )
    return requests
