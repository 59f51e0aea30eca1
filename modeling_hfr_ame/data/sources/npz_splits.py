"""A plain .npz layout for data of one's own: no pickle, any lengths, any of the three modalities.

For each split (`train`, `valid` or `validation` or `dev`, `test`) these keys, `N` rows each:

- `<split>_id`: (N,) strings, `video_id$_$clip_id`; also `video_id[i]` and `video_id_clip_id`.
- `<split>_label`: (N,) numbers; NaN = no label, the row is left out.
- `<split>_text`: (N,) strings; a blank one = absent. Optional.
- `<split>_audio`, `<split>_vision`, `<split>_text_features`: frames. Optional, and the same ones in every split. Either
  padded, (N, L, D), with `<split>_audio_lengths` (N,) valid frames at the start, or without lengths, and then all-zero
  frames at both ends are padding; or laid end to end, (total, D), with `<split>_audio_lengths` that add up to total. A
  row of length 0 lacks the modality.

And for the file `label_range`: (2,) numbers, lowest and highest label, unless the caller states it.

    np.savez("mine.npz", label_range=[-3, 3], train_id=ids, train_text=texts, train_label=labels,
             train_audio=np.concatenate(frames), train_audio_lengths=[len(f) for f in frames])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modeling_hfr_ame.data.sources.npz_file import NpzFile, check_unique, list_keys
from modeling_hfr_ame.data.sources.padded_arrays import SPLIT_NAMES, split_identity
from modeling_hfr_ame.data.sources.source import (
    Row,
    RuleCounts,
    SourceDataset,
    SourceOptions,
    split_row_id,
    without_padding,
)
from modeling_hfr_ame.errors import DataError

LAYOUT = "npz-splits"
_FRAMES = ("audio", "vision", "text_features")


def recognise(path: Path) -> str | None:
    """`npz-splits` for an .npz file with ids and labels of a split."""
    return LAYOUT if _split_names(list_keys(path)) else None


def _split_names(keys: frozenset[str]) -> list[str]:
    return [name for name in SPLIT_NAMES if {f"{name}_id", f"{name}_label"} <= keys]


@dataclass(frozen=True)
class _Split:
    """One split, checked; frames are read when rows are made."""

    file: NpzFile
    name: str
    identities: list[tuple[str, str]]
    labels: np.ndarray
    texts: list[str] | None
    lengths: dict[str, np.ndarray | None]
    sizes: dict[str, int]


def open_source(path: Path, options: SourceOptions) -> SourceDataset:
    """Opens such a file.

    Raises:
        DataError: A key is missing or of a wrong shape, lengths don't fit, an id occurs twice, two splits mean the same
            or differ in their frames, no label range is known, or the file is damaged.
    """
    file = NpzFile(path)
    names = _split_names(frozenset(file.headers))
    if not names:
        raise DataError(
            f"this layout has <split>_id and <split>_label, {path.name} has no such pair (found: "
            f"{', '.join(file.headers) or 'none'}); see the layout's description"
        )
    splits: dict[str, _Split] = {}
    for name in names:
        if SPLIT_NAMES[name] in splits:
            raise DataError(
                f"a split has one name, {path.name} has {splits[SPLIT_NAMES[name]].name!r} and {name!r}; rename one"
            )
        splits[SPLIT_NAMES[name]] = _open_split(file, name)
    ids = [split_row_id(*identity) for split in splits.values() for identity in split.identities]
    check_unique(ids, f"the ids of {path.name}, splits one after the other,")
    sizes = next(iter(splits.values())).sizes
    for split in splits.values():
        if split.sizes != sizes:
            raise DataError(
                f"all splits have the same frames and widths, {path.name} has {sizes} in {names[0]!r} and "
                f"{split.sizes} in {split.name!r}; export them together"
            )
    return SourceDataset(
        layout=LAYOUT,
        dataset_name=options.dataset_name or path.stem,
        label_range=options.label_range or _label_range(file),
        feature_sizes={"audio": 1, "vision": 1} | sizes,
        splits={name: _bind(split) for name, split in splits.items()},
        files=[path],
        counts={name: len(split.labels) for name, split in splits.items()},
    )


def _label_range(file: NpzFile) -> tuple[float, float]:
    if "label_range" not in file.headers:
        raise DataError(
            f"a dataset states its label range, {file.path.name} has no key 'label_range' and none was given; "
            "save label_range=[lowest, highest], or give it as an option"
        )
    low, high = file.numbers("label_range", 2).tolist()
    if not (np.isfinite([low, high]).all() and low < high):
        raise DataError(f"key 'label_range' of {file.path.name} must be [lowest, highest], found [{low}, {high}]")
    return float(low), float(high)


def _open_split(file: NpzFile, name: str) -> _Split:
    labels = file.numbers(f"{name}_label", None).astype(np.float64)
    if not len(labels):
        raise DataError(f"key '{name}_label' of {file.path.name} must hold at least one row, found none; leave it out")
    identities = [split_identity(identity) for identity in file.strings(f"{name}_id", len(labels))]
    lengths: dict[str, np.ndarray | None] = {}
    sizes: dict[str, int] = {}
    for column in _FRAMES:
        key = f"{name}_{column}"
        if key not in file.headers:
            continue
        lengths[column], sizes[column] = _check_frames(file, key, len(labels))
    has_text = f"{name}_text" in file.headers
    if not has_text and not {"audio", "vision"} & set(sizes):
        raise DataError(
            f"a split holds at least one of text, audio and vision, {file.path.name} has none of {name}_text, "
            f"{name}_audio and {name}_vision; add one"
        )
    texts = file.strings(f"{name}_text", len(labels)) if has_text else None
    return _Split(file, name, identities, labels, texts, lengths, sizes)


def _check_frames(file: NpzFile, key: str, num_rows: int) -> tuple[np.ndarray | None, int]:
    """Gives the lengths, None where there are none, and the width."""
    header = file.headers[key]
    file.check(key, "fiu", (None,) * len(header.shape))
    length_key = f"{key}_lengths"
    lengths = file.numbers(length_key, num_rows) if length_key in file.headers else None
    padded = len(header.shape) == 3
    if len(header.shape) not in (2, 3) or 0 in header.shape:
        raise DataError(
            f"key {key!r} of {file.path.name} must hold rows x frames x features, or all frames x features, found "
            f"{header.dtype} {header.shape}; check the shape"
        )
    if lengths is None and not padded:
        raise DataError(
            f"key {key!r} of {file.path.name} is laid end to end, {header.shape}, and needs {length_key!r} with the "
            "number of frames of each row; add it"
        )
    if padded and header.shape[0] != num_rows:
        raise DataError(
            f"key {key!r} of {file.path.name} must hold {num_rows} rows, one per label, found {header.shape[0]}; "
            "export all keys of a split together"
        )
    if lengths is not None:
        total = int(lengths.sum())
        most = header.shape[1] if padded else header.shape[0]
        right = lengths.dtype.kind in "iu" and int(lengths.min()) >= 0 and int(lengths.max()) <= most
        if not right or (not padded and total != most):
            rule = f"from 0 to {most}" if padded else f"that add up to {most}"
            raise DataError(
                f"key {length_key!r} of {file.path.name} must hold whole numbers of frames {rule}, found "
                f"{lengths.dtype} from {lengths.min()} to {lengths.max()} with the sum {total}; correct it"
            )
    return lengths, header.shape[-1]


def _bind(split: _Split) -> Callable[[RuleCounts], Iterator[Row]]:
    def rows(rules: RuleCounts) -> Iterator[Row]:
        frames = {column: _cut(split, column) for column in split.sizes}
        for index, (video_id, clip_id) in enumerate(split.identities):
            if np.isnan(split.labels[index]):
                rules.add("missing_label_dropped")
                continue
            found: dict[str, np.ndarray | None] = {"audio": None, "vision": None}
            found |= {column: take(index, rules) for column, take in frames.items()}
            text = (split.texts[index].strip() or None) if split.texts is not None else None
            rules.add("missing_text", int(split.texts is not None and text is None))
            if text is None and found["audio"] is None and found["vision"] is None:
                rules.add("no_modality_dropped")
                continue
            yield {
                "id": split_row_id(video_id, clip_id),
                "video_id": video_id,
                "clip_id": clip_id,
                "text": text,
                "label": float(split.labels[index]),
                **found,
            }

    return rows


def _cut(split: _Split, column: str) -> Callable[[int, RuleCounts], np.ndarray | None]:
    """Reads a column and gives the function that takes one row's valid frames."""
    key = f"{split.name}_{column}"
    lengths = split.lengths[column]
    values = split.file.read(key, "fiu", (None,) * len(split.file.headers[key].shape))
    ends = None if lengths is None else np.cumsum(lengths)

    def take(index: int, rules: RuleCounts) -> np.ndarray | None:
        length = None if lengths is None else int(lengths[index])
        if values.ndim == 3:
            return without_padding(values[index], rules, length=length)
        assert ends is not None
        assert length is not None
        return without_padding(values[int(ends[index]) - length : int(ends[index])], rules, length=length)

    return take
