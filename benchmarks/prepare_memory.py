"""Memory and speed of converting a large MMSA pickle: a stand-in file is written, then `prepare_source` reads it.

    python benchmarks/prepare_memory.py
    python benchmarks/prepare_memory.py --gib 1.2 --out prepare_memory.json

The file has MOSEI's widths and padded lengths (500 x 74 and 500 x 35 float32), 70 % of its rows in the training split,
random valid lengths, and pickle protocol 4. The conversion runs in a process of its own, so that its peak resident
memory is its own; `growth_mib` is what it added to the process after its imports. The bound that is checked: peak below
the size of the largest split plus 1 GiB.
"""

import argparse
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

AUDIO, VISION = (500, 74), (500, 35)
SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
_VALUES_PER_ROW = AUDIO[0] * AUDIO[1] + VISION[0] * VISION[1]


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _make_split(name: str, rows: int, draws: np.random.Generator) -> dict[str, Any]:
    split: dict[str, Any] = {
        "raw_text": [f"{name} words of row {index}" for index in range(rows)],
        "id": [f"{name}{index // 7}$_${index % 7}" for index in range(rows)],
        "regression_labels": np.round(draws.uniform(-3, 3, rows), 2).astype(np.float32),
    }
    for key, (length, width) in (("audio", AUDIO), ("vision", VISION)):
        frames = np.zeros((rows, length, width), np.float32)
        lengths = draws.integers(length // 4, length + 1, rows)
        for index, valid in enumerate(lengths):
            frames[index, :valid] = draws.standard_normal((valid, width), np.float32)
        split[key], split[f"{key}_lengths"] = frames, lengths.tolist()
    return split


def write_stand_in(path: Path, gib: float) -> dict[str, int]:
    """Writes the file.

    Args:
        path: The file.
        gib: Its size.

    Returns:
        Bytes of frames per split.
    """
    draws = np.random.default_rng(0)
    total = max(20, int(gib * 2**30 / (4 * _VALUES_PER_ROW)))
    counts = {name: max(2, int(share * total)) for name, share in SHARES.items()}
    with open(path, "wb") as file:
        pickle.dump({name: _make_split(name, rows, draws) for name, rows in counts.items()}, file, protocol=4)
    return {name: 4 * rows * _VALUES_PER_ROW for name, rows in counts.items()}


def convert(source: Path, out: Path) -> dict[str, float]:
    """Converts in this process; prints and returns what it cost."""
    from modeling_hfr_ame.data import prepare_source, read_manifest

    before, start = _peak_mib(), time.perf_counter()
    prepared = prepare_source(source, out)
    seconds = time.perf_counter() - start
    rows = sum(split["rows"] for split in read_manifest(prepared.folder)["counts"].values())
    measured = {"imports_mib": before, "peak_mib": _peak_mib(), "seconds": seconds, "rows": rows}
    print(json.dumps(measured))
    return measured


def _run_self(*options: str) -> Any:
    command = [sys.executable, __file__, *options]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description="Memory and speed of converting a large MMSA pickle.")
    parser.add_argument("--gib", type=float, default=0.1, help="size of the stand-in file")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--convert", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.convert:
        convert(*arguments.convert)
        return
    if arguments.write:
        print(json.dumps(write_stand_in(arguments.write, arguments.gib)))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "stand_in.pkl"
        # Not in this process: a child starts with the peak of its parent.
        sizes = _run_self("--write", str(source), "--gib", str(arguments.gib))
        measured = _run_self("--convert", str(source), str(Path(folder) / "out"))
        largest = max(sizes.values()) / 2**20
        result = {
            "file_mib": source.stat().st_size / 2**20,
            "largest_split_mib": largest,
            **measured,
            "growth_mib": measured["peak_mib"] - measured["imports_mib"],
            "bound_mib": largest + 1024,
            "within_bound": measured["peak_mib"] <= largest + 1024,
            "rows_per_s": measured["rows"] / measured["seconds"],
        }
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
