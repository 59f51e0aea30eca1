"""The manifest of a stored dataset: what it was built from, and what it holds.

It is plain JSON without times or machine paths, so that two builds from the same sources give the same bytes and the
manifest's own sha256 can name a dataset in a report.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modeling_hfr_ame.errors import DataError

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = "hfr-ame-dataset/1"
CORRUPTED_FORMAT = "hfr-ame-corrupted/1"
REQUIRED_KEYS = ("builder", "builder_version", "label_range")
_HASH_BLOCK_BYTES = 1 << 20


def read_manifest(folder: str | Path, manifest_format: str = MANIFEST_FORMAT) -> dict[str, Any]:
    """Reads the manifest of a stored dataset.

    Args:
        folder: The dataset's folder.
        manifest_format: What the manifest must call itself.

    Returns:
        The manifest as a dict; always has `format`, `builder`, `builder_version`, `dataset_name`, `label_range`,
        `feature_sizes`, `counts` and `files`.

    Raises:
        DataError: The folder has no manifest, or the manifest isn't one of ours.
    """
    path = Path(folder) / MANIFEST_NAME
    if not path.is_file():
        raise DataError(
            f"a stored dataset is a folder with a {MANIFEST_NAME}, found none in {str(folder)!r}; "
            "prepare the dataset first (dataset_scripts/)"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{MANIFEST_NAME} of {str(folder)!r} is not valid JSON ({error}); prepare it again") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != manifest_format:
        raise DataError(
            f"{MANIFEST_NAME} must state the format {manifest_format!r}, found {found!r} in {str(folder)!r}; "
            "prepare the dataset again with this version"
        )
    return manifest


def is_stored_dataset(folder: str | Path, manifest_format: str = MANIFEST_FORMAT) -> bool:
    """Tells whether a folder holds a manifest of ours in that format."""
    try:
        read_manifest(folder, manifest_format)
    except DataError:
        return False
    return True


def check_manifest(manifest: Mapping[str, Any]) -> tuple[float, float]:
    """Checks what a builder says about its dataset.

    Args:
        manifest: Needs `builder` (str), `builder_version` (str) and `label_range` (two increasing finite numbers).

    Returns:
        The label range.

    Raises:
        DataError: A key is missing or the range isn't one.
    """
    missing = [key for key in REQUIRED_KEYS if key not in manifest]
    if missing:
        raise DataError(f"a manifest needs {', '.join(REQUIRED_KEYS)}; {', '.join(missing)} not found; add them")
    label_range = manifest["label_range"]
    try:
        low, high = (float(value) for value in label_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DataError(f"label_range must be two increasing finite numbers, found {label_range!r}; give [low, high]")
    return low, high


def write_manifest(folder: str | Path, manifest: Mapping[str, Any]) -> Path:
    """Writes the manifest; keys keep their order.

    Raises:
        DataError: A value has no JSON form (a NaN, an array, a path).
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a manifest holds plain JSON values only ({error}); convert arrays to lists and paths to file names"
        ) from error
    path.write_text(text + "\n", encoding="utf-8")
    return path


def sha256_file(path: str | Path) -> str:
    """Gives the sha256 of a file's bytes as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
