"""A folder of features as extraction tools write them, one file per clip or per video, and a label table.

- COVAREP's `.mat` files are audio, OpenFace's `.csv` files are vision, in the folder or in folders below it.
- A file belongs to the clip whose name it has, `<video_id>_<clip_id>` or `<video_id>/<clip_id>`, also behind the prefix
  of a tool (`covarep_`, `openface2_aus_`). A file that has a video's name alone is cut by the table's start and end.
- The table is a label table as `tables` reads it (`video_id`, `clip_id` or `segment_id`, `label`; `text`, `mode`,
  `start`, `end` where there are any): `options.labels`, or the only one in the folder.

All frames are kept at the tool's own rate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from modeling_hfr_ame.data.sources.padded_arrays import SPLIT_NAMES
from modeling_hfr_ame.data.sources.source import (
    WITHOUT_FOLDS,
    Row,
    RuleCounts,
    SourceDataset,
    SourceOptions,
    split_row_id,
    without_padding,
)
from modeling_hfr_ame.data.sources.tables import NOT_USED, TABLE_SUFFIXES, Table, number_in, read_table
from modeling_hfr_ame.data.sources.tool_files import (
    COVAREP_SUFFIX,
    ToolFrames,
    is_openface,
    read_covarep,
    read_openface,
)
from modeling_hfr_ame.errors import DataError

LAYOUT = "extracted-features"
_TOOL_PREFIX = re.compile(r"^(?:covarep|openface\d*)(?:_aus?)?_", re.IGNORECASE)


@dataclass(frozen=True)
class _Clip:
    """One row of the table with its files; `whole` names the modalities whose file is that of the video."""

    video_id: str
    clip_id: str
    text: str | None
    label: float
    interval_s: tuple[float, float] | None
    files: Mapping[str, Path]
    whole: frozenset[str]


def recognise(path: Path) -> str | None:
    """`extracted-features` for such a file, or a folder with one in it or below."""
    if path.is_file():
        return LAYOUT if path.suffix.lower() == COVAREP_SUFFIX or is_openface(path) else None
    return LAYOUT if any(True for _ in _feature_files(path)) else None


def open_source(path: Path, options: SourceOptions) -> SourceDataset:
    """Opens such a folder.

    Args:
        path: The folder.
        options: `labels` names the label table where it doesn't lie in the folder.

    Returns:
        Rows with text where the table has any. A clip without a file lacks that modality.

    Raises:
        DataError: The path is one file, the label table is missing or wrong, no clip has a file, a whole video's file
            has no interval to be cut by, files of one tool have different features, or a file is damaged.
    """
    if path.is_file():
        raise DataError(
            f"{path.name} holds the features of one recording and no label; put it into a folder named after its clip "
            "(<video_id>_<clip_id>) with a label table, and give the folder"
        )
    found = list(_feature_files(path))
    table = read_table(options.labels) if options.labels is not None else _find_table(path)
    if missing := [name for name in ("video_id", "clip_id", "label") if not table.has(name)]:
        raise DataError(
            f"features of clips need a label table with video_id, clip_id (or segment_id) and label, {table.path.name} "
            f"lacks {', '.join(missing)} (found: {', '.join(table.columns)}); add them, or name another as labels"
        )
    by_split = _match(table, _by_name(found, path))
    clips = [clip for members in by_split.values() for clip in members]
    first = {name: next((c.files[name] for c in clips if name in c.files), None) for name in ("audio", "vision")}
    if not any(first.values()):
        raise DataError(
            f"a feature file has its clip's name, none of {len(found)} files such as {found[0][1].name!r} has that of "
            f"one of {len(clips)} clips such as {clips[0].video_id + '_' + clips[0].clip_id!r}; rename the files"
            if clips
            else f"a label table needs rows that are used, {table.path.name} has none; check its column mode"
        )
    names = {kind: _read(kind, file, RuleCounts()).names for kind, file in first.items() if file is not None}
    used = sorted({file for clip in clips for file in clip.files.values()})
    labels = [clip.label for clip in clips]
    with_times = any(clip.interval_s for clip in clips)
    return SourceDataset(
        layout=LAYOUT,
        dataset_name=options.dataset_name or path.name,
        label_range=options.label_range or ((-1.0, 1.0) if max(map(abs, labels)) <= 1 else (-3.0, 3.0)),
        feature_sizes={"audio": 1, "vision": 1} | {kind: len(found_names) for kind, found_names in names.items()},
        splits={split: _bind(members, names, with_times, table.has("text")) for split, members in by_split.items()},
        files=[table.path, *used],
        extra_features={name: datasets.Value("float64") for name in ("start_s", "end_s") if with_times},
        counts={split: len(members) for split, members in by_split.items()},
        details={"table": table.path.name, "files_not_used": len(found) - len(used)},
        feature_names=names,
    )


def _feature_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Gives each feature file with its modality."""
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() == COVAREP_SUFFIX and file.is_file():
            yield "audio", file
        elif is_openface(file):
            yield "vision", file


def _find_table(folder: Path) -> Table:
    tables = [
        file for file in sorted(folder.iterdir()) if file.suffix.lower() in TABLE_SUFFIXES and not is_openface(file)
    ]
    if len(tables) != 1:
        raise DataError(
            f"features of clips need one label table, found {', '.join(file.name for file in tables) or 'none'} in "
            f"{folder.name!r}; name it as labels"
        )
    return read_table(tables[0])


