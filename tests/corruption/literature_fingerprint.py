"""Prints the sha256 of the masks of each published protocol, config and split over made-up lengths, as JSON.

After a deliberate change of masks: `python -m tests.corruption.literature_fingerprint` >
`tests/corruption/pinned_literature.json`. That they are the published ones is held by `test_literature_golden.py`.
"""

import hashlib
import json

import numpy as np

from modeling_hfr_ame.corruption import PROTOCOL_VERSION, read_recipe

NAMES = (
    *("lnln-0.0", "lnln-0.3", "lnln-0.7", "lnln-0.9", "lnln_fixed-text", "lnln_fixed-audio-vision"),
    *("tfr_net-0.2", "tfr_net-0.5", "emt_dlfr-0.4", "emt_dlfr-1.0", "imder_mr-0.3", "imder_mr-0.7"),
)
SPLIT_ROWS = {"train": 40, "validation": 11, "test": 23}
PADDED_LENGTHS = (12, 30, 25)


def make_lengths(num_rows: int) -> np.ndarray:
    # Arithmetic alone, so that no generator's version matters.
    rows = np.arange(num_rows)
    return np.stack([2 + rows * 7 % 11, 1 + rows * 5 % 30, 1 + rows * 3 % 25], axis=1)


def hash_literature() -> dict[str, dict[str, str]]:
    hashes: dict[str, dict[str, str]] = {}
    for name in NAMES:
        for split, num_rows in SPLIT_ROWS.items():
            ids = [f"{split}{row}$_$1" for row in range(num_rows)]
            recipe = read_recipe(name).over(padded_lengths=PADDED_LENGTHS)
            masks = recipe.bind(ids, make_lengths(num_rows), dataset="tiny", split=split, seed=5)
            digest = hashlib.sha256()
            for array in (*(masks.keep or ()), masks.removed):
                digest.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
            hashes.setdefault(name, {})[split] = digest.hexdigest()
    return hashes


if __name__ == "__main__":
    print(json.dumps({"protocol_version": PROTOCOL_VERSION, "sha256": hash_literature()}, indent=2))  # noqa: T201
