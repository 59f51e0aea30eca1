"""Which files may be published: a folder is read once, and the first file that doesn't belong is an error.

What is refused, and why:

- pickles, by name and by content: whoever loads one runs it;
- files of a training run (logs, checkpoints, a `run.json` as training wrote it), which hold local paths, and file types
  nobody expects;
- absolute paths in JSON and folders of users in any text: they tell about a machine and work on no other;
- text that looks like a credential. An error names the line and never repeats the text;
- cut-off or unreadable weights, symbolic links, hidden files, very large files.

Not covered: the content of Parquet files, sound and pictures, and personal data in general.
"""

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modeling_hfr_ame.errors import DataError

MAX_FILE_BYTES: Final = 5 * 1024**3  # more than any model or dataset here needs; the Hub itself takes ten times that

_TEXT_SUFFIXES: Final = frozenset(
    {"", ".bib", ".cfg", ".cff", ".css", ".csv", ".html", ".j2", ".jinja", ".json", ".jsonl", ".md", ".py", ".toml"}
    | {".svg", ".txt", ".typed", ".yaml", ".yml"}
)
_BINARY_SUFFIXES: Final = frozenset(
    {".flac", ".jpeg", ".jpg", ".model", ".mp3", ".mp4", ".npy", ".parquet", ".png", ".safetensors", ".wav", ".webp"}
)
_PICKLE_SUFFIXES: Final = frozenset(
    {".bin", ".ckpt", ".dill", ".joblib", ".npz", ".p", ".pickle", ".pkl", ".pt", ".pth", ".pyc"}
)
_RUN_NAMES: Final = frozenset(
    {"arguments.json", "optimizer.safetensors", "trainer_log.jsonl", "trainer_state.json", "training.log"}
)
RUN_RECORD: Final = "run.json"  # the name as in evaluation/run_folders.py, which loads torch
_LOCAL_RECORD_KEY: Final = "dataset_folder"  # what publishing takes out of the record
# The Hub leaves out what a .gitignore of the upload names, without an error, so that file stays at home too.
_HIDDEN_NAMES: Final = frozenset({".gitattributes", ".eval_results"})

_PICKLE_START = re.compile(rb"\x80[\x02-\x05]")
_ZIP_START: Final = b"PK\x03\x04"  # torch.save writes a zip with a pickle in it
_NPY_START: Final = b"\x93NUMPY"
_NPY_OBJECTS = re.compile(rb"'descr':\s*'\|?O")

# Whole JSON strings, also as the name of a feature backend (`hf:<id or path>`). Two parts at least, so that "/" and a
# token such as "/s" of a vocabulary are none.
_ABSOLUTE_PATH = re.compile(
    r"(?:hf:)?(?:(?:/[\w.+@~-]+){2,}/?|~[\w-]*/.*|[A-Za-z]:[\\/].*|\\\\\w.*|file://.*)", re.DOTALL
)
_USER_FOLDER = re.compile(r"(?<![\w./:-])(?:/(?:home|Users)/[\w.-]+|/root/[\w.-]+|[A-Za-z]:\\+Users\\+\w+)")
_SECRETS: Final = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "a GitHub token": re.compile(r"\b(?:gh[oprsu]_[A-Za-z0-9]{36}|github_pat_\w{40,})"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{24,}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a signed web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "an address with a password": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"']+:[^\s/@\"']+@[\w.-]"),
}
_SECRET_KEY = re.compile(
    r"(?:.*_)?(?:hub_token|hf_token|access_token|auth_token|api_?key|password|passwd|secret|secret_key)", re.IGNORECASE
)
# Vocabularies are lists of strings, among them pieces of paths; nothing local can get into them.
_VOCABULARY_KEYS: Final = {"tokenizer.json": {"model"}, "vocab.json": None}


@dataclass(frozen=True)
class PublishableFile:
    """One file of an upload.

    Attributes:
        path: Where it lies, below the folder and in the repository, with forward slashes.
        size: Bytes.
    """

    path: str
    size: int


def list_publishable_files(folder: Path, *, max_file_bytes: int = MAX_FILE_BYTES) -> tuple[PublishableFile, ...]:
    """Lists the files of a folder after a check that each may be published.

    Args:
        folder: What is to become the content of a repository. Nothing in it is skipped.
        max_file_bytes: Size of the largest file allowed.

    Returns:
        The files by path.

    Raises:
        DataError: The folder is missing, empty or without a README.md, or a file doesn't belong.
    """
    if not folder.is_dir():
        raise DataError(f"only a folder can be published, found none at {str(folder)!r}; export a run into one first")
    paths = [path for path in sorted(folder.rglob("*")) if not _is_folder(path)]
    for path in paths:  # all names first: a run folder should be called one, before its weights are read
        _check_name(path.relative_to(folder).as_posix())
    files = [_check_file(path, folder, max_file_bytes) for path in paths]
    if not any(file.path == "README.md" for file in files):
        raise DataError(
            f"a published folder needs a README.md, its card, and {str(folder)!r} has none; "
            "export the run, which writes it, or write one"
        )
    return tuple(files)


