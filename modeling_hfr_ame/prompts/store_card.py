"""The README of a folder of prompt stores, written from the rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from modeling_hfr_ame.prompts.rows import ANSWERED, FAILED, TRAINING_SPLIT
from modeling_hfr_ame.prompts.store import PromptStore, list_prompt_stores

CARD_NAME = "README.md"


def write_store_card(folder: str | Path) -> Path:
    """Writes what each store of a folder is, and whether labels were shown.

    Args:
        folder: Folder of the stores.

    Returns:
        The card.

    Raises:
        DataError: A file is damaged, or a row outside the training split saw its label.
    """
    lines = ["# Prompt stores", "", "Hints about samples of a sentiment dataset, one JSON row per line.", ""]
    for description in list_prompt_stores(folder):
        store = PromptStore.open(folder, name=description.name)
        counts = Counter((row.split, row.status) for row in store.rows())
        shown = Counter(row.split for row in store.rows() if row.label_shown)
        revision = description.model_revision or "not stated"
        lines += [
            f"## {description.name}",
            "",
            f"- Dataset: {description.dataset}",
            f"- Generator: {description.generator}, model {description.model_id}, revision {revision}",
            f"- Instruction: {description.template_id} ({description.language})",
            f"- Label policy: {description.label_policy}",
            f"- Content: sha256 {store.content_sha256}",
            "",
            "| split | answered | failed | label shown |",
            "| --- | --- | --- | --- |",
        ]
        splits = sorted({split for split, _ in counts}, key=lambda split: (split != TRAINING_SPLIT, split))
        lines += [f"| {name} | {counts[name, ANSWERED]} | {counts[name, FAILED]} | {shown[name]} |" for name in splits]
        lines.append("")
    path = Path(folder) / CARD_NAME
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
