"""Inference Endpoints handler: JSON in, JSON out.

`export_run` copies this file into a model repository as `handler.py`, where the package isn't installed; it therefore
imports nothing of ours and loads the pipeline from the repository.

    {"inputs": {"text": "…", "audio": "<base64>", "vision": "<base64>"}, "parameters": {"batch_size": 8}}

`inputs` is a string (a text alone), an item or a list of items. Files are base64 of `.npy` (read without pickle) or
wav, and of other media where PyAV is installed; frames may also be nested lists of numbers. Nothing is ever read from a
path or an address. A wrong request is answered by {"error": …, "error_type": …}.
"""

import base64
import binascii
import json
import logging
import math
from typing import Any

from transformers import pipeline

TASK = "multimodal-sentiment-analysis"
MAX_ITEMS = 64
MAX_TEXT_CHARACTERS = 20_000
MAX_FILE_BYTES = 32 * 2**20
MAX_REQUEST_BYTES = 128 * 2**20
MAX_BATCH_SIZE = 32
_FILE_KEYS = ("audio", "vision", "video")
_NUMBER_KEYS = ("sampling_rate", "video_frame_rate")
_ITEM_KEYS = ("text", *_FILE_KEYS, *_NUMBER_KEYS)
_PARAMETERS = ("batch_size", *_NUMBER_KEYS)

_logger = logging.getLogger(__name__)


class RequestError(ValueError):
    """A request that breaks the rules at the top of this file."""


class EndpointHandler:
    """Answers requests with the repository's own pipeline.

    Args:
        path: Folder of the repository.
    """

    def __init__(self, path: str = "") -> None:
        self.pipeline = pipeline(TASK, model=path or ".", trust_remote_code=True)

    def __call__(self, data: Any) -> Any:
        """Answers one request.

        Args:
            data: The decoded JSON body.

        Returns:
            One result for one item, a list for a list, see the pipeline; or a dict with `error` and `error_type`.
        """
        try:
            return self._answer(data)
        except Exception as error:  # an endpoint answers in JSON whatever happens
            # The package isn't installed here, so its errors are known by the name of their base.
            is_ours = any(cls.__name__ in ("HfrAmeError", "RequestError") for cls in type(error).__mro__)
            if is_ours:
                return {"error": str(error), "error_type": type(error).__name__}
            _logger.exception("request failed")
            # What other libraries say may hold paths of the machine.
            return {"error": "the request failed inside the server; see its log", "error_type": "InternalError"}

    def _answer(self, data: Any) -> Any:
        if not isinstance(data, dict) or "inputs" not in data:
            raise RequestError(
                f"a request must be an object with inputs, found {_kind(data)}; write {{'inputs': {{'text': '…'}}}}"
            )
        unknown = sorted(set(map(str, data)) - {"inputs", "parameters"})
        if unknown:
            raise RequestError(f"a request may hold inputs and parameters, found {', '.join(unknown)}; drop them")
        parameters = _read_parameters(data.get("parameters"))
        inputs = data["inputs"]
        items = inputs if isinstance(inputs, list) else [inputs]
        if not 1 <= len(items) <= MAX_ITEMS:
            raise RequestError(f"inputs must hold 1 to {MAX_ITEMS} items, found {len(items)}; split the request")
        budget = _Budget()
        results = self.pipeline([_read_item(item, budget) for item in items], **parameters)
        json.dumps(results, allow_nan=False)
        return results if isinstance(inputs, list) else results[0]


class _Budget:
    """Counts the bytes of a request."""

    def __init__(self) -> None:
        self.left = MAX_REQUEST_BYTES

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise RequestError(f"a request may hold {MAX_REQUEST_BYTES} bytes of files, found more; split it")


def _read_parameters(parameters: Any) -> dict[str, Any]:
    if parameters is None:
        return {}
    if not isinstance(parameters, dict) or set(parameters) - set(_PARAMETERS):
        raise RequestError(f"parameters may hold {', '.join(_PARAMETERS)}, found {_kind(parameters)}; drop the others")
    size = parameters.get("batch_size", 1)
    if type(size) is not int or not 1 <= size <= MAX_BATCH_SIZE:
        raise RequestError(f"batch_size must be a whole number from 1 to {MAX_BATCH_SIZE}, found {size!r}; change it")
    for name in _NUMBER_KEYS:
        if name in parameters:
            _check_number(name, parameters[name])
    return dict(parameters)


def _read_item(item: Any, budget: _Budget) -> dict[str, Any]:
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, dict):
        raise RequestError(f"an item must be a string or an object, found {_kind(item)}; write {{'text': '…'}}")
    unknown = sorted(set(map(str, item)) - set(_ITEM_KEYS))
    if unknown:
        raise RequestError(f"an item may hold {', '.join(_ITEM_KEYS)}, found {', '.join(unknown)}; drop the others")
    text = item.get("text")
    if text is not None and not isinstance(text, str):
        raise RequestError(f"text must be a string, found {_kind(text)}; leave it out where there is none")
    if text is not None and len(text) > MAX_TEXT_CHARACTERS:
        raise RequestError(f"a text may have {MAX_TEXT_CHARACTERS} characters, found {len(text)}; shorten it")
    read: dict[str, Any] = {"text": text}
    for name in _NUMBER_KEYS:
        if item.get(name) is not None:
            read[name] = _check_number(name, item[name])
    for name in _FILE_KEYS:
        if item.get(name) is not None:
            read[name] = _read_file(name, item[name], budget)
    return read


def _read_file(name: str, value: Any, budget: _Budget) -> Any:
    if isinstance(value, list) and name != "video":
        return value
    if not isinstance(value, str):
        raise RequestError(f"{name} must be base64 or lists of numbers, found {_kind(value)}; encode the file")
    # Four characters hold three bytes; checked first, so that an oversized file is never decoded.
    if len(value) > 4 * MAX_FILE_BYTES // 3 + 4:
        raise RequestError(f"{name} may have {MAX_FILE_BYTES} bytes, found more; cut or compress the file")
    budget.spend(3 * len(value) // 4)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            f"{name} must be base64 of a .npy, wav or media file, found {error}; send the content, since paths and "
            "addresses are never read"
        ) from error


def _check_number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise RequestError(f"{name} must be a positive number, found {value!r:.40}; change it")
    return value


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(sorted(map(str, value)))[:80] or 'nothing'}"
    return type(value).__name__
