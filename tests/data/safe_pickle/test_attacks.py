"""No attack runs code, and each is refused in time and memory that fit its size."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.data.safe_pickle.attack_pickles import attack_pickles
from tests.data.safe_pickle.pickle_writing import load_plainly

_READER = Path(__file__).with_name("read_attacks.py")


def _run_reader(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # From an empty folder, so that files an attack names don't exist and those it makes are found.
    empty = folder.parent / "empty"
    empty.mkdir()
    return subprocess.run(
        [sys.executable, "-B", str(_READER), str(folder), str(REPOSITORY), *options],
        capture_output=True,
        text=True,
        cwd=empty,
        timeout=120,
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("attacks") / "pickles"
    folder.mkdir()
    for name, (content, _) in attack_pickles().items():
        (folder / name).write_bytes(content)
    result = _run_reader(folder)
    assert result.returncode == 0, result.stderr
    assert list((folder.parent / "empty").iterdir()) == []
    return json.loads(result.stdout)


def test_attacks_are_many() -> None:
    assert len(attack_pickles()) >= 200


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, (_, reason) in attack_pickles().items()])
def test_read_attack_is_refused_for_its_reason_without_running_code(
    name: str, reason: str, outcomes: dict[str, dict[str, Any]]
) -> None:
    outcome = outcomes[name]
    assert outcome["outcome"].startswith("refused: "), outcome
    assert reason in outcome["outcome"], outcome
    assert outcome["megabytes"] < 100, outcome
    assert outcome["seconds"] < 5, outcome


def test_read_memo_bomb_takes_no_memory(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["memo_bomb"]["megabytes"] < 50


def test_watch_on_code_is_awake(tmp_path: Path) -> None:
    folder = tmp_path / "pickles"
    folder.mkdir()
    result = _run_reader(folder, "--prove")
    assert result.returncode == 3
    assert "exec" in result.stderr or "compile" in result.stderr


def test_attack_is_real_for_the_standard_loader() -> None:
    # Otherwise the refusals above would prove nothing.
    assert load_plainly(attack_pickles()["call_builtins.eval"][0]) == 2
