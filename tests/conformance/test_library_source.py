"""Where the library's tests come from: what is accepted as its source distribution."""

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import library_source
from tests.conformance.library_source import (
    SourceDamagedError,
    SourceUnavailableError,
    provide_archive,
    unpack_tests,
)

VERSION = "5.99.0"


def make_archive(path: Path, version: str = VERSION, tests: tuple[str, ...] = ("test_modeling_common.py",)) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        files = {"PKG-INFO": f"Metadata-Version: 2.4\nName: transformers\nVersion: {version}\nSummary: x\n"}
        files |= {f"tests/{name}": "VALUE = 1\n" for name in tests}
        for name, text in files.items():
            info = tarfile.TarInfo(f"transformers-{VERSION}/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


class FakePip:
    """Stands in for pip: lists one archive's sum, and copies it where a download with that sum is asked for."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.commands: list[str] = []

    def __call__(self, line: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        command = line[line.index("pip") + 1]
        self.commands.append(command)
        listed = library_source._sha256(self.archive)
        if command == "install":
            hashes = f'{{"hashes": {{"sha256": "{listed}"}}}}'
            report = f'{{"install": [{{"download_info": {{"archive_info": {hashes}}}}}]}}'
            return subprocess.CompletedProcess(line, 0, report, "")
        assert "--require-hashes" in line
        requirement = Path(line[line.index("--requirement") + 1]).read_text(encoding="ascii")
        assert requirement == f"transformers=={VERSION} --hash=sha256:{listed}\n"
        folder = Path(line[line.index("--dest") + 1])
        (folder / f"transformers-{VERSION}.tar.gz").write_bytes(self.archive.read_bytes())
        return subprocess.CompletedProcess(line, 0, "", "")


def test_archive_is_downloaded_once_and_then_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = FakePip(make_archive(tmp_path / "index.tar.gz"))
    monkeypatch.setattr(subprocess, "run", pip)
    first = provide_archive(VERSION, tmp_path / "cache")
    assert provide_archive(VERSION, tmp_path / "cache") == first
    assert pip.commands == ["install", "download"]
    assert first.read_bytes() == pip.archive.read_bytes()


def test_cached_archive_that_was_changed_is_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = FakePip(make_archive(tmp_path / "index.tar.gz"))
    monkeypatch.setattr(subprocess, "run", pip)
    archive = provide_archive(VERSION, tmp_path / "cache")
    archive.write_bytes(archive.read_bytes()[:-1])
    assert provide_archive(VERSION, tmp_path / "cache").read_bytes() == pip.archive.read_bytes()
    assert pip.commands == ["install", "download"] * 2


def test_unreachable_index_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(line: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(line, 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(SourceUnavailableError, match="pip install failed: ERROR: No matching distribution found"):
        provide_archive(VERSION, tmp_path / "cache")


def test_tests_are_unpacked_as_a_package_without_overwriting_stand_ins(tmp_path: Path) -> None:
    folder = unpack_tests(make_archive(tmp_path / "index.tar.gz"), VERSION, tmp_path / "out")
    assert (folder / "library_tests" / "test_modeling_common.py").read_text(encoding="utf-8") == "VALUE = 1\n"
    assert (folder / "library_tests" / "__init__.py").is_file()


def test_archive_of_another_version_is_refused(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "index.tar.gz", version="5.98.0")
    with pytest.raises(SourceDamagedError, match=r"must be transformers 5\.99\.0"):
        unpack_tests(archive, VERSION, tmp_path / "out")


def test_archive_without_tests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceDamagedError, match="but has none"):
        unpack_tests(make_archive(tmp_path / "index.tar.gz", tests=()), VERSION, tmp_path / "out")
