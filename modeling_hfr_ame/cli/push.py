"""`hfr-ame push`."""

from pathlib import Path

import typer


def push(
    source: Path = typer.Argument(
        ..., metavar="RUN_OR_FOLDER", help="Run folder, exported repository folder, or folder of a dataset."
    ),
    repository: str = typer.Argument(..., metavar="OWNER/NAME", help="Repository; made if there is none."),
    results: list[Path] = typer.Option(
        [], "--results", help="results.json of `hfr-ame evaluate`, for the card of a run; repeatable."
    ),
    model: str | None = typer.Option(
        None, "--model", help="What the results call the run's model, if they hold several."
    ),
    dataset_id: str | None = typer.Option(None, "--dataset-id", help="OWNER/NAME of the run's dataset, for its card."),
    public: bool = typer.Option(False, "--public", help="Let the repository be public; otherwise it must be private."),
    tag: str | None = typer.Option(None, "--tag", help="Tag for the commit, such as v1; it must be new."),
    revision: str | None = typer.Option(None, "--revision", help="Branch to commit to; left out: main."),
    create_pr: bool = typer.Option(False, "--create-pr", help="Open a pull request instead of changing the branch."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check and list every file with its size; send nothing."),
    message: str | None = typer.Option(None, "--message", help="Commit message."),
) -> None:
    """Publish a trained run or a dataset on the Hugging Face Hub, as one commit."""
    from ..hub.push import push_run

    report = push_run(
        source,
        repository,
        results=results,
        model_name=model,
        dataset_id=dataset_id,
        private=not public,
        tag=tag,
        revision=revision,
        create_pr=create_pr,
        dry_run=dry_run,
        commit_message=message,
    )
    for line in report.lines():
        typer.echo(line)
