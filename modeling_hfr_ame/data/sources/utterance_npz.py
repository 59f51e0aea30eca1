"""One vector per utterance and modality, as an .npz file: the CMU-MOSI utterance features of the declare-lab networks.

Keys: `id` (N,) as `video_id_clip_id`; `text` (N, Dt), `audio` (N, Da), `vision` (N, Dv); `label` (N,); `mode` (N,), the
official fold; `mode_declare_lab` (N,), the fold of the networks that made the features.

A vector is stored as a single frame; the text vectors are `text_features`, since there are no words.

Only `mode_declare_lab` is used. The text and vision vectors come from networks that were trained with the labels of
its training part, which holds 558 of the 686 test clips of the official fold: tested on the official fold, they have
seen the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from modeling_hfr_ame.data.sources.fold_table import read_fold_table
from modeling_hfr_ame.data.sources.npz_file import NpzFile, check_unique, list_keys
from modeling_hfr_ame.data.sources.padded_arrays import standard_split
from modeling_hfr_ame.data.sources.source import (
    Row,
    RuleCounts,
    SourceDataset,
    SourceOptions,
    split_row_id,
    without_padding,
)
from modeling_hfr_ame.errors import DataError

LAYOUT = "npz-utterance"
_FRAMES = {"text": "text_features", "audio": "audio", "vision": "vision"}
_FOLD = "mode_declare_lab"
_KEYS = frozenset({"id", *_FRAMES, "label", _FOLD})
_WARNING = (
    "text and vision vectors come from networks trained with the labels of the training part of mode_declare_lab; "
    "a test on rows of that part is no test"
)


def recognise(path: Path) -> str | None:
    """`npz-utterance` for an .npz file with these keys."""
    return LAYOUT if list_keys(path) >= _KEYS else None


def open_source(path: Path, options: SourceOptions) -> SourceDataset:
    """Opens such a file.

    Args:
        path: The file.
        options: `splits` may divide the training part, for example to hold rows back for validation, which
            `mode_declare_lab` doesn't do; it must not move rows of the training part to `test`.

    Raises:
        DataError: A key is missing or of a wrong shape, an id has no clip or occurs twice, a table of splits tests on
            rows that the features were trained with, or the file is damaged.
    """
    file = NpzFile(path)
    labels = file.numbers("label", None).astype(np.float64)
    if not len(labels):
        raise DataError(f"key 'label' of {path.name} must hold at least one row, found none; check the file")
    identities = [_parse_id(name, path.name) for name in file.strings("id", len(labels))]
    check_unique([split_row_id(*identity) for identity in identities], f"key 'id' of {path.name}")
    for key in _FRAMES:
        file.check(key, "fiu", (len(labels), None))
    sizes = {column: file.headers[key].shape[1] for key, column in _FRAMES.items()}
    if 0 in sizes.values():
        raise DataError(f"vectors need at least one feature, {path.name} has the widths {sizes}; check the file")
    modes = [standard_split(mode, path.name) for mode in file.object_strings(_FOLD, len(labels))]
    members = _split(identities, modes, path, options)

    def bind(indices: Sequence[int]) -> Callable[[RuleCounts], Iterator[Row]]:
        def rows(rules: RuleCounts) -> Iterator[Row]:
            vectors = {column: file.numbers(key, len(labels), None) for key, column in _FRAMES.items()}
            for index in indices:
                if np.isnan(labels[index]):
                    rules.add("missing_label_dropped")
                    continue
                found = {
                    column: without_padding(values[index : index + 1], rules, length=1)
                    for column, values in vectors.items()
                }
                if found["audio"] is None and found["vision"] is None:
                    rules.add("no_modality_dropped")
                    continue
                video_id, clip_id = identities[index]
                yield {
                    "id": split_row_id(video_id, clip_id),
                    "video_id": video_id,
                    "clip_id": clip_id,
                    "text": None,
                    "label": float(labels[index]),
                    **found,
                }

        return rows

    return SourceDataset(
        layout=LAYOUT,
        dataset_name=options.dataset_name or path.stem,
        label_range=options.label_range or (-3.0, 3.0),
        feature_sizes=sizes,
        splits={split: bind(indices) for split, indices in members.items()},
        files=[path],
        counts={split: len(indices) for split, indices in members.items()},
        details={
            "warning": _WARNING,
            "fold": _FOLD if options.splits is None else f"{_FOLD}, divided further by a table of splits",
            "rows_without_split": len(labels) - sum(map(len, members.values())),
        },
    )


def _parse_id(name: str, file: str) -> tuple[str, str]:
    video_id, _, clip_id = name.rpartition("_")
    if not video_id or not clip_id:
        raise DataError(f"key 'id' of {file} must name rows as video_id_clip_id, found {name!r}; rename it")
    return video_id, clip_id


def _split(
    identities: Sequence[tuple[str, str]], modes: Sequence[str], path: Path, options: SourceOptions
) -> dict[str, list[int]]:
    folds = None if options.splits is None else read_fold_table(options.splits)
    members: dict[str, list[int]] = {}
    seen = []
    for index, (identity, mode) in enumerate(zip(identities, modes, strict=True)):
        split = mode if folds is None else folds.find(*identity)
        if split is not None:
            members.setdefault(split, []).append(index)
        if split == "test" and mode != "test":
            seen.append("_".join(identity))
    if seen:
        raise DataError(
            f"test rows of {path.name} must lie in the test part of {_FOLD}, the table of splits tests on {len(seen)} "
            f"rows, such as {seen[0]!r}, whose labels its text and vision networks were trained with; move them"
        )
    if not members:
        raise DataError(
            f"a table of splits must name rows of the source, it names none of {path.name}, such as video "
            f"{identities[0][0]!r} clip {identities[0][1]!r}; check its ids"
        )
    return {split: members[split] for split in ("train", "validation", "test") if split in members}
