"""`hfr-ame card`."""

from pathlib import Path

import typer


def card(
    run: Path = typer.Argument(..., metavar="RUN", help="Run folder, or a folder that holds seed-* runs."),
    results: list[Path] = typer.Option(
        [], "--results", help="results.json of hfr-ame evaluate, repeatable; left out: the card states no score."
    ),
    out: Path = typer.Option(..., "--out", help="Folder for README.md, its picture and .eval_results."),
    model: str | None = typer.Option(
        None, "--model", help="Name of the model in the results, where they hold several."
    ),
    repository: str | None = typer.Option(None, "--repository", help="OWNER/NAME for the example of use."),
    dataset_id: str | None = typer.Option(None, "--dataset-id", help="The training data's OWNER/NAME on the Hub."),
    data: Path | None = typer.Option(None, "--data", help="Stored dataset; left out: the one that the run recorded."),
) -> None:
    """Write the model card of a trained run from its record and its results."""
    from ..hub.card import build_card

    built = build_card(run, results, name=model, repository=repository, dataset_id=dataset_id, data=data)
    typer.echo(f"Written: {built.write(out)}")
