"""The HDF5 files of the Memory Fusion Network's data: word-aligned sequences of 20 steps for ICT-MMMO and YouTube.

A folder holds `audio_<split>.h5`, `video_<split>.h5`, `text_<split>_emb.h5` and `y_<split>.h5` for train, valid and
test, each with one array `d1`. The text is GloVe vectors, so rows have `text_features` and no text, and a row needs
audio or vision to be stored. Ids are made from the folder, the split and the row's number, since the files hold none.

Labels are either one score per row, or three classes in one-hot form. The scores of ICT-MMMO lie in [1, 5]. The classes
become -1, 0 and 1 in the order of their columns; the files don't say which class is which (see `details`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from modeling_hfr_ame.data.sources.hdf5 import find_array, open_hdf5, read_array
from modeling_hfr_ame.data.sources.padded_arrays import SPLIT_NAMES
from modeling_hfr_ame.data.sources.source import (
    Row,
    RuleCounts,
    SourceDataset,
    SourceOptions,
    split_row_id,
    without_padding,
)
from modeling_hfr_ame.errors import DataError

LAYOUT = "mfn-hdf5"
_ARRAY = "d1"
_SPLITS = ("train", "valid", "test")
_FILES = {"audio": "audio_{}.h5", "vision": "video_{}.h5", "text_features": "text_{}_emb.h5"}
_LABELS = "y_{}.h5"
_DATASETS = {"mmmo": "ict_mmmo", "youtube": "youtube_mfn"}
_SCORE_RANGE = (1.0, 5.0)
_CLASS_RANGE = (-1.0, 1.0)
_CLASS_NOTE = (
    "three one-hot columns, stored as -1, 0 and 1 in their order; that it is negative, neutral, positive is an "
    "assumption, the files don't say"
)


def recognise(path: Path) -> str | None:
    """`mfn-hdf5` for a folder with labels and frames of at least one split under these names."""
    return LAYOUT if path.is_dir() and any(_split_files(path, split) for split in _SPLITS) else None


def _split_files(folder: Path, split: str) -> dict[str, Path]:
    """Files of one split by column; empty without labels or without any frames."""
    files = {column: folder / name.format(split) for column, name in _FILES.items()}
    present = {column: file for column, file in files.items() if file.is_file()}
    return present if (folder / _LABELS.format(split)).is_file() else {}


def open_source(path: Path, options: SourceOptions) -> SourceDataset:
    """Opens a folder of such files.

    A file of frames may be missing (the public copies lack the words of the training rows); its rows store the modality
    as absent, counted by `missing_sequence`. Zero steps at both ends of a row are padding.

    Raises:
        DataError: A file is damaged, has no array `d1`, or another number of rows or width than the others; a label is
            neither a score nor a class.
    """
    files = {split: found for split in _SPLITS if (found := _split_files(path, split))}
    if not files:
        raise DataError(
            f"this layout has y_<split>.h5 beside audio_, video_ or text_<split>_emb.h5, {path.name} has no such pair; "
            "check the folder"
        )
    labels = {split: _read_labels(path / _LABELS.format(split)) for split in files}
    if len(kinds := {kind for _, kind in labels.values()}) != 1:
        raise DataError(f"all splits have the same kind of label, {path.name} has {' and '.join(sorted(kinds))}")
    sizes = _check_frames(files, {split: len(values) for split, (values, _) in labels.items()})
    is_classes = kinds == {"classes"}
    absent = [
        _FILES[column].format(split) for split, found in files.items() for column in _FILES if column not in found
    ]
    return SourceDataset(
        layout=LAYOUT,
        dataset_name=options.dataset_name or _DATASETS.get(path.name.lower(), path.name),
        label_range=options.label_range or (_CLASS_RANGE if is_classes else _SCORE_RANGE),
        feature_sizes={"audio": 1, "vision": 1} | sizes,
        splits={
            SPLIT_NAMES[split]: _bind(split, path.name, values, files[split], sizes)
            for split, (values, _) in labels.items()
        },
        files=sorted(
            file for split, found in files.items() for file in (*found.values(), path / _LABELS.format(split))
        ),
        counts={SPLIT_NAMES[split]: len(values) for split, (values, _) in labels.items()},
        details={"files_absent": absent} | ({"labels": _CLASS_NOTE} if is_classes else {}),
    )


def _read_labels(file: Path) -> tuple[np.ndarray, str]:
    """One number per row (NaN where it is missing), and whether they are `scores` or `classes`."""
    with open_hdf5(file) as opened:
        array = read_array(opened, _ARRAY, file.name)
    if array.dtype.kind not in "fiu" or len(array.shape) not in (1, 2) or array.shape[1:] not in ((), (1,), (3,)):
        raise DataError(
            f"{file.name}/{_ARRAY} must hold one score or three one-hot classes per row, found {array.dtype} "
            f"{array.shape}; check the file"
        )
    if not len(array):
        raise DataError(f"{file.name}/{_ARRAY} must hold at least one row, found none; leave the split's files out")
    if array.shape[1:] != (3,):
        return array.reshape(-1).astype(np.float64), "scores"
    wrong = np.flatnonzero(~(np.isin(array, (0, 1)).all(axis=1) & (array.sum(axis=1) == 1)))
    if len(wrong):
        raise DataError(
            f"{file.name}/{_ARRAY} must hold a single 1 per row, found {array[wrong[0]].tolist()} in row {wrong[0]}; "
            "check the file"
        )
    return array.argmax(axis=1).astype(np.float64) - 1.0, "classes"


def _check_frames(files: Mapping[str, Mapping[str, Path]], num_rows: Mapping[str, int]) -> dict[str, int]:
    """Checks all shapes before any row is made; gives the width of each column."""
    sizes: dict[str, int] = {}
    for split, found in files.items():
        for column, file in found.items():
            with open_hdf5(file) as opened:
                array = find_array(opened, _ARRAY, file.name)
                shape, dtype = array.shape, array.dtype
            if len(shape) != 3 or dtype.kind not in "fiu" or shape[0] != num_rows[split] or 0 in shape:
                raise DataError(
                    f"{file.name}/{_ARRAY} must hold rows x steps x features of numbers for the {num_rows[split]} "
                    f"rows of {_LABELS.format(split)}, found {dtype} {shape}; use files of one export"
                )
            if sizes.setdefault(column, shape[2]) != shape[2]:
                raise DataError(
                    f"{file.name}/{_ARRAY} has width {shape[2]}, expected {sizes[column]} as in the other splits; "
                    "all splits of one dataset need the same features"
                )
    return sizes


def _bind(
    split: str, video_id: str, labels: np.ndarray, files: Mapping[str, Path], sizes: Mapping[str, int]
) -> Callable[[RuleCounts], Iterator[Row]]:
    columns = [column for column in _FILES if column in sizes or column != "text_features"]

    def rows(rules: RuleCounts) -> Iterator[Row]:
        frames = {}
        for column, file in files.items():
            with open_hdf5(file) as opened:
                frames[column] = read_array(opened, _ARRAY, file.name)
        for index, label in enumerate(labels):
            if np.isnan(label):
                rules.add("missing_label_dropped")
                continue
            found = dict.fromkeys(columns)
            for column in columns:
                if column in frames:
                    found[column] = without_padding(frames[column][index], rules, length=None)
                else:
                    rules.add("missing_sequence", int(column in sizes))
            if found["audio"] is None and found["vision"] is None:
                rules.add("no_modality_dropped")
                continue
            clip_id = f"{split}_{index}"
            yield {
                "id": split_row_id(video_id, clip_id),
                "video_id": video_id,
                "clip_id": clip_id,
                "text": None,
                "label": float(label),
                **found,
            }

    return rows
