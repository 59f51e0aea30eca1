"""One JSON request over HTTP, and when the next one may leave.

- Standard library only, so that nothing stands between a failure and its name.
- A redirect is an error: following one would hand the key to another host. A key leaves over https only, or to this
  machine.
- Every wait is bounded: connecting and each read by the time-out, the whole body by the same time once more, its size
  by a limit.
"""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from modeling_hfr_ame.errors import ConfigError

_MAX_BODY_BYTES: Final = 4 * 2**20
_BLOCK_BYTES: Final = 2**16


@dataclass(frozen=True)
class HttpReply:
    """What an endpoint answered.

    Attributes:
        status: HTTP status; 0 = no complete reply came.
        body: Parsed JSON; None where it isn't JSON.
        problem: What went wrong; empty where a JSON body came with status 200.
        retry_after_s: Seconds that the endpoint asks to wait; None = it doesn't say.
    """

    status: int
    body: Any
    problem: str
    retry_after_s: float | None = None


class _RefusedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Leaves the reply as it is, so that it counts as an error."""
        return None


def check_address(base_url: str, *, with_key: bool) -> str:
    """Checks the address of an endpoint.

    Args:
        base_url: Such as `https://host/v1`.
        with_key: Whether a key is sent.

    Returns:
        The address without a slash at the end.

    Raises:
        ConfigError: It isn't an http(s) address, holds a name or password, or a key would leave unencrypted.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"an endpoint is an address such as https://host/v1, found {base_url!r}; give its base address"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "an endpoint's address holds no name, password, query or fragment, found one; name the variable that holds "
            "the key instead"
        )
    if with_key and parts.scheme == "http" and not _is_this_machine(parts.hostname):
        raise ConfigError(
            f"a key leaves over https only, found {parts.scheme}://{parts.hostname}; use https, or leave the key out"
        )
    return base_url.rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def post_json(url: str, payload: Any, headers: Mapping[str, str], timeout_s: float) -> HttpReply:
    """Sends one request and reads its reply.

    Args:
        url: The full address.
        payload: Plain JSON.
        headers: Beside `Content-Type`.
        timeout_s: For connecting and for each read, and for the body as a whole.

    Returns:
        The reply; failures are told by `problem`, never raised.
    """
    data = json.dumps(payload).encode("utf-8")
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method="POST")
    # A proxy of the environment can't reach this machine's own server.
    direct = [urllib.request.ProxyHandler({})] if _is_this_machine(urlsplit(url).hostname or "") else []
    opener = urllib.request.build_opener(_RefusedRedirects, *direct)
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return _read(response, response.status, response.headers, timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error, error.code, error.headers, timeout_s)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        return HttpReply(0, None, f"no complete reply ({type(error).__name__}: {reason})")


def _read(response: Any, status: int, headers: Any, timeout_s: float) -> HttpReply:
    retry_after_s = read_retry_after(headers.get("Retry-After"))
    try:
        content = _read_body(response, time.monotonic() + timeout_s)
    except (OSError, http.client.HTTPException) as error:
        # An error status says enough; a lost body of status 200 is a lost answer.
        problem = f"the reply broke off ({type(error).__name__})"
        return HttpReply(0 if status == 200 else status, None, problem, retry_after_s)
    try:
        body = json.loads(content)
    except ValueError:
        shown = content[:120].decode("utf-8", errors="replace")
        return HttpReply(status, None, f"status {status} with a body that isn't JSON: {shown!r}", retry_after_s)
    if status == 200:
        return HttpReply(status, body, "")
    return HttpReply(status, body, f"status {status}: {_error_message(body)}", retry_after_s)


def _read_body(response: Any, deadline: float) -> bytes:
    content = b""
    while block := response.read1(_BLOCK_BYTES):
        content += block
        if len(content) > _MAX_BODY_BYTES:
            raise http.client.HTTPException("the body is too large")
        if time.monotonic() > deadline:
            raise TimeoutError("the body took too long")
    # A connection that closed early gives less than was stated; half a completion is no JSON.
    return content


def _error_message(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message", error) if isinstance(error, dict) else error
    return str(message)[:300]


def read_retry_after(value: str | None) -> float | None:
    """Reads a Retry-After header: seconds, or a date.

    Args:
        value: The header; None = there is none.

    Returns:
        Seconds from now, at least 0; None where there is no usable value.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds == seconds else None


class RequestPacer:
    """Says when the next request of several threads may leave.

    Args:
        requests_per_minute: Largest rate, evenly spaced; None = no limit.
        now: The clock, in seconds.

    Attributes:
        stopped: Set to end every wait.
    """

    def __init__(self, requests_per_minute: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._now = now
        self._next = now()
        self._lock = threading.Lock()
        self.stopped = threading.Event()

    def reserve(self) -> float:
        """Takes the next slot and gives the seconds until it."""
        with self._lock:
            start = max(self._next, self._now())
            self._next = start + self._interval_s
            return start - self._now()

    def hold_back(self, seconds: float) -> None:
        """Lets no request leave for some seconds, as an endpoint that is overrun asks."""
        with self._lock:
            self._next = max(self._next, self._now() + seconds)

    def wait(self) -> bool:
        """Waits for the next slot; False where the run was stopped meanwhile."""
        return not self.stopped.wait(self.reserve())

    def sleep(self, seconds: float) -> bool:
        """Waits; False where the run was stopped meanwhile."""
        return not self.stopped.wait(seconds)
