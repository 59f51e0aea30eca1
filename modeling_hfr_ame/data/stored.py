"""Writing and reading a stored dataset: one folder of Parquet files that `datasets.load_dataset(folder)` reads.

- Frames are lists of fixed-length float32 lists. `Array2D` would say the same, but `datasets` 5.2 turns its nulls into
  NaN and fails on slices that hold one, and null is how a row says that a modality is absent.
- A folder appears complete or not at all: everything is written beside it and renamed at the end.
- `stored_rows` reads the Arrow buffers without copying; decoding through Python lists is several times slower.
"""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.info import DatasetInfo, DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from modeling_hfr_ame.data.manifest import (
    MANIFEST_FORMAT,
    check_manifest,
    is_stored_dataset,
    read_manifest,
    sha256_file,
    write_manifest,
)
from modeling_hfr_ame.data.schema import CORE_COLUMNS, FRAME_COLUMNS, SplitCounts, stored_features, validate_row
from modeling_hfr_ame.errors import DataError

_ROWS_PER_GROUP = 512
_SHARD_BYTES = 500 * 2**20
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
        feature_sizes: `{"audio": Da, "vision": Dv}`.
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
    partial = target.parent / f".{target.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        (partial / "data").mkdir(parents=True)
        writer = _SplitWriter(partial, label_range, dict(feature_sizes), extra_features)
        for split, rows in splits.items():
            writer.write(split, rows)
        complete = {
            "dataset_name": manifest["builder"],
            **manifest,
            "format": MANIFEST_FORMAT,
            "label_range": list(label_range),
            "feature_sizes": dict(feature_sizes),
            "counts": {split: vars(counts) for split, counts in writer.counts.items()},
            "files": {name: sha256_file(partial / name) for names in writer.files.values() for name in names},
        }
        write_manifest(partial, complete)
        _write_card(partial, complete, writer)
        _move_into_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def check_target(folder: str | Path, overwrite: bool) -> None:
    """Refuses a folder that a builder may not write, before the builder does any work.

    Raises:
        DataError: The path is a file, or a non-empty folder that isn't a stored dataset or may not be overwritten.
    """
    target = Path(folder)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not is_stored_dataset(target):
        raise DataError(
            f"only a stored dataset is ever replaced, found something else at {str(folder)!r}; choose another folder"
        )
    if not overwrite:
        raise DataError(
            f"the folder must be new, found a stored dataset at {str(folder)!r}; pass overwrite=True to replace it"
        )


def _move_into_place(partial: Path, target: Path) -> None:
    if target.is_dir() and any(target.iterdir()):
        old = target.parent / f".{target.name}.old-{uuid.uuid4().hex[:8]}"
        os.replace(target, old)
        os.replace(partial, target)
        shutil.rmtree(old)
    else:
        os.replace(partial, target)


class _SplitWriter:
    """Writes the Parquet files of all splits and remembers ids, counts and file names."""

    def __init__(
        self,
        folder: Path,
        label_range: tuple[float, float],
        feature_sizes: dict[str, int],
        extra_features: Mapping[str, Any] | None,
    ) -> None:
        self.folder = folder
        self.label_range = label_range
        self.feature_sizes = feature_sizes
        # Known only after the first rows unless the caller says it.
        self.features = None if extra_features is None else stored_features(feature_sizes, extra_features)
        self.counts: dict[str, SplitCounts] = {}
        self.files: dict[str, list[str]] = {}
        self._split_of_id: dict[str, str] = {}

    def write(self, split: str, rows: Iterable[Mapping[str, Any]]) -> None:
        if not split.isidentifier():
            raise DataError(
                f"a split name is made of letters, digits and '_', found {split!r}; `datasets` reads no other"
            )
        self.counts[split] = SplitCounts()
        paths: list[Path] = []
        writer: pq.ParquetWriter | None = None
        try:
            for table in self._tables(split, rows):
                if writer is None or paths[-1].stat().st_size > _SHARD_BYTES:
                    if writer is not None:
                        writer.close()
                    paths.append(self.folder / "data" / f"{split}-{len(paths):05d}.parquet")
                    writer = pq.ParquetWriter(paths[-1], table.schema)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
        if not paths:
            raise DataError(f"a split needs at least one row, found none in {split!r}; leave the split out")
        self.files[split] = self._name_shards(split, paths)

    def _name_shards(self, split: str, paths: list[Path]) -> list[str]:
        names = [f"data/{split}-{index:05d}-of-{len(paths):05d}.parquet" for index in range(len(paths))]
        for path, name in zip(paths, names, strict=True):
            path.rename(self.folder / name)
        return names

    def _tables(self, split: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.Table]:
        iterator = iter(rows)
        while batch := [self._check(split, row) for row in itertools.islice(iterator, _ROWS_PER_GROUP)]:
            if self.features is None:
                self.features = stored_features(self.feature_sizes, _infer_extra_features(batch))
            yield _to_table(batch, self.features)

    def _check(self, split: str, row: Mapping[str, Any]) -> dict[str, Any]:
        checked = validate_row(row, label_range=self.label_range, feature_sizes=self.feature_sizes)
        first = self._split_of_id.get(checked["id"])
        if first is not None:
            raise DataError(
                f"an id must be unique over the dataset, found {checked['id']!r} in {first!r} and again in {split!r}; "
                "drop the copy or give it its own clip_id"
            )
        self._split_of_id[checked["id"]] = split
        self.counts[split].add(checked)
        return checked