def _by_name(found: Sequence[tuple[str, Path]], root: Path) -> dict[tuple[str, str], Path]:
    """Modality and clip's or video's name to file."""
    files: dict[tuple[str, str], Path] = {}
    for kind, file in found:
        names = {_TOOL_PREFIX.sub("", file.stem)}
        if file.parent != root:
            names.add(f"{file.parent.name}_{file.stem}")
        for name in names:
            if (kind, name) in files:
                raise DataError(
                    f"one file gives the {kind} of {name!r}, {files[kind, name].name} and {file.name} both do; "
                    "remove one of them"
                )
            files[kind, name] = file
    return files


def _match(table: Table, files: Mapping[tuple[str, str], Path]) -> dict[str, list[_Clip]]:
    by_split: dict[str, list[_Clip]] = {}
    seen: dict[str, int] = {}
    for number, row in table.rows:
        place = f"{table.path.name} line {number}"
        video_id, clip_id = table.cell(row, "video_id"), table.clip_id(row)
        if video_id is None or clip_id is None:
            raise DataError(f"a clip has a video id and a clip id, {place} leaves one blank; fill it in")
        mode = table.cell(row, "mode")
        if mode == NOT_USED:
            continue
        if mode is not None and mode not in SPLIT_NAMES:
            raise DataError(f"mode must be one of {', '.join(SPLIT_NAMES)}, {place} has {mode!r}; rename it")
        row_id = split_row_id(video_id, clip_id)
        if row_id in seen:
            raise DataError(
                f"a clip has one row, {place} repeats {row_id!r} of line {seen[row_id]}; remove one of them"
            )
        seen[row_id] = number
        # A tool's file is named after the cell as it is written.
        of_clip = f"{video_id}_{table.cell(row, 'clip_id')}"
        interval = _interval(table, row, number)
        own = {kind: files.get((kind, of_clip)) for kind in ("audio", "vision")}
        whole = frozenset(kind for kind, file in own.items() if file is None and (kind, video_id) in files)
        if whole and interval is None:
            raise DataError(
                f"the file of a whole video is cut by start and end in seconds, {place} has none for "
                f"{files[next(iter(whole)), video_id].name}; add the columns start and end, or one file per clip"
            )
        matched = {kind: files[kind, video_id] if kind in whole else file for kind, file in own.items()}
        by_split.setdefault(WITHOUT_FOLDS if mode is None else SPLIT_NAMES[mode], []).append(
            _Clip(
                video_id,
                clip_id,
                table.cell(row, "text") if table.has("text") else None,
                number_in(table, row, "label", number),
                interval,
                {kind: file for kind, file in matched.items() if file is not None},
                whole,
            )
        )
    return by_split


def _interval(table: Table, row: Mapping[str, str], number: int) -> tuple[float, float] | None:
    if not all(table.has(field) and table.cell(row, field) for field in ("start", "end")):
        return None
    return number_in(table, row, "start", number), number_in(table, row, "end", number)


def _read(kind: str, file: Path, rules: RuleCounts) -> ToolFrames:
    return read_covarep(file) if kind == "audio" else read_openface(file, rules)


def _bind(
    clips: Sequence[_Clip], names: Mapping[str, list[str]], with_times: bool, with_text: bool
) -> Callable[[RuleCounts], Iterator[Row]]:
    def rows(rules: RuleCounts) -> Iterator[Row]:
        # The last file of each modality, because a video's clips follow each other and share it.
        held: dict[str, tuple[Path, ToolFrames]] = {}
        for clip in clips:
            frames = {kind: _frames(kind, clip, names, held, rules) for kind in ("audio", "vision")}
            if clip.text is None and all(found is None for found in frames.values()):
                rules.add("no_modality_dropped")
                continue
            rules.add("missing_text", int(with_text and clip.text is None))
            row: dict[str, Any] = {
                "id": split_row_id(clip.video_id, clip.clip_id),
                "video_id": clip.video_id,
                "clip_id": clip.clip_id,
                "text": clip.text,
                **frames,
                "label": clip.label,
            }
            if with_times:
                row["start_s"], row["end_s"] = clip.interval_s or (None, None)
            yield row

    return rows


def _frames(
    kind: str,
    clip: _Clip,
    names: Mapping[str, list[str]],
    held: dict[str, tuple[Path, ToolFrames]],
    rules: RuleCounts,
) -> np.ndarray | None:
    file = clip.files.get(kind)
    if file is None:
        rules.add("missing_sequence", int(kind in names))
        return None
    if kind not in held or held[kind][0] != file:
        held[kind] = file, _read(kind, file, rules)
    found = held[kind][1]
    if found.names != names[kind]:
        differing = next((pair for pair in zip(names[kind], found.names, strict=False) if pair[0] != pair[1]), None)
        raise DataError(
            f"all {kind} files have the same features, {file.name} has {len(found.names)} where the first has "
            f"{len(names[kind])}{f', and {differing[1]!r} for {differing[0]!r}' if differing else ''}; "
            "extract them with the same options"
        )
    features = found.features
    if kind in clip.whole:
        assert clip.interval_s is not None
        start_s, end_s = clip.interval_s
        features = features[(found.times_s >= start_s) & (found.times_s < end_s)]
        if not len(features):
            rules.add("interval_without_frames")
            return None
    # Zero frames at the ends were measured too: the tools don't pad.
    return without_padding(features.astype(np.float32), rules, length=len(features))
