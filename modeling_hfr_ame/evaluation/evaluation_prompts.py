"""Hints for the evaluation of a model that reads them."""

from pathlib import Path
from typing import Any

from modeling_hfr_ame.data.prompted_rows import Prompt, tokenize_prompts
from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.evaluation.evaluation_data import EvaluationData
from modeling_hfr_ame.evaluation.run_folders import SavedRun
from modeling_hfr_ame.prompts import PromptStore


def read_evaluation_prompts(
    model: Any, processor: Any, run: SavedRun, data: EvaluationData, folder: str | Path | None
) -> dict[str, Prompt] | None:
    """Reads the hints of the scored rows.

    Args:
        model: The model.
        processor: Its processor.
        run: Its run, whose record names the store and how many rows must have a hint.
        data: The scored rows.
        folder: Folder of prompt stores. None: the one that the run recorded.

    Returns:
        Sample id to token ids; None for a model that reads no hints.

    Raises:
        ConfigError: The model reads hints and no store is named.
        DataError: There is no such store, it has too few hints, or a row saw its label.
    """
    if not getattr(model.config, "reads_prompts", False):
        return None
    recorded = run.record.get("arguments", {}).get("data", {})
    folder = folder or (run.record.get("prompts") or {}).get("folder")
    if folder is None:
        raise ConfigError(
            f"the model of {run.folder} reads hints, but neither its record nor the call names a prompt store; pass "
            "prompts (--prompts FOLDER)"
        )
    store = PromptStore.open(folder, dataset=data.name, name=recorded.get("prompt_store"))
    columns = data.rows.select_columns(["id", "text"]).with_format(None)[:]
    transcripts = dict(zip(columns["id"], columns["text"], strict=True))
    store.require({data.split: transcripts}, recorded.get("min_prompt_coverage", 1.0))
    texts = {sample_id: store.text_of(data.split, sample_id, text) for sample_id, text in transcripts.items()}
    return dict(tokenize_prompts(texts, processor.tokenizer, model.config.max_prompt_length))
