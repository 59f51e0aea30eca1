"""One split as an .npz file of word-aligned sequences, laid end to end.

Keys: `offsets` (N + 1,) int, where each row starts; `words` (total,) strings; `audio` (total, Da); `vision`
(total, Dv); `label` (N,); `segment` (N,) as `video_id[i]` with i from 0; `word_id` is not read. It is MISA's layout
without a pickle.

The split is read off the file's name (`dev_ragged.npz`), or comes from a table of splits; else it is `unsplit`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from modeling_hfr_ame.data.sources.csd_file import split_segment_key
from modeling_hfr_ame.data.sources.fold_table import read_fold_table
from modeling_hfr_ame.data.sources.npz_file import NpzFile, check_unique, list_keys
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
from modeling_hfr_ame.errors import DataError

LAYOUT = "npz-ragged"
_KEYS = frozenset({"offsets", "words", "audio", "vision", "label", "segment"})
_NAME_OF_WIDTHS = {(74, 47): "cmu_mosi", (74, 35): "cmu_mosei", (5, 20): "cmu_mosi"}


def recognise(path: Path) -> str | None:
    """`npz-ragged` for an .npz file with these keys."""
    return LAYOUT if list_keys(path) >= _KEYS else None


def open_source(path: Path, options: SourceOptions) -> SourceDataset:
    """Opens such a file.

    Raises:
        DataError: A key is missing or of a wrong shape, offsets don't cut the sequences into rows, a segment has
            another form or occurs twice, or the file is damaged.
    """
    file = NpzFile(path)
    offsets = file.numbers("offsets", None)
    labels = file.numbers("label", None).astype(np.float64)
    segments = [_parse_segment(name, path.name) for name in file.strings("segment", len(labels))]
    check_unique([split_row_id(*segment) for segment in segments], f"key 'segment' of {path.name}")
    words = file.strings("words")
    _check_offsets(offsets, len(labels), len(words), path.name)
    sizes = {}
    for column in ("audio", "vision"):
        file.check(column, "fiu", (len(words), None))
        sizes[column] = file.headers[column].shape[1]
    if 0 in sizes.values():
        raise DataError(f"frames need at least one feature, {path.name} has the widths {sizes}; check the file")

    def bind(members: Sequence[int]) -> Callable[[RuleCounts], Iterator[Row]]:
        def rows(rules: RuleCounts) -> Iterator[Row]:
            frames = {column: file.numbers(column, len(words), None) for column in ("audio", "vision")}
            for index in members:
                if np.isnan(labels[index]):
                    rules.add("missing_label_dropped")
                    continue
                start, stop = int(offsets[index]), int(offsets[index + 1])
                found = {
                    column: without_padding(values[start:stop], rules, length=stop - start)
                    for column, values in frames.items()
                }
                text = " ".join(words[start:stop]).strip() or None
                rules.add("missing_text", int(text is None))
                rules.add("segment_ids_shifted")
                if text is None and found["audio"] is None and found["vision"] is None:
                    rules.add("no_modality_dropped")
                    continue
                video_id, clip_id = segments[index]
                yield {
                    "id": split_row_id(video_id, clip_id),
                    "video_id": video_id,
                    "clip_id": clip_id,
                    "text": text,
                    "label": float(labels[index]),
                    **found,
                }

        return rows

    members = _split(segments, path, options)
    return SourceDataset(
        layout=LAYOUT,
        dataset_name=options.dataset_name or _NAME_OF_WIDTHS.get((sizes["audio"], sizes["vision"]), path.stem),
        label_range=options.label_range or (-3.0, 3.0),
        feature_sizes=sizes,
        splits={split: bind(indices) for split, indices in members.items()},
        files=[path],
        counts={split: len(indices) for split, indices in members.items()},
        details={"rows_without_split": len(segments) - sum(map(len, members.values()))},
    )


def _parse_segment(name: str, file: str) -> tuple[str, str]:
    found = split_segment_key(name)
    if found is None:
        raise DataError(f"key 'segment' of {file} must name segments as video_id[i], found {name!r}; rename it")
    return found[0], str(found[1] + 1)


def _check_offsets(offsets: np.ndarray, num_rows: int, num_words: int, file: str) -> None:
    right = (
        num_rows > 0
        and offsets.dtype.kind in "iu"
        and len(offsets) == num_rows + 1
        and offsets[0] == 0
        and offsets[-1] == num_words
        and bool((offsets[1:] >= offsets[:-1]).all())
    )
    if not right:
        ends = f"from {offsets[0]} to {offsets[-1]}" if len(offsets) else "none"
        raise DataError(
            f"key 'offsets' of {file} must hold {num_rows + 1} rising integers from 0 to the {num_words} words for "
            f"{num_rows} >= 1 rows, found {len(offsets)} {offsets.dtype} {ends}; the file is damaged or mixes exports"
        )


def _split(segments: Sequence[tuple[str, str]], path: Path, options: SourceOptions) -> dict[str, list[int]]:
    if options.splits is None:
        words = re.split(r"[^a-z]+", path.stem.lower())
        name = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), WITHOUT_FOLDS)
        return {name: list(range(len(segments)))}
    folds = read_fold_table(options.splits)
    members: dict[str, list[int]] = {}
    for index, segment in enumerate(segments):
        split = folds.find(*segment)
        if split is not None:
            members.setdefault(split, []).append(index)
    if not members:
        raise DataError(
            f"a table of splits must name segments of the source, {options.splits.name} names none of {path.name}, "
            f"such as video {segments[0][0]!r} clip {segments[0][1]!r}; check its ids"
        )
    return {split: members[split] for split in ("train", "validation", "test") if split in members}
