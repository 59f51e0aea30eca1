"""MulT and MMIM pickles: `text` (GloVe vectors), `audio`, `vision`, `labels`, `id`, padded in front.

There are no words in such a file, so the rows have no text; the word vectors are stored as `text_features`.

Source: layout facts from the MulT repository's loader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.data.sources.padded_arrays import SplitArrays, standard_split
from modeling_hfr_ame.data.sources.source import (
    Row,
    RuleCounts,
    SourceDataset,
    SourceOptions,
    split_row_id,
    without_padding,
)
from modeling_hfr_ame.errors import DataError

_KEYS = {"audio": "audio", "vision": "vision", "text": "text_features"}
_NAME_OF_WIDTHS = {(5, 20): "cmu_mosi", (74, 35): "cmu_mosei", (74, 47): "cmu_mosi"}


def recognise_tree(tree: Any) -> bool:
    """Tells whether a pickle's content has this layout."""
    return isinstance(tree, Mapping) and any(
        isinstance(split, Mapping) and {"labels", "audio", "vision"} <= set(split) for split in tree.values()
    )


def open_tree(tree: Mapping[str, Any], path: Path, options: SourceOptions) -> SourceDataset:
    """Opens the content of a MulT or MMIM pickle; see `mmsa.open_tree`."""
    parts = {
        standard_split(str(name), path.name): SplitArrays(str(name), split, "labels") for name, split in tree.items()
    }
    first = next(iter(parts.values()))
    shapes = {column: np.asarray(first.frames(key)[0]).shape for key, column in _KEYS.items() if key in first}
    sizes = {column: shape[-1] for column, shape in shapes.items()}
    aligned = len({shape[0] for shape in shapes.values()}) == 1
    return SourceDataset(
        layout="mult-aligned" if aligned else "mult-unaligned",
        dataset_name=options.dataset_name or _NAME_OF_WIDTHS.get((sizes["audio"], sizes["vision"]), path.stem),
        label_range=options.label_range or (-3.0, 3.0),
        feature_sizes=sizes,
        splits={split: _bind(arrays, sizes, aligned) for split, arrays in parts.items()},
        files=[path],
        counts={split: arrays.num_rows for split, arrays in parts.items()},
        details={"padded_lengths": {column: shape[0] for column, shape in shapes.items()}},
    )


def _bind(split: SplitArrays, sizes: Mapping[str, int], aligned: bool) -> Callable[[RuleCounts], Iterator[Row]]:
    def rows(rules: RuleCounts) -> Iterator[Row]:
        labels = split.numbers("labels")
        identities = split.identities("id") if "id" in split else [f"{split.name}_{i}" for i in range(split.num_rows)]
        frames = {column: split.frames(key, sizes[column]) for key, column in _KEYS.items() if column in sizes}
        for index in split.walk(*frames.values()):
            if np.isnan(labels[index]):
                rules.add("missing_label_dropped")
                continue
            cut = _cut({column: np.asarray(values[index]) for column, values in frames.items()}, aligned, rules)
            if cut["audio"] is None and cut["vision"] is None:
                rules.add("no_modality_dropped")
                continue
            video_id, _, clip_id = identities[index].partition("_")
            clip_id = clip_id or "0"
            yield {
                "id": split_row_id(video_id, clip_id),
                "video_id": video_id,
                "clip_id": clip_id,
                "text": None,
                "label": float(labels[index]),
                **cut,
            }

    return rows


def _cut(frames: dict[str, np.ndarray], aligned: bool, rules: RuleCounts) -> dict[str, np.ndarray | None]:
    if aligned:
        # One grid for all: the first step that any modality fills is the first of every modality.
        lengths = {len(values) for values in frames.values()}
        if len(lengths) != 1:
            raise DataError(f"an aligned row has one length, found {sorted(lengths)}; use the unaligned file")
        filled = np.flatnonzero(np.any([(values != 0).any(axis=1) for values in frames.values()], axis=0))
        if len(filled):
            start, stop = int(filled[0]), int(filled[-1]) + 1
            rules.add("lengths_from_padding", len(frames))
            rules.add("padding_cut", len(frames) * (lengths.pop() - (stop - start)))
            frames = {column: values[start:stop] for column, values in frames.items()}
        return {column: without_padding(values, rules, length=len(values)) for column, values in frames.items()}
    return {column: without_padding(values, rules, length=None) for column, values in frames.items()}
