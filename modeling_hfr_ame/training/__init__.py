"""Training: `transformers.Trainer` on Accelerate, assembled from three argument dataclasses."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeling_hfr_ame.training.adapters import LoraAdaptation, LoraArguments
    from modeling_hfr_ame.training.arguments import (
        DataArguments,
        ModelArguments,
        SentimentTrainingArguments,
        parse_arguments,
    )
    from modeling_hfr_ame.training.distillation import train_teacher_and_student
    from modeling_hfr_ame.training.run import RunSummary, main, run_all_seeds, run_training
    from modeling_hfr_ame.training.sampling import EpochIndexSampler
    from modeling_hfr_ame.training.trainer import SentimentTrainer

_MODULE_OF_NAME = {
    "DataArguments": "arguments",
    "EpochIndexSampler": "sampling",
    "LoraAdaptation": "adapters",
    "LoraArguments": "adapters",
    "ModelArguments": "arguments",
    "RunSummary": "run",
    "SentimentTrainer": "trainer",
    "SentimentTrainingArguments": "arguments",
    "main": "run",
    "parse_arguments": "arguments",
    "run_all_seeds": "run",
    "run_training": "run",
    "train_teacher_and_student": "distillation",
}

__all__ = [
    "DataArguments",
    "EpochIndexSampler",
    "LoraAdaptation",
    "LoraArguments",
    "ModelArguments",
    "RunSummary",
    "SentimentTrainer",
    "SentimentTrainingArguments",
    "main",
    "parse_arguments",
    "run_all_seeds",
    "run_training",
    "train_teacher_and_student",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF_NAME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
