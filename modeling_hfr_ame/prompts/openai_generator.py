"""Hints from an endpoint that speaks the OpenAI chat protocol: a provider's, or a server of your own.

- The key is read from the environment when a request leaves. It is in no option, row, card or message.
- What passes (429, 5xx, time-outs, broken or malformed replies) is tried again with growing pauses; a Retry-After is
  honoured by all threads. What doesn't (a refused key, an unknown model, no quota) ends the run at once.
- Each request carries its row's key as `Idempotency-Key`, which an endpoint may use to answer a repeated request from
  its memory.
- Answers under way when a run ends early were paid for, so they are waited for and kept.
"""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from modeling_hfr_ame.errors import ConfigError, MediaError
from modeling_hfr_ame.prompts.generation import failed_before_asking, media_failure
from modeling_hfr_ame.prompts.generator import Answer, PromptGenerator, PromptRequest
from modeling_hfr_ame.prompts.http_calls import HttpReply, RequestPacer, check_address, post_json

_PASSING: Final = frozenset({0, 408, 409, 425, 429})
_FINAL: Final = frozenset({301, 302, 303, 307, 308, 401, 402, 403, 404, 405})
_NO_QUOTA: Final = frozenset({"insufficient_quota", "billing_not_active"})


@dataclass(frozen=True)
class CallOptions:
    """How requests are made; none of these changes an answer.

    Attributes:
        concurrency: Requests under way at once.
        requests_per_minute: Largest rate; None = no limit.
        timeout_s: For connecting, for each read, and for a body as a whole.
        max_attempts: Tries per sample and run.
        first_pause_s: Pause after the first failed try; it doubles with each further one.
        max_pause_s: Longest pause of our own choosing.
        max_retry_after_s: Longest wait that an endpoint may ask for; the run ends if it asks for more.
        max_failed_in_row: The run ends after so many failed samples without an answer in between.
    """

    concurrency: int = 4
    requests_per_minute: float | None = None
    timeout_s: float = 60.0
    max_attempts: int = 6
    first_pause_s: float = 1.0
    max_pause_s: float = 60.0
    max_retry_after_s: float = 300.0
    max_failed_in_row: int = 20

    def __post_init__(self) -> None:
        numbers = (self.concurrency, self.timeout_s, self.max_attempts, self.max_failed_in_row)
        if min(numbers) <= 0 or min(self.first_pause_s, self.max_pause_s, self.max_retry_after_s) < 0:
            raise ConfigError(
                "concurrency, timeout_s, max_attempts and max_failed_in_row must be positive and pauses not negative, "
                f"found {self}; the defaults suit most endpoints"
            )
        if self.requests_per_minute is not None and self.requests_per_minute <= 0:
            raise ConfigError(
                f"requests_per_minute must be positive, found {self.requests_per_minute:g}; leave it out for no limit"
            )


