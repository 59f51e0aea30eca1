"""Rows in the stored layout, and how tests write and compare them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.data.stored import write_stored_dataset

SIZES = {"audio": 5, "vision": 20}
MANIFEST = {"builder": "test_builder", "builder_version": "7", "label_range": [-3, 3]}


def make_row(index: int, absent: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(index)
    row: dict[str, Any] = {
        "id": f"v{index % 3}$_${index:04d}",
        "video_id": f"v{index % 3}",
        "clip_id": f"{index:04d}",
        "text": f"word {index}",
        "audio": rng.normal(size=(3 + index % 4, 5)).astype(np.float32),
        "vision": rng.normal(size=(2 + index % 5, 20)).astype(np.float32),
        "label": float(rng.uniform(-3, 3)),
    }
    return {**row, **dict.fromkeys(absent), **changes}


def mixed_rows() -> list[dict[str, Any]]:
    absences: list[tuple[str, ...]] = [
        (),
        ("audio",),
        ("vision",),
        ("text",),
        ("audio", "vision"),
        ("text", "audio"),
        (),
    ]
    return [make_row(index, absent) for index, absent in enumerate(absences)]


def write(folder: Path, splits: Mapping[str, Any], **options: Any) -> Path:
    return write_stored_dataset(folder, splits, MANIFEST, feature_sizes=SIZES, **options)


def assert_same_rows(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        assert set(row) == set(wanted)
        for name, value in wanted.items():
            if isinstance(value, np.ndarray):
                assert row[name].dtype == np.float32
                np.testing.assert_array_equal(row[name], value)
            else:
                assert row[name] == value
