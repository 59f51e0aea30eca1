"""Datasets: the stored layout, the builders, and what turns stored rows into batches.

Names load on first use, so that generating rows costs no torch and no `datasets`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeling_hfr_ame.data.collator import SentimentCollator
    from modeling_hfr_ame.data.manifest import read_manifest
    from modeling_hfr_ame.data.mosi_clips import prepare_mosi_clips
    from modeling_hfr_ame.data.sentiment_dataset import SentimentDataset, training_vocabulary
    from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows, write_stored_dataset
    from modeling_hfr_ame.data.synthetic_clips import generate_synthetic_clips
    from modeling_hfr_ame.data.synthetic_talkers import generate_synthetic_talkers, prepare_synthetic_talkers

_MODULE_OF_NAME = {
    "SentimentCollator": "collator",
    "SentimentDataset": "sentiment_dataset",
    "generate_synthetic_clips": "synthetic_clips",
    "generate_synthetic_talkers": "synthetic_talkers",
    "load_stored_dataset": "stored",
    "prepare_mosi_clips": "mosi_clips",
    "prepare_synthetic_talkers": "synthetic_talkers",
    "read_manifest": "manifest",
    "stored_rows": "stored",
    "training_vocabulary": "sentiment_dataset",
    "write_stored_dataset": "stored",
}

__all__ = [
    "SentimentCollator",
    "SentimentDataset",
    "generate_synthetic_clips",
    "generate_synthetic_talkers",
    "load_stored_dataset",
    "prepare_mosi_clips",
    "prepare_synthetic_talkers",
    "read_manifest",
    "stored_rows",
    "training_vocabulary",
    "write_stored_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF_NAME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
