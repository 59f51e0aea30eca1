"""`hfr-ame demo`."""

from pathlib import Path

import typer


def demo(
    out: Path = typer.Option(Path("runs/demo"), "--out", help="Folder for the data, the runs and the report."),
    seeds: int = typer.Option(1, "--seeds", min=1, help="Number of training seeds."),
) -> None:
    """Train and evaluate a small model on generated talkers, without data or network."""
    from ..training.demo import run_demo

    run_demo(out=out, seeds=seeds)
