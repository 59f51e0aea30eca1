"""What machines read of a card: the YAML on top of it with `model-index`, and the files of `.eval_results`.

- `model-index` takes any dataset, so it carries the results of every protocol.
- `.eval_results` is the Hub's newer format. It shows an entry only where the dataset is a benchmark that is registered
  with the Hub; elsewhere the file is data for whoever reads the repository.
- A value is the mean over the training seeds, as in the tables, and its name says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from modeling_hfr_ame.hub.card_tables import metric_heading

PIPELINE_TAG = "text-classification"  # the Hub has no tag for our task; this one stands for a text with a label
LIBRARY = "transformers"
_TAGS = ("hfr-ame", "multimodal", "multimodal-sentiment-analysis", "robustness", "missing-modality", "custom_code")
_HUB_METRICS = {"mae": "mae", "corr": "pearsonr", "acc": "accuracy", "f1": "f1"}
_LICENSE = "apache-2.0"


def card_data(
    title: str,
    description: Mapping[str, Any] | None,
    results: Sequence[Mapping[str, Any]],
    *,
    name: str,
    dataset_id: str,
    synthetic: bool,
) -> ModelCardData:
    """Builds the YAML of a card.

    Args:
        title: Name of the model.
        description: Of its runs, for the examples; None where none is known.
        results: Results documents, possibly none.
        name: What the documents call the model.
        dataset_id: The dataset on the Hub, or its plain name where it isn't there.
        synthetic: Whether nobody was recorded for the data.
    """
    entries = [entry for document in results for entry in _eval_results(document, name, dataset_id)]
    metrics = sorted({_hub_metric(metric) for document in results for metric in document["metrics"]})
    extra: dict[str, Any] = {"widget": _widget(description)} if description else {}
    return ModelCardData(
        license=_LICENSE,
        library_name=LIBRARY,
        pipeline_tag=PIPELINE_TAG,
        tags=[*_TAGS, *(["synthetic"] if synthetic else [])],
        datasets=[dataset_id],
        metrics=metrics or None,
        model_name=title,
        eval_results=entries or None,
        **extra,
    )


def eval_results_yaml(results: Sequence[Mapping[str, Any]], name: str, dataset_id: str) -> str:
    """Writes MAE and correlation of every protocol in the form of `.eval_results`.

    Args:
        results: Results documents of one dataset.
        name: What the documents call the model.
        dataset_id: As in `card_data`.
    """
    entries = []
    for document in results:
        model = document["models"][name]
        for protocol, section in model["protocols"].items():
            for metric in ("mae", "corr"):
                summary = section["mean"][metric]
                if summary["mean"] is None:
                    continue
                seeds = ", ".join(map(str, model["seeds"]))
                over = f"mean over seeds {seeds}" if len(model["seeds"]) > 1 else f"seed {seeds}"
                notes = f"{document['split']} split ({document['subset']} rows), {over}"
                if summary["sd"] is not None:
                    notes += f", sd {summary['sd']:.4f}"
                notes += f"; corruption protocol version {document['corruption_protocol_version']}"
                task = f"{document['split']}_{protocol}_{metric}".lower()
                entries.append(EvalResultEntry(dataset_id, task, summary["mean"], notes=notes))
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=1000)


def _eval_results(document: Mapping[str, Any], name: str, dataset_id: str) -> list[EvalResult]:
    model = document["models"][name]
    entries = []
    for protocol, section in model["protocols"].items():
        for metric, summary in section["mean"].items():
            if summary["mean"] is None:
                continue
            num_seeds = len(model["seeds"])
            over = "one seed" if num_seeds == 1 else f"mean of {num_seeds} seeds"
            entries.append(
                EvalResult(
                    task_type=PIPELINE_TAG,
                    task_name="Multimodal sentiment analysis",
                    dataset_type=dataset_id,
                    dataset_name=f"{document['dataset']['name']} ({document['subset']} rows)",
                    dataset_split=document["split"],
                    metric_type=_hub_metric(metric),
                    metric_name=f"{protocol} {metric_heading(metric).removesuffix(' ↓')} ({over})",
                    metric_value=summary["mean"],
                )
            )
    return entries


def _hub_metric(metric: str) -> str:
    return next(hub for prefix, hub in _HUB_METRICS.items() if metric.startswith(prefix))


def _widget(description: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Gives the examples that are a text alone; a widget can show no others."""
    return [
        {
            "text": item["text"],
            "example_title": item["title"],
            "output": [{"label": item["result"]["label"], "score": round(item["result"]["score"], 3)}],
        }
        for item in description["examples"]["items"]
        if item["text"] and not item["num_frames"]
    ] or None
