"""Writes small HDF5 files in the layouts of computational sequences and of MFN's data."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Videos = Mapping[str, tuple[Any, Any]]


def write_csd(path: Path, root: str, videos: Videos, metadata: Mapping[str, str] | None = None) -> Path:
    """`videos` maps a key to features and intervals; `metadata` values are written as they are."""
    with h5py.File(path, "w") as file:
        data = file.create_group(f"{root}/data")
        for key, (features, intervals) in videos.items():
            group = data.create_group(key)
            if features is not None:
                group["features"] = features
            if intervals is not None:
                group["intervals"] = intervals
        for name, value in (metadata or {}).items():
            file[f"{root}/metadata/{name}"] = np.array([value], dtype=h5py.string_dtype())
    return path


def words(*spoken: str) -> np.ndarray:
    """(n, 1) bytes, as word sequences hold them."""
    return np.array([[word.encode()] for word in spoken])


def steps(num_steps: int, start_s: float = 0.0, step_s: float = 1.0) -> np.ndarray:
    """(n, 2) adjacent intervals."""
    starts = start_s + step_s * np.arange(num_steps)
    return np.stack([starts, starts + step_s], axis=1)


def write_labels(folder: Path, videos: Videos, name: str = "CMU_MOSI_Opinion_Labels") -> Path:
    metadata = {"root name": json.dumps("Opinion Segment Labels"), "dataset name": json.dumps("CMU-MOSI")}
    return write_csd(folder / f"{name}.csd", "Opinion Segment Labels", videos, metadata)


def write_d1(path: Path, values: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["d1"] = values
    return path


def write_mfn_split(folder: Path, split: str, labels: Any, frames: Mapping[str, Any]) -> None:
    """`frames` maps `audio`, `video` or `text` to (N, L, D)."""
    folder.mkdir(exist_ok=True)
    write_d1(folder / f"y_{split}.h5", labels)
    for name, values in frames.items():
        write_d1(folder / f"{name}_{split}{'_emb' if name == 'text' else ''}.h5", values)


def collect(source: Any, rules: Any) -> dict[str, list[dict[str, Any]]]:
    """All rows of a source by split."""
    return {split: list(rows(rules)) for split, rows in source.splits.items()}


def ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]
