"""What a card has to know of finished runs, as plain JSON without a machine's folders.

It is kept beside the results of a study (`*.runs.json`), so that its cards can be generated again without the runs,
their weights and their data.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from modeling_hfr_ame.data.dataset_card import is_synthetic
from modeling_hfr_ame.data.manifest import MANIFEST_NAME, read_manifest, sha256_file
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.evaluation.run_folders import RunPaths, SavedRun, find_runs, load_run
from modeling_hfr_ame.hub.example_inputs import EXAMPLE_TEXT, example_item
from modeling_hfr_ame.hub.record_publishing import publishable_record, without_paths
from modeling_hfr_ame.pipeline_sentiment import TASK, MultimodalSentimentPipeline

DESCRIPTION_FORMAT = "hfr-ame-runs/1"
NEGATIVE_TEXT = "the acting is terrible and the story is boring"
# What a card prints of `run.json`; the rest is the course of the training.
_RECORD_KEYS = (
    "seed",
    "model",
    "variant",
    "arguments",
    "dataset_name",
    "manifest_sha256",
    "num_rows",
    "num_parameters",
    "selection_rule",
    "selected_epoch",
    "num_steps",
    "wall_time_s",
    "device",
    "mixed_precision",
    "versions",
)
# Of a teacher that read hints, and of its student.
_HINT_KEYS = ("prompts", "teacher")
_MANIFEST_KEYS = ("dataset_name", "builder", "builder_version", "label_range", "feature_sizes")


def describe_runs(paths: RunPaths, *, data: str | Path | None = None) -> dict[str, Any]:
    """Describes the runs of one model.

    Args:
        paths: A run folder, a parent of `seed-*` run folders, or several of them.
        data: The stored dataset that they were trained on; None: where the runs say it was. If its manifest isn't
            there, or is another one, the description goes without.

    Returns:
        `runs` (the printed part of each `run.json`), `inputs` (what the model reads), `examples` (real outputs of the
        model with the lowest seed) and `dataset` (from its manifest, or None).

    Raises:
        DataError: As `find_runs` and `load_run`.
    """
    runs = find_runs(paths)
    model, processor = load_run(runs[0])
    records = [
        publishable_record(
            {key: run.record.get(key) for key in _RECORD_KEYS}
            | {key: run.record[key] for key in _HINT_KEYS if key in run.record}
        )
        for run in runs
    ]
    for record in records:
        # The launch changes no number, and says how somebody's machine is used.
        record["arguments"] = {
            group: values for group, values in (record["arguments"] or {}).items() if group != "launch"
        }
    return {
        "runs": records,
        "inputs": _describe_inputs(model.config, processor),
        "examples": {"seed": runs[0].seed, "items": _score_examples(model, processor)},
        "dataset": _describe_dataset(runs[0], data),
    }


def write_descriptions(path: Path, models: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes the descriptions of a study's models, by the names that its results have for them."""
    document = {"format": DESCRIPTION_FORMAT, "models": models}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_descriptions(path: Path) -> dict[str, dict[str, Any]]:
    """Reads what `write_descriptions` wrote.

    Raises:
        DataError: The file isn't one.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"descriptions of runs are a JSON file, {path.name} isn't ({error}); extract them again"
        ) from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != DESCRIPTION_FORMAT:
        raise DataError(
            f"descriptions of runs state the format {DESCRIPTION_FORMAT!r}, {path.name} has {found!r}; "
            "extract them again"
        )
    return dict(document["models"])


def select_seeds(description: Mapping[str, Any], seeds: Collection[int]) -> dict[str, Any]:
    """Keeps the runs of some seeds."""
    return {**description, "runs": [run for run in description["runs"] if run["seed"] in seeds]}


def _describe_inputs(config: Any, processor: Any) -> dict[str, Any]:
    extractors = {"audio": processor.feature_extractor, "vision": processor.vision_feature_extractor}
    read = {name: extractor for name, extractor in extractors.items() if name in config.modality_names}
    return {
        "modalities": list(config.modality_names),
        "feature_sizes": {name: extractor.feature_size for name, extractor in read.items()},
        "takes_recordings": [name for name, extractor in read.items() if extractor.accepts_raw_signal],
        "label_range": list(config.label_range),
    }


def _score_examples(model: Any, processor: Any) -> list[dict[str, Any]]:
    complete = example_item(model.config, processor)
    items = {"All inputs": complete}
    if "text" in complete:
        items = {"Praise": {"text": EXAMPLE_TEXT}, "Complaint": {"text": NEGATIVE_TEXT}}
        items |= {"All inputs": complete} if len(complete) > 1 else {}
    pipe = MultimodalSentimentPipeline(model=model, processor=processor, task=TASK, device="cpu")
    return [
        {
            "title": title,
            "text": item.get("text"),
            "num_frames": {name: len(value) for name, value in item.items() if name != "text"},
            "result": pipe(item),
        }
        for title, item in items.items()
    ]


def _describe_dataset(run: SavedRun, data: str | Path | None) -> dict[str, Any] | None:
    folder = data or run.record.get("dataset_folder")
    path = Path(folder) / MANIFEST_NAME if folder else None
    if path is None or not path.is_file() or sha256_file(path) != run.record.get("manifest_sha256"):
        return None
    manifest = read_manifest(path.parent)
    described = {key: manifest.get(key) for key in _MANIFEST_KEYS}
    described["synthetic"] = is_synthetic(manifest)
    described["counts"] = {
        split: {key: counts[key] for key in ("rows", "present", "all_three") if key in counts}
        for split, counts in manifest["counts"].items()
    }
    described["sources"] = [
        {"name": source.get("file", name), "sha256": source["sha256"]}
        for name, source in manifest.get("sources", {}).items()
        if isinstance(source, dict) and isinstance(source.get("sha256"), str)
    ]
    plain: dict[str, Any] = without_paths(described)
    return plain
