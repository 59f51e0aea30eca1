"""Gives the memory of a mapped file back while its arrays stay in use."""

import mmap
from typing import Any

import numpy as np


def release_pages(array: np.ndarray) -> None:
    """Lets the system drop the pages behind a view of a mapped file; a later read fetches them again.

    Without this a conversion that walks through a file once seems to hold all of it.

    Args:
        array: A C-contiguous view of an array that `read_pickle` gave. Arrays in memory are left alone.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if not isinstance(owner, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED") or array.nbytes == 0:
        return
    first = np.frombuffer(owner, np.uint8, 1).__array_interface__["data"][0]
    begin = array.__array_interface__["data"][0] - first
    # Whole pages only: the ones at the ends may hold a neighbour's values.
    start = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (begin + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if stop > start:
        owner.madvise(mmap.MADV_DONTNEED, start, stop - start)
