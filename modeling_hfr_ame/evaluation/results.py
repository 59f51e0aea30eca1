"""The results document: every number of an evaluation and what is needed to judge it, as plain JSON.

The table and the figure are drawn from this document alone, so a stored `results.json` gives the same ones again.
"""

import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modeling_hfr_ame.corruption import PROTOCOL_VERSION
from modeling_hfr_ame.evaluation.evaluation_data import EvaluationData
from modeling_hfr_ame.evaluation.metrics import METRICS_OF_SCHEME
from modeling_hfr_ame.evaluation.protocols import (
    PROTOCOL_NOTES,
    RATE_PROTOCOLS,
    auilc,
    averaged_recipes,
    mean_over_rates,
    protocol_recipes,
    rates_of_recipes,
)
from modeling_hfr_ame.evaluation.restoration import RestorationReport, summarize_restoration
from modeling_hfr_ame.evaluation.run_folders import SavedRun
from modeling_hfr_ame.evaluation.runner import MODALITIES, RecipeResult
from modeling_hfr_ame.evaluation.seed_statistics import constant_baseline, paired_comparison, summarize_seeds

SCHEMA_VERSION = 1
RESULTS_FILE = "results.json"
PREDICTIONS_FILE = "predictions.parquet"

_NOT_RECORDED = "not recorded in run.json"
_REPORTED_PACKAGES = ("hfr-ame", "torch", "transformers", "datasets", "numpy", "scipy")

# Per seed: recipe name to result.
SeedResults = Mapping[int, Mapping[str, RecipeResult]]


def build_results(
    results: Mapping[str, SeedResults],
    runs: Mapping[str, Sequence[SavedRun]],
    data: EvaluationData,
    *,
    protocols: Sequence[str],
    scheme: str,
    corruption_seed: int,
    restorations: Mapping[str, Mapping[int, Mapping[str, RestorationReport]]] | None = None,
) -> dict[str, Any]:
    """Builds the results document.

    Args:
        results: Model name to seed to recipe to result.
        runs: Model name to its runs.
        data: The scored rows.
        protocols: Names of the evaluated protocols.
        scheme: Label scheme of the metrics.
        corruption_seed: Seed of the corruption masks.
        restorations: Model name to seed to recipe to restoration report, for the models that have one.

    Returns:
        A document that `json` can write; what is not defined is None. Sections: `models` (per protocol and recipe each
        metric as mean, sd and values per seed, with `mean` over the averaged recipes and, for rate protocols, `auilc`
        over all of them), `averaged_recipes` (where a mean leaves some out), `protocol_notes` (published protocols),
        `comparisons` (the first model minus each other one), `baselines` (constant predictors), and the conditions.
    """
    models = {
        name: _model_section(by_seed, runs[name], protocols=protocols, scheme=scheme)
        for name, by_seed in results.items()
    }
    for name, by_seed in (restorations or {}).items():
        models[name]["restoration"] = summarize_restoration(by_seed)
    document = {
        "schema_version": SCHEMA_VERSION,
        "dataset": {"name": data.name, "manifest_sha256": data.manifest_sha256, "label_range": list(data.label_range)},
        "data_notes": list(data.notes),
        "split": data.split,
        "subset": data.subset,
        "num_rows": len(data.rows),
        "scheme": scheme,
        "metrics": list(METRICS_OF_SCHEME[scheme]),
        "protocols": {protocol: protocol_recipes(protocol) for protocol in protocols},
        "averaged_recipes": {
            protocol: averaged_recipes(protocol)
            for protocol in protocols
            if averaged_recipes(protocol) != protocol_recipes(protocol)
        },
        "protocol_notes": {protocol: PROTOCOL_NOTES[protocol] for protocol in protocols if protocol in PROTOCOL_NOTES},
        "corruption_protocol_version": PROTOCOL_VERSION,
        "corruption_seed": corruption_seed,
        "versions": _package_versions(),
        "models": models,
        "comparisons": _comparisons(models, protocols),
        "baselines": {},
    }
    if data.train_labels is not None:
        labels = np.asarray(data.rows["label"][:], dtype=np.float64)
        document["baselines"] = constant_baseline(data.train_labels, labels, scheme)
    return _without_nan(document)


