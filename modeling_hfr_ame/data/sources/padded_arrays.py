"""What the pickle readers share: one split that is a dict of padded arrays, read key by key with clear errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from modeling_hfr_ame.data.safe_pickle import release_pages
from modeling_hfr_ame.errors import DataError

# A batch of the writer may still hold views of the last rows; it reads them again, and the next release drops them.
_ROWS_PER_RELEASE = 256

SPLIT_NAMES = {
    "train": "train",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "validation": "validation",
    "test": "test",
}


class SplitArrays:
    """One split of a pickle with checked access to its keys.

    Args:
        name: The split's name in the file, for messages.
        content: Key to array or list.
        num_rows_key: The key whose length is the split's number of rows.

    Raises:
        DataError: The split is no dict, or lacks that key, or is empty.
    """

    def __init__(self, name: str, content: Any, num_rows_key: str) -> None:
        if not isinstance(content, Mapping):
            raise DataError(
                f"a split must be a dict of arrays, split {name!r} is a {type(content).__name__}; "
                "check that the file has the layout it is named after"
            )
        self.name = name
        self._content = content
        self.num_rows = len(self.column(num_rows_key))
        if self.num_rows == 0:
            raise DataError(
                f"a split needs at least one row, key {num_rows_key!r} of split {name!r} has none; leave the split out"
            )

    def __contains__(self, key: str) -> bool:
        return self._content.get(key) is not None and len(self._content[key]) > 0

    def column(self, key: str) -> Any:
        """A list or array with one entry per row.

        Raises:
            DataError: The key is missing, holds no sequence, or another number of entries than the split has rows.
        """
        if key not in self._content:
            raise DataError(
                f"key {key!r} of split {self.name!r} is missing (found: {', '.join(map(str, self._content))}); "
                "check the layout, or add the key"
            )
        values = self._content[key]
        if not isinstance(values, (list, tuple, np.ndarray)) or (isinstance(values, np.ndarray) and values.ndim == 0):
            raise DataError(
                f"key {key!r} of split {self.name!r} must hold one entry per row, found a {type(values).__name__}"
            )
        expected = getattr(self, "num_rows", len(values))
        if len(values) != expected:
            raise DataError(
                f"key {key!r} of split {self.name!r} must hold {expected} entries, one per row, found {len(values)}; "
                "the file is damaged or mixes two exports"
            )
        return values

    def frames(self, key: str, width: int | None = None) -> Any:
        """Padded frames, one (L, D) array per row; an (N, L, D) array or a list of (L, D) arrays.

        Args:
            key: The key.
            width: D that the other splits have; None = whatever it is.

        Raises:
            DataError: The key is missing, or a row isn't two-dimensional, numeric and of one width.
        """
        values = self.column(key)
        if isinstance(values, np.ndarray) and values.dtype != object:
            self._check_frames(key, values, values.ndim - 1, values.shape[-1], width)
            return values
        rows = [np.asarray(row) for row in values]
        for row in rows:
            self._check_frames(key, row, row.ndim, row.shape[-1] if row.ndim else 0, width or rows[0].shape[-1])
        return rows

    def walk(self, *columns: Any) -> Iterator[int]:
        """Counts through the rows, and gives the memory of mapped arrays back behind itself.

        Args:
            columns: What `frames` gave.
        """
        for index in range(self.num_rows):
            yield index
            if index % _ROWS_PER_RELEASE == _ROWS_PER_RELEASE - 1:
                for values in columns:
                    if isinstance(values, np.ndarray):
                        release_pages(values[: index + 1])

    def _check_frames(self, key: str, array: np.ndarray, ndim: int, found: int, width: int | None) -> None:
        if ndim != 2 or array.dtype.kind not in "fiu":
            raise DataError(
                f"key {key!r} of split {self.name!r} must hold frames x features of numbers per row, found "
                f"{array.dtype} {array.shape}"
            )
        if width is not None and found != width:
            raise DataError(
                f"key {key!r} of split {self.name!r} has width {found}, expected {width} as in the splits or rows "
                "before it; all splits of one dataset need the same features"
            )

    def numbers(self, key: str) -> np.ndarray:
        """One number per row, (N,) float64; entries of shape (1,), (1, 1) and the like are unwrapped.

        Raises:
            DataError: The key is missing or an entry is no single number.
        """
        try:
            array = np.asarray(self.column(key), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"key {key!r} of split {self.name!r} must hold one number per row ({error})") from error
        if array.size != len(array):
            raise DataError(
                f"key {key!r} of split {self.name!r} must hold one number per row, found shape {array.shape}"
            )
        return array.reshape(-1)

    def strings(self, key: str) -> list[str]:
        """One string per row; bytes are decoded, rows of parts (`[video, start, end]`) are joined by `_`.

        Raises:
            DataError: The key is missing.
        """
        return [_as_string(value) for value in self.column(key)]

    def identities(self, key: str) -> list[str]:
        """As `strings`, and no two rows may share one.

        Raises:
            DataError: The key is missing or an id occurs twice.
        """
        identities = self.strings(key)
        first: dict[str, int] = {}
        for index, identity in enumerate(identities):
            if identity in first:
                raise DataError(
                    f"key {key!r} of split {self.name!r} must hold unique ids, found {identity!r} in rows "
                    f"{first[identity]} and {index}; drop the copy"
                )
            first[identity] = index
        return identities


def as_str(value: Any) -> str:
    """Decodes bytes as UTF-8 (Latin-1 where that fails); gives `str(value)` for the rest."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return str(value)


def _as_string(value: Any) -> str:
    if isinstance(value, (list, tuple, np.ndarray)) and not isinstance(value, (str, bytes)):
        return "_".join(as_str(part) for part in np.asarray(value, dtype=object).ravel())
    return as_str(value)


def split_identity(identity: str) -> tuple[str, str]:
    """Splits an id into video and clip: `video$_$clip`, `video[clip]` or `video_clip`, else the whole id and `0`."""
    for separator in ("$_$", "["):
        video, found, clip = identity.rpartition(separator)
        if found and video:
            return video, clip.rstrip("]") or "0"
    video, found, clip = identity.rpartition("_")
    return (video, clip) if found and video and clip.isdigit() else (identity, "0")


def standard_split(name: str, file: str) -> str:
    """The stored split that a file's own split name means.

    Raises:
        DataError: The name means none.
    """
    if name not in SPLIT_NAMES:
        raise DataError(f"a split of {file} must be named one of {', '.join(SPLIT_NAMES)}, found {name!r}; rename it")
    return SPLIT_NAMES[name]
