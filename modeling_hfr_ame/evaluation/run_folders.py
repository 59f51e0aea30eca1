"""Finds trained runs on disk and loads what they saved."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

import modeling_hfr_ame  # noqa: F401  registers the models with the Auto classes
from modeling_hfr_ame.errors import DataError, HfrAmeError

RunPaths = str | Path | Sequence[str | Path]

RUN_RECORD = "run.json"


@dataclass(frozen=True)
class SavedRun:
    """One finished training run.

    Attributes:
        folder: Where the model and the processor are saved.
        seed: Seed of the training.
        record: Content of `run.json`.
    """

    folder: Path
    seed: int
    record: dict[str, Any]


def find_runs(paths: RunPaths) -> list[SavedRun]:
    """Finds the runs of one model.

    Args:
        paths: A run folder, a parent of `seed-*` run folders, or several of them.

    Returns:
        The runs, by seed.

    Raises:
        DataError: If a folder neither is nor holds a run, a `seed-*` folder is unfinished, or a seed occurs twice.
    """
    listed = [paths] if isinstance(paths, str | Path) else paths
    runs = [run for path in listed for run in _runs_below(Path(path))]
    if not runs:
        raise DataError("an evaluation needs at least one run, found none; pass the folder that training wrote")
    runs.sort(key=lambda run: run.seed)
    seeds = [run.seed for run in runs]
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise DataError(
            f"the runs of one model must have different seeds, found seed {twice[0]} more than once; "
            "pass different models to compare_runs under their own names"
        )
    return runs


def load_run(run: SavedRun) -> tuple[torch.nn.Module, Any]:
    """Loads a run's model, in eval mode on the CPU, and its processor.

    Args:
        run: The run.

    Raises:
        DataError: If the folder holds no model that the Auto classes can load.
    """
    try:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(run.folder)
        processor = transformers.AutoProcessor.from_pretrained(run.folder)
    except HfrAmeError:
        raise
    except (OSError, ValueError) as error:  # what transformers raises for missing files and for an unknown model
        raise DataError(
            f"a run folder must hold a saved model and processor, {run.folder} does not: {error}; train it again"
        ) from error
    return model.eval(), processor


def _runs_below(path: Path) -> list[SavedRun]:
    if (path / RUN_RECORD).is_file():
        return [_read_run(path)]
    seeds = sorted(folder for folder in path.glob("seed-*") if folder.is_dir())
    if not seeds:
        raise DataError(
            f"a run is a folder with {RUN_RECORD} or a parent of seed-* folders, found neither in {path}; "
            "pass the output folder of a finished training"
        )
    unfinished = [folder.name for folder in seeds if not (folder / RUN_RECORD).is_file()]
    if unfinished:
        raise DataError(
            f"every seed of a run must be finished, {path} has no {RUN_RECORD} in {', '.join(unfinished)}; "
            "finish the training, or pass the finished seed folders one by one"
        )
    return [_read_run(folder) for folder in seeds]


def _read_run(folder: Path) -> SavedRun:
    try:
        record = json.loads((folder / RUN_RECORD).read_text(encoding="utf-8"))
        return SavedRun(folder, int(record["seed"]), record)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{RUN_RECORD} must be JSON with a whole number as seed, {folder} breaks this ({error!r}); train it again"
        ) from error
