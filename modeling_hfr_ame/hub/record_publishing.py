"""What of a run's record may leave the machine: everything but its folders.

A path in a published file tells a stranger how somebody's disk is laid out, and tells a reader nothing. It becomes its
last part, which names the dataset or the text encoder.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

# At least two parts, not in the middle of a word, a relative path, an address or base64.
_POSIX_PATH = re.compile(r"(?<![\w./:~+\-])~?(?:/[\w.@+\-]+){2,}/?|file://[^\s\"']+")
_WINDOWS_PATH = re.compile(r"(?<!\w)[A-Za-z]:\\[^\s\"'*?<>|,;]+")
# A string that is a path as a whole may hold spaces.
_WHOLE_PATH = re.compile(r"(?:~|[A-Za-z]:|file:/)?[/\\][^\n]+")


def without_paths(value: Any) -> Any:
    """Copies a JSON value with each absolute path, also inside a longer string or a key, replaced by its last part."""
    if isinstance(value, dict):
        return {without_paths(key): without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item) for item in value]
    if isinstance(value, str):
        if _WHOLE_PATH.fullmatch(value):
            return PureWindowsPath(value).name or value  # it splits at both kinds of slash
        shorter = _POSIX_PATH.sub(lambda match: PurePosixPath(match.group()).name, value)
        return _WINDOWS_PATH.sub(lambda match: PureWindowsPath(match.group()).name, shorter)
    return value


def publishable_record(record: dict[str, Any]) -> dict[str, Any]:
    """Gives the part of `run.json` that is published: without `dataset_folder` and without any absolute path."""
    return without_paths({key: value for key, value in record.items() if key != "dataset_folder"})


def find_paths(folder: Path) -> Iterator[tuple[str, str]]:
    """Finds absolute paths in the JSON files of a folder.

    Args:
        folder: Folder, searched with its sub-folders.

    Yields:
        File name relative to the folder, and what was found. `tokenizer.json` holds a vocabulary, which may have pieces
        that look like a path, so only its first level apart from `model` and `added_tokens` is read.
    """
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "tokenizer.json":
            content = {key: value for key, value in content.items() if key not in ("model", "added_tokens")}
        for text in _strings(content):
            for pattern in (_POSIX_PATH, _WINDOWS_PATH):
                match = pattern.search(text)
                if match:
                    yield path.relative_to(folder).as_posix(), match.group()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
