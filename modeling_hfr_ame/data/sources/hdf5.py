"""Careful reading of HDF5 files that come from elsewhere.

- h5py is optional; it is imported when the first file is opened.
- Only data inside the file is read: HDF5 can point into other files (external links, external storage, virtual
  datasets), and a foreign file has no business there.
- A header can claim any size, since unwritten chunks take no space; sizes are checked before memory is taken.

Not covered: variable-length strings that all point to one long string, and faults of the HDF5 library itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.errors import DataError

MAX_ARRAY_BYTES = 2 << 30
# HDF5 promises the signature at 0 or at a power of two from 512 on; files with a user block are not known in the field.
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# What h5py raises on damaged files, depending on which structure is hit.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


def is_hdf5(path: Path) -> bool:
    """Tells by the first bytes whether a file is HDF5; False for what can't be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Opens a file for reading.

    Yields:
        The `h5py.File`.

    Raises:
        DataError: h5py is missing, or the file can't be opened.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise DataError(
            f"reading HDF5 needs the package h5py, {path.name} can't be read without it; "
            "install it with pip install 'hfr-ame[hdf5]'"
        ) from error
    try:
        file = h5py.File(path, "r")
    except _DAMAGE as error:
        raise DataError(
            f"{path.name} must be a complete HDF5 file, it can't be opened ({error}); download it again"
        ) from error
    with file:
        yield file


def list_names(group: Any, place: str) -> list[str]:
    """Lists the members of a group.

    Raises:
        DataError: The group is damaged.
    """
    try:
        return [str(name) for name in group]
    except _DAMAGE as error:
        raise DataError(
            f"the members of {place} must be readable, found damage ({error}); download it again"
        ) from error


def find_group(parent: Any, name: str, place: str) -> Any:
    """Gives a group inside a group.

    Args:
        parent: The outer group.
        name: Name in it.
        place: File and path of the outer group, for messages.

    Raises:
        DataError: It is missing, no group, or lies in another file.
    """
    found = _find(parent, name, place)
    if not hasattr(found, "keys"):
        raise DataError(
            f"{place}/{name} must be a group, found an array of shape {getattr(found, 'shape', None)}; check the layout"
        )
    return found


def find_array(parent: Any, name: str, place: str) -> Any:
    """Gives a dataset inside a group without reading it; `shape` and `dtype` are known then.

    Raises:
        DataError: It is missing, no array, not stored in this file, of references, or larger than `MAX_ARRAY_BYTES`.
    """
    found = _find(parent, name, place)
    if not hasattr(found, "shape"):
        raise DataError(f"{place}/{name} must be an array, found a group; check the layout")
    try:
        elsewhere = found.is_virtual or bool(found.external)
        shape, size = found.shape, int(found.size or 0) * found.dtype.itemsize
        is_plain = found.dtype.kind != "O" or (found.dtype.metadata or {}).get("vlen") in (str, bytes)
    except _DAMAGE as error:
        raise DataError(f"{place}/{name} must be readable, found damage ({error}); download it again") from error
    if elsewhere:
        raise DataError(
            f"{place}/{name} must lie in the file itself, found a pointer to another file; copy the data in"
        )
    if not is_plain:
        raise DataError(
            f"{place}/{name} must hold numbers or strings, found references or ragged rows; check the layout"
        )
    if shape is None or size > MAX_ARRAY_BYTES:
        raise DataError(
            f"{place}/{name} must hold at most {MAX_ARRAY_BYTES} bytes, its header states the shape {shape} and "
            f"{size} bytes; check the file"
        )
    return found


def read_array(parent: Any, name: str, place: str) -> np.ndarray:
    """Reads a dataset inside a group.

    Returns:
        Numbers, fixed-width bytes, or objects that are bytes (variable-length strings).

    Raises:
        DataError: As `find_array`, or its content is damaged.
    """
    array = find_array(parent, name, place)
    try:
        return np.asarray(array[()])
    except _DAMAGE as error:
        raise DataError(f"{place}/{name} must be readable, found damage ({error}); download it again") from error


def _find(parent: Any, name: str, place: str) -> Any:
    try:
        link = parent.get(name, getlink=True)
        found = parent[name] if type(link).__name__ == "HardLink" else None
    except _DAMAGE as error:
        raise DataError(f"{place}/{name} must be readable, found damage ({error}); download it again") from error
    if link is None:
        names = ", ".join(list_names(parent, place)[:8])
        raise DataError(f"{place} must hold {name!r}, found {names or 'nothing'}; check that the file has this layout")
    if found is None:
        raise DataError(f"{place}/{name} must lie in the file itself, found a link; copy the data in")
    return found
