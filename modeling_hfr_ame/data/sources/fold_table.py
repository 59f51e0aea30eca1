"""Splits that a user gives for a source without folds of its own: one table row per video or per segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modeling_hfr_ame.data.sources.padded_arrays import SPLIT_NAMES
from modeling_hfr_ame.data.sources.source import COUNTED_FROM_ZERO
from modeling_hfr_ame.data.sources.tables import read_table
from modeling_hfr_ame.errors import DataError

NOT_USED = "none"


@dataclass(frozen=True)
class FoldTable:
    """Which split a segment belongs to.

    Attributes:
        by_segment: Whether the table tells segments of one video apart.
        split_of: (video_id, clip_id) to split; the clip id is blank where the table has one row per video.
    """

    by_segment: bool
    split_of: Mapping[tuple[str, str], str]

    def find(self, video_id: str, clip_id: str) -> str | None:
        """The split of a segment; None where the table doesn't name it or says `none`."""
        return self.split_of.get((video_id, clip_id if self.by_segment else ""))


def read_fold_table(path: str | Path) -> FoldTable:
    """Reads a table of splits.

    Args:
        path: CSV or TSV with the columns `video_id`, `mode` and optionally `clip_id` (numbers from 1) or `segment_id`
            (from 0). Modes are `train`, `valid` (or `val`, `dev`, `validation`), `test`, and `none` for what is left
            out; other columns don't matter, so a label table serves as well.

    Returns:
        The splits.

    Raises:
        DataError: The file is no table, lacks a column, a cell is blank or unknown, or a segment has two rows.
    """
    file_path = Path(path)
    table = read_table(file_path)
    if missing := [name for name in ("video_id", "mode") if not table.has(name)]:
        raise DataError(
            f"a table of splits needs the columns video_id and mode, {file_path.name} lacks {', '.join(missing)} "
            f"(found: {', '.join(table.columns)}); add them"
        )
    clip_column = table.column_of("clip_id")
    split_of: dict[tuple[str, str], str] = {}
    for number, row in table.rows:
        place = f"{file_path.name} line {number}"
        video_id, mode = table.cell(row, "video_id"), table.cell(row, "mode")
        clip_id = "" if clip_column is None else table.cell(row, "clip_id")
        if video_id is None or clip_id is None:
            raise DataError(f"a split belongs to a video or segment, {place} leaves its id blank; fill it in")
        if clip_column == COUNTED_FROM_ZERO:
            if not clip_id.isdecimal():
                raise DataError(f"segment_id must be a number from 0, {place} has {clip_id!r}; correct it")
            clip_id = str(int(clip_id) + 1)
        if mode is None or mode not in (*SPLIT_NAMES, NOT_USED):
            raise DataError(
                f"mode must be one of {', '.join((*SPLIT_NAMES, NOT_USED))}, {place} has {mode!r}; rename it"
            )
        if (video_id, clip_id) in split_of:
            raise DataError(f"a video or segment has one split, {place} repeats {video_id} {clip_id}; remove one row")
        split_of[video_id, clip_id] = SPLIT_NAMES.get(mode, NOT_USED)
    return FoldTable(
        by_segment=clip_column is not None,
        split_of={key: split for key, split in split_of.items() if split != NOT_USED},
    )
