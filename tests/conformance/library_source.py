"""The library's own test files, taken from its source distribution and never from this repository.

The wheel of transformers carries no tests; its source distribution of the same version does. pip downloads it once
into the user's cache. pip says which sha256 the index lists, refuses an archive that has another one, and the sum kept
beside the archive is checked again at each use.
"""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "library_tests"
_TIMEOUT_S = 180

# What the test files import that their source distribution lacks or that we don't test.
_STAND_INS = {
    f"{PACKAGE}/__init__.py": "",
    f"{PACKAGE}/exporters/__init__.py": "",
    f"{PACKAGE}/exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    f"{PACKAGE}/generation/__init__.py": "",
    f"{PACKAGE}/generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    f"{PACKAGE}/utils/__init__.py": "",
    f"{PACKAGE}/utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
    "utils/fetch_hub_objects_for_ci.py": "def url_to_local_path(url):\n    return url\n",
}


class SourceUnavailableError(Exception):
    """pip can't reach an index that has the source distribution."""


class SourceDamagedError(Exception):
    """An archive isn't what its checksum or its version says."""


def cache_folder() -> Path:
    """Folder for archives, in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hfr-ame" / "transformers-source"


def provide_archive(version: str, cache: Path) -> Path:
    """Finds the source distribution of a version in the cache, or downloads it.

    Args:
        version: Exact version of transformers.
        cache: Folder of archives; made where it is missing.

    Returns:
        The archive. A cached one whose sum no longer fits is downloaded again.

    Raises:
        SourceUnavailableError: If pip can't reach an index, or the index lacks the version.
    """
    archive = cache / f"transformers-{version}.tar.gz"
    sum_file = archive.with_name(f"{archive.name}.sha256")
    if archive.is_file() and sum_file.is_file() and sum_file.read_text(encoding="ascii").strip() == _sha256(archive):
        return archive
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        listed = _listed_sha256(version)
        requirement = Path(folder) / "requirement.txt"
        requirement.write_text(f"transformers=={version} --hash=sha256:{listed}\n", encoding="ascii")
        _pip("download", "--require-hashes", "--dest", folder, "--requirement", str(requirement))
        os.replace(Path(folder) / archive.name, archive)
    sum_file.write_text(f"{listed}\n", encoding="ascii")
    return archive


def unpack_tests(archive: Path, version: str, target: Path) -> Path:
    """Makes an importable package of the library's test files.

    Args:
        archive: The source distribution.
        version: The version it must be.
        target: Folder to put on the module path; made where it is missing.

    Returns:
        `target`, which then holds the package `library_tests` and stand-ins for what it imports and isn't there.

    Raises:
        SourceDamagedError: If the archive says that it is another version, or holds no tests.
    """
    with tarfile.open(archive) as tar:
        root = f"transformers-{version}"
        about = _read(tar, f"{root}/PKG-INFO")
        if about is None or f"\nVersion: {version}\n".encode() not in about:
            raise SourceDamagedError(f"{archive.name} must be transformers {version}, but its PKG-INFO says otherwise")
        names = [
            member.name
            for member in tar.getmembers()
            if member.isfile() and member.name.startswith(f"{root}/tests/test_") and member.name.count("/") == 2
        ]
        if not names:
            raise SourceDamagedError(f"{archive.name} must hold the files tests/test_*.py, but has none")
        for path, text in _STAND_INS.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")
        for name in names:
            content = _read(tar, name)
            assert content is not None
            (target / PACKAGE / Path(name).name).write_bytes(content)
    return target


def _listed_sha256(version: str) -> str:
    report = _pip("install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-", f"transformers=={version}")
    (entry,) = json.loads(report)["install"]
    return str(entry["download_info"]["archive_info"]["hashes"]["sha256"])


def _pip(command: str, *words: str) -> str:
    options = ["--no-deps", "--no-binary", "transformers", "--no-build-isolation", "--disable-pip-version-check"]
    patience = ["--timeout", "20", "--retries", "1"]
    line = [sys.executable, "-m", "pip", command, *options, *patience, *words]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise SourceUnavailableError(f"pip {command} did not answer within {_TIMEOUT_S} s") from error
    if done.returncode:
        said = [text for text in done.stderr.splitlines() if text.startswith("ERROR")] or ["it said nothing"]
        raise SourceUnavailableError(f"pip {command} failed: {said[-1]}")
    return done.stdout


def _read(tar: tarfile.TarFile, name: str) -> bytes | None:
    try:
        file = tar.extractfile(name)
    except KeyError:
        return None
    return None if file is None else file.read()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
