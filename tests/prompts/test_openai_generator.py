import base64
import io
import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.prompts.generation import GenerationSummary, write_answers
from modeling_hfr_ame.prompts.openai_generator import CallOptions, OpenAIGenerator
from modeling_hfr_ame.prompts.rows import PromptRow
from modeling_hfr_ame.prompts.writer import PromptWriter, read_rows
from tests.prompts.loopback_endpoint import TROUBLES, LoopbackEndpoint, expected_text, seeded_troubles
from tests.prompts.prompt_rows import describe_store, text_requests

STORE = describe_store()
FAST: dict[str, Any] = {"first_pause_s": 0.005, "max_pause_s": 0.02, "timeout_s": 20.0}


def ask(
    endpoint: LoopbackEndpoint, folder: Path, count: int, *, calls: dict[str, Any] | None = None, **options: Any
) -> tuple[GenerationSummary, list[PromptRow]]:
    generator = OpenAIGenerator(
        endpoint.base_url, "some-model", calls=CallOptions(**{**FAST, **(calls or {})}), **options
    )
    with PromptWriter(folder, STORE) as writer:
        summary = write_answers(text_requests(count, STORE), generator, writer)
    return summary, read_rows(summary.store)


def test_answers_are_written_with_counts_and_cues(tmp_path: Path) -> None:
    with LoopbackEndpoint() as endpoint:
        summary, rows = ask(endpoint, tmp_path, 5)
    assert (summary.answered, summary.failed, summary.n_in, summary.n_out) == (5, 0, 55, 35)
    for row in rows:
        assert row.text == expected_text(f"What about words {row.sample_id[1:]}?")
        assert row.cues["language"] == row.text.removeprefix("Language: ")
        assert (row.finish, row.served_model) == ("stop", "served-1")
    payload = endpoint.payloads[rows[0].key]
    assert payload["model"] == "some-model"
    assert payload["max_tokens"] == 300
    assert payload["temperature"] == 0.0
    assert "image_detail" not in payload


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_passing_trouble_is_tried_again_and_nothing_is_asked_twice(trouble: str, tmp_path: Path) -> None:
    with LoopbackEndpoint(lambda key, attempt: trouble if attempt == 0 else "ok") as endpoint:
        waits, start = trouble in ("hang", "slow"), time.monotonic()
        summary, rows = ask(endpoint, tmp_path, 2, calls={"timeout_s": 1.0} if waits else None)
    # The server would hang for 30 s, and trickle for a minute.
    assert time.monotonic() - start < 25
    assert summary.answered == 2
    assert all(endpoint.behaviours_of(row.key) == [trouble, "ok"] for row in rows)
    assert set(endpoint.delivered.values()) == {1}


def test_mixed_troubles_leave_every_sample_answered_once(tmp_path: Path) -> None:
    with LoopbackEndpoint(seeded_troubles(3)) as endpoint:
        summary, rows = ask(endpoint, tmp_path, 40, calls={"concurrency": 8, "timeout_s": 0.5, "max_attempts": 20})
    assert summary.answered == len(rows) == 40
    assert len(endpoint.requests) > 45
    assert {row.key for row in rows} == set(endpoint.delivered)


def test_sample_that_never_works_is_a_failed_row_with_its_reason(tmp_path: Path) -> None:
    [first, second] = text_requests(2, STORE)
    with LoopbackEndpoint(lambda key, attempt: "500" if key == first.key else "ok") as endpoint:
        summary, rows = ask(endpoint, tmp_path, 2, calls={"max_attempts": 3})
        assert (summary.answered, summary.failed) == (1, 1)
        assert len(endpoint.behaviours_of(first.key)) == 3
        [failed] = [row for row in rows if not row.answered]
        assert failed.key == first.key
        assert str(failed.error).startswith("no answer in 3 attempts, the last: status 500")
        endpoint.behave = lambda key, attempt: "ok"
        summary, rows = ask(endpoint, tmp_path, 2)
    assert (summary.kept, summary.answered) == (1, 1)
    assert endpoint.delivered == {first.key: 1, second.key: 1}


