"""The rows that an evaluation scores, and what a report must say about them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling_hfr_ame.data import load_stored_dataset, read_manifest, training_vocabulary
from modeling_hfr_ame.data.manifest import MANIFEST_NAME, sha256_file
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation.run_folders import SavedRun
from modeling_hfr_ame.evaluation.runner import row_modalities, select_rows

SUBSETS = ("all", "complete")


@dataclass(frozen=True)
class EvaluationData:
    """Rows of one split with their origin.

    Attributes:
        rows: The selected rows, a `datasets.Dataset`.
        name: Dataset name from the manifest, part of every corruption key.
        split: Split name.
        subset: `"all"` rows or the `"complete"` ones, which have all three modalities.
        manifest_sha256: SHA-256 of the manifest file.
        label_range: Lowest and highest label.
        train_labels: Labels of the training split; None where the dataset has no such split.
        vocabulary: Words of the training split; None where no recipe needs them.
        notes: What every table of this data must say: how domains were harmonised, and what selected.
    """

    rows: Any
    name: str
    split: str
    subset: str
    manifest_sha256: str
    label_range: tuple[float, float]
    train_labels: NDArray[np.float64] | None
    vocabulary: list[str] | None
    notes: tuple[str, ...] = ()


def load_evaluation_data(
    folder: str | Path, split: str, *, subset: str | None = None, with_vocabulary: bool = False
) -> EvaluationData:
    """Loads a split of a stored dataset.

    Args:
        folder: Folder of the stored dataset.
        split: Split to score.
        subset: `"all"` or `"complete"`. None means all.
        with_vocabulary: Whether a recipe replaces words by words of the training split.

    Raises:
        ConfigError: If the subset is unknown.
        DataError: If the folder is no stored dataset, lacks the split, or the subset is empty.
    """
    subset = subset or "all"
    if subset not in SUBSETS:
        raise ConfigError(f"subset must be one of {', '.join(SUBSETS)}, found {subset!r}")
    manifest = read_manifest(folder)
    rows = load_stored_dataset(folder, split)
    if subset == "complete":
        complete = row_modalities(rows).all(axis=1)
        if not complete.any():
            raise DataError(
                f"subset 'complete' needs rows with text, audio and vision, found none in the {split!r} split of "
                f"{manifest['dataset_name']!r}; choose subset 'all'"
            )
        rows = select_rows(rows, np.flatnonzero(complete))
    has_training_split = "train" in manifest["counts"]
    if with_vocabulary and not has_training_split:
        raise DataError(
            f"recipes that replace words take them from the training split, {manifest['dataset_name']!r} has none; "
            "leave protocol P5 out or prepare the dataset with its training split"
        )
    training_rows = load_stored_dataset(folder, "train") if has_training_split else None
    low, high = manifest["label_range"]
    return EvaluationData(
        rows=rows,
        name=str(manifest["dataset_name"]),
        split=split,
        subset=subset,
        manifest_sha256=sha256_file(Path(folder) / MANIFEST_NAME),
        label_range=(float(low), float(high)),
        train_labels=None if training_rows is None else np.asarray(training_rows["label"][:], dtype=np.float64),
        vocabulary=training_vocabulary(training_rows) if with_vocabulary else None,
        notes=tuple(manifest.get("domains", {}).get("notes", ())),
    )


def recorded_dataset_folder(runs: Iterable[SavedRun]) -> Path:
    """Finds the dataset that runs were trained on.

    Args:
        runs: Runs whose `run.json` may hold `dataset_folder`.

    Raises:
        DataError: If no folder is recorded, the runs disagree, or the folder is gone.
    """
    folders = {str(run.record["dataset_folder"]) for run in runs if run.record.get("dataset_folder")}
    advice = "name the dataset to evaluate on (--data, or the argument data)"
    if not folders:
        raise DataError(f"run.json must record dataset_folder to evaluate without a dataset, found none; {advice}")
    if len(folders) > 1:
        raise DataError(f"runs must share one dataset, found {', '.join(sorted(folders))} in run.json; {advice}")
    folder = Path(folders.pop())
    if not folder.is_dir():
        raise DataError(f"the dataset folder recorded in run.json must exist, {folder} does not; {advice}")
    return folder
