"""Time and memory of the safe pickle reader beside Python's own loader.

    python benchmarks/safe_pickle.py --megabytes 300 --samples 20000 --repeats 5

Both read the same generated file in turn in one process, so that a drift of the machine's speed hits both alike; the
report gives medians of the paired ratios with their range. The safe reader leaves large arrays in the file, so a second
measurement also sums every array on both sides: without that, one side would not have read the data.
"""

import argparse
import gc
import json
import pickle
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from modeling_hfr_ame.data.safe_pickle import read_pickle


def make_splits(megabytes: float) -> dict[str, dict[str, Any]]:
    """A dict of splits with padded arrays, as MMSA stores them."""
    generator = np.random.default_rng(0)
    num_rows = max(1, round(megabytes * 1e6 / (4 * (50 * 768 + 375 * 5 + 500 * 20))))
    arrays = {
        "text": generator.standard_normal((num_rows, 50, 768), dtype=np.float32),
        "audio": generator.standard_normal((num_rows, 375, 5), dtype=np.float32),
        "vision": generator.standard_normal((num_rows, 500, 20), dtype=np.float32),
        "regression_labels": generator.uniform(-3, 3, num_rows),
    }
    ids = [f"video{row // 20}$_${row % 20}" for row in range(num_rows)]
    lists = {"raw_text": [f"words of row {row}" for row in range(num_rows)], "id": np.array(ids)}
    bounds = {"train": (0, 7), "valid": (7, 8), "test": (8, 10)}
    return {
        split: {name: value[num_rows * first // 10 : num_rows * last // 10] for name, value in (arrays | lists).items()}
        for split, (first, last) in bounds.items()
    }


def make_samples(num_samples: int) -> dict[str, list[Any]]:
    """Lists of samples with three small arrays each, as MAG-BERT stores them."""
    generator = np.random.default_rng(0)
    words = [f"word{index}" for index in range(500)]

    def sample(index: int) -> tuple[Any, ...]:
        length = int(generator.integers(5, 20))
        arrays = (generator.standard_normal((length, 47)), generator.standard_normal((length, 74)))
        return (
            ([words[number] for number in generator.integers(0, 500, length)], *arrays),
            generator.standard_normal((1, 1)),
            f"segment{index}",
        )

    return {"train": [sample(index) for index in range(num_samples)]}


def load_plainly(path: Path) -> Any:
    """What the published loaders do. Only for a file that this script has just written."""
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301


def sum_arrays(value: Any) -> float:
    """Touches every number."""
    if isinstance(value, np.ndarray):
        return float(value.sum()) if value.dtype.kind == "f" else 0.0
    if isinstance(value, dict):
        return sum(sum_arrays(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(sum_arrays(item) for item in value if not isinstance(item, str))
    return 0.0


def timed(load: Callable[[Path], Any], path: Path, *, touch: bool) -> float:
    """Seconds of processor time to load a file and, on request, to sum its arrays."""
    gc.collect()
    start = time.process_time()
    value = load(path)
    if touch:
        sum_arrays(value)
    return time.process_time() - start


def paired_ratios(path: Path, repeats: int, *, touch: bool) -> dict[str, float]:
    """Times both loaders in turn and summarises them."""
    timed(read_pickle, path, touch=touch), timed(load_plainly, path, touch=touch)
    pairs = [(timed(read_pickle, path, touch=touch), timed(load_plainly, path, touch=touch)) for _ in range(repeats)]
    ratios = [ours / plain for ours, plain in pairs]
    return {
        "safe_s": statistics.median(ours for ours, _ in pairs),
        "plain_s": statistics.median(plain for _, plain in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def private_megabytes(loader: str, path: Path) -> float:
    """Growth of memory that isn't the file's, in a process that only loads. NaN where the system doesn't tell."""
    result = subprocess.run(
        [sys.executable, __file__, "--only-load", loader, str(path)], capture_output=True, text=True, check=True
    )
    return float(result.stdout)


def anonymous_megabytes() -> float:
    """Resident memory of this process that no file backs. NaN where the system doesn't tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) / 1000


def main() -> None:
    """Parses the arguments, measures, and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100, help="size of the file of large arrays")
    parser.add_argument("--samples", type=int, default=20000, help="number of samples in the file of small arrays")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only-load", nargs=2, metavar=("LOADER", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_load:
        loader, path = arguments.only_load
        before = anonymous_megabytes()
        value = (read_pickle if loader == "safe" else load_plainly)(Path(path))
        print(anonymous_megabytes() - before)
        del value
        return
    results: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "features.pkl")
        for kind, make in (
            ("large_arrays", lambda: make_splits(arguments.megabytes)),
            ("small_arrays", lambda: make_samples(arguments.samples)),
        ):
            for protocol in (2, 4, 5):
                with path.open("wb") as file:
                    pickle.dump(make(), file, protocol)
                entry: dict[str, Any] = {"file_mb": path.stat().st_size / 1e6}
                entry["read"] = paired_ratios(path, arguments.repeats, touch=False)
                entry["read_and_sum"] = paired_ratios(path, arguments.repeats, touch=True)
                entry["private_mb"] = {loader: private_megabytes(loader, path) for loader in ("safe", "plain")}
                results[f"{kind}_protocol_{protocol}"] = entry
    results["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
