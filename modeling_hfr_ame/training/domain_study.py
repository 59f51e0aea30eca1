"""A model against ERM on one domain-generalisation setting: the same budget for both, the target scored once.

Each candidate setting of each model is trained with the first seed; the one with the lowest validation MAE on the
sources is trained with the other seeds as well. Then, and only then, the target's test split is read. A folder with
results is finished: it is not scored a second time.
"""

import copy
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from modeling_hfr_ame.data import SentimentCollator, SentimentDataset, load_stored_dataset, read_manifest
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation import (
    constant_baseline,
    paired_comparison,
    predict,
    sentiment_metrics,
    summarize_seeds,
)
from modeling_hfr_ame.evaluation.markdown import markdown_table, mean_and_sd
from modeling_hfr_ame.evaluation.metrics import METRICS_OF_SCHEME, scheme_of_label_range
from modeling_hfr_ame.evaluation.run_folders import find_runs, load_run
from modeling_hfr_ame.training.arguments import ArgumentTriple, DataArguments, parse_arguments
from modeling_hfr_ame.training.assembly import provide_domains
from modeling_hfr_ame.training.frozen_states import CachedTextRows
from modeling_hfr_ame.training.optimization import find_text_model
from modeling_hfr_ame.training.recipes import training_defaults
from modeling_hfr_ame.training.run import RunSummary, run_all_seeds
from modeling_hfr_ame.training.run_record import write_json

logger = logging.getLogger(__name__)

RESULTS_FILE = "domain_study.json"
TABLE_FILE = "domain_study.md"
ERM = "erm"
_PLAN_KEYS = ("shared", "models", "seeds")
# Folders of this machine, which results don't name.
_PATHS = ("sources", "target", "dataset", "domain_root", "text_cache", "output_dir")


@dataclass(frozen=True)
class DomainStudy:
    """What is compared.

    Args:
        shared: Training arguments of all runs, data arguments included.
        candidates: Name of a model to its candidate settings: training arguments that differ from the shared ones. One
            of the names is `erm`, and every model has the same number of them.
        seeds: Training seeds; the first one also selects the candidate.
    """

    shared: Mapping[str, Any]
    candidates: Mapping[str, Sequence[Mapping[str, Any]]]
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        """Checks that ERM is there, with the same budget as the others."""
        numbers = {name: len(settings) for name, settings in self.candidates.items()}
        if ERM not in numbers or len(numbers) < 2 or len(set(numbers.values())) != 1 or not all(numbers.values()):
            raise ConfigError(
                f"a study compares models with {ERM!r} on the same number of candidate settings, found {numbers}; give "
                "every model as many"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"a study needs different seeds, found {list(self.seeds)}; list each once")

    @classmethod
    def read(cls, path: str | Path) -> "DomainStudy":
        """Reads a study's YAML file with the keys `shared`, `models` and `seeds`.

        Raises:
            ConfigError: The file can't be read, or lacks a key.
        """
        try:
            loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"a study must be a YAML file, found none to read at {path} ({error})") from error
        if not isinstance(loaded, dict) or set(loaded) != set(_PLAN_KEYS):
            raise ConfigError(f"a study has exactly the keys {', '.join(_PLAN_KEYS)}, found {loaded!r}; see docs")
        return cls(loaded["shared"], loaded["models"], loaded["seeds"])

    def arguments(self, name: str, candidate: int, folder: Path, seeds: Sequence[int]) -> ArgumentTriple:
        """Gives the arguments of one candidate's runs.

        Args:
            name: Name of the model.
            candidate: Number of the setting.
            folder: Parent of the run folders.
            seeds: One run per seed.
        """
        own = {"model": "midg", "variant": "erm"} if name == ERM else {}
        words = [str(word) for word in _as_words({**self.shared, **own, **self.candidates[name][candidate]})]
        triple = parse_arguments([*words, "--output_dir", str(folder)], recipe_defaults=training_defaults())
        triple[2].seeds = list(seeds)
        return triple


