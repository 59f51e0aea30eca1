"""Metrics, robustness protocols and the evaluation of trained runs.

Names load on first use, so that metrics cost no matplotlib, no transformers and no `evaluate`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeling_hfr_ame.evaluation.benchmark import compare_runs, evaluate_runs
    from modeling_hfr_ame.evaluation.data_sheet import DataSheet, read_data_sheet
    from modeling_hfr_ame.evaluation.data_sheet_figure import draw_data_sheet
    from modeling_hfr_ame.evaluation.metrics import compute_metrics_for_trainer, sentiment_metrics
    from modeling_hfr_ame.evaluation.protocols import auilc, mean_over_rates, protocol_recipes
    from modeling_hfr_ame.evaluation.restoration import evaluate_restoration
    from modeling_hfr_ame.evaluation.runner import RecipeResult, evaluate_model, predict
    from modeling_hfr_ame.evaluation.seed_statistics import (
        PairedComparison,
        SeedSummary,
        constant_baseline,
        paired_comparison,
        summarize_seeds,
    )
    from modeling_hfr_ame.evaluation.sentiment_metric import SentimentMetric

_MODULE_OF_NAME = {
    "DataSheet": "data_sheet",
    "PairedComparison": "seed_statistics",
    "RecipeResult": "runner",
    "SeedSummary": "seed_statistics",
    "SentimentMetric": "sentiment_metric",
    "auilc": "protocols",
    "compare_runs": "benchmark",
    "compute_metrics_for_trainer": "metrics",
    "constant_baseline": "seed_statistics",
    "draw_data_sheet": "data_sheet_figure",
    "evaluate_model": "runner",
    "evaluate_restoration": "restoration",
    "evaluate_runs": "benchmark",
    "mean_over_rates": "protocols",
    "paired_comparison": "seed_statistics",
    "predict": "runner",
    "protocol_recipes": "protocols",
    "read_data_sheet": "data_sheet",
    "sentiment_metrics": "metrics",
    "summarize_seeds": "seed_statistics",
}

__all__ = [
    "DataSheet",
    "PairedComparison",
    "RecipeResult",
    "SeedSummary",
    "SentimentMetric",
    "auilc",
    "compare_runs",
    "compute_metrics_for_trainer",
    "constant_baseline",
    "draw_data_sheet",
    "evaluate_model",
    "evaluate_restoration",
    "evaluate_runs",
    "mean_over_rates",
    "paired_comparison",
    "predict",
    "protocol_recipes",
    "read_data_sheet",
    "sentiment_metrics",
    "summarize_seeds",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF_NAME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
