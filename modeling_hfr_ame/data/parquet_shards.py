"""Rows into Parquet files: batches of bounded size, typed tables, numbered shards.

- A batch ends at a number of rows or of bytes, whichever comes first, so the memory of a conversion depends on neither
  the split's size nor the frames' width.
- Frames go into Arrow as whole arrays; Python numbers would take most of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modeling_hfr_ame.data.schema import CORE_COLUMNS, TEXT_FEATURES
from modeling_hfr_ame.errors import DataError

_ROWS_PER_BATCH = 512
_BATCH_BYTES = 32 * 2**20
_SHARD_BYTES = 500 * 2**20


def iterate_batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Groups rows into lists of at most 512 rows and about 32 MiB of frames; a single larger row stands alone."""
    batch: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(value.nbytes for value in row.values() if isinstance(value, np.ndarray))
        if len(batch) >= _ROWS_PER_BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def infer_extra_features(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Reads the types of the extra columns off some rows; a column without any value becomes a string column.

    Raises:
        DataError: The values of a column have no common type that can be stored.
    """
    names = dict.fromkeys(name for row in rows for name in row if name not in (*CORE_COLUMNS, TEXT_FEATURES))
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


def make_table(
    rows: Sequence[Mapping[str, Any]], features: datasets.Features, frame_columns: Sequence[str]
) -> pa.Table:
    """Makes an Arrow table from checked rows; the frames are copied once.

    Args:
        rows: At least one row, frames as C-contiguous float32 (n, D) or None. A missing column becomes null.
        features: Types of all columns.
        frame_columns: Which of the columns hold frames.

    Raises:
        DataError: A row has a column that `features` doesn't know, or a value of another type.
    """
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
        if column.name in frame_columns:
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


def write_shards(folder: Path, directory: str, split: str, tables: Iterable[pa.Table]) -> list[str]:
    """Writes one split as `<directory>/<split>-00000-of-0000N.parquet`, shards of about 500 MiB, in the given order.

    Args:
        folder: The dataset's folder.
        directory: Folder of the files inside it; it is made.
        split: Name of the split.
        tables: One table per row group.

    Returns:
        The files' names relative to `folder`.

    Raises:
        DataError: There is no table.
    """
    (folder / directory).mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    writer: pq.ParquetWriter | None = None
    try:
        for table in tables:
            if writer is None or paths[-1].stat().st_size > _SHARD_BYTES:
                if writer is not None:
                    writer.close()
                paths.append(folder / directory / f"{split}-{len(paths):05d}.parquet")
                # Frames hardly repeat a value; trying a dictionary on them first costs time and memory.
                plain = [field.name for field in table.schema if not pa.types.is_list(field.type)]
                writer = pq.ParquetWriter(paths[-1], table.schema, use_dictionary=plain)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if not paths:
        raise DataError(f"a split needs at least one row, found none in {split!r}; leave the split out")
    names = [f"{directory}/{split}-{index:05d}-of-{len(paths):05d}.parquet" for index in range(len(paths))]
    for path, name in zip(paths, names, strict=True):
        path.rename(folder / name)
    return names
