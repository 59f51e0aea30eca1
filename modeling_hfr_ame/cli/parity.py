"""`hfr-ame parity`."""

from pathlib import Path

import typer


def parity(
    folder: Path = typer.Argument(..., metavar="FOLDER", help="Weights, inputs and results of a published system."),
    brief: bool = typer.Option(False, "--brief", help="Print only what differs, and the sum."),
) -> None:
    """Compare a peer model with numbers of the published code; exit with 1 if a difference is too large."""
    from ..evaluation.parity import check_parity, parity_lines

    report = check_parity(folder)
    for line in parity_lines(report, brief=brief):
        typer.echo(line)
    if not report.passed:
        raise typer.Exit(1)
