"""The guards of conftest.py hold: no network, private caches, real data only where it is marked and present."""

import os
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.fixture
def guarded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A small test session of its own, under a copy of our conftest.py."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers =\n    gpu: x\n    real_data: x\naddopts = -p no:hypothesispytest\n")
    # The copy chooses a home of its own; after the test the outer session has its own again.
    monkeypatch.setenv("HF_HOME", os.environ["HF_HOME"])
    monkeypatch.delenv("HFR_AME_SHARED", raising=False)
    return pytester


def _connect_ex() -> None:
    with socket.socket() as client:
        client.connect_ex(("192.0.2.1", 80))


def _connect_version_6() -> None:
    with socket.socket(socket.AF_INET6) as client:
        client.connect(("2001:db8::1", 80, 0, 0))


def _send_datagram() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("192.0.2.1", 53))


@pytest.mark.parametrize(
    "reach_out",
    [
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        _connect_ex,
        _connect_version_6,
        _send_datagram,
        lambda: socket.getaddrinfo("example.org", 443),
        lambda: urllib.request.urlopen("http://example.org"),
    ],
)
def test_network_outside_access_raises(reach_out: Callable[[], object]) -> None:
    with pytest.raises(BaseException, match="without a network") as raised:
        reach_out()
    assert type(raised.value).__name__ == "NetworkAccessError"
    assert not isinstance(raised.value, Exception), "a library that catches Exception must not swallow it"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_network_loopback_works(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = (host, server.getsockname()[1])
        with socket.create_connection(address, timeout=5) as client, server.accept()[0] as accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"


def test_environment_is_offline_private_and_single_threaded() -> None:
    import torch

    assert os.environ["HF_HUB_OFFLINE"] == os.environ["HF_DATASETS_OFFLINE"] == "1"
    assert "hfr-ame-tests-" in os.environ["HF_HOME"]
    assert "HF_TOKEN" not in os.environ
    assert torch.get_num_threads() == 1


def test_huggingface_caches_lie_in_the_private_home() -> None:
    import datasets.config
    from huggingface_hub import constants

    home = os.environ["HF_HOME"]
    assert constants.HF_HUB_OFFLINE is True
    assert str(constants.HF_HUB_CACHE).startswith(home)
    assert str(datasets.config.HF_DATASETS_CACHE).startswith(home)


def test_shared_data_missing_folder_skips_with_a_reason(
    guarded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HFR_AME_SHARED", str(tmp_path / "absent"))
    guarded.makepyfile("import pytest\n@pytest.mark.real_data\ndef test_a(shared_data): pass")
    result = guarded.runpytest_inprocess("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*real data not found: *absent is not a folder; set HFR_AME_SHARED*"])


def test_shared_data_named_folder_is_given(
    guarded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HFR_AME_SHARED", str(tmp_path))
    guarded.makepyfile(
        f"import pytest\n@pytest.mark.real_data\ndef test_a(shared_data): assert str(shared_data) == {str(tmp_path)!r}"
    )
    guarded.runpytest_inprocess().assert_outcomes(passed=1)


def test_shared_data_unset_variable_means_the_sibling_folder(guarded: pytest.Pytester) -> None:
    nested = guarded.mkdir("tests")
    (guarded.path / "conftest.py").rename(nested / "conftest.py")
    (nested / "test_a.py").write_text(
        "import pytest\nfrom pathlib import Path\n@pytest.mark.real_data\n"
        "def test_a(shared_data): assert shared_data == Path(__file__).resolve().parents[2] / 'shared'\n",
        encoding="utf-8",
    )
    (guarded.path.parent / "shared").mkdir(exist_ok=True)
    guarded.runpytest_inprocess().assert_outcomes(passed=1)


def test_shared_data_without_its_mark_fails(guarded: pytest.Pytester) -> None:
    guarded.makepyfile("def test_a(shared_data): pass")
    result = guarded.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*carries @pytest.mark.real_data*"])


def test_gpu_mark_without_a_device_skips(guarded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    guarded.makepyfile("import pytest\n@pytest.mark.gpu\ndef test_a(): raise AssertionError")
    guarded.runpytest_inprocess().assert_outcomes(skipped=1)
