"""One computational sequence of the CMU-MultimodalSDK: an HDF5 file (.csd) with features and times per video.

Layout: `/<root name>/data/<video_id>/features` (n, …) and `/intervals` (n, 2) in seconds, and
`/<root name>/metadata/<field>`. The root name is free text; the first root key is the sequence.

Videos are read one at a time, so that a sequence of any length needs the memory of its longest video.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.data.sources.hdf5 import find_array, find_group, list_names, open_hdf5, read_array
from modeling_hfr_ame.data.sources.padded_arrays import as_str
from modeling_hfr_ame.errors import DataError

_SEGMENT_KEY = re.compile(r"(?P<video_id>.+)\[(?P<index>\d+)\]\Z")


@dataclass(frozen=True)
class CsdVideo:
    """What a sequence holds of one video, or of one segment where it was aligned.

    Attributes:
        features: (n, D) numbers, or (n, 1) words as str objects.
        intervals: (n, 2) float64, start and end of each row in seconds.
    """

    features: np.ndarray
    intervals: np.ndarray


@dataclass(frozen=True)
class Csd:
    """A sequence whose outline was read.

    Attributes:
        path: The file.
        root_name: The first root key.
        metadata: Field to value; JSON where the file holds JSON, else the bare text.
        keys: Video ids, or `video_id[i]` where the sequence was aligned; segments in the order of i.
        width: Number of features per row; 1 for words.
        holds_words: Whether the features are strings.
    """

    path: Path
    root_name: str
    metadata: dict[str, Any]
    keys: tuple[str, ...]
    width: int
    holds_words: bool

    @property
    def is_aligned(self) -> bool:
        """Whether the keys are segments (`video_id[i]`) instead of videos."""
        return all(_SEGMENT_KEY.match(key) for key in self.keys)

    @contextmanager
    def reading(self) -> Iterator[Callable[[str], CsdVideo | None]]:
        """Opens the file.

        Yields:
            A function from a key to what the sequence holds of it, None where it holds nothing.

        Raises:
            DataError: (from the function) features or intervals are missing, damaged, of a wrong shape or of unequal
                length, a time isn't finite, or the width isn't that of the other videos.
        """
        known = frozenset(self.keys)
        with open_hdf5(self.path) as file:
            place = f"{self.path.name}: /{self.root_name}"
            data = find_group(find_group(file, self.root_name, self.path.name), "data", place)
            yield lambda key: self._read(data, key) if key in known else None

    def _read(self, data: Any, key: str) -> CsdVideo:
        place = f"{self.path.name}: /{self.root_name}/data/{key}"
        group = find_group(data, key, place.rpartition("/")[0])
        features = read_array(group, "features", place)
        intervals = read_array(group, "intervals", place)
        if intervals.ndim != 2 or intervals.shape[1] != 2 or intervals.dtype.kind not in "fiu":
            raise DataError(
                f"{place}/intervals must hold start and end of each row, (n, 2) numbers, found {intervals.dtype} "
                f"{intervals.shape}; export the sequence again"
            )
        if features.ndim < 1 or len(features) != len(intervals):
            raise DataError(
                f"{place}/features must have as many rows as intervals ({len(intervals)}), found shape "
                f"{features.shape}; export the sequence again"
            )
        if not np.isfinite(intervals).all():
            row = int(np.flatnonzero(~np.isfinite(intervals).all(axis=1))[0])
            raise DataError(
                f"{place}/intervals must hold finite seconds, found {intervals[row].tolist()} in row {row}; "
                "correct the times or leave the video out"
            )
        features = features.reshape(len(features), -1) if len(features) else np.zeros((0, self.width))
        if features.shape[1] != self.width:
            raise DataError(
                f"{place}/features must have width {self.width} as {self.keys[0]!r} of this file, found "
                f"{features.shape[1]}; all videos of a sequence need the same features"
            )
        return CsdVideo(self._decoded(features, place), intervals.astype(np.float64))

    def _decoded(self, features: np.ndarray, place: str) -> np.ndarray:
        if self.holds_words and len(features) == 0:
            return features.astype(object)
        if (features.dtype.kind in "SO") != self.holds_words or features.dtype.kind not in "SOfiu":
            raise DataError(
                f"{place}/features must hold {'words' if self.holds_words else 'numbers'} as {self.keys[0]!r} of this "
                f"file, found {features.dtype}; all videos of a sequence need the same features"
            )
        if not self.holds_words:
            return features
        return np.array([[as_str(word).strip() for word in row] for row in features], dtype=object)


def read_csd(path: str | Path) -> Csd:
    """Reads the outline of a sequence: its name, metadata and videos, and no features.

    Args:
        path: A .csd file.

    Returns:
        The sequence, to be read video by video.

    Raises:
        DataError: h5py is missing, or the file is damaged, lacks a group, or holds no video.
    """
    file_path = Path(path)
    with open_hdf5(file_path) as file:
        roots = list_names(file, file_path.name)
        if not roots:
            raise DataError(f"a .csd file holds one root group, {file_path.name} holds nothing; download it again")
        root = find_group(file, roots[0], file_path.name)
        place = f"{file_path.name}: /{roots[0]}"
        data = find_group(root, "data", place)
        keys = sorted(list_names(data, f"{place}/data"), key=_segment_order)
        if not keys:
            raise DataError(f"{place}/data must hold at least one video, found none; download it again")
        features = find_array(find_group(data, keys[0], f"{place}/data"), "features", f"{place}/data/{keys[0]}")
        return Csd(
            path=file_path,
            root_name=roots[0],
            metadata=_read_metadata(root, place) if "metadata" in root else {},
            keys=tuple(keys),
            width=int(np.prod(features.shape[1:], dtype=np.int64)),
            holds_words=features.dtype.kind in "SO",
        )


def split_segment_key(key: str) -> tuple[str, int] | None:
    """Splits `video_id[i]` into video and index (from 0); None for a plain video id."""
    match = _SEGMENT_KEY.match(key)
    return (match["video_id"], int(match["index"])) if match else None


def _segment_order(key: str) -> tuple[str, int]:
    return split_segment_key(key) or (key, -1)


def _read_metadata(root: Any, place: str) -> dict[str, Any]:
    group = find_group(root, "metadata", place)
    fields = {}
    for name in list_names(group, f"{place}/metadata"):
        value = read_array(group, name, f"{place}/metadata").ravel()
        text = as_str(value[0]) if len(value) else ""
        try:
            fields[name] = json.loads(text)
        except (ValueError, RecursionError):
            fields[name] = text
    return fields
