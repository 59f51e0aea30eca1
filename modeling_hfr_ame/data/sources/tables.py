"""Label and transcript tables: CSV or TSV, with or without a header, one file or a folder of them.

Columns are found by the names that the field's tables use (`_ALIASES`). The headerless table is CH-SIMS's:
`video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode`. All cells are read as strings first, because
`clip_id` may have leading zeros.

In a folder, tables with a transcript give the rows; a table of segments without one (CMU-MOSEI's labels of all
segments) lends them clip ids and splits by video, start and end.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from modeling_hfr_ame.data.sources.padded_arrays import SPLIT_NAMES
from modeling_hfr_ame.data.sources.source import (
    COUNTED_FROM_ZERO,
    WITHOUT_FOLDS,
    Row,
    RuleCounts,
    SourceDataset,
    SourceOptions,
    split_row_id,
)
from modeling_hfr_ame.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv")
_HEADERLESS = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")
_ALIASES = {
    "video_id": ("video_id", "video", "file_name"),
    "clip_id": ("clip_id", "segment_id"),
    "start": ("start", "start_time"),
    "end": ("end", "end_time"),
    "text": ("text",),
    "label": ("label", "sentiment"),
    "mode": ("mode", "split"),
}
_NUMBER_COLUMNS = {
    "label_T": "label_text",
    "label_A": "label_audio",
    "label_V": "label_vision",
    **{name: name for name in ("happy", "sad", "anger", "surprise", "disgust", "fear")},
}
NOT_USED = "none"
_TIME_TOLERANCE_S = 0.02
# Never stored with frames, but the layout needs widths.
_NO_FRAMES = {"audio": 1, "vision": 1}


@dataclass(frozen=True)
class Table:
    """One table: its file and its rows as column name to cell, with the line number of each."""

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]

    def has(self, field: str) -> bool:
        """Whether a column of one of the field's names exists."""
        return self.column_of(field) is not None

    def column_of(self, field: str) -> str | None:
        """The table's own name of a field."""
        return next((name for name in _ALIASES[field] if name in self.columns), None)

    def cell(self, row: Mapping[str, str], field: str) -> str | None:
        """One cell, stripped; None where the column is missing or the cell blank."""
        column = self.column_of(field)
        return (row[column].strip() or None) if column is not None else None

    def clip_id(self, row: Mapping[str, str]) -> str | None:
        """The clip id, counted from 1 also where the table has a segment index from 0."""
        cell = self.cell(row, "clip_id")
        counted_from_zero = self.column_of("clip_id") == COUNTED_FROM_ZERO
        return str(int(cell) + 1) if cell is not None and counted_from_zero and cell.isdigit() else cell


def read_table(path: Path) -> Table:
    """Reads a table, finding out whether it has a header.

    Raises:
        DataError: It isn't a UTF-8 table, is empty, a row has another number of cells, or no column is known.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            reader = csv.reader(stream, delimiter=delimiter, strict=delimiter == ",")
            lines = [(reader.line_num, cells) for cells in reader if cells]
    except OSError as error:
        raise DataError(f"the table {path.name} can't be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"a table is a UTF-8 CSV or TSV file, {path.name} is none ({error}); convert it") from error
    if not lines:
        raise DataError(f"a table needs at least one row, {path.name} has none")
    header = tuple(cell.strip() for cell in lines[0][1])
    known = {name for names in _ALIASES.values() for name in names}
    if known & set(header):
        lines = lines[1:]
    elif len(header) == len(_HEADERLESS) and header[-1] in SPLIT_NAMES:
        header = _HEADERLESS
    else:
        raise DataError(
            f"a table needs a header with some of {', '.join(sorted(known))}, or the {len(_HEADERLESS)} columns "
            f"{','.join(_HEADERLESS)} without one; {path.name} starts with {','.join(header)[:80]!r}; add the header"
        )
    for number, cells in lines:
        if len(cells) != len(header):
            raise DataError(
                f"a row has {len(header)} cells, {path.name} line {number} has {len(cells)}; "
                "quote texts that hold commas"
            )
    return Table(path, header, [(number, dict(zip(header, cells, strict=True))) for number, cells in lines])


def recognise(path: Path) -> str | None:
    """The layout's name, if this is a table or a folder of nothing but tables."""
    if path.is_file():
        return "label-table" if path.suffix.lower() in TABLE_SUFFIXES else None
    return "label-tables" if path.is_dir() and _tables_in(path) else None


def _tables_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)


