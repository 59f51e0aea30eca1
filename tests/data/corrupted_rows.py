"""A small talkers dataset whose frames are multiples of 1/64, and the recipes that tests run on it.

The generator of the talkers uses cosines and matrix products, whose last bits differ between machines; after rounding
to 1/64 they don't, nor do the statistics fitted on them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.data.stored import write_stored_dataset
from modeling_hfr_ame.data.synthetic_talkers import MODALITY_SIZES, generate_synthetic_talkers

CONFIGS = (
    "clean",
    "drop-0.5",
    "block-0.3",
    "missing-text",
    "missing-audio-vision",
    "noise-3",
    "blur-2",
    "lowpass-2-audio",
    "freeze-0.3",
    "impulse-4-vision",
    "mask-0.3",
    "delete-0.5",
    "typo-0.5",
    "asr-0.5",
)


def talker_splits() -> dict[str, list[dict[str, Any]]]:
    splits = generate_synthetic_talkers(num_train=8, num_validation=2, num_test=6)
    for rows in splits.values():
        for row in rows:
            for name in ("audio", "vision"):
                row[name] = (np.round(row[name] * 64) / 64).astype(np.float32)
    test = splits["test"]
    test[0]["audio"][4:7] = 0.0
    test[1]["vision"][2, 3] = -np.inf
    test[2]["audio"] = None
    test[3]["text"] = None
    test[4]["audio"] = test[4]["vision"] = None
    return splits


def write_talkers(folder: Path, **changes: Any) -> Path:
    manifest = {"builder": "synthetic_talkers", "builder_version": "1", "label_range": [-3, 3], **changes}
    return write_stored_dataset(folder, talker_splits(), manifest, feature_sizes=dict(MODALITY_SIZES))


def same_values(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Compares rows bit for bit; frames may be arrays or nested lists."""
    return first.keys() == second.keys() and all(_as_bytes(first[name]) == _as_bytes(second[name]) for name in first)


def _as_bytes(value: Any) -> Any:
    return np.asarray(value, np.float32).tobytes() if isinstance(value, (list, np.ndarray)) else value
