import email.utils
import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.prompts import http_calls
from modeling_hfr_ame.prompts.http_calls import RequestPacer, check_address, post_json, read_retry_after


@pytest.mark.parametrize(
    ("address", "with_key"),
    [
        ("https://host/v1/", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:8000", True),
        ("http://10.0.0.7:8000/v1", False),
    ],
)
def test_address_is_taken_without_its_last_slash(address: str, with_key: bool) -> None:
    assert check_address(address, with_key=with_key) == address.rstrip("/")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "an endpoint is an address such as"),
        ("host/v1", "an endpoint is an address such as"),
        ("ftp://host/v1", "an endpoint is an address such as"),
        ("https://user:secret@host/v1", "holds no name, password, query or fragment"),
        ("https://host/v1?key=secret", "holds no name, password, query or fragment"),
        ("http://10.0.0.7:8000/v1", "a key leaves over https only, found http://10.0.0.7"),
        ("http://127.0.0.1.evil.org/v1", "a key leaves over https only"),
    ],
)
def test_address_that_is_wrong_or_unsafe_is_refused_without_showing_secrets(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_address(address, with_key=True)
    assert "secret" not in str(caught.value)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert read_retry_after("3") == 3.0
    assert read_retry_after("0.5") == 0.5
    assert read_retry_after("-2") == 0.0
    soon = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert read_retry_after(soon) == pytest.approx(100, abs=2)
    assert read_retry_after(email.utils.formatdate(0, usegmt=True)) == 0.0
    assert [read_retry_after(value) for value in (None, "", "soon", "nan")] == [None] * 4


def test_requests_leave_evenly_and_a_hold_moves_all_later_ones() -> None:
    now = [100.0]
    pacer = RequestPacer(60, now=lambda: now[0])
    assert [pacer.reserve() for _ in range(3)] == [0.0, 1.0, 2.0]
    now[0] = 110.0
    assert pacer.reserve() == 0.0
    pacer.hold_back(5)
    assert [pacer.reserve() for _ in range(2)] == [5.0, 6.0]
    free = RequestPacer(None, now=lambda: now[0])
    assert [free.reserve() for _ in range(3)] == [0.0] * 3


def test_wait_ends_when_the_run_is_stopped() -> None:
    pacer = RequestPacer(None)
    assert pacer.wait()
    pacer.hold_back(60)
    threading.Timer(0.05, pacer.stopped.set).start()
    start = time.monotonic()
    assert not pacer.wait()
    assert not pacer.sleep(60)
    assert time.monotonic() - start < 5


@pytest.fixture
def large_body_server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[" + b"0," * 4000)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_body_beyond_the_limit_is_a_broken_reply(large_body_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "isn't JSON" in post_json(large_body_server, {}, {}, 5).problem
    monkeypatch.setattr(http_calls, "_MAX_BODY_BYTES", 1000)
    reply = post_json(large_body_server, {}, {}, 5)
    assert (reply.status, reply.body, reply.problem) == (0, None, "the reply broke off (HTTPException)")


def test_nobody_listening_is_a_reply_without_status(large_body_server: str) -> None:
    reply = post_json("http://127.0.0.1:9/v1", {}, {}, 1)
    assert reply.status == 0
    assert "Connection refused" in reply.problem
