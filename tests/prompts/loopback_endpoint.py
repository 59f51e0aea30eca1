"""An OpenAI-compatible chat endpoint on 127.0.0.1 that misbehaves as told, for tests of the unmodified client.

It names a request by its `Idempotency-Key` and keeps what it was asked and what it delivered. The answer to a request
is a function of its words, so two runs can be compared.
"""

import email.utils
import hashlib
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TROUBLES = ("429", "429-date", "500", "503", "hang", "malformed", "shapeless", "blank", "drop", "reset", "slow")
"""Behaviours after which the same request is tried again."""


def seeded_troubles(seed: int, rate: float = 0.4, patience: int = 4) -> Callable[[str, int], str]:
    """Draws a behaviour by key and attempt; from the attempt `patience` on it is always `ok`."""

    def behave(key: str, attempt: int) -> str:
        draw = random.Random(f"{seed}/{key}/{attempt}")
        return draw.choice(TROUBLES) if attempt < patience and draw.random() < rate else "ok"

    return behave


def expected_text(instruction: str) -> str:
    return f"Language: hint {hashlib.sha256(instruction.encode()).hexdigest()[:12]} 好."


class LoopbackEndpoint:
    """The endpoint; use it as a context manager.

    Args:
        behave: Behaviour by key and attempt (0, 1, …): `ok`, one of `TROUBLES`, or a status such as `401`.
        latency_s: Time that every answer takes.
        retry_after_s: What a 429 asks to wait.

    Attributes:
        requests: (key, behaviour, arrival time) of everything asked for, in order.
        delivered: How often each key's answer was sent in full, or was about to be.
        payloads: The last payload by key.
        headers: The last headers by key.
        most_under_way: Largest number of requests at once.
        arrived: Called with the number of requests after each arrival.
    """

    def __init__(
        self,
        behave: Callable[[str, int], str] = lambda key, attempt: "ok",
        *,
        latency_s: float = 0.0,
        retry_after_s: float = 0.05,
    ) -> None:
        self.behave = behave
        self.latency_s = latency_s
        self.retry_after_s = retry_after_s
        self.requests: list[tuple[str, str, float]] = []
        self.delivered: dict[str, int] = defaultdict(int)
        self.payloads: dict[str, Any] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.under_way = self.most_under_way = 0
        self.arrived: Callable[[int], None] = lambda count: None
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self._server = _QuietServer(("127.0.0.1", 0), _handler_for(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "LoopbackEndpoint":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def behaviours_of(self, key: str) -> list[str]:
        return [behaviour for found, behaviour, _ in self.requests if found == key]


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing about clients that were killed in the middle."""


def _handler_for(endpoint: LoopbackEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Idempotency-Key"] or ""
            with endpoint.lock:
                behaviour = endpoint.behave(key, len(endpoint.behaviours_of(key)))
                endpoint.requests.append((key, behaviour, time.monotonic()))
                endpoint.payloads[key], endpoint.headers[key] = payload, dict(self.headers)
                endpoint.under_way += 1
                endpoint.most_under_way = max(endpoint.most_under_way, endpoint.under_way)
                count = len(endpoint.requests)
            try:
                endpoint.arrived(count)
                endpoint.stopped.wait(endpoint.latency_s)
                self._behave(behaviour, key, payload)
            finally:
                with endpoint.lock:
                    endpoint.under_way -= 1

        def _behave(self, behaviour: str, key: str, payload: Any) -> None:
            content = payload["messages"][0]["content"]
            instruction = content if isinstance(content, str) else content[0]["text"]
            completion = {
                "model": "served-1",
                "choices": [
                    {"message": {"role": "assistant", "content": expected_text(instruction)}, "finish_reason": "stop"}
                ],
                "usage": {"prompt_tokens": 11, "completion_tokens": 7},
            }
            body = json.dumps(completion).encode()
            if behaviour == "ok":
                # Before sending: the client may be done, and the test look, before this thread runs again.
                with endpoint.lock:
                    endpoint.delivered[key] += 1
                self._send(200, body)
            elif behaviour.startswith("429"):
                dated = email.utils.formatdate(time.time() + 1, usegmt=True)
                wait = dated if behaviour == "429-date" else f"{endpoint.retry_after_s:g}"
                self._send(429, b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}', wait)
            elif behaviour == "quota":
                self._send(429, b'{"error": {"message": "no credit", "code": "insufficient_quota"}}')
            elif behaviour == "hang":
                endpoint.stopped.wait(30)
            elif behaviour == "malformed":
                self._send(200, body[: len(body) // 2] + b"}}")
            elif behaviour == "shapeless":
                self._send(200, b'{"choices": []}')
            elif behaviour in ("blank", "refusal"):
                completion["choices"][0]["message"] = {
                    "content": " \n",
                    "refusal": "no" if behaviour == "refusal" else None,
                }
                self._send(200, json.dumps(completion).encode())
            elif behaviour in ("drop", "slow"):
                self._send(200, body, cut=20)
                # `slow` trickles on; `drop` closes with most of the body unsent.
                while behaviour == "slow" and not endpoint.stopped.wait(0.2):
                    self.wfile.write(b" ")
            elif behaviour == "reset":
                self.close_connection = True
            elif behaviour == "redirect":
                self.send_response(302)
                self.send_header("Location", endpoint.base_url + "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                echoed = self.headers.get("Authorization", "nothing")
                self._send(int(behaviour), json.dumps({"error": {"message": f"not with {echoed}"}}).encode())

        def _send(self, status: int, body: bytes, retry_after: str | None = None, cut: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(body[:cut])
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler
