"""What training reads out of a prompt store. No model is asked for a hint here: a missing one stays missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling_hfr_ame.data.prompted_rows import Prompt, tokenize_prompts
from modeling_hfr_ame.prompts import PromptStore
from modeling_hfr_ame.training.arguments import DataArguments
from modeling_hfr_ame.training.frozen_states import cached_states


@dataclass(frozen=True)
class PromptTexts:
    """Hints of the rows that a run reads.

    Args:
        texts: Split → sample id → hint, None where there is none.
        record: What `run.json` says about them: the store and its folder, its content's hash, how many rows have one.
    """

    texts: dict[str, dict[str, str | None]]
    record: dict[str, Any]

    @property
    def content_sha256(self) -> str:
        """Hash of the store's answered rows."""
        return str(self.record["content_sha256"])


def read_prompt_texts(
    data_args: DataArguments, rows: Mapping[str, Any], dataset_name: str, splits: tuple[str, ...]
) -> PromptTexts:
    """Reads a run's hints.

    Args:
        data_args: `prompts`, `prompt_store` and `min_prompt_coverage`.
        rows: Split → usable rows of the dataset.
        dataset_name: Name of the dataset, which the store must be made for.
        splits: Splits that hints are read for.

    Raises:
        DataError: There is no such store, it has too few hints, or validation or test rows saw a label.
    """
    assert data_args.prompts is not None
    store = PromptStore.open(data_args.prompts, dataset=dataset_name, name=data_args.prompt_store)
    transcripts = {}
    for split in splits:
        columns = rows[split].select_columns(["id", "text"]).with_format(None)[:]
        transcripts[split] = dict(zip(columns["id"], columns["text"], strict=True))
    coverage = store.require(transcripts, data_args.min_prompt_coverage)
    texts = {
        split: {sample_id: store.text_of(split, sample_id, transcript) for sample_id, transcript in found.items()}
        for split, found in transcripts.items()
    }
    counts = {split: {"rows": found.rows, "answered": found.answered} for split, found in coverage.items()}
    folder = str(Path(data_args.prompts).resolve())
    return PromptTexts(texts, store.describe() | {"folder": folder, "coverage": counts})


def encode_prompts(
    texts: PromptTexts, tokenizer: Any, max_length: int, encoder: Any | None, cache_folder: Path
) -> dict[str, Prompt]:
    """Turns hints into what a model reads.

    Args:
        texts: The hints.
        tokenizer: The model's tokenizer.
        max_length: Longest hint in tokens.
        encoder: The frozen encoder of hints, whose states are cached on disk. None: it is trained, and gets token ids.
        cache_folder: Where states are cached.

    Returns:
        Sample id → token ids (n,), or states (n, H); samples without a hint are left out.
    """
    every = {sample_id: text for of_split in texts.texts.values() for sample_id, text in of_split.items()}
    ids = tokenize_prompts(every, tokenizer, max_length)
    if encoder is None:
        return dict(ids)
    # Hints repeat, so each is encoded once.
    distinct = {row.tobytes(): row for row in ids.values()}
    ordered = sorted(distinct)
    states = dict(zip(ordered, cached_states(cache_folder, encoder, [distinct[key] for key in ordered]), strict=True))
    return {sample_id: states[row.tobytes()] for sample_id, row in ids.items()}
