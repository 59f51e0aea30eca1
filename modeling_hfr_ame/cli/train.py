"""`hfr-ame train`."""

import typer


def train(context: typer.Context) -> None:
    """Train a model; takes the arguments of examples/train.py, or one YAML file (`hfr-ame train --help` lists them)."""
    from ..training import main

    main(context.args)
