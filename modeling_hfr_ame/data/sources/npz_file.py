"""Careful reading of .npz files that come from elsewhere.

- Every header is read before any array: shapes, types and sizes are known, and checked, before memory is taken.
- Arrays of Python objects are pickles and are never unpickled here; `object_strings` alone reads one, through the
  package's own reader of plain data, where a published file stores its strings that way.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from modeling_hfr_ame.data.safe_pickle import read_pickle
from modeling_hfr_ame.data.sources.padded_arrays import as_str
from modeling_hfr_ame.errors import DataError

# Up to here any content is fine; beyond, features of real recordings never compress better than by this factor, while a
# bomb does by a thousand.
FREE_BYTES = 1 << 30
MAX_COMPRESSION = 100
_SUFFIX = ".npy"
_DAMAGE = (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, KeyError, MemoryError, OverflowError)
_ARCHIVE_DAMAGE = (*_DAMAGE, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class NpyHeader:
    """What an array's header says.

    Attributes:
        shape: Its shape.
        dtype: Its type; may be `object`.
        num_bytes: Bytes of its values; for objects, bytes of their pickle.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    num_bytes: int


class NpzFile:
    """An .npz file whose headers were read and checked.

    Args:
        path: The file.

    Attributes:
        path: The file.
        headers: Key to header, in the file's order.

    Raises:
        DataError: It is no .npz file, is damaged, or states sizes that can't be right.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.headers: dict[str, NpyHeader] = {}
        with _damage_as_data_error(path), zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                key = member.filename.removesuffix(_SUFFIX)
                if key in self.headers or not member.filename.endswith(_SUFFIX):
                    raise DataError(
                        f"an .npz file holds one .npy member per key, {path.name} has the member {member.filename!r} "
                        "twice or of another kind; save it again with np.savez"
                    )
                with archive.open(member) as stream:
                    self.headers[key] = self._read_header(stream, key, member.file_size)
        total = sum(header.num_bytes for header in self.headers.values())
        allowed = max(FREE_BYTES, MAX_COMPRESSION * path.stat().st_size)
        if total > allowed:
            raise DataError(
                f"the arrays of an .npz file of this size may take {allowed} bytes, the headers of {path.name} state "
                f"{total}; save it again without compression if it is right"
            )

    def _read_header(self, stream: IO[bytes], key: str, file_size: int) -> NpyHeader:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise DataError(
                f"key {key!r} of {self.path.name} has the .npy version {version}, expected 1.0 or 2.0; save it again"
            )
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        left = file_size - stream.tell()
        stated = int(np.prod([int(size) for size in shape], dtype=object)) * dtype.itemsize
        if min(shape, default=0) < 0 or (not dtype.hasobject and stated != left):
            raise DataError(
                f"key {key!r} of {self.path.name} states {dtype} {shape}, {stated} bytes, and holds {left}; "
                "the file is damaged, download it again"
            )
        return NpyHeader(shape, dtype, left)

    def read(self, key: str, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Reads an array.

        Args: as `check` takes them.

        Returns:
            The array.

        Raises:
            DataError: As `check`, or it is damaged.
        """
        self.check(key, kinds, shape)
        with _damage_as_data_error(self.path, key), np.load(self.path, allow_pickle=False) as arrays:
            return arrays[key]

    def check(self, key: str, kinds: str, shape: tuple[int | None, ...]) -> None:
        """Checks an array by its header alone.

        Args:
            key: Its key.
            kinds: Kinds of type that are right, as in `dtype.kind`.
            shape: Sizes that are right; None = any.

        Raises:
            DataError: The key is missing, or holds objects or another type or shape.
        """
        header = self._header(key)
        if header.dtype.hasobject:
            raise DataError(
                f"key {key!r} of {self.path.name} must be an array of numbers or fixed-width strings, found Python "
                "objects, which only an unsafe reader could load; save strings as np.array(values, dtype=str) and "
                "ragged frames end to end with their lengths"
            )
        fits = len(shape) == len(header.shape) and all(
            size in (None, found) for size, found in zip(shape, header.shape, strict=True)
        )
        if header.dtype.kind not in kinds or not fits:
            expected = ", ".join("n" if size is None else str(size) for size in shape)
            raise DataError(
                f"key {key!r} of {self.path.name} must hold {_describe(kinds)} of shape ({expected}), found "
                f"{header.dtype} {header.shape}; check the layout"
            )

    def numbers(self, key: str, *shape: int | None) -> np.ndarray:
        """Reads numbers of a shape; see `read`."""
        return self.read(key, "fiu", shape)

    def strings(self, key: str, num_rows: int | None = None) -> list[str]:
        """Reads strings, (num_rows,); see `read`."""
        return [as_str(value) for value in self.read(key, "US", (num_rows,)).tolist()]

    def object_strings(self, key: str, num_rows: int) -> list[str]:
        """Reads strings, (num_rows,), also where they were saved as objects.

        Raises:
            DataError: As `read`, or the pickle holds anything but that many strings.
        """
        if not self._header(key).dtype.hasobject:
            return self.strings(key, num_rows)
        with tempfile.TemporaryDirectory() as folder:
            pickle_path = Path(folder) / f"{key}.pkl"
            with _damage_as_data_error(self.path, key), zipfile.ZipFile(self.path) as archive:
                content = archive.read(key + _SUFFIX)
            pickle_path.write_bytes(content[-self._header(key).num_bytes :])
            values = np.asarray(read_pickle(pickle_path), dtype=object).ravel().tolist()
        if len(values) != num_rows or not all(isinstance(value, str) for value in values):
            raise DataError(
                f"key {key!r} of {self.path.name} must hold {num_rows} strings, found {len(values)} values of "
                f"{', '.join(sorted({type(value).__name__ for value in values}))}; check the layout"
            )
        return values

    def _header(self, key: str) -> NpyHeader:
        if key not in self.headers:
            raise DataError(
                f"key {key!r} of {self.path.name} is missing (found: {', '.join(self.headers) or 'none'}); "
                "check the layout, or add the key"
            )
        return self.headers[key]


def list_keys(path: Path) -> frozenset[str]:
    """The keys of an .npz file, by its table of contents alone; empty for any other file."""
    try:
        if not path.is_file() or not zipfile.is_zipfile(path):
            return frozenset()
        with zipfile.ZipFile(path) as archive:
            return frozenset(name.removesuffix(_SUFFIX) for name in archive.namelist() if name.endswith(_SUFFIX))
    except _ARCHIVE_DAMAGE:
        return frozenset()


def check_unique(ids: list[str], place: str) -> None:
    """Refuses ids that occur twice.

    Raises:
        DataError: Two rows share an id.
    """
    first: dict[str, int] = {}
    for index, identity in enumerate(ids):
        if identity in first:
            raise DataError(
                f"{place} must hold unique ids, found {identity!r} in rows {first[identity]} and {index}; drop the copy"
            )
        first[identity] = index


def _describe(kinds: str) -> str:
    return "strings" if kinds == "US" else "numbers" if kinds == "fiu" else "numbers or strings"


@contextmanager
def _damage_as_data_error(path: Path, key: str | None = None) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except _ARCHIVE_DAMAGE as error:
        place = path.name if key is None else f"key {key!r} of {path.name}"
        raise DataError(f"{place} must be readable as .npz, found damage ({error}); download it again") from error
