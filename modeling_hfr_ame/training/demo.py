"""The demonstration behind `make demo`: generated talkers, two small models, one robustness curve.

The full model and the parameter-matched control without restoration are trained side by side, one process each with
one thread, which uses two cores fully; sizes and epochs are chosen so that all of it takes a few minutes there. The
comparison runs on one thread as well: matrices this small gain nothing from more, and threads that wait for each other
on a busy machine cost several times as much. One seed of a small model shows the machinery, not a result: the study is
in `docs/results/`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from modeling_hfr_ame.data import prepare_synthetic_talkers, read_manifest
from modeling_hfr_ame.errors import HfrAmeError
from modeling_hfr_ame.evaluation import compare_runs
from modeling_hfr_ame.training.arguments import DEFAULT_SEED
from modeling_hfr_ame.training.run_record import LOG_FILE

VARIANTS = ("full", "control")
NUM_EPOCHS = 3
_POLL_S = 0.5
_LAUNCH = "import sys; from modeling_hfr_ame.training import main; main(sys.argv[1:])"


def small_model_arguments() -> list[str]:
    """Training arguments of the demo-sized model: half the default widths."""
    return [
        "--learning_rate=1e-3",
        "--text_learning_rate=1e-3",
        "--global_batch_size=32",
        "--config_overrides",
        "hidden_size=32",
        "condition_size=32",
        "unet_channels=[32,48,64]",
    ]


def _start_training(variant: str, data: Path, out: Path, seeds: Sequence[int]) -> subprocess.Popen[bytes]:
    folder = out / variant
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"--variant={variant}",
        f"--dataset={data}",
        f"--output_dir={folder}",
        f"--num_train_epochs={NUM_EPOCHS}",
        "--disable_tqdm=true",
        "--overwrite",
        "--seeds",
        *(str(seed) for seed in seeds),
        *small_model_arguments(),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with (folder / "training.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *arguments], stdout=log, stderr=subprocess.STDOUT, env=environment
        )


def _finished_epochs(folder: Path, seeds: Sequence[int]) -> float:
    """Epochs done over all seeds of a variant, read from the training logs as they grow."""
    done = 0.0
    for seed in seeds:
        log = folder / f"seed-{seed}" / LOG_FILE
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        epochs = [json.loads(line).get("epoch") or 0.0 for line in lines if line.endswith("}")]
        done += max(epochs, default=0.0)
    return done


def _train_variants(data: Path, out: Path, seeds: Sequence[int], console: Console) -> None:
    processes = {variant: _start_training(variant, data, out, seeds) for variant in VARIANTS}
    columns = (TextColumn("{task.description:>16}"), BarColumn(), TextColumn("{task.fields[epochs]}"))
    try:
        with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
            total = NUM_EPOCHS * len(seeds)
            bars = {name: progress.add_task(f"training {name}", total=total, epochs="starting") for name in VARIANTS}
            while any(process.poll() is None for process in processes.values()):
                for name, bar in bars.items():
                    done = _finished_epochs(out / name, seeds)
                    progress.update(bar, completed=done, epochs=f"epoch {done:.0f} of {total}")
                time.sleep(_POLL_S)
            for name, bar in bars.items():
                progress.update(bar, completed=total, epochs="done" if processes[name].returncode == 0 else "failed")
    finally:
        for process in processes.values():
            process.kill()
    failed = [name for name, process in processes.items() if process.returncode != 0]
    if failed:
        log = out / failed[0] / "training.log"
        raise HfrAmeError(
            f"the demo's training must finish, but that of {', '.join(failed)} failed; see the end of {log}, and run "
            "`hfr-ame doctor` to check the installation"
        )


def run_demo(out: str | Path, seeds: int = 1, console: Console | None = None) -> dict[str, object]:
    """Generates the talkers, trains the full model and its control, and compares them under P0, P1 and P2.

    Args:
        out: Folder for the data, the runs and the report.
        seeds: Number of training seeds, from `DEFAULT_SEED` on.
        console: Where progress and tables are printed. None means standard output.

    Returns:
        The document that is written to `results.json`.

    Raises:
        HfrAmeError: A training failed; the message names its log.
    """
    out, console = Path(out), console or Console()
    start = time.perf_counter()
    data = out / "synthetic_talkers"
    prepare_synthetic_talkers(data, overwrite=True)
    counts = {split: values["rows"] for split, values in read_manifest(data)["counts"].items()}
    console.print(f"Generated talkers: {counts} in {data}", highlight=False)
    _train_variants(data, out, [DEFAULT_SEED + index for index in range(seeds)], console)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        document = compare_runs({name: out / name for name in VARIANTS}, data=data, out=out, console=console)
    finally:
        torch.set_num_threads(num_threads)
    console.print(
        f"Trained models: {out / 'full'} and {out / 'control'}. Took {time.perf_counter() - start:.0f} s.",
        highlight=False,
        soft_wrap=True,
    )
    return document
