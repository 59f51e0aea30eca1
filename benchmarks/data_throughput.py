"""Memory and speed of stored datasets: writing a split of any size, and reading rows back in random order.

    python benchmarks/data_throughput.py
    python benchmarks/data_throughput.py --gib 1 --out throughput.json

For each of three shapes a stand-in of random frames is written and read, each in a process of its own, so that its peak
resident memory is its own. `write_growth_mib` is what writing added to the process after its imports; it must not grow
with `--gib`. The row's content comes from a small pool, so that rows per second are those of the writer. Reading counts
no cache: `stored_rows` gives raw arrays (copied once, to read every value), `SentimentDataset` standardises frames and
tokenises words as training does. Medians of three passes. `load_growth_mib` and `read_peak_mib` hold pages of the
mapped file, which the system takes back when it needs them.
"""

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Frames and features of audio and vision.
SHAPES = {
    "mosi_aligned": ((50, 5), (50, 20)),
    "mosi_unaligned": ((375, 5), (500, 20)),
    "mosei_unaligned": ((500, 74), (500, 35)),
}
WORDS_PER_ROW = 20
POOL_ROWS = 32
PASSES = 3


def peak_mib() -> float:
    """Peak resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def count_rows(shape: str, gib: float) -> int:
    """Rows whose frames fill so many GiB."""
    values = sum(frames * features for frames, features in SHAPES[shape])
    return max(64, int(gib * 2**30 / (4 * values)))


def make_rows(shape: str, num_rows: int) -> Iterator[dict[str, Any]]:
    """Makes rows whose frames come from a pool of random arrays."""
    rng = np.random.default_rng(0)
    audio, vision = SHAPES[shape]
    pool = [(rng.standard_normal(audio, np.float32), rng.standard_normal(vision, np.float32)) for _ in range(POOL_ROWS)]
    for index in range(num_rows):
        frames = pool[index % POOL_ROWS]
        words = " ".join(f"word{number}" for number in rng.integers(0, 3000, WORDS_PER_ROW))
        yield {
            "id": f"video{index // 20:05d}$_${index % 20:03d}",
            "video_id": f"video{index // 20:05d}",
            "clip_id": f"{index % 20:03d}",
            "text": words,
            "audio": frames[0],
            "vision": frames[1],
            "label": float(index % 7 - 3),
        }


def write(shape: str, gib: float, folder: Path) -> dict[str, float]:
    """Writes the stand-in and reports rows per second and memory."""
    from modeling_hfr_ame.data.stored import write_stored_dataset

    num_rows = count_rows(shape, gib)
    before, start = peak_mib(), time.perf_counter()
    sizes = {"audio": SHAPES[shape][0][1], "vision": SHAPES[shape][1][1]}
    manifest = {"builder": "throughput", "builder_version": "1", "label_range": [-3, 3], "synthetic": True}
    write_stored_dataset(folder, {"train": make_rows(shape, num_rows)}, manifest, feature_sizes=sizes)
    wall_s = time.perf_counter() - start
    return {
        "rows": num_rows,
        "write_rows_per_s": num_rows / wall_s,
        "write_baseline_mib": before,
        "write_growth_mib": peak_mib() - before,
    }


def read(shape: str, num_reads: int, folder: Path) -> dict[str, float]:
    """Reads rows in random order and reports samples per second of processor time."""
    from modeling_hfr_ame.data import SentimentDataset, load_stored_dataset, stored_rows
    from modeling_hfr_ame.data.tokenizer_training import train_wordpiece_tokenizer
    from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
    from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
    from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor

    before, start = peak_mib(), time.perf_counter()
    dataset = load_stored_dataset(folder, "train")
    load_s, loaded = time.perf_counter() - start, peak_mib()
    rows = stored_rows(dataset)
    processor = HfrAmeProcessor(
        HfrAmeAudioFeatureExtractor(feature_size=SHAPES[shape][0][1]),
        HfrAmeVisionFeatureExtractor(feature_size=SHAPES[shape][1][1]),
        train_wordpiece_tokenizer([rows[index]["text"] for index in range(min(64, len(rows)))], vocab_size=2000),
    )
    processor.fit_scalers([rows[index] for index in range(min(32, len(rows)))])
    samples = SentimentDataset(dataset, processor, dataset_name="throughput", split="train", cache_mb=0.0)
    order = random.Random(0).choices(range(len(rows)), k=num_reads)
    rates = {}
    for name, take in (
        ("stored_rows", lambda index: copy_frames(rows[index])),
        ("sentiment_dataset", samples.__getitem__),
    ):
        times_s = []
        for _ in range(PASSES):
            start = time.process_time()
            for index in order:
                take(index)
            times_s.append(time.process_time() - start)
        rates[f"{name}_per_s"] = num_reads / statistics.median(times_s)
    return {"load_s": load_s, "load_growth_mib": loaded - before, **rates, "read_peak_mib": peak_mib()}


def copy_frames(row: dict[str, Any]) -> None:
    """Touches every value of a row, whose frames are views on a mapped file."""
    row["audio"].copy()
    row["vision"].copy()


def run_in_process(part: str, shape: str, arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Runs `write` or `read` in a new process and returns what it measured."""
    command = [sys.executable, __file__, "--part", part, "--shape", shape, "--folder", str(folder)]
    command += ["--gib", str(arguments.gib), "--reads", str(arguments.reads)]
    environment = {**os.environ, "HF_HOME": str(folder.parent / "home"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Runs the benchmark and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=0.05, help="size of each stand-in")
    parser.add_argument("--reads", type=int, default=2000, help="rows read in random order")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--shape", choices=list(SHAPES), help="only this shape")
    parser.add_argument("--part", choices=["write", "read"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "write":
        print(json.dumps(write(arguments.shape, arguments.gib, arguments.folder)))
        return
    if arguments.part == "read":
        print(json.dumps(read(arguments.shape, arguments.reads, arguments.folder)))
        return
    report: dict[str, Any] = {"gib": arguments.gib, "reads": arguments.reads, "shapes": {}}
    for shape in [arguments.shape] if arguments.shape else SHAPES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "dataset"
            parts = [run_in_process(part, shape, arguments, folder) for part in ("write", "read")]
        report["shapes"][shape] = {name: round(value, 2) for part in parts for name, value in part.items()}
    report |= {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()}
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
