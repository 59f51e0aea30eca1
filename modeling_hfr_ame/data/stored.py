"""Writing and reading a stored dataset: one folder of Parquet files that `datasets.load_dataset(folder)` reads.

- Frames are lists of fixed-length float32 lists. `Array2D` would say the same, but `datasets` 5.2 turns its nulls into
  NaN and fails on slices that hold one, and null is how a row says that a modality is absent.
- A folder appears complete or not at all: everything is written beside it and renamed at the end.
- `stored_rows` reads the Arrow buffers without copying; decoding through Python lists is several times slower.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.dataset

from modeling_hfr_ame.data.dataset_card import CardSplit, is_synthetic, write_card
from modeling_hfr_ame.data.frame_statistics import FrameStatisticsFit
from modeling_hfr_ame.data.manifest import (
    MANIFEST_FORMAT,
    check_manifest,
    is_stored_dataset,
    read_manifest,
    sha256_file,
    write_manifest,
)
from modeling_hfr_ame.data.parquet_shards import infer_extra_features, iterate_batches, make_table, write_shards
from modeling_hfr_ame.data.schema import (
    FRAME_COLUMNS,
    TEXT_FEATURES,
    SplitCounts,
    list_frame_columns,
    stored_features,
    validate_row,
)
from modeling_hfr_ame.errors import DataError

_READ_ROWS = 512
# Arrow would hold the whole file's column chunks ahead of the row group that is being read.
_SCAN = pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False)
_AGAIN = "prepare the dataset again"


def write_stored_dataset(
    folder: str | Path,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    manifest: Mapping[str, Any],
    *,
    feature_sizes: Mapping[str, int],
    extra_features: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a stored dataset.

    Args:
        folder: The folder to make.
        splits: Rows per split (`train`, `validation`, `test`, or another name of letters, digits and `_`), as
            `validate_row` takes them. Rows are read once, so a generator works.
        manifest: What the builder knows: at least `builder`, `builder_version` and `label_range`. The counts, the
            files' sha256, the feature sizes and `dataset_name` (default: the builder's name) are added here.
        feature_sizes: `{"audio": Da, "vision": Dv}`, and `text_features` where the dataset has that column.
        extra_features: `datasets` types of the extra columns; None = read them off the first rows of the first split.
            A row without an extra column stores null there.
        overwrite: Replace an existing stored dataset. A folder that is not a stored dataset is never replaced.

    Returns:
        The folder.

    Raises:
        DataError: The folder exists, a row breaks the contract, an id occurs twice, or a split is empty.
    """
    target = Path(folder)
    check_target(target, overwrite)
    label_range = check_manifest(manifest)
    stored_features(feature_sizes)
    if not splits:
        raise DataError("a stored dataset needs at least one split, found none; give a dict of split name to rows")
    with writing_beside(target) as partial:
        writer = _SplitWriter(partial, label_range, dict(feature_sizes), extra_features, list(splits))
        for split, rows in splits.items():
            writer.write(split, rows)
        complete = {
            "dataset_name": manifest["builder"],
            **manifest,
            "format": MANIFEST_FORMAT,
            "label_range": list(label_range),
            "feature_sizes": dict(feature_sizes),
            "counts": {split: vars(counts) for split, counts in writer.counts.items()},
            "frame_statistics": writer.statistics.result(),
            "files": {name: sha256_file(partial / name) for names in writer.files.values() for name in names},
        }
        write_manifest(partial, complete)
        _write_card(partial, complete, writer)
    return target


def check_target(folder: str | Path, overwrite: bool, *, manifest_format: str = MANIFEST_FORMAT) -> None:
    """Refuses a folder that a builder may not write, before the builder does any work.

    Args:
        folder: The folder to make.
        overwrite: Whether a dataset of the same format may be replaced.
        manifest_format: The format of the manifest of what may be replaced.

    Raises:
        DataError: The path is a file, or a non-empty folder that isn't such a dataset or may not be overwritten.
    """
    target = Path(folder)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not is_stored_dataset(target, manifest_format):
        raise DataError(
            f"only a stored dataset is ever replaced, found something else at {str(folder)!r}; choose another folder"
        )
    if not overwrite:
        raise DataError(
            f"the folder must be new, found a stored dataset at {str(folder)!r}; pass overwrite=True to replace it"
        )


