"""`hfr-ame export`."""

from pathlib import Path

import typer


def export(
    run: Path = typer.Argument(..., metavar="RUN", help="Folder of a finished run."),
    out: Path = typer.Argument(..., metavar="OUT", help="Repository folder to make."),
    card: Path | None = typer.Option(None, "--card", help="Text of README.md; left out: no card is written."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an earlier export in OUT."),
) -> None:
    """Write a model repository that runs without this package: weights, code, processor, endpoint handler."""
    from ..errors import DataError
    from ..hub.export import export_run

    if card is not None and not card.is_file():
        raise DataError(f"a card must be a text file, found none at {str(card)!r}; write one with hfr-ame card")
    text = None if card is None else card.read_text(encoding="utf-8")
    typer.echo(f"Written: {export_run(run, out, card=text, overwrite=overwrite)}")
