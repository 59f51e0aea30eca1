"""MMSA feature pickles, aligned and unaligned, and the output of MMSA-FET.

`{'train': {...}, 'valid': {...}, 'test': {...}}`, each split a dict of arrays with one entry per row. What the field's
loaders do by habit is done here under named rules (`source.RULES`):

- Lengths: unaligned files state them; frames after the stated length exist in the wild and are cut. Aligned files state
  none, there the attention mask of the text counts. A file with neither keeps what lies inside the zero padding.
- Aligned rows hold steps for [CLS] and [SEP] whose audio and vision are zero; those two steps are cut.
- Audio holds `-inf`; it is kept and counted, because the model's scaler has a rule for it.

Source: layout facts from the MMSA repository's loader, configurations and README.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from modeling_hfr_ame.data.sources.padded_arrays import SplitArrays, as_str, split_identity, standard_split
from modeling_hfr_ame.data.sources.source import (
    Row,
    RuleCounts,
    SourceDataset,
    SourceOptions,
    split_row_id,
    without_padding,
)
from modeling_hfr_ame.errors import DataError

_LABELS = "regression_labels"
_UNIMODAL = {"T": "label_text", "A": "label_audio", "V": "label_vision"}
_OWN_KEYS = ("config",)
# Frame widths (audio, vision) by which MMSA's own files are told apart.
_NAME_OF_WIDTHS = {(5, 20): "cmu_mosi", (74, 35): "cmu_mosei", (33, 709): "ch_sims"}
_SIMS_V2_TRAIN_ROWS = 2722
# float32 labels that were divided and averaged may pass the end of the scale by rounding.
_LABEL_SLACK = 1e-3


def recognise_tree(tree: Any) -> bool:
    """Tells whether a pickle's content has this layout."""
    return isinstance(tree, Mapping) and any(
        isinstance(split, Mapping) and _LABELS in split for name, split in tree.items() if name not in _OWN_KEYS
    )


def open_tree(tree: Mapping[str, Any], path: Path, options: SourceOptions) -> SourceDataset:
    """Opens the content of an MMSA pickle.

    Args:
        tree: What `read_pickle` gave.
        path: The file, for messages and hashing.
        options: Dataset name, label range, whether to keep the text features.

    Returns:
        The source.

    Raises:
        DataError: A split or key is missing, or its shape is wrong.
    """
    parts = {
        standard_split(str(name), path.name): SplitArrays(str(name), split, _LABELS)
        for name, split in tree.items()
        if name not in _OWN_KEYS
    }
    first = next(iter(parts.values()))
    audio, vision = (np.asarray(first.frames(key)[0]).shape for key in ("audio", "vision"))
    aligned = _is_aligned(first, tree.get("config"))
    name = options.dataset_name or _dataset_name((audio[-1], vision[-1]), parts, path)
    label_range = options.label_range or _label_range(parts)
    sizes = {"audio": audio[-1], "vision": vision[-1]}
    has_words = "raw_text" in first
    if "text" in first and (options.keep_text_features or not has_words):
        sizes["text_features"] = np.asarray(first.frames("text")[0]).shape[-1]
    extras: dict[str, Any] = {}
    if "annotations" in first:
        extras["annotation"] = datasets.Value("string")
    for letter, column in _UNIMODAL.items():
        if f"{_LABELS}_{letter}" in first:
            extras[column] = datasets.Value("float64")
    reader = _RowReader(sizes, aligned, label_range)
    return SourceDataset(
        layout=("mmsa-fet" if "config" in tree else "mmsa") + ("-aligned" if aligned else "-unaligned"),
        dataset_name=name,
        label_range=label_range,
        feature_sizes=sizes,
        splits={split: reader.bind(arrays) for split, arrays in parts.items()},
        files=[path],
        extra_features=extras,
        counts={split: arrays.num_rows for split, arrays in parts.items()},
        details={
            "keys": sorted(str(key) for key in tree[first.name]),
            "padded_lengths": {
                key: int(np.asarray(first.frames(key)[0]).shape[0])
                for key in ("text", "audio", "vision")
                if key in first
            },
        },
    )


def _is_aligned(split: SplitArrays, config: Any) -> bool:
    if "audio_lengths" in split or "vision_lengths" in split:
        return False
    if "align" in split:
        return True
    lengths = {np.asarray(split.frames(key)[0]).shape[0] for key in ("audio", "vision")}
    if "text_bert" in split:
        lengths.add(np.asarray(split.column("text_bert")[0]).shape[-1])
    return len(lengths) == 1


def _dataset_name(widths: tuple[int, int], parts: Mapping[str, SplitArrays], path: Path) -> str:
    name = _NAME_OF_WIDTHS.get(widths)
    if name == "ch_sims" and "train" in parts and parts["train"].num_rows == _SIMS_V2_TRAIN_ROWS:
        return "ch_sims_v2"
    return name or path.stem