@contextlib.contextmanager
def writing_beside(target: Path) -> Iterator[Path]:
    """Gives an empty folder beside `target` that takes its place when the block ends without an error.

    Args:
        target: Folder to make or, as `check_target` allowed, to replace.

    Yields:
        The folder to write into. After an error it is gone and `target` is as it was.
    """
    partial = target.parent / f".{target.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        partial.mkdir(parents=True)
        yield partial
        _move_into_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_into_place(partial: Path, target: Path) -> None:
    if target.is_dir() and any(target.iterdir()):
        old = target.parent / f".{target.name}.old-{uuid.uuid4().hex[:8]}"
        os.replace(target, old)
        os.replace(partial, target)
        shutil.rmtree(old)
    else:
        os.replace(partial, target)


class _SplitWriter:
    """Writes the Parquet files of all splits and remembers ids, counts, statistics and file names."""

    def __init__(
        self,
        folder: Path,
        label_range: tuple[float, float],
        feature_sizes: dict[str, int],
        extra_features: Mapping[str, Any] | None,
        splits: Sequence[str],
    ) -> None:
        self.folder = folder
        self.label_range = label_range
        self.feature_sizes = feature_sizes
        # Known only after the first rows unless the caller says it.
        self.features = None if extra_features is None else stored_features(feature_sizes, extra_features)
        self.counts: dict[str, SplitCounts] = {}
        self.files: dict[str, list[str]] = {}
        self.statistics = FrameStatisticsFit(feature_sizes, splits)
        self._split_of_id: dict[str, str] = {}

    def write(self, split: str, rows: Iterable[Mapping[str, Any]]) -> None:
        if not split.isidentifier() or split == "all":
            raise DataError(
                f"a split name is made of letters, digits and '_' and isn't 'all', found {split!r}; `datasets` reads "
                "no other, and takes 'all' for the union of the splits"
            )
        self.counts[split] = SplitCounts()
        self.files[split] = write_shards(self.folder, "data", split, self._tables(split, rows))

    def _tables(self, split: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.Table]:
        for batch in iterate_batches(self._check(split, row) for row in rows):
            if self.features is None:
                self.features = stored_features(self.feature_sizes, infer_extra_features(batch))
            yield make_table(batch, self.features, list_frame_columns(self.feature_sizes))

    def _check(self, split: str, row: Mapping[str, Any]) -> dict[str, Any]:
        checked = validate_row(row, label_range=self.label_range, feature_sizes=self.feature_sizes, split=split)
        first = self._split_of_id.get(checked["id"])
        if first is not None:
            raise DataError(
                f"an id must be unique over the dataset, found {checked['id']!r} in {first!r} and again in {split!r}; "
                "drop the copy or give it its own clip_id"
            )
        self._split_of_id[checked["id"]] = split
        self.counts[split].add(checked)
        self.statistics.update(split, checked)
        return checked


def _write_card(folder: Path, manifest: Mapping[str, Any], writer: _SplitWriter) -> None:
    low, high = manifest["label_range"]
    lines = [
        f"Built by `{manifest['builder']}` version {manifest['builder_version']}; labels in [{low:g}, {high:g}].",
        "`audio` and `vision` are raw frames x features; null means that the modality is absent.",
        "Sources, counts, feature names and the frames' statistics are in `manifest.json`.",
        "",
        "| split | rows | with text | with audio | with vision |",
        "| --- | --- | --- | --- | --- |",
    ]
    for split, counts in writer.counts.items():
        lines.append("| " + " | ".join([split, str(counts.rows), *map(str, counts.present.values())]) + " |")
    assert writer.features is not None
    splits = {split: CardSplit(names, writer.counts[split].rows) for split, names in writer.files.items()}
    write_card(
        folder,
        {"default": splits},
        writer.features,
        title=manifest["dataset_name"],
        synthetic=is_synthetic(manifest),
        description="\n".join(lines),
    )


