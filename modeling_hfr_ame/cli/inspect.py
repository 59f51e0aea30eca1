"""`hfr-ame inspect`."""

from pathlib import Path

import typer


def inspect(
    folder: Path = typer.Argument(..., metavar="DIR", help="Stored dataset."),
    recipe: str = typer.Option("drop-0.5", "--corruption", help="Corruption shown in the picture."),
    out: Path | None = typer.Option(None, "--out", help="Picture to write; left out: data_sheet.png in DIR."),
    sample: str | None = typer.Option(None, "--sample", help="Id of the row to draw; left out: a typical one."),
) -> None:
    """Print a data sheet of a stored dataset, and save one picture of it."""
    from ..evaluation import draw_data_sheet, read_data_sheet

    sheet = read_data_sheet(folder)
    for line in sheet.lines():
        typer.echo(line)
    typer.echo(f"picture: {draw_data_sheet(folder, sheet, out or folder / 'data_sheet.png', recipe, sample)}")
