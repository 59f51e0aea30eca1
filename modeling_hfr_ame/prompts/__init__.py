"""Hints about samples that a general model writes once and training reads: the store, and what fills it.

Names load on first use. Reading a store needs neither torch nor transformers.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeling_hfr_ame.prompts.clips import ClipView
    from modeling_hfr_ame.prompts.generation import (
        GenerationPlan,
        GenerationSummary,
        generate_prompts,
        plan_generation,
    )
    from modeling_hfr_ame.prompts.generator import Answer, PromptGenerator, PromptRequest
    from modeling_hfr_ame.prompts.instructions import InstructionTemplate, instruction_template
    from modeling_hfr_ame.prompts.rows import PromptRow, StoreDescription
    from modeling_hfr_ame.prompts.store import PromptStore, SplitCoverage, list_prompt_stores, transcripts_by_split

_MODULE_OF_NAME = {
    "Answer": "generator",
    "ClipView": "clips",
    "GenerationPlan": "generation",
    "GenerationSummary": "generation",
    "InstructionTemplate": "instructions",
    "PromptGenerator": "generator",
    "PromptRequest": "generator",
    "PromptRow": "rows",
    "PromptStore": "store",
    "SplitCoverage": "store",
    "StoreDescription": "rows",
    "generate_prompts": "generation",
    "instruction_template": "instructions",
    "list_prompt_stores": "store",
    "plan_generation": "generation",
    "transcripts_by_split": "store",
}

__all__ = [
    "Answer",
    "ClipView",
    "GenerationPlan",
    "GenerationSummary",
    "InstructionTemplate",
    "PromptGenerator",
    "PromptRequest",
    "PromptRow",
    "PromptStore",
    "SplitCoverage",
    "StoreDescription",
    "generate_prompts",
    "instruction_template",
    "list_prompt_stores",
    "plan_generation",
    "transcripts_by_split",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF_NAME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
