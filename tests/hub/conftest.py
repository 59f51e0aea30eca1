"""A loopback Hub for each test, and two ways to face it with the unmodified client: here, and in a new process."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file

from tests.hub.loopback_hub import LoopbackHub

OWNER_TOKEN, GUEST_TOKEN = "hf_owner", "hf_guest"
REPOSITORY = Path(__file__).resolve().parent.parent.parent

RunClient = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """A running Hub with the users `someone` and `guest`."""
    with LoopbackHub(tmp_path / "large-files", {OWNER_TOKEN: "someone", GUEST_TOKEN: "guest"}) as running:
        yield running
        huggingface_hub.close_session()  # connections left open would keep the server's threads


@pytest.fixture
def client(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives huggingface_hub in this process the settings that it reads from the environment when it is imported."""
    # The client hands a large file to its HTTP library in a form that the library calls outdated. pytest takes the
    # filter back after the test.
    warnings.filterwarnings("ignore", message="Use 'content=", category=DeprecationWarning)
    huggingface_hub.close_session()
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", OWNER_TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    huggingface_hub.close_session()


def client_environment(hub: LoopbackHub, home: Path, **changes: str) -> dict[str, str]:
    """The whole environment of a client in a new process: nothing is inherited but the search path."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "HOME": str(home),
        "HF_HOME": str(home / "huggingface"),
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": OWNER_TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
        **changes,
    }


@pytest.fixture
def run_client(hub: LoopbackHub, tmp_path: Path) -> RunClient:
    """Runs a program, or Python code, as a client of the Hub with a cache of its own; fails if the program fails."""

    def run(*command: str, code: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", code] if code else list(command)
        done = subprocess.run(
            words,
            env=client_environment(hub, tmp_path / "home", **changes),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """The smallest folder that passes for a model repository."""
    folder = tmp_path / "model"
    (folder / ".eval_results").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n", encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "hfr_ame"}\n', encoding="utf-8")
    (folder / "modeling_hfr_ame.py").write_text("import torch\n", encoding="utf-8")
    (folder / ".eval_results" / "synthetic.yaml").write_text("- value: 1\n", encoding="utf-8")
    save_file({"weight": np.arange(6, dtype=np.float32)}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
