"""`hfr-ame space`."""

from pathlib import Path

import typer


def space(
    model: str = typer.Argument(..., metavar="MODEL", help="Run folder, exported folder, or OWNER/NAME on the Hub."),
    out: Path = typer.Argument(..., metavar="OUT", help="Space folder to make."),
    title: str | None = typer.Option(None, "--title", help="Name shown above the Space."),
    revision: str | None = typer.Option(None, "--revision", help="Branch, tag or commit of OWNER/NAME."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an earlier Space in OUT."),
) -> None:
    """Write a Space folder with the web page for a model: app, package, requirements, card."""
    from ..hub.space import DEFAULT_TITLE, write_space

    written = write_space(model, out, title=title or DEFAULT_TITLE, revision=revision, overwrite=overwrite)
    typer.echo(f"Written: {written}")
