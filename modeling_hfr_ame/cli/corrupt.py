"""`hfr-ame corrupt`."""

from pathlib import Path

import typer


def corrupt(
    data: Path = typer.Argument(..., help="Folder of a stored dataset."),
    out: Path = typer.Option(..., "--out", help="Folder to write; `datasets.load_dataset(OUT, CONFIG)` reads it."),
    config: list[str] = typer.Option(
        ..., "--config", help="Recipe, such as drop-0.5, noise-3 or missing-text; repeatable. clean is always written."
    ),
    seed: int = typer.Option(0, "--seed", help="Seed of the draws."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an older folder of corrupted splits."),
) -> None:
    """Write corrupted versions of a stored dataset as named configs of one folder."""
    from ..data.corrupted_splits import write_corrupted
    from ..data.manifest import CORRUPTED_FORMAT, read_manifest

    folder = write_corrupted(data, out, config, seed=seed, overwrite=overwrite)
    for name, splits in read_manifest(folder, CORRUPTED_FORMAT)["configs"].items():
        rows = ", ".join(f"{split} {found['rows']}" for split, found in splits.items())
        typer.echo(f"{name}: {rows}")
    typer.echo(f"corrupted splits: {folder}")
