"""Appending to a prompt store so that a crash at any point loses no written row and leaves no damage.

- One row is one `write` to a file opened for appending, followed by fsync; the folder is synced once, when the file is
  made. A row counts as written when `append` returns.
- A crash can tear the last line only. Opening the store completes it (the row is whole, its line feed is missing) or
  cuts it off. A damaged line further up is nothing that a crash leaves, so it is an error.
- One writer per file, by a lock that the operating system frees when the process dies. Readers need no lock.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import TracebackType

import filelock

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.prompts.rows import PromptRow, StoreDescription

STORE_SUFFIX = ".jsonl"
_LOCK_SUFFIX = ".lock"

logger = logging.getLogger(__name__)


def read_rows(path: Path) -> list[PromptRow]:
    """Reads the complete rows of a file; a line that is still being written, or was torn, is left out.

    Args:
        path: The JSONL file.

    Returns:
        Rows in the order in which they were written.

    Raises:
        DataError: The file can't be read, a line is damaged, or two rows belong to different stores.
    """
    return _read_lines(path)


def _read_lines(path: Path, *, first_only: bool = False) -> list[PromptRow]:
    try:
        with open(path, "rb") as file:
            content = file.readline() if first_only else file.read()
    except OSError as error:
        raise DataError(f"the prompt store {path.name} can't be read ({error.strerror}); check the folder") from error
    rows: list[PromptRow] = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            row = PromptRow.from_line(line, name=path.stem)
        except DataError as error:
            raise DataError(
                f"every line of a prompt store is a row, line {number} of {path.name} is none: {error}; delete that "
                "line, or bring the file back from a copy"
            ) from error
        if rows and row.description != rows[0].description:
            raise DataError(
                f"all rows of {path.name} must share model, template and options, line {number} has others; keep one "
                "file per combination"
            )
        rows.append(row)
    return rows


def read_description(path: Path) -> StoreDescription | None:
    """Reads what the rows of a file share from its first row; None where there is no whole row yet.

    Raises:
        DataError: The file can't be read, or its first line is damaged.
    """
    rows = _read_lines(path, first_only=True)
    return rows[0].description if rows else None


def index_rows(rows: list[PromptRow]) -> dict[str, PromptRow]:
    """Keeps one row per key: the first answer, or else the last failure."""
    index: dict[str, PromptRow] = {}
    for row in rows:
        kept = index.get(row.key)
        if kept is None or not kept.answered:
            index[row.key] = row
    return index


def answered_keys(folder: str | Path, description: StoreDescription) -> set[str]:
    """Gives the keys that a store has an answer for, without opening it for writing; none where there is no file."""
    path = Path(folder) / f"{description.name}{STORE_SUFFIX}"
    return {row.key for row in read_rows(path) if row.answered} if path.exists() else set()


class PromptWriter:
    """The one writer of a store file; use it as a context manager.

    Args:
        folder: Folder of the stores; made where it is missing.
        description: What all rows share; `named` gives the file.

    Raises:
        DataError: On entering: another process writes the store, or the file is damaged.
    """

    def __init__(self, folder: str | Path, description: StoreDescription) -> None:
        self.description = description if description.name else description.named()
        self.path = Path(folder) / f"{self.description.name}{STORE_SUFFIX}"
        self._lock = filelock.FileLock(self.path.with_suffix(_LOCK_SUFFIX), timeout=0)
        self._file: int | None = None
        self._rows: dict[str, PromptRow] = {}

    def __enter__(self) -> PromptWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise DataError(
                f"a prompt store has one writer at a time, another process writes {self.path.name}; wait for it, or "
                "write to another folder"
            ) from error
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._repair_last_line()
            self._rows = index_rows(read_rows(self.path))
            _sync_folder(self.path.parent)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def row_of_key(self, key: str) -> PromptRow | None:
        """Gives the answer that a key has, or else its last failure; None = never asked."""
        return self._rows.get(key)

    def append(self, row: PromptRow) -> bool:
        """Writes a row; when this returns, the row outlives a crash.

        Args:
            row: A row of this store.

        Returns:
            False where the key has an answer already, and nothing was written.

        Raises:
            DataError: The row belongs to another store, or the disk refuses it. What was written before stays.
        """
        assert self._file is not None, "append is used inside `with`"
        if row.description != self.description:
            raise DataError(
                f"all rows of {self.path.name} must share model, template and options, found a row of another store; "
                "open a writer with its description"
            )
        kept = self._rows.get(row.key)
        if kept is not None and kept.answered:
            return False
        line = row.to_line()
        size = os.fstat(self._file).st_size
        try:
            _write_all(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, size)
            raise DataError(
                f"a row of {self.path.name} couldn't be written ({error.strerror}); make room and run again, what was "
                "written before stays"
            ) from error
        self._rows[row.key] = row
        return True

    def _repair_last_line(self) -> None:
        assert self._file is not None
        content = self.path.read_bytes()
        torn = content[content.rfind(b"\n") + 1 :]
        if not torn:
            return
        try:
            PromptRow.from_line(torn, name=self.path.stem)
        except DataError:
            logger.warning("%s: cutting off a last line that was torn (%d bytes)", self.path.name, len(torn))
            os.ftruncate(self._file, len(content) - len(torn))
        else:
            _write_all(self._file, b"\n")
        os.fsync(self._file)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._lock.release()


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    """Makes a new file's name durable, where the platform can open a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
