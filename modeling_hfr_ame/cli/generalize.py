"""`hfr-ame generalize`."""

from pathlib import Path

import typer


def generalize(
    study: Path = typer.Argument(..., metavar="STUDY.yaml", help="Shared arguments, candidate settings, seeds."),
    out: Path = typer.Option(..., "--out", help="Folder for runs and results."),
) -> None:
    """Compare models with ERM on an unseen dataset: same tuning budget, selection on the sources, one look at it."""
    from ..training.domain_study import run_study_file

    typer.echo(run_study_file(study, out))