def _is_folder(path: Path) -> bool:
    # A linked folder counts as a file, so that the link is refused rather than followed.
    return path.is_dir() and not path.is_symlink()


def _check_file(path: Path, folder: Path, max_file_bytes: int) -> PublishableFile:
    name = path.relative_to(folder).as_posix()
    if path.is_symlink() or not path.is_file():
        raise DataError(f"only ordinary files are published, found a link or device {name!r}; copy its content")
    size = path.stat().st_size
    if size > max_file_bytes:
        raise DataError(
            f"a published file has at most {max_file_bytes} bytes, {name!r} has {size}; split it, or raise the limit"
        )
    with path.open("rb") as file:
        _check_start(name, file.read(256))
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        _check_text(name, json.dumps(_read_weights_header(name, path, size).get("__metadata__", {})))
    elif suffix in _TEXT_SUFFIXES:
        _check_text_file(name, path)
    return PublishableFile(name, size)


def _check_name(name: str) -> None:
    parts = name.split("/")
    suffix = Path(name).suffix.lower()
    if suffix in _PICKLE_SUFFIXES:
        raise DataError(f"pickles aren't published, since loading one runs it, found {name!r}; save safetensors")
    if parts[-1] in _RUN_NAMES or any(part.startswith("checkpoint-") for part in parts):
        raise DataError(
            f"a training run is exported before it is published, found {name!r}, which holds local paths or states "
            "of the training; export the run, or remove the file"
        )
    hidden = [part for part in parts if part.startswith((".", "__pycache__")) and part not in _HIDDEN_NAMES]
    if hidden:
        raise DataError(
            f"of hidden files only {' and '.join(sorted(_HIDDEN_NAMES))} are published, found {name!r}; remove it"
        )
    if suffix not in _TEXT_SUFFIXES | _BINARY_SUFFIXES:
        raise DataError(
            f"a repository of a model or dataset holds weights, Parquet, code, text, JSON, sound and pictures, found "
            f"{name!r}; remove it"
        )


def _check_start(name: str, start: bytes) -> None:
    if _PICKLE_START.match(start) or start.startswith(_ZIP_START):
        raise DataError(f"pickles aren't published, since loading one runs it, found one in {name!r}; save safetensors")
    if start.startswith(_NPY_START) and _NPY_OBJECTS.search(start):
        raise DataError(f"pickles aren't published, found an array of objects in {name!r}; save it as numbers")


def _read_weights_header(name: str, path: Path, size: int) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise ValueError("the header is cut off")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"weights are complete safetensors files, {name!r} is none ({error}); export again") from error
    if expected != size:
        raise DataError(
            f"weights are complete safetensors files, {name!r} has {size} bytes where its header says {expected}; "
            "export again"
        )
    return dict(header)


def _check_text_file(name: str, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"text is published as UTF-8, {name!r} isn't ({error}); save it as UTF-8") from error
    _check_text(name, text)
    if path.suffix.lower() in (".json", ".jsonl"):
        documents = text.splitlines() if path.suffix.lower() == ".jsonl" else [text]
        for document in documents:
            try:
                content = json.loads(document)
            except ValueError as error:
                raise DataError(f"a JSON file must be valid, {name!r} isn't ({error}); write it again") from error
            _check_json(name, content)


def _check_text(name: str, text: str) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        for kind, pattern in _SECRETS.items():
            if pattern.search(line):
                raise DataError(
                    f"credentials are never published, line {number} of {name!r} looks like {kind}; "
                    "remove it, and revoke it if it is one"
                )
        found = _USER_FOLDER.search(line)
        if found:
            raise DataError(
                f"a published file names no folder of a machine, line {number} of {name!r} has {found.group()!r}; "
                "remove it or make it relative"
            )


def _check_json(name: str, content: Any) -> None:
    skipped = _VOCABULARY_KEYS.get(Path(name).name, set())
    if skipped is None:
        return
    if isinstance(content, dict):
        if Path(name).name == RUN_RECORD and _LOCAL_RECORD_KEY in content:
            raise DataError(
                f"a training run is exported before it is published, {name!r} still has {_LOCAL_RECORD_KEY!r}; "
                "export the run"
            )
        content = {key: value for key, value in content.items() if key not in skipped}
    for place, key, value in _walk_strings(content, ""):
        if _SECRET_KEY.fullmatch(key) and value:
            raise DataError(
                f"credentials are never published, {name!r} has a value at {place!r}; "
                "remove it, and revoke it if it is one"
            )
        if _ABSOLUTE_PATH.fullmatch(value):
            raise DataError(
                f"a published JSON file holds no absolute path, {name!r} has {value!r} at {place!r}; "
                "remove it or make it relative"
            )


def _walk_strings(content: Any, place: str, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Yields the place, the nearest key and the value of every string in a JSON document; keys count as values too."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield f"{place}/{name}", "", name
            yield from _walk_strings(value, f"{place}/{name}", name)
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _walk_strings(value, f"{place}/{index}", key)
    elif isinstance(content, str):
        yield place, key, content