def open_source(path: Path, options: SourceOptions) -> SourceDataset:
    """Opens a table or a folder of tables as rows with text alone.

    Raises:
        DataError: No table has both transcripts and labels, or a cell is wrong.
    """
    tables = [read_table(file) for file in ([path] if path.is_file() else _tables_in(path))]
    with_text = [table for table in tables if table.has("text") and table.has("label")]
    if not with_text:
        names = "; ".join(f"{table.path.name}: {', '.join(table.columns)}" for table in tables)
        raise DataError(
            "a text dataset needs a table with a transcript column (text) and a label column (label or sentiment), "
            f"found {names}; give the table of transcripts, or a folder that holds both tables"
        )
    times = [table for table in tables if table.has("start") and table.has("end")]
    segments = _Segments([table for table in times if not table.has("text")])
    by_split: dict[str, list[tuple[Table, int, dict[str, str]]]] = {}
    labels: list[float] = []
    for table in with_text:
        for number, row in table.rows:
            split = _split_of(table, row, segments, number)
            if split is not None:
                by_split.setdefault(split, []).append((table, number, row))
                labels.append(number_in(table, row, "label", number))
    numbers = [name for name in _NUMBER_COLUMNS if any(name in table.columns for table in with_text)]
    extras: dict[str, Any] = {_NUMBER_COLUMNS[name]: datasets.Value("float64") for name in numbers}
    if any("annotation" in table.columns for table in with_text):
        extras["annotation"] = datasets.Value("string")
    if any(table.has("start") for table in with_text):
        extras |= {"start_s": datasets.Value("float64"), "end_s": datasets.Value("float64")}
    return SourceDataset(
        layout="label-table" if path.is_file() else "label-tables",
        dataset_name=options.dataset_name or path.stem,
        label_range=options.label_range or ((-1.0, 1.0) if max(map(abs, labels)) <= 1 else (-3.0, 3.0)),
        feature_sizes=dict(_NO_FRAMES),
        splits={split: _bind(rows, segments, extras) for split, rows in by_split.items()},
        files=[table.path for table in tables],
        extra_features=extras,
        counts={split: len(rows) for split, rows in by_split.items()},
        details={"tables": {table.path.name: len(table.rows) for table in tables}},
    )


class _Segments:
    """Clip ids and modes by video, start and end, from tables without transcripts."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._of_video: dict[str, list[tuple[float, float, str | None, str | None]]] = {}
        for table in tables:
            for number, row in table.rows:
                entry = (
                    number_in(table, row, "start", number),
                    number_in(table, row, "end", number),
                    table.clip_id(row),
                    table.cell(row, "mode"),
                )
                self._of_video.setdefault(table.cell(row, "video_id") or "", []).append(entry)

    def find(self, table: Table, row: Mapping[str, str]) -> tuple[str | None, str | None]:
        times = [float(table.cell(row, field) or "nan") for field in ("start", "end")]
        for start, end, clip_id, mode in self._of_video.get(table.cell(row, "video_id") or "", ()):
            if abs(start - times[0]) < _TIME_TOLERANCE_S and abs(end - times[1]) < _TIME_TOLERANCE_S:
                return clip_id, mode
        return None, None


def _split_of(table: Table, row: Mapping[str, str], segments: _Segments, number: int) -> str | None:
    mode = table.cell(row, "mode") or segments.find(table, row)[1]
    if mode is None:
        words = re.split(r"[^a-z]+", table.path.stem.lower())
        return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), WITHOUT_FOLDS)
    if mode == NOT_USED:
        return None
    if mode not in SPLIT_NAMES:
        raise DataError(
            f"mode must be one of {', '.join(SPLIT_NAMES)}, {table.path.name} line {number} has {mode!r}; rename it"
        )
    return SPLIT_NAMES[mode]


def number_in(table: Table, row: Mapping[str, str], field: str, number: int) -> float:
    """One cell as a number.

    Raises:
        DataError: It is none; `number` is the line in the message.
    """
    cell = table.cell(row, field) if field in _ALIASES else row[field].strip()
    try:
        return float(cell or "")
    except ValueError as error:
        raise DataError(
            f"{field} must be a number, {table.path.name} line {number} has {cell!r}; correct the cell"
        ) from error


def _bind(
    rows: Sequence[tuple[Table, int, dict[str, str]]], segments: _Segments, extras: Mapping[str, Any]
) -> Callable[[RuleCounts], Iterator[Row]]:
    def make(rules: RuleCounts) -> Iterator[Row]:
        seen: dict[str, str] = {}
        for table, number, cells in rows:
            place = f"{table.path.name} line {number}"
            text = table.cell(cells, "text")
            if text is None:
                rules.add("no_modality_dropped")
                continue
            video_id, clip_id = _identity(table, cells, segments, place)
            row_id = split_row_id(video_id, clip_id)
            if row_id in seen:
                raise DataError(f"a clip has one row, {place} repeats {row_id!r} of {seen[row_id]}; remove one of them")
            seen[row_id] = place
            row: Row = {
                "id": row_id,
                "video_id": video_id,
                "clip_id": clip_id,
                "text": text,
                "audio": None,
                "vision": None,
                "label": number_in(table, cells, "label", number),
            }
            for name, column in _NUMBER_COLUMNS.items():
                if column in extras:
                    row[column] = number_in(table, cells, name, number) if cells.get(name, "").strip() else None
            if "annotation" in extras:
                row["annotation"] = cells.get("annotation", "").strip() or None
            if "start_s" in extras:
                row["start_s"], row["end_s"] = (
                    number_in(table, cells, field, number) if table.cell(cells, field) else None
                    for field in ("start", "end")
                )
            yield row

    return make


def _identity(table: Table, cells: Mapping[str, str], segments: _Segments, place: str) -> tuple[str, str]:
    video_id = table.cell(cells, "video_id")
    if video_id is None:
        # A table of sentences alone: its file and line are all the identity there is.
        return table.path.stem, place.rsplit(" ", 1)[-1]
    clip_id = table.clip_id(cells) or segments.find(table, cells)[0]
    if clip_id is None:
        start, end = (table.cell(cells, field) for field in ("start", "end"))
        clip_id = f"{start}-{end}" if start else "0"
    return video_id, clip_id