def write_results(document: Mapping[str, Any], folder: Path) -> Path:
    """Writes the document as `results.json` into a folder and returns the file's path."""
    path = folder / RESULTS_FILE
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def write_predictions(results: Mapping[str, SeedResults], folder: Path) -> Path:
    """Writes every prediction, so that any number of the document can be computed again.

    Args:
        results: Model name to seed to recipe to result.
        folder: Where `predictions.parquet` goes. Columns: `model`, `seed`, `recipe`, `id`, `prediction`, `label`.

    Returns:
        The file's path.
    """
    tables = [
        pa.table(
            {
                "model": pa.array([model] * found["n"], pa.string()),
                "seed": pa.array([seed] * found["n"], pa.int64()),
                "recipe": pa.array([recipe] * found["n"], pa.string()),
                "id": pa.array(found["ids"], pa.string()),
                "prediction": pa.array(found["predictions"], pa.float32()),
                "label": pa.array(found["labels"], pa.float32()),
            }
        )
        for model, by_seed in results.items()
        for seed, by_recipe in by_seed.items()
        for recipe, found in by_recipe.items()
    ]
    path = folder / PREDICTIONS_FILE
    pq.write_table(pa.concat_tables(tables), path)
    return path


def _model_section(
    by_seed: SeedResults, runs: Sequence[SavedRun], *, protocols: Sequence[str], scheme: str
) -> dict[str, Any]:
    rules = sorted({str(run.record.get("selection_rule", _NOT_RECORDED)) for run in runs})
    return {
        "seeds": list(by_seed),
        "selection_rule": "; ".join(rules),
        "trained_on_manifest_sha256": sorted({str(run.record.get("manifest_sha256", _NOT_RECORDED)) for run in runs}),
        "protocols": {
            protocol: _protocol_section(by_seed, protocol, METRICS_OF_SCHEME[scheme]) for protocol in protocols
        },
    }


def _protocol_section(by_seed: SeedResults, protocol: str, metrics: Sequence[str]) -> dict[str, Any]:
    recipes = protocol_recipes(protocol)
    section: dict[str, Any] = {
        "recipes": {recipe: _recipe_section([found[recipe] for found in by_seed.values()]) for recipe in recipes},
        "mean": {},
    }
    for metric in metrics:
        per_seed = [
            mean_over_rates([found[recipe]["metrics"][metric] for recipe in averaged_recipes(protocol)])
            for found in by_seed.values()
        ]
        section["mean"][metric] = summarize_seeds(per_seed).as_dict()
    if protocol in RATE_PROTOCOLS:
        rates = rates_of_recipes(recipes)
        section["rates"] = rates
        section["auilc"] = {
            metric: summarize_seeds(
                [auilc([found[recipe]["metrics"][metric] for recipe in recipes], rates) for found in by_seed.values()]
            ).as_dict()
            for metric in metrics
        }
    return section


def _recipe_section(found: Sequence[RecipeResult]) -> dict[str, Any]:
    severities = {
        modality: summarize_seeds([result["predicted_severity"][modality] for result in found]).as_dict()
        for modality in MODALITIES
        if all(modality in result["predicted_severity"] for result in found)
    }
    lengths = found[0].get("padded_lengths")
    return {
        "n": found[0]["n"],
        "num_skipped": found[0]["num_skipped"],
        **({"padded_lengths": lengths} if lengths else {}),
        "metrics": {
            metric: summarize_seeds([result["metrics"][metric] for result in found]).as_dict()
            for metric in found[0]["metrics"]
        },
        "predicted_severity": severities,
    }


def _comparisons(models: Mapping[str, Any], protocols: Sequence[str]) -> list[dict[str, Any]]:
    first, *others = models
    comparisons = []
    for other in others:
        seeds = [seed for seed in models[first]["seeds"] if seed in models[other]["seeds"]]
        if not seeds:
            continue
        positions = [[models[name]["seeds"].index(seed) for seed in seeds] for name in (first, other)]
        for protocol in protocols:
            sides = [models[name]["protocols"][protocol]["mean"] for name in (first, other)]
            for metric in sides[0]:
                values = [
                    [side[metric]["values"][position] for position in chosen]
                    for side, chosen in zip(sides, positions, strict=True)
                ]
                entry = {"a": first, "b": other, "protocol": protocol, "metric": metric, "seeds": seeds}
                comparisons.append(entry | paired_comparison(*values).as_dict())
    return comparisons


def _package_versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _REPORTED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # a source tree on the path is not installed
            versions[package] = None
    return versions


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