class OpenAIGenerator(PromptGenerator):
    """Asks an OpenAI-compatible endpoint.

    Args:
        base_url: Address up to and without `/chat/completions`, such as `https://host/v1`.
        model: The model's name there.
        revision: What you know of its version; goes into rows and keys. None = not known.
        key_variable: Environment variable that holds the key; None = the endpoint needs none.
        max_tokens: Longest answer.
        temperature: 0 = the likeliest answer; None = the endpoint's default.
        seed: For endpoints that take one; None = not sent.
        token_limit_name: Name of the option for the longest answer; newer models want `max_completion_tokens`.
        image_detail: `low`, `high` or `auto`; None = not sent.
        calls: How requests are made.

    Raises:
        ConfigError: The address or an option can't be used.
    """

    kind = "openai"
    shows_pictures = True

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        revision: str | None = None,
        key_variable: str | None = None,
        max_tokens: int = 300,
        temperature: float | None = 0.0,
        seed: int | None = None,
        token_limit_name: str = "max_tokens",
        image_detail: str | None = None,
        calls: CallOptions | None = None,
    ) -> None:
        if not model:
            raise ConfigError("a request names a model, found no name; pass the model that the endpoint serves")
        if token_limit_name not in ("max_tokens", "max_completion_tokens"):
            raise ConfigError(
                f"token_limit_name is max_tokens or max_completion_tokens, found {token_limit_name!r}; pick one"
            )
        self.model_id = model
        self.model_revision = revision
        options = {"temperature": temperature, "seed": seed}
        self.decoding = {
            token_limit_name: max_tokens,
            **{name: value for name, value in options.items() if value is not None},
            **({"image_detail": image_detail} if image_detail else {}),
        }
        self.max_tokens = max_tokens
        self._url = check_address(base_url, with_key=key_variable is not None) + "/chat/completions"
        self._key_variable = key_variable
        self._calls = calls or CallOptions()

    def answer(self, requests: Iterable[PromptRequest]) -> Iterator[tuple[PromptRequest, Answer]]:
        """Asks with several threads and yields what comes back as it comes; see `PromptGenerator`.

        Raises:
            ConfigError: The key is missing or refused, the model is unknown, the quota is used up, the endpoint asks
                for too long a wait, or too many samples failed in a row. Answers that were under way come first.
        """
        self._key()
        pending = iter(requests)
        pacer = RequestPacer(self._calls.requests_per_minute)
        failed_in_row = 0
        ending: BaseException | None = None
        under_way: dict[Future[Answer], PromptRequest] = {}
        with ThreadPoolExecutor(self._calls.concurrency, thread_name_prefix="prompts") as pool:
            try:
                while True:
                    if ending is None:
                        for request in islice(pending, self._calls.concurrency - len(under_way)):
                            under_way[pool.submit(self._ask, request, pacer)] = request
                    if not under_way:
                        break
                    try:
                        done = wait(under_way, return_when=FIRST_COMPLETED).done
                    except KeyboardInterrupt as interruption:
                        if ending is not None:
                            raise
                        ending = interruption
                        pacer.stopped.set()
                        continue
                    for future in done:
                        request = under_way.pop(future)
                        try:
                            answer = future.result()
                        except _StoppedError:
                            continue
                        except ConfigError as error:
                            ending = ending or error
                            pacer.stopped.set()
                            continue
                        failed_in_row = failed_in_row + 1 if answer.error else 0
                        yield request, answer
                    if failed_in_row >= self._calls.max_failed_in_row and ending is None:
                        pacer.stopped.set()
                        ending = ConfigError(
                            f"a run ends after {failed_in_row} failed samples in a row (the last error is in the "
                            "store); see to the endpoint and run again, what was answered is kept"
                        )
            finally:
                pacer.stopped.set()
        if ending is not None:
            raise ending

    def _ask(self, request: PromptRequest, pacer: RequestPacer) -> Answer:
        """Tries one sample until it is answered, failed for good, or out of attempts."""
        if (failure := failed_before_asking(request)) is not None:
            return failure
        try:
            payload = self._payload(request)
        except MediaError as error:
            return media_failure(error)
        jitter = random.Random(request.key)
        reply = HttpReply(0, None, "never sent")
        for attempt in range(self._calls.max_attempts):
            if not pacer.wait():
                raise _StoppedError
            reply = self._send(payload, request)
            answer = self._judge(reply)
            if answer is not None:
                return answer
            if attempt + 1 < self._calls.max_attempts and not pacer.sleep(self._pause(reply, attempt, jitter, pacer)):
                raise _StoppedError
        problem = reply.problem or "a completion without text"
        return Answer(error=f"no answer in {self._calls.max_attempts} attempts, the last: {problem}")

    def _send(self, payload: dict[str, Any], request: PromptRequest) -> HttpReply:
        key = self._key()
        headers = {"Idempotency-Key": request.key, **({"Authorization": f"Bearer {key}"} if key else {})}
        reply = post_json(self._url, payload, headers, self._calls.timeout_s)
        # Providers quote a refused key.
        problem = reply.problem.replace(key, "[key]") if key else reply.problem
        return HttpReply(reply.status, reply.body, problem, reply.retry_after_s)

    def _pause(self, reply: HttpReply, attempt: int, jitter: random.Random, pacer: RequestPacer) -> float:
        asked = reply.retry_after_s
        if asked is not None and asked > self._calls.max_retry_after_s:
            raise ConfigError(
                f"a run waits at most {self._calls.max_retry_after_s:g} s (max_retry_after_s), the endpoint asks for "
                f"{asked:g} s; run again later, what was answered is kept"
            )
        if asked is not None:
            pacer.hold_back(asked)
        own = min(self._calls.max_pause_s, self._calls.first_pause_s * 2**attempt) * jitter.uniform(0.5, 1.0)
        return max(own, asked or 0.0)

    def _judge(self, reply: HttpReply) -> Answer | None:
        """Gives the answer or the final failure; None = try again."""
        if reply.status == 200:
            return None if reply.problem else _read_answer(reply.body)
        code = _error_code(reply.body)
        if reply.status in _FINAL or code in _NO_QUOTA:
            variable = f", key from {self._key_variable}" if self._key_variable else ", no key sent"
            raise ConfigError(
                f"the endpoint must accept requests for the model {self.model_id!r}, it answered {reply.problem} "
                f"(address {self._url}{variable}); correct the address, the model or the key, what was answered is kept"
            )
        if reply.status in _PASSING or reply.status >= 500:
            return None
        return Answer(error=f"refused: {reply.problem}")

    def _payload(self, request: PromptRequest) -> dict[str, Any]:
        options = {name: value for name, value in self.decoding.items() if name != "image_detail"}
        return {
            "model": self.model_id,
            "messages": [{"role": "user", "content": self._content(request)}],
            **options,
        }

    def _content(self, request: PromptRequest) -> str | list[dict[str, Any]]:
        if request.clip is None or not request.num_pictures:
            return request.instruction
        detail = self.decoding.get("image_detail")
        images = [
            {
                "type": "image_url",
                "image_url": {
                    "url": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"),
                    **({"detail": detail} if detail else {}),
                },
            }
            for jpeg in request.clip.jpegs()
        ]
        return [{"type": "text", "text": request.instruction}, *images]

    def _key(self) -> str | None:
        if self._key_variable is None:
            return None
        key = os.environ.get(self._key_variable, "").strip()
        if not key:
            raise ConfigError(
                f"the key is read from the environment variable {self._key_variable}, which is not set; set it for "
                "this command, or leave --key-variable out for an endpoint without keys"
            )
        return key


class _StoppedError(Exception):
    """A sample that was given up because the run ends; it stays as it was in the store."""


def _read_answer(body: Any) -> Answer | None:
    """Reads a chat completion; None = it isn't one, try again."""
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
        finish = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    told: dict[str, Any] = {
        "n_in": _count(usage.get("prompt_tokens")),
        "n_out": _count(usage.get("completion_tokens")),
        "finish": finish if isinstance(finish, str) else None,
        "served_model": body.get("model") if isinstance(body.get("model"), str) else None,
    }
    if refusal or finish == "content_filter":
        return Answer(error=f"the model refused: {refusal or finish}", **told)
    if not isinstance(text, str) or not text.strip():
        return None
    return Answer(text=text, **told)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _error_code(body: Any) -> str | None:
    error = body.get("error") if isinstance(body, dict) else None
    return error.get("code") if isinstance(error, dict) else None