def _label_range(parts: Mapping[str, SplitArrays]) -> tuple[float, float]:
    """MOSI and MOSEI use [-3, 3], CH-SIMS [-1, 1]: a whole dataset never stays inside the smaller range by chance."""
    highest = max(float(np.nanmax(np.abs(arrays.numbers(_LABELS)))) for arrays in parts.values())
    return (-1.0, 1.0) if highest <= 1 + _LABEL_SLACK else (-3.0, 3.0)


class _RowReader:
    def __init__(self, sizes: Mapping[str, int], aligned: bool, label_range: tuple[float, float]) -> None:
        self.sizes = sizes
        self.aligned = aligned
        self.label_range = label_range

    def bind(self, arrays: SplitArrays) -> Any:
        def rows(rules: RuleCounts) -> Iterator[Row]:
            return self._rows(arrays, rules)

        return rows

    def _rows(self, split: SplitArrays, rules: RuleCounts) -> Iterator[Row]:
        labels = split.numbers(_LABELS)
        identities = split.identities("id")
        texts = split.column("raw_text") if "raw_text" in split else [None] * split.num_rows
        frames = {key: split.frames(key, self.sizes[key]) for key in ("audio", "vision")}
        lengths = {key: self._lengths(split, key) for key in frames}
        text_features = split.frames("text", self.sizes["text_features"]) if "text_features" in self.sizes else None
        annotations = split.column("annotations") if "annotations" in split else None
        unimodal = {
            column: split.numbers(f"{_LABELS}_{letter}")
            for letter, column in _UNIMODAL.items()
            if f"{_LABELS}_{letter}" in split
        }
        for index in split.walk(*frames.values(), text_features):
            if np.isnan(labels[index]):
                rules.add("missing_label_dropped")
                continue
            text = None if texts[index] is None else as_str(texts[index]).strip() or None
            rules.add("missing_text", int(text is None and "raw_text" in split))
            row = self._cut(
                {key: np.asarray(values[index]) for key, values in frames.items()},
                {key: None if given is None else int(given[index]) for key, given in lengths.items()},
                rules,
            )
            if text is None and row["audio"] is None and row["vision"] is None:
                rules.add("no_modality_dropped")
                continue
            video_id, clip_id = split_identity(identities[index])
            row |= {
                "id": split_row_id(video_id, clip_id),
                "video_id": video_id,
                "clip_id": clip_id,
                "text": text,
                "label": self._label(labels[index], rules),
            }
            if text_features is not None:
                row["text_features"] = without_padding(np.asarray(text_features[index]), RuleCounts(), length=None)
            if annotations is not None:
                row["annotation"] = as_str(annotations[index])
            for column, values in unimodal.items():
                row[column] = None if np.isnan(values[index]) else float(values[index])
            yield row

    def _lengths(self, split: SplitArrays, key: str) -> np.ndarray | None:
        if f"{key}_lengths" in split:
            lengths = split.numbers(f"{key}_lengths")
            wrong = np.flatnonzero(~((lengths >= 0) & (lengths == np.round(lengths))))
            if len(wrong):
                raise DataError(
                    f"key '{key}_lengths' of split {split.name!r} must hold whole numbers from 0, found "
                    f"{lengths[wrong[0]]:g} in row {wrong[0]}; correct it"
                )
            return lengths
        if self.aligned and "text_bert" in split:
            return np.array([np.asarray(row)[1].sum() for row in split.column("text_bert")])
        return None

    def _cut(self, frames: dict[str, np.ndarray], lengths: dict[str, int | None], rules: RuleCounts) -> Row:
        if not self.aligned:
            return {key: without_padding(rows, rules, length=lengths[key]) for key, rows in frames.items()}
        valid = {key: rows if lengths[key] is None else rows[: lengths[key]] for key, rows in frames.items()}
        start = stop = 0
        if lengths["audio"] is not None and len(valid["audio"]) > 2:
            ends = [not (rows[[0, -1]] != 0).any() for rows in valid.values()]
            start = stop = int(all(ends))
            rules.add("special_token_steps_cut", 2 * start)
        cut: Row = {}
        for key, rows in frames.items():
            length = lengths[key]
            inner = rows if length is None else rows[: length - stop]
            beyond = 0 if length is None else int((rows[length:] != 0).any(axis=1).sum())
            rules.add("frames_beyond_length_cut", beyond)
            kept = None if length is None else len(inner) - start
            cut[key] = without_padding(inner[start:], rules, length=kept)
        return cut

    def _label(self, label: float, rules: RuleCounts) -> float:
        low, high = self.label_range
        inside = min(max(label, low), high)
        if inside != label and abs(inside - label) < _LABEL_SLACK:
            rules.add("label_rounded_into_range")
            return inside
        return float(label)
