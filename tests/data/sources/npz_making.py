"""Writes .npz files by hand, so that headers and members can lie."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def npy(values: np.ndarray) -> bytes:
    """An .npy file; objects are pickled as numpy does."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values, allow_pickle=True)
    return stream.getvalue()


def npy_header(shape: tuple[int, ...], dtype: str = "<f8", *, version: tuple[int, int] = (1, 0)) -> bytes:
    """The header of an .npy file alone."""
    stream = io.BytesIO()
    write = np.lib.format.write_array_header_1_0 if version == (1, 0) else np.lib.format.write_array_header_2_0
    write(stream, {"shape": shape, "fortran_order": False, "descr": dtype})
    return stream.getvalue()


def write_npz(path: Path, members: Mapping[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path
