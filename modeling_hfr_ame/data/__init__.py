"""Datasets: the stored layout, the builders, and what turns stored rows into batches.

Names load on first use, so that generating rows costs no torch and no `datasets`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeling_hfr_ame.data.collator import SentimentCollator
    from modeling_hfr_ame.data.corrupted_splits import load_corrupted, write_corrupted
    from modeling_hfr_ame.data.manifest import read_manifest
    from modeling_hfr_ame.data.mosi_clips import prepare_mosi_clips
    from modeling_hfr_ame.data.sentiment_dataset import SentimentDataset, training_vocabulary
    from modeling_hfr_ame.data.sources.prepare import PreparedSource, open_source, prepare_source, recognise_source
    from modeling_hfr_ame.data.sources.records import prepare_records
    from modeling_hfr_ame.data.sources.source import SourceDataset, SourceOptions
    from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows, write_stored_dataset
    from modeling_hfr_ame.data.synthetic_clips import generate_synthetic_clips
    from modeling_hfr_ame.data.synthetic_talkers import generate_synthetic_talkers, prepare_synthetic_talkers

_MODULE_OF_NAME = {
    "PreparedSource": "sources.prepare",
    "SentimentCollator": "collator",
    "SentimentDataset": "sentiment_dataset",
    "SourceDataset": "sources.source",
    "SourceOptions": "sources.source",
    "generate_synthetic_clips": "synthetic_clips",
    "generate_synthetic_talkers": "synthetic_talkers",
    "load_corrupted": "corrupted_splits",
    "load_stored_dataset": "stored",
    "open_source": "sources.prepare",
    "prepare_mosi_clips": "mosi_clips",
    "prepare_records": "sources.records",
    "prepare_source": "sources.prepare",
    "prepare_synthetic_talkers": "synthetic_talkers",
    "read_manifest": "manifest",
    "recognise_source": "sources.prepare",
    "stored_rows": "stored",
    "training_vocabulary": "sentiment_dataset",
    "write_corrupted": "corrupted_splits",
    "write_stored_dataset": "stored",
}

__all__ = [
    "PreparedSource",
    "SentimentCollator",
    "SentimentDataset",
    "SourceDataset",
    "SourceOptions",
    "generate_synthetic_clips",
    "generate_synthetic_talkers",
    "load_corrupted",
    "load_stored_dataset",
    "open_source",
    "prepare_mosi_clips",
    "prepare_records",
    "prepare_source",
    "prepare_synthetic_talkers",
    "read_manifest",
    "recognise_source",
    "stored_rows",
    "training_vocabulary",
    "write_corrupted",
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
