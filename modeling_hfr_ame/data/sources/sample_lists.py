"""MISA and MAG-BERT pickles: lists of `((words, vision, audio[, actual words]), label, segment)`.

MISA keeps one file per split (`train.pkl`, `dev.pkl`, `test.pkl`) and the words as ids next to the actual words;
MAG-BERT keeps one file with the three lists. Rows are aligned to words and not padded. Segments count from 0
(`video[0]`), clip ids from 1, so every segment index is shifted by one.

Source: layout facts from the loaders of MISA and MAG-BERT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.data.sources.padded_arrays import as_str, standard_split
from modeling_hfr_ame.data.sources.source import Row, RuleCounts, SourceDataset, SourceOptions, split_row_id
from modeling_hfr_ame.errors import DataError

_NAME_OF_WIDTHS = {(74, 47): "cmu_mosi", (74, 35): "cmu_mosei"}


def recognise_tree(tree: Any) -> bool:
    """Tells whether a pickle's content, one split's list or a dict of them, has this layout."""
    if isinstance(tree, Mapping):
        # One sound list tells the layout; what is wrong with another is said when it is opened.
        lists = [isinstance(split, (list, tuple)) for split in tree.values()]
        return all(lists) and any(map(_is_list, tree.values()))
    return _is_list(tree)


def _is_list(split: Any) -> bool:
    if not isinstance(split, (list, tuple)) or not split:
        return False
    sample = split[0]
    return (
        isinstance(sample, (list, tuple))
        and len(sample) == 3
        and isinstance(sample[0], (list, tuple))
        and len(sample[0]) in (3, 4)
    )


def open_tree(tree: Any, path: Path, options: SourceOptions) -> SourceDataset:
    """Opens one list, whose split is the file's name, or a dict of lists; see `mmsa.open_tree`."""
    splits = tree if isinstance(tree, Mapping) else {path.stem: tree}
    return open_splits({standard_split(str(n), path.name): split for n, split in splits.items()}, [path], options)


def open_splits(splits: Mapping[str, Sequence[Any]], files: list[Path], options: SourceOptions) -> SourceDataset:
    """Opens lists by stored split name.

    Raises:
        DataError: A list is empty or a sample has another form.
    """
    if empty := [name for name, samples in splits.items() if not len(samples)]:
        raise DataError(f"a split needs at least one sample, split {empty[0]!r} has none; leave the split out")
    first = _checked(next(iter(splits.values()))[0], next(iter(splits)), 0)
    sizes = {"audio": first[2].shape[1], "vision": first[1].shape[1]}
    return SourceDataset(
        layout="misa" if len(next(iter(splits.values()))[0][0]) == 4 else "mag-bert",
        dataset_name=options.dataset_name or _NAME_OF_WIDTHS.get((sizes["audio"], sizes["vision"]), files[0].stem),
        label_range=options.label_range or (-3.0, 3.0),
        feature_sizes=sizes,
        splits={name: _bind(name, samples, sizes) for name, samples in splits.items()},
        files=files,
        counts={name: len(samples) for name, samples in splits.items()},
    )


def _checked(sample: Any, split: str, index: int) -> tuple[list[str], np.ndarray, np.ndarray, float, str]:
    where = f"sample {index} of split {split!r}"
    try:
        content, label, segment = sample
        words, vision, audio = content[-1] if len(content) == 4 else content[0], content[1], content[2]
        label = float(np.asarray(label, dtype=np.float64).reshape(-1)[0])
    except (TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{where} must be ((words, vision, audio[, actual words]), label, segment), found another form ({error}); "
            "check the layout"
        ) from error
    vision, audio = np.asarray(vision), np.asarray(audio)
    for name, frames in (("vision", vision), ("audio", audio)):
        if frames.ndim != 2 or len(frames) != len(words) or frames.dtype.kind not in "fiu":
            raise DataError(
                f"{name} of {where} must hold one row of numbers per word ({len(words)}), found {frames.dtype} "
                f"{frames.shape}; the file is damaged or has another layout"
            )
    return [as_str(word) for word in words], vision, audio, label, as_str(segment)


def _bind(split: str, samples: Sequence[Any], sizes: Mapping[str, int]) -> Callable[[RuleCounts], Iterator[Row]]:
    def rows(rules: RuleCounts) -> Iterator[Row]:
        for index, sample in enumerate(samples):
            words, vision, audio, label, segment = _checked(sample, split, index)
            for name, frames in (("vision", vision), ("audio", audio)):
                if frames.shape[1] != sizes[name]:
                    raise DataError(
                        f"{name} of sample {index} of split {split!r} has width {frames.shape[1]}, expected "
                        f"{sizes[name]} as in the samples before it; all splits of one dataset need the same features"
                    )
            if np.isnan(label):
                rules.add("missing_label_dropped")
                continue
            video_id, clip_id = _identity(segment, rules)
            frames_of = {"audio": _present(audio, rules), "vision": _present(vision, rules)}
            text = " ".join(words).strip() or None
            rules.add("missing_text", int(text is None))
            if text is None and all(frames is None for frames in frames_of.values()):
                rules.add("no_modality_dropped")
                continue
            yield {
                "id": split_row_id(video_id, clip_id),
                "video_id": video_id,
                "clip_id": clip_id,
                "text": text,
                "label": label,
                **frames_of,
            }

    return rows


def _identity(segment: str, rules: RuleCounts) -> tuple[str, str]:
    video_id, found, index = segment.rpartition("[")
    if found and index.rstrip("]").isdigit():
        rules.add("segment_ids_shifted")
        return video_id, str(int(index.rstrip("]")) + 1)
    return segment, "1"


def _present(frames: np.ndarray, rules: RuleCounts) -> np.ndarray | None:
    if not len(frames) or not (frames != 0).any():
        rules.add("absent_modality")
        return None
    rules.add("non_finite_kept", int(frames.size - np.isfinite(frames).sum()))
    return frames
