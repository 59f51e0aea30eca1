"""Own data from Python: a list of dicts becomes a stored dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.data.schema import FRAME_COLUMNS
from modeling_hfr_ame.data.sources.padded_arrays import SPLIT_NAMES
from modeling_hfr_ame.data.sources.source import split_row_id
from modeling_hfr_ame.data.stored import write_stored_dataset
from modeling_hfr_ame.errors import DataError

_DEFAULT_SPLIT = "train"
# A dataset without one of the frame modalities still needs a width for its column.
_WIDTH_WITHOUT_FRAMES = 1


def prepare_records(
    records: Iterable[Mapping[str, Any]],
    out: str | Path,
    *,
    dataset_name: str,
    label_range: tuple[float, float],
    feature_names: Mapping[str, list[str]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Stores records of one's own.

    Args:
        records: Dicts with `label` and at least one of `text` (str), `audio` and `vision` (n, D arrays or nested lists,
            raw features, one row per frame). Optional: `video_id` and `clip_id` (default: the record's position; clips
            of one video or speaker belong in one split), `split` (`train`, `valid`, `test`; default `train`), and
            further columns of str, bool, int or float.
        out: Folder of the stored dataset.
        dataset_name: Name for reports and corruption keys.
        label_range: Lowest and highest label.
        feature_names: Names of the audio and vision features, for reports.
        overwrite: Replace an existing stored dataset.

    Returns:
        The folder.

    Raises:
        DataError: There is no record, a record lacks its label or every modality, or breaks the row contract.

    Example:
        >>> import tempfile
        >>> record = {"text": "what a film", "audio": [[0.1, 0.2], [0.3, 0.1]], "label": 1.0}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     prepare_records([record], folder + "/mine", dataset_name="mine", label_range=(-3, 3)).name
        'mine'
    """
    splits: dict[str, list[dict[str, Any]]] = {}
    widths: dict[str, int] = {}
    for position, record in enumerate(records):
        if "label" not in record:
            raise DataError(
                f"a record needs a label, record {position} has the keys {', '.join(map(str, record))}; add it"
            )
        row = {"text": None, **dict.fromkeys(FRAME_COLUMNS), **record}
        split = str(row.pop("split", _DEFAULT_SPLIT))
        if split not in SPLIT_NAMES:
            raise DataError(
                f"a split must be one of {', '.join(SPLIT_NAMES)}, record {position} has {split!r}; rename it"
            )
        row["video_id"] = str(row.get("video_id", position))
        row["clip_id"] = str(row.get("clip_id", 0))
        row.setdefault("id", split_row_id(row["video_id"], row["clip_id"]))
        for name in FRAME_COLUMNS:
            if row[name] is not None and name not in widths:
                shape = np.shape(row[name])
                if len(shape) != 2:
                    raise DataError(
                        f"{name} must be frames x features, record {position} has shape {shape}; give one row per frame"
                    )
                widths[name] = shape[1]
        splits.setdefault(SPLIT_NAMES[split], []).append(row)
    if not splits:
        raise DataError("a dataset needs at least one record, found none")
    return write_stored_dataset(
        out,
        splits,
        {
            "dataset_name": dataset_name,
            "builder": "records",
            "builder_version": "1",
            "label_range": list(label_range),
            **({"feature_names": {k: list(v) for k, v in feature_names.items()}} if feature_names else {}),
        },
        feature_sizes={name: widths.get(name, _WIDTH_WITHOUT_FRAMES) for name in FRAME_COLUMNS},
        overwrite=overwrite,
    )
