"""The label table that MSA datasets of raw clips come with: one CSV row per clip.

Layout: `video_id,clip_id,text,label[,label_T,label_A,label_V][,annotation],mode`. All cells are read as strings first,
because `clip_id` may have leading zeros.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modeling_hfr_ame.errors import DataError

REQUIRED_COLUMNS = ("video_id", "clip_id", "text", "label", "mode")
UNIMODAL_LABELS = {"label_T": "label_text", "label_A": "label_audio", "label_V": "label_vision"}
SPLIT_OF_MODE = {"train": "train", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class LabelRow:
    """One clip's row.

    Attributes:
        video_id: The video, as written.
        clip_id: The clip within the video, as written (leading zeros stay).
        text: The transcript; None = the cell is blank.
        label: Sentiment; its range is checked where the row is stored.
        mode: The table's own fold: `train`, `valid` or `test`.
        annotation: The class name; None = no such column or blank.
        unimodal_labels: `label_text`, `label_audio`, `label_vision` where the table has them.
    """

    video_id: str
    clip_id: str
    text: str | None
    label: float
    mode: str
    annotation: str | None
    unimodal_labels: dict[str, float]

    @property
    def id(self) -> str:
        """The id of the stored row."""
        return f"{self.video_id}$_${self.clip_id}"


def read_label_table(path: str | Path) -> list[LabelRow]:
    """Reads a label table.

    Args:
        path: A CSV file, UTF-8, with a header line.

    Returns:
        The rows in the file's order.

    Raises:
        DataError: The file can't be read or is empty, a column is missing, a cell is missing or wrong, a mode is
            unknown, or a clip occurs twice.
    """
    file = Path(path)
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            rows = list(_read_rows(csv.DictReader(stream, strict=True), file.name))
    except OSError as error:
        raise DataError(f"the label table {file.name} can't be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"a label table is a UTF-8 CSV file, {file.name} is none ({error}); convert it") from error
    if not rows:
        raise DataError(f"a label table needs at least one row below its header, found none in {file.name}; add rows")
    return rows


def _read_rows(reader: csv.DictReader[str], name: str) -> Iterator[LabelRow]:
    columns = list(reader.fieldnames or ())
    if missing := [column for column in REQUIRED_COLUMNS if column not in columns]:
        raise DataError(
            f"a label table needs the columns {', '.join(REQUIRED_COLUMNS)}; {name} lacks {', '.join(missing)} "
            f"(found: {', '.join(columns)}); add the header line or rename the columns"
        )
    line_of: dict[tuple[str, str], int] = {}
    for cells in reader:
        place = f"{name} line {reader.line_num}"
        if None in cells or None in cells.values():
            raise DataError(f"a row has {len(columns)} cells, {place} has another number; quote texts that hold commas")
        row = _parse_row(cells, place)
        key = (row.video_id, row.clip_id)
        if key in line_of:
            raise DataError(
                f"a clip has one row, {place} repeats {row.id!r} of line {line_of[key]}; remove one of them"
            )
        line_of[key] = reader.line_num
        yield row


def _parse_row(cells: dict[str, str], place: str) -> LabelRow:
    for column in ("video_id", "clip_id"):
        if not cells[column].strip():
            raise DataError(f"{column} must not be blank, {place} has none; fill it in")
    if cells["mode"] not in SPLIT_OF_MODE:
        raise DataError(f"mode must be one of {', '.join(SPLIT_OF_MODE)}, {place} has {cells['mode']!r}; rename it")
    unimodal = {
        name: _parse_number(cells[column], column, place)
        for column, name in UNIMODAL_LABELS.items()
        if cells.get(column, "").strip()
    }
    return LabelRow(
        video_id=cells["video_id"],
        clip_id=cells["clip_id"],
        text=cells["text"] if cells["text"].strip() else None,
        label=_parse_number(cells["label"], "label", place),
        mode=cells["mode"],
        annotation=cells.get("annotation") or None,
        unimodal_labels=unimodal,
    )


def _parse_number(cell: str, column: str, place: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(f"{column} must be a number, {place} has {cell!r}; correct the cell") from error
