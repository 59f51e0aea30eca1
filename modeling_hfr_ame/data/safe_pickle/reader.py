"""Opens a file and hands it to the machine."""

import gc
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modeling_hfr_ame.data.safe_pickle.allowed_names import ARCHIVE_NAMES, NAMES
from modeling_hfr_ame.data.safe_pickle.machine import Machine
from modeling_hfr_ame.data.safe_pickle.refusal import (
    DAMAGED,
    MALFORMED_RAISES,
    Budget,
    PickleError,
    PickleLimits,
    malformed,
    malformed_by,
)
from modeling_hfr_ame.data.safe_pickle.spans import Buffer
from modeling_hfr_ame.data.safe_pickle.torch_archives import is_archive, read_archive
from modeling_hfr_ame.data.safe_pickle.tree_check import check_tree


def read_pickle(path: str | os.PathLike[str], *, limits: PickleLimits | None = None) -> Any:
    """Reads a pickle, or a file of torch.save, without running anything it says.

    Args:
        path: File of pickle protocol 0 to 5, by Python 2 or 3, with numpy 1 or 2; or what torch.save wrote.
        limits: Bounds; None for the default ones.

    Returns:
        A tree of dict, list, tuple, set, frozenset, str, bytes, int, float, complex, bool, None, numpy arrays and numpy
        scalars. Ordered and default dicts are plain dicts, bytearrays are bytes, torch tensors are arrays (bfloat16 as
        float32). `str` values of Python 2 are UTF-8 or else Latin-1. Arrays are read-only, and those of 64 KiB or more
        are views of the file, which may be unaligned: `numpy.array(view)` is an ordinary copy. The file mustn't change
        while such an array is in use.

    Raises:
        PickleError: The file can't be opened, is damaged, refers to anything but plain data, or breaks a limit.
    """
    try:
        data = _map_file(Path(path))
        with _collector_resting():
            return _read_bytes(data, limits)
    except PickleError as error:
        error.path = path
        raise


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Keeps the garbage collector from walking over the growing tree again and again; no garbage is made here."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _map_file(path: Path) -> mmap.mmap:
    try:
        # Before it is opened: that would wait for the other end of a pipe.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PickleError("a pickle is a regular file, and this isn't one", "name the file itself")
        if status.st_size == 0:
            raise malformed("is empty")
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise PickleError(
            f"the file has to be readable, and it can't be opened ({error.strerror})", "check the path"
        ) from error


def _read_bytes(data: Buffer, limits: PickleLimits | None = None) -> Any:
    limits = limits or PickleLimits()
    try:
        value = _run(data, limits)
        check_tree(value, limits.max_depth)
    except PickleError:
        raise
    except MALFORMED_RAISES as error:
        raise malformed_by(error) from error
    return value


def _run(data: Buffer, limits: PickleLimits) -> Any:
    budget = Budget(limits, len(data))
    if is_archive(data):
        return read_archive(Machine(ARCHIVE_NAMES, limits, budget), data, 0, len(data))
    machine = Machine(NAMES, limits, budget, ARCHIVE_NAMES)
    value = machine.run(data, 0, len(data))
    if machine.position != len(data):
        raise PickleError(
            f"a file holds one pickle, and {len(data) - machine.position} bytes follow the end of this one",
            DAMAGED,
            offset=machine.position,
        )
    return value