def _as_words(arguments: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            value = [f"{key}={json.dumps(item)}" for key, item in value.items()]
        values = value if isinstance(value, list) else [value]
        words += [f"--{name}", *(str(item) for item in values)]
    return words


def run_domain_study(study: DomainStudy, out: str | Path) -> dict[str, Any]:
    """Trains all runs of a study and scores the selected ones on the target.

    Args:
        study: What is compared.
        out: Folder of the runs and results. A finished one is returned as it is.

    Returns:
        The document that is written to `domain_study.json`; its tables are in `domain_study.md`.

    Raises:
        ConfigError: An argument doesn't fit, or the runs are not on a domain-generalisation setting.
        DataError: A dataset can't be used.
    """
    out = Path(out)
    if (out / RESULTS_FILE).is_file():
        logger.warning("%s is finished, and the target is scored once; choose another folder for another study", out)
        finished: dict[str, Any] = json.loads((out / RESULTS_FILE).read_text(encoding="utf-8"))
        return finished
    data_folder = _setting_folder(study, out)
    selected: dict[str, dict[str, Any]] = {}
    for name, settings in study.candidates.items():
        tried = []
        for number in range(len(settings)):
            (summary,) = _train(study, name, number, out, study.seeds[:1], data_folder)
            tried.append(float(summary.record["selected_validation"]["eval_mae"]))
        best = int(np.argmin(tried))
        _train(study, name, best, out, study.seeds, data_folder)
        selected[name] = {"candidate": best, "setting": dict(settings[best]), "validation_mae": tried}
    document = _score(study, selected, out, data_folder)
    write_json(out / RESULTS_FILE, document)
    (out / TABLE_FILE).write_text(study_tables(document), encoding="utf-8")
    return document


def run_study_file(path: str | Path, out: str | Path) -> str:
    """Runs the study of a YAML file.

    Args:
        path: The file, as `DomainStudy.read` takes it.
        out: Folder of the runs and results.

    Returns:
        The tables, in Markdown.
    """
    return study_tables(run_domain_study(DomainStudy.read(path), out))


def _setting_folder(study: DomainStudy, out: Path) -> Path:
    name = next(iter(study.candidates))
    _, data_args, training_args = study.arguments(name, 0, out, study.seeds[:1])
    folder = provide_domains(data_args, out, training_args.distributed_state) or Path(data_args.dataset)
    if "domains" not in read_manifest(folder):
        raise ConfigError(
            f"a domain study needs sources and a target, found the ordinary dataset {folder.name!r}; set sources and "
            "target, or domain_setting"
        )
    return folder


def _train(
    study: DomainStudy, name: str, candidate: int, out: Path, seeds: Sequence[int], data_folder: Path
) -> list[RunSummary]:
    model_args, data_args, training_args = study.arguments(name, candidate, out / f"{name}-{candidate}", seeds)
    # The setting's dataset is made once for all runs.
    plain = DataArguments()
    fields = ("sources", "target", "domain_setting", "domain_root", "feature_harmonisation", "domain_selection")
    data_args = replace(data_args, dataset=str(data_folder), **{field: getattr(plain, field) for field in fields})
    return run_all_seeds((model_args, data_args, copy.copy(training_args)))


def _score(study: DomainStudy, selected: Mapping[str, Any], out: Path, data_folder: Path) -> dict[str, Any]:
    manifest = read_manifest(data_folder)
    scheme = scheme_of_label_range(manifest["label_range"])
    rows, train = load_stored_dataset(data_folder, "test"), load_stored_dataset(data_folder, "train")
    labels = np.asarray(rows["label"][:], dtype=np.float64)
    states: dict[bytes, Any] = {}
    models: dict[str, dict[str, Any]] = {}
    for name, found in selected.items():
        by_seed: dict[int, dict[str, float]] = {}
        for run in find_runs(out / f"{name}-{found['candidate']}"):
            loaded, processor = load_run(run)
            model: Any = loaded
            letters = "".join(part[0] for part in model.config.modality_names)
            plain = SentimentDataset(
                rows,
                processor,
                dataset_name=str(manifest["dataset_name"]),
                split="test",
                modalities=letters,
                label_range=tuple(manifest["label_range"]),
            )
            dataset: Any = plain
            if run.record["arguments"]["training"].get("freeze_text_encoder") and "t" in letters:
                # All runs share the frozen encoder, so its states are computed once for all of them.
                states = states or _encode(model, plain, run.record["arguments"]["data"])
                dataset = CachedTextRows(plain, states)
            _, predictions, truth = predict(model, dataset, SentimentCollator(processor), batch_size=64, device="cpu")
            by_seed[run.seed] = sentiment_metrics(predictions, truth, scheme)
            parameters = run.record["num_parameters"]
            rule = run.record["selection_rule"]
        if sorted(by_seed) != sorted(study.seeds):
            raise DataError(
                f"the runs of {name} must be those of the seeds {sorted(study.seeds)}, found {sorted(by_seed)}; choose "
                "another folder"
            )
        models[name] = found | {"num_parameters": parameters, "selection_rule": rule, "seeds": by_seed}
    metrics = METRICS_OF_SCHEME[scheme]
    values = {
        name: {metric: [model["seeds"][seed][metric] for seed in study.seeds] for metric in metrics}
        for name, model in models.items()
    }
    return {
        "format": "hfr-ame-domain-study/1",
        "domains": manifest["domains"],
        "num_rows": {split: counts["rows"] for split, counts in manifest["counts"].items()},
        "scheme": scheme,
        "seeds": list(study.seeds),
        "shared": {name: value for name, value in study.shared.items() if name not in _PATHS},
        "num_candidates": len(next(iter(study.candidates.values()))),
        "models": {
            name: model
            | {"metrics": {metric: summarize_seeds(numbers).as_dict() for metric, numbers in values[name].items()}}
            for name, model in models.items()
        },
        "constant": constant_baseline(np.asarray(train["label"][:], dtype=np.float64), labels, scheme),
        "differences_to_erm": {
            name: {metric: paired_comparison(values[name][metric], values[ERM][metric]).as_dict() for metric in metrics}
            for name in models
            if name != ERM
        },
    }


def _encode(model: Any, rows: SentimentDataset, data_arguments: Mapping[str, Any]) -> dict[bytes, Any]:
    folder = data_arguments.get("text_cache")
    return CachedTextRows.encode(find_text_model(model), [rows], Path(folder) if folder else None)[0].states


def study_tables(document: Mapping[str, Any]) -> str:
    """Draws a study's document as Markdown: scores with the constant and ERM rows, differences, and the conditions."""
    metrics = METRICS_OF_SCHEME[document["scheme"]]

    def number(value: float | None) -> str:
        return "–" if value is None or np.isnan(value) else f"{value:.3f}"

    rows = [
        [name, f"{model['num_parameters']['trainable']:,}", *(mean_and_sd(model["metrics"][m]) for m in metrics)]
        for name, model in document["models"].items()
    ]
    rows += [
        [f"constant {name.removeprefix('train_')}", "0", *(number(found[m]) for m in metrics)]
        for name, found in document["constant"].items()
    ]
    differences = [
        [f"{name} − {ERM}", metric, f"{item['mean_difference']:+.3f}", f"[{item['low']:+.3f}, {item['high']:+.3f}]"]
        for name, found in document["differences_to_erm"].items()
        for metric, item in found.items()
        if metric in ("mae", "corr") and item["low"] is not None and np.isfinite(item["low"])
    ]
    tried = [
        f"* {name}: candidate {model['candidate'] + 1} of {document['num_candidates']} "
        f"({json.dumps(model['setting'])}); validation MAE of all: "
        f"{', '.join(f'{value:.3f}' for value in model['validation_mae'])}; {model['selection_rule']}"
        for name, model in document["models"].items()
    ]
    setting, counts = document["domains"]["setting"], document["num_rows"]
    head = (
        f"`{setting}`: {counts['train']} training, {counts['validation']} selection and {counts['test']} target rows, "
        f"seeds {', '.join(map(str, document['seeds']))}, mean ± sd"
    )
    parts = [head, markdown_table(["model", "trained parameters", *metrics], rows)]
    if differences:
        parts += [
            "95 % t-interval over paired seeds:",
            markdown_table(["", "metric", "difference", "interval"], differences),
        ]
    parts.append("\n".join([*tried, *(f"* {note}" for note in document["domains"]["notes"])]))
    return "\n\n".join(parts) + "\n"
