"""The endpoint handler of an exported repository, loaded as Inference Endpoints load it, without this package."""

import base64
import io
import json
import re
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame import MultimodalSentimentPipeline
from modeling_hfr_ame.hub.export import export_run
from tests.hub.clean_rooms import HANDLE, run_in_clean_room
from tests.hub.run_making import make_items, make_model, make_processor, make_run
from tests.media.clip_writing import even_times, tone, write_clip


def encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def npy(array: np.ndarray, allow_pickle: bool = False) -> str:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return encode(stream.getvalue())


def as_request(item: dict[str, Any]) -> dict[str, Any]:
    return {name: npy(value) if isinstance(value, np.ndarray) else value for name, value in item.items()}


FRAMES = npy(np.zeros((3, 5), np.float32))
# Name, limits set for it, body, and what the message says.
REFUSED: list[tuple[str, dict[str, int], Any, str]] = [
    ("no object", {}, ["the end"], "a request must be an object with inputs, found list"),
    ("no inputs", {}, {"input": "the end"}, "must be an object with inputs, found an object with input"),
    ("unknown part", {}, {"inputs": "the end", "url": "x"}, "found url; drop them"),
    ("no item", {}, {"inputs": []}, "1 to 64 items, found 0"),
    ("many items", {}, {"inputs": ["the end"] * 65}, "1 to 64 items, found 65"),
    ("a number", {}, {"inputs": 7}, "an item must be a string or an object, found int"),
    ("unknown key", {}, {"inputs": {"image": "x"}}, "an item may hold text, .* found image"),
    ("long text", {}, {"inputs": "a" * 20_001}, "20000 characters, found 20001"),
    ("text of words", {}, {"inputs": {"text": ["the"]}}, "text must be a string, found list"),
    ("nothing", {}, {"inputs": {}}, "a sample needs text, audio or vision"),
    ("a path", {}, {"inputs": {"audio": "/etc/passwd"}}, "a media file must be decodable|must be base64"),
    ("a relative path", {}, {"inputs": {"audio": "example_inputs/audio.npy"}}, "must be base64 .* never read"),
    ("an address", {}, {"inputs": {"audio": "http://127.0.0.1:9/a.wav"}}, "must be base64 .* addresses are never read"),
    (
        "a file object",
        {},
        {"inputs": {"audio": {"path": "/etc/passwd"}}},
        "must be base64 or lists of numbers, found an object",
    ),
    ("pickle", {}, {"inputs": {"audio": npy(np.array([{}], object), True)}}, "array of plain numbers"),
    ("cut off", {}, {"inputs": {"audio": encode(base64.b64decode(FRAMES)[:-1])}}, "one complete array"),
    ("large file", {"MAX_FILE_BYTES": 90}, {"inputs": {"audio": FRAMES}}, "audio may have 90 bytes, found more"),
    (
        "large request",
        {"MAX_REQUEST_BYTES": 300},
        {"inputs": [{"audio": FRAMES}] * 2},
        "300 bytes of files, found more",
    ),
    ("wrong width", {}, {"inputs": {"audio": npy(np.zeros((3, 4), np.float32))}}, "5"),
    ("batch size", {}, {"inputs": "the end", "parameters": {"batch_size": 33}}, "from 1 to 32, found 33"),
    ("batch of true", {}, {"inputs": "the end", "parameters": {"batch_size": True}}, "found True"),
    (
        "parameter",
        {},
        {"inputs": "the end", "parameters": {"device": "cuda"}},
        "parameters may hold .* found an object",
    ),
    (
        "rate",
        {},
        {"inputs": {"audio": FRAMES, "sampling_rate": -1}},
        "sampling_rate must be a positive number, found -1",
    ),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("endpoint")
    folder = export_run(make_run(root / "run"), root / "repository")
    items = make_items()
    requests = [
        ["one", {}, {"inputs": as_request(items[0])}],
        ["list", {}, {"inputs": [as_request(item) for item in items], "parameters": {"batch_size": 2}}],
        ["string", {}, {"inputs": "the end"}],
        ["numbers", {}, {"inputs": {"text": "the end", "vision": items[3]["vision"].tolist()}}],
        ["example", {}, json.loads((folder / "example_inputs" / "request.json").read_text())],
        *([name, limits, body] for name, limits, body, _ in REFUSED),
        ["afterwards", {}, {"inputs": "the end"}],
    ]
    report, _ = run_in_clean_room(HANDLE, root / "home", {"folder": str(folder), "requests": requests})
    report["example response"] = json.loads((folder / "example_inputs" / "response.json").read_text())
    return report


@pytest.fixture(scope="module")
def native_answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("native")
    folder = export_run(make_run(root / "run", native=True), root / "repository")
    clip = write_clip(root / "clip.mp4", even_times(), tone())
    body = {"inputs": {"text": "the end", "video": encode(clip.read_bytes())}}
    report, _ = run_in_clean_room(HANDLE, root / "home", {"folder": str(folder), "requests": [["clip", {}, body]]})
    report["expected"] = pipe(native=True)({"text": "the end", "video": clip})
    return report


def pipe(native: bool = False) -> MultimodalSentimentPipeline:
    return MultimodalSentimentPipeline(model=make_model(native), processor=make_processor(native), device="cpu")


def test_one_item_gives_the_pipelines_result(answers: dict[str, Any]) -> None:
    assert answers["one"] == pipe()(make_items()[0])


def test_list_gives_a_list_in_order(answers: dict[str, Any]) -> None:
    assert answers["list"] == pipe()(make_items(), batch_size=2)


def test_string_and_numbers_are_taken(answers: dict[str, Any]) -> None:
    assert answers["string"] == answers["afterwards"] == pipe()("the end")
    assert answers["numbers"] == pipe()(make_items()[3])


def test_example_request_gives_the_example_response(answers: dict[str, Any]) -> None:
    assert answers["example"] == answers["example response"]


def test_video_file_in_base64_gives_both_tracks(native_answers: dict[str, Any]) -> None:
    assert native_answers["clip"] == native_answers["expected"]
    assert native_answers["clip"]["gates"].keys() == {"text", "audio", "vision"}


@pytest.mark.parametrize(("name", "message"), [(name, message) for name, _, _, message in REFUSED])
def test_wrong_request_is_answered_by_a_named_error(answers: dict[str, Any], name: str, message: str) -> None:
    answer = answers[name]
    assert answer.keys() == {"error", "error_type"}
    assert answer["error_type"] in ("RequestError", "InputError", "MediaError")
    assert re.search(message, answer["error"])


def test_errors_name_no_folder_of_the_server(answers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    assert str(tmp_path_factory.getbasetemp()) not in json.dumps(answers)
    assert not any("root:" in json.dumps(answer) for answer in answers.values())
