"""The environment every test runs in: one thread, no network, private caches, warnings as errors (pyproject.toml).

The variables are set when this file is imported, which is before any test imports torch or a Hugging Face library:
those read them once, at their own import.
"""

import atexit
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_VARIABLE = "HFR_AME_SHARED"

# Any of these set by the user would lead around HF_HOME to a shared cache, or to the user's account.
_INHERITED_VARIABLES = (
    "HF_ASSETS_CACHE",
    "HF_DATASETS_CACHE",
    "HF_ENDPOINT",
    "HF_EVALUATE_CACHE",
    "HF_HUB_CACHE",
    "HF_METRICS_CACHE",
    "HF_MODULES_CACHE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HF_XET_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN",
    "HFR_AME_DEBUG",
)


def _set_environment() -> None:
    for name in _INHERITED_VARIABLES:
        os.environ.pop(name, None)
    home = tempfile.mkdtemp(prefix="hfr-ame-tests-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(
        HF_HOME=home,
        HF_HUB_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        OMP_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        MPLBACKEND="Agg",
    )


_set_environment()


class NetworkAccessError(BaseException):
    """A test reached for the network.

    Not an `Exception`, since libraries catch those to fall back to their caches and the test would pass by accident.
    """


def _is_loopback(host: Any) -> bool:
    if host is None:
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _require_loopback(family: int, address: Any) -> None:
    if family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
        raise NetworkAccessError(
            f"tests run without a network, and one connects to {address}; use a local file or mock"
        )


@pytest.fixture(autouse=True, scope="session")
def closed_sockets() -> Iterator[None]:
    """Raises `NetworkAccessError` where this process reaches beyond the loopback interface."""
    connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
    getaddrinfo = socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _require_loopback(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _require_loopback(self.family, address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: bytes, *flags_and_address: Any) -> int:
        _require_loopback(self.family, flags_and_address[-1])
        return sendto(self, data, *flags_and_address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        _require_loopback(socket.AF_INET, (host,))
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket.socket, "sendto", guarded_sendto)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Keeps torch on one thread: two workers on two cores are slower with more, and sums depend on the split."""
    import torch

    torch.set_num_threads(1)


def find_shared_folder() -> tuple[Path | None, str]:
    """Returns the folder of real data and, where it is missing, the reason to skip.

    Returns:
        The folder named by HFR_AME_SHARED, or the folder `shared` beside the repository when the variable is unset or
        empty; None if that folder does not exist. The reason is empty when the folder exists.
    """
    named = os.environ.get(SHARED_VARIABLE)
    folder = Path(named) if named else REPOSITORY.parent / "shared"
    if folder.is_dir():
        return folder, ""
    return None, f"real data not found: {folder} is not a folder; set {SHARED_VARIABLE} to the folder that holds it"


@pytest.fixture
def shared_data(request: pytest.FixtureRequest) -> Path:
    """Folder of real data; skips the test where there is none. Only for tests marked `real_data`."""
    if request.node.get_closest_marker("real_data") is None:
        pytest.fail("a test that uses shared_data carries @pytest.mark.real_data; add the mark", pytrace=False)
    folder, reason = find_shared_folder()
    if folder is None:
        pytest.skip(reason)
    return folder


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests marked `gpu` on a machine without a CUDA device."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device, and torch.cuda.is_available() is False")