def _infer_extra_features(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Reads the types of the extra columns off some rows; a column without any value becomes a string column."""
    names = dict.fromkeys(name for row in rows for name in row if name not in CORE_COLUMNS)
    return {name: _infer_type(name, [row[name] for row in rows if row.get(name) is not None]) for name in names}


def _infer_type(name: str, values: Sequence[Any]) -> Any:
    if not values:
        return datasets.Value("string")
    if all(isinstance(value, (list, tuple)) for value in values):
        return datasets.List(_infer_type(name, [item for value in values for item in value if item is not None]))
    for types, dtype in (((str,), "string"), ((bool,), "bool"), ((int,), "int64"), ((int, float), "float64")):
        if all(isinstance(value, types) for value in values):
            return datasets.Value(dtype)
    kinds = ", ".join(sorted({type(value).__name__ for value in values}))
    raise DataError(
        f"an extra column holds str, bool, int, float or lists of one of them, found {kinds} in {name!r}; "
        "convert the values, or state the type in extra_features"
    )


def _to_table(rows: Sequence[Mapping[str, Any]], features: datasets.Features) -> pa.Table:
    """Makes an Arrow table from checked rows; the frames are copied once, without Python numbers."""
    unknown = {name for row in rows for name in row} - set(features)
    if unknown:
        raise DataError(
            f"every extra column must occur in the first rows or in extra_features, found {', '.join(sorted(unknown))} "
            "later; state the type in extra_features"
        )
    schema = features.arrow_schema
    columns = []
    for column in schema:
        values = [row.get(column.name) for row in rows]
        if column.name in FRAME_COLUMNS:
            columns.append(_frames_to_arrow(values, column.type))
            continue
        try:
            columns.append(pa.array(values, type=column.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"column {column.name!r} holds {column.type} values, found another type ({error}); "
                "convert the values, or state the type in extra_features"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _frames_to_arrow(frames: Sequence[np.ndarray | None], column_type: pa.ListType) -> pa.Array:
    lengths = [0 if array is None else len(array) for array in frames]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    present = [array.ravel() for array in frames if array is not None]
    values = pa.array(np.concatenate(present) if present else np.empty(0, np.float32), type=pa.float32())
    absent = pa.array([array is None for array in frames])
    inner = pa.FixedSizeListArray.from_arrays(values, type=column_type.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets), inner, type=column_type, mask=absent)


def _write_card(folder: Path, manifest: Mapping[str, Any], writer: _SplitWriter) -> None:
    """Writes the README.md whose YAML tells `datasets` the splits, the columns and the row counts."""
    data = DatasetCardData(pretty_name=manifest["dataset_name"])
    infos = SplitDict()
    for split, names in writer.files.items():
        size = sum((folder / name).stat().st_size for name in names)
        infos[split] = SplitInfo(name=split, num_bytes=size, num_examples=writer.counts[split].rows)
    total = sum(info.num_bytes for info in infos.values())
    info = DatasetInfo(features=writer.features, splits=infos, dataset_size=total, download_size=total)
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    files = [{"split": split, "path": f"data/{split}-*"} for split in writer.files]
    MetadataConfigs({"default": {"data_files": files}}).to_dataset_card_data(data)
    rows = [
        f"| {split} | {c.rows} | {c.present['text']} | {c.present['audio']} | {c.present['vision']} |"
        for split, c in writer.counts.items()
    ]
    low, high = manifest["label_range"]
    body = "\n".join(
        [
            f"# {manifest['dataset_name']}",
            "",
            f"Built by `{manifest['builder']}` version {manifest['builder_version']}; labels in [{low:g}, {high:g}].",
            "`audio` and `vision` are raw frames x features; null means that the modality is absent.",
            "Sources, counts and feature names are in `manifest.json`.",
            "",
            "| split | rows | with text | with audio | with vision |",
            "| --- | --- | --- | --- | --- |",
            *rows,
        ]
    )
    DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n").save(folder / "README.md")


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
        loaded = datasets.load_dataset("parquet", data_files=data_files)
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
    arrays are read-only, and it pickles as the dataset does.
    """

    def __init__(self, dataset: datasets.Dataset) -> None:
        self._table = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return _row_at(self._table[int(index)], 0)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for table in self._table.iter(batch_size=_ROWS_PER_GROUP):
            table = table.combine_chunks()
            for position in range(table.num_rows):
                yield _row_at(table, position)


def stored_rows(dataset: datasets.Dataset) -> StoredRows:
    """Gives the rows of a loaded split with frames as arrays; see `StoredRows`."""
    return StoredRows(dataset)


def _row_at(table: pa.Table, position: int) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        scalar = column[position]
        if name not in FRAME_COLUMNS:
            row[name] = scalar.as_py()
        elif not scalar.is_valid:
            row[name] = None
        else:
            frames = scalar.values
            row[name] = frames.flatten().to_numpy().reshape(len(frames), frames.type.list_size)
    return row
