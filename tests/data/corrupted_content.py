"""Prints the sha256 of a small dataset under each recipe and split, as JSON; the tests compare it with the stored one.

Frames are rounded to 3 decimals before they are hashed: noise, blur and low-pass go through a mathematical library
whose last bit may differ between machines. Their input is the same everywhere (`corrupted_rows.py`), so only those rare
last bits differ, and they fall on a boundary of the rounding about once in ten thousand of them.

After a deliberate change of values, for which PROTOCOL_VERSION rises: `python -m tests.data.corrupted_content` >
`tests/data/corrupted_content.json`.
"""

import json
import tempfile
from pathlib import Path

from modeling_hfr_ame.corruption import PROTOCOL_VERSION
from modeling_hfr_ame.data.corrupted_splits import load_corrupted
from modeling_hfr_ame.data.corruption_measures import ContentDigest
from modeling_hfr_ame.data.stored import stored_rows
from tests.data.corrupted_rows import CONFIGS, write_talkers

DECIMALS = 3


def hash_configs(folder: Path) -> dict[str, dict[str, str]]:
    hashes: dict[str, dict[str, str]] = {}
    for config in CONFIGS:
        hashes[config] = {}
        for split, rows in load_corrupted(folder, config).items():
            digest = ContentDigest(("audio", "vision"), DECIMALS)
            for row in stored_rows(rows):
                digest.add(row)
            hashes[config][split] = digest.hexdigest()
    return hashes


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        hashes = hash_configs(write_talkers(Path(scratch) / "talkers"))
    print(json.dumps({"protocol_version": PROTOCOL_VERSION, "sha256": hashes}, indent=2))  # noqa: T201 (its purpose)


if __name__ == "__main__":
    main()