@pytest.mark.parametrize(("trouble", "reason"), [("400", "refused: status 400"), ("refusal", "the model refused: no")])
def test_refused_sample_fails_at_once(trouble: str, reason: str, tmp_path: Path) -> None:
    [first, _] = text_requests(2, STORE)
    with LoopbackEndpoint(lambda key, attempt: trouble if key == first.key else "ok") as endpoint:
        summary, rows = ask(endpoint, tmp_path, 2)
    assert (summary.answered, summary.failed) == (1, 1)
    assert len(endpoint.requests) == 2
    assert next(row.error for row in rows if row.error).startswith(reason)


@pytest.mark.parametrize("status", ["401", "403", "404", "quota", "redirect"])
def test_hopeless_endpoint_ends_the_run_and_keeps_what_was_answered(status: str, tmp_path: Path) -> None:
    with LoopbackEndpoint(lambda key, attempt: status if len(endpoint.requests) >= 3 else "ok") as endpoint:
        with pytest.raises(
            ConfigError, match=r"must accept requests for the model 'some-model'.*what was answered is kept"
        ):
            ask(endpoint, tmp_path, 30, calls={"concurrency": 1})
        assert len(endpoint.requests) == 4
    assert len(read_rows(next(tmp_path.glob("*.jsonl")))) == 3


def test_answers_under_way_when_the_run_ends_are_kept(tmp_path: Path) -> None:
    requests = text_requests(4, STORE)
    with LoopbackEndpoint(lambda key, attempt: "401" if key == requests[0].key else "ok") as endpoint:
        endpoint.latency_s = 0.1
        with pytest.raises(ConfigError, match="must accept requests"):
            ask(endpoint, tmp_path, 30, calls={"concurrency": 4})
    rows = read_rows(next(tmp_path.glob("*.jsonl")))
    assert {row.key for row in rows} == set(endpoint.delivered)
    assert set(endpoint.delivered.values()) == {1}
    assert rows


def test_run_ends_after_many_failures_in_a_row(tmp_path: Path) -> None:
    with LoopbackEndpoint(lambda key, attempt: "500") as endpoint:
        calls = {"max_attempts": 1, "max_failed_in_row": 5, "concurrency": 1}
        with pytest.raises(ConfigError, match="a run ends after 5 failed samples in a row"):
            ask(endpoint, tmp_path, 30, calls=calls)
        assert len(endpoint.requests) == 5


def test_retry_after_holds_all_threads_back(tmp_path: Path) -> None:
    first = text_requests(1, STORE)[0]
    behave = lambda key, attempt: "429" if key == first.key and attempt == 0 else "ok"  # noqa: E731
    with LoopbackEndpoint(behave, latency_s=0.1, retry_after_s=1.0) as endpoint:
        ask(endpoint, tmp_path, 12, calls={"concurrency": 2})
    refused = next(time_s for _, behaviour, time_s in endpoint.requests if behaviour == "429")
    later = [time_s - refused for _, _, time_s in endpoint.requests if time_s > refused]
    # Requests of the other thread may have left before the refusal arrived; without the hold all would be early.
    assert sum(gap < 0.9 for gap in later) <= 3
    assert len(later) >= 10


def test_too_long_a_retry_after_ends_the_run(tmp_path: Path) -> None:
    with (
        LoopbackEndpoint(lambda key, attempt: "429", retry_after_s=3600) as endpoint,
        pytest.raises(ConfigError, match=r"waits at most 300 s \(max_retry_after_s\), the endpoint asks for 3600 s"),
    ):
        ask(endpoint, tmp_path, 3)


def test_rate_and_concurrency_are_kept(tmp_path: Path) -> None:
    with LoopbackEndpoint(latency_s=0.1) as endpoint:
        ask(endpoint, tmp_path, 12, calls={"concurrency": 3})
        assert 2 <= endpoint.most_under_way <= 3
    with LoopbackEndpoint() as endpoint:
        ask(endpoint, tmp_path / "paced", 6, calls={"requests_per_minute": 1200})
        times = [time_s for _, _, time_s in endpoint.requests]
    assert times[-1] - times[0] >= 5 * 0.05 * 0.8