@overload
def load_stored_dataset(folder: str | Path, split: None = None) -> datasets.DatasetDict: ...


@overload
def load_stored_dataset(folder: str | Path, split: str) -> datasets.Dataset: ...


def load_stored_dataset(folder: str | Path, split: str | None = None) -> datasets.Dataset | datasets.DatasetDict:
    """Loads a stored dataset, memory-mapped from the cache of `datasets`.

    Args:
        folder: The dataset's folder.
        split: One split's name; None = all splits.

    Returns:
        The split, or a dict of all splits. In plain rows frames are nested lists or None; `stored_rows` gives arrays.

    Raises:
        DataError: The folder isn't a stored dataset, lacks the split or a file, or holds other rows than its manifest
            says.
    """
    root = Path(folder)
    manifest = read_manifest(root)
    counts = manifest["counts"]
    if split is not None and split not in counts:
        raise DataError(f"{str(folder)!r} has the splits {', '.join(counts)}, asked for {split!r}; name one of them")
    data_files: dict[str, list[str]] = {}
    for name in counts if split is None else (split,):
        files = sorted(file for file in manifest["files"] if file.startswith(f"data/{name}-"))
        if missing := [file for file in files if not (root / file).is_file()]:
            raise DataError(f"{str(folder)!r} must hold the files its manifest names, lacks {missing[0]}; {_AGAIN}")
        data_files[name] = [str(root / file) for file in files]
    try:
        loaded = datasets.load_dataset("parquet", data_files=data_files, fragment_scan_options=_SCAN)
    except (datasets.exceptions.DatasetGenerationError, pa.ArrowInvalid) as error:
        # datasets wraps what Arrow says, except where Arrow fails on the schema.
        reason = error.__cause__ or error
        raise DataError(f"a Parquet file of {str(folder)!r} can't be read ({reason}); {_AGAIN}") from error
    for name, rows in loaded.items():
        if len(rows) != counts[name]["rows"]:
            raise DataError(
                f"the manifest of {str(folder)!r} states {counts[name]['rows']} rows for {name!r}, found {len(rows)}; "
                f"{_AGAIN}"
            )
    return loaded if split is None else loaded[split]


class StoredRows(Sequence[dict[str, Any]]):
    """The rows of a stored dataset with frames as float32 arrays (n, D), None where the modality is absent.

    It is a view on a `datasets.Dataset` (also one that was selected, sorted or shuffled): nothing is copied, the
    arrays are read-only, and it pickles as the dataset does. A transform of the dataset, such as the corruption of
    `load_corrupted`, is applied to each row that is read.
    """

    def __init__(self, dataset: datasets.Dataset) -> None:
        self._transformed = has_transform(dataset)
        self._table = dataset if self._transformed else dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        found = self._table[int(index)]
        return _with_arrays(found) if self._transformed else _row_at(found, 0)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._transformed:
            yield from map(_with_arrays, self._table)
            return
        for table in self._table.iter(batch_size=_READ_ROWS):
            table = table.combine_chunks()
            for position in range(table.num_rows):
                yield _row_at(table, position)


def stored_rows(dataset: datasets.Dataset) -> StoredRows:
    """Gives the rows of a loaded split with frames as arrays; see `StoredRows`."""
    return StoredRows(dataset)


def has_transform(dataset: datasets.Dataset) -> bool:
    """Tells whether a dataset changes its rows as they are read, so that its Arrow table isn't what it shows."""
    return bool(dataset.format["type"] == "custom")


def _with_arrays(row: Mapping[str, Any]) -> dict[str, Any]:
    frames = {
        name: np.asarray(row[name], dtype=np.float32)
        for name in (*FRAME_COLUMNS, TEXT_FEATURES)
        if row.get(name) is not None
    }
    return {**row, **frames}


def _row_at(table: pa.Table, position: int) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        scalar = column[position]
        if name not in (*FRAME_COLUMNS, TEXT_FEATURES):
            row[name] = scalar.as_py()
        elif not scalar.is_valid:
            row[name] = None
        else:
            frames = scalar.values
            row[name] = frames.flatten().to_numpy().reshape(len(frames), frames.type.list_size)
    return row
