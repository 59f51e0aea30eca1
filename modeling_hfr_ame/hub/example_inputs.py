"""Example inputs of a model repository, made on the spot: no recording and no person behind them."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

EXAMPLE_TEXT = "the story is slow but the end is wonderful"
_NUM_FRAMES = {"audio": 40, "vision": 20}


def example_item(config: Any, processor: Any) -> dict[str, Any]:
    """Makes one item for the pipeline with every modality that the model reads.

    Args:
        config: The model's configuration, for its modalities.
        processor: The model's processor, for feature widths and scalers.

    Returns:
        `text`, and raw frames (n, D) float32 drawn from the fitted distribution of each feature, always the same ones.
    """
    item: dict[str, Any] = {}
    if "text" in config.modality_names:
        item["text"] = EXAMPLE_TEXT
    extractors = {"audio": processor.feature_extractor, "vision": processor.vision_feature_extractor}
    for seed, (name, extractor) in enumerate(extractors.items()):
        if name in config.modality_names:
            noise = np.random.default_rng(seed).normal(size=(_NUM_FRAMES[name], extractor.feature_size))
            mean, std = extractor.feature_mean or 0.0, extractor.feature_std or 1.0
            item[name] = (np.asarray(mean) + np.asarray(std) * noise).astype(np.float32)
    return item


def write_example_inputs(folder: Path, item: dict[str, Any], result: dict[str, Any]) -> None:
    """Writes the item as files, as the body of a request to the endpoint, and with the model's answer.

    Args:
        folder: A new folder.
        item: From `example_item`.
        result: What the model's pipeline gives for it.
    """
    folder.mkdir()
    request: dict[str, Any] = {}
    for name, value in item.items():
        if isinstance(value, str):
            (folder / f"{name}.txt").write_text(value + "\n", encoding="utf-8")
            request[name] = value
        else:
            stream = io.BytesIO()
            np.save(stream, value, allow_pickle=False)
            (folder / f"{name}.npy").write_bytes(stream.getvalue())
            request[name] = base64.b64encode(stream.getvalue()).decode("ascii")
    for name, content in (("request", {"inputs": request}), ("response", result)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