def test_key_is_sent_from_the_environment_and_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-very-secret-0001"
    monkeypatch.setenv("MY_KEY", secret)
    requests = text_requests(3, STORE)
    with LoopbackEndpoint(lambda key, attempt: "400" if key == requests[0].key else "ok") as endpoint:
        _, rows = ask(endpoint, tmp_path, 3, key_variable="MY_KEY")
        assert {headers["Authorization"] for headers in endpoint.headers.values()} == {f"Bearer {secret}"}
        assert [row.error for row in rows if row.error] == ["refused: status 400: not with Bearer [key]"]
        endpoint.behave = lambda key, attempt: "401"
        with pytest.raises(ConfigError, match=r"not with Bearer \[key\] .*key from MY_KEY") as caught:
            ask(endpoint, tmp_path / "other", 3, key_variable="MY_KEY")
    generator = OpenAIGenerator(endpoint.base_url, "some-model", key_variable="MY_KEY")
    assert secret not in str(caught.value) + repr(vars(generator))
    assert all(secret.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_missing_key_is_told_before_any_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with LoopbackEndpoint() as endpoint:
        with pytest.raises(ConfigError, match="environment variable MY_KEY, which is not set"):
            ask(endpoint, tmp_path, 3, key_variable="MY_KEY")
        assert endpoint.requests == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "a request names a model, found no name"),
        ({"token_limit_name": "tokens"}, "max_tokens or max_completion_tokens, found 'tokens'"),
        ({"calls": {"concurrency": 0}}, "must be positive"),
        ({"calls": {"first_pause_s": -1}}, "pauses not negative"),
        ({"calls": {"requests_per_minute": 0}}, "requests_per_minute must be positive, found 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    values = {"model": "m", **options}
    with pytest.raises(ConfigError, match=message):
        OpenAIGenerator(
            "http://127.0.0.1/v1", values.pop("model"), calls=CallOptions(**values.pop("calls", {})), **values
        )


class _StillClip:
    def jpegs(self) -> list[bytes]:
        buffer = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(buffer, format="JPEG")
        return [buffer.getvalue()] * 2


def test_pictures_go_as_data_urls_after_the_words(tmp_path: Path) -> None:
    [request] = text_requests(1, STORE)
    shown = replace(request, clip=_StillClip(), inputs=replace(request.inputs, frames=("a", "b")))
    with LoopbackEndpoint() as endpoint:
        generator = OpenAIGenerator(endpoint.base_url, "m", image_detail="low", max_tokens=9, temperature=None, seed=4)
        [(_, answer)] = list(generator.answer([shown]))
    assert answer.text == expected_text(request.instruction)
    payload = endpoint.payloads[request.key]
    words, first, second = payload["messages"][0]["content"]
    assert words == {"type": "text", "text": request.instruction}
    assert first == second
    assert first["image_url"]["detail"] == "low"
    header, packed = first["image_url"]["url"].split(",")
    assert header == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(packed))).size == (8, 8)
    assert {"max_tokens": 9, "seed": 4}.items() <= payload.items()
    assert "temperature" not in payload
    assert "image_detail" not in payload


def test_sample_with_nothing_to_show_fails_without_a_request(tmp_path: Path) -> None:
    [request] = text_requests(1, STORE)
    with LoopbackEndpoint() as endpoint:
        generator = OpenAIGenerator(endpoint.base_url, "m")
        [(_, answer)] = list(generator.answer([replace(request, transcript=None)]))
        assert endpoint.requests == []
    assert str(answer.error).startswith("nothing to show")


@pytest.fixture
def _interruptible() -> Iterator[None]:
    # Parallel test workers ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_interruption_keeps_what_is_under_way(tmp_path: Path) -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def interrupt(count: int) -> None:
        if count == 4:
            threading.Timer(0.05, signal.pthread_kill, (main_thread, signal.SIGINT)).start()

    with LoopbackEndpoint(latency_s=1.5) as endpoint:
        endpoint.arrived = interrupt
        with pytest.raises(KeyboardInterrupt):
            ask(endpoint, tmp_path, 20, calls={"concurrency": 4})
    rows = read_rows(next(tmp_path.glob("*.jsonl")))
    assert {row.key for row in rows} == set(endpoint.delivered)
    assert len(rows) == len(endpoint.requests) == 4
    assert json.loads(rows[0].to_line())["status"] == "answered"
