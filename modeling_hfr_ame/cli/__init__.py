"""The `hfr-ame` command: one thin file per sub-command.

Nothing in this folder imports torch or a Hugging Face library at module level, so that `hfr-ame --help` answers at
once; a sub-command imports what it needs inside its function.
"""

from collections.abc import Sequence

import typer

from . import (
    card,
    corrupt,
    demo,
    doctor,
    evaluate,
    export,
    generalize,
    inspect,
    parity,
    predict,
    prepare,
    prompts,
    push,
    space,
    train,
)
from .error_reporting import ErrorReportingGroup

__all__ = ["app", "main"]

app = typer.Typer(
    name="hfr-ame",
    cls=ErrorReportingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a bug shows Python's own traceback, which a report can quote
    help="Robust multimodal sentiment analysis: prepare data, train, evaluate under corruption.",
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(version("hfr-ame"))
        except PackageNotFoundError:
            typer.echo("unknown: the distribution hfr-ame is not installed")
        raise typer.Exit()


@app.callback()
def _global_options(
    debug: bool = typer.Option(
        False, "--debug", envvar="HFR_AME_DEBUG", help="Show the traceback of an error instead of one line."
    ),
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Declares the options that stand before a sub-command; `ErrorReportingGroup` reads `debug`."""


app.command()(demo.demo)
app.command()(prepare.prepare)
app.command()(inspect.inspect)
app.command()(prompts.prompts)
# HfArgumentParser owns the options of `train`, --help included, so Typer hands every argument on.
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    options_metavar="",
)(train.train)
app.command()(corrupt.corrupt)
app.command()(evaluate.evaluate)
app.command()(predict.predict)
app.command()(generalize.generalize)
app.command()(card.card)
app.command()(export.export)
app.command()(push.push)
app.command()(space.space)
app.command()(parity.parity)
app.command()(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
        arguments: The words after `hfr-ame`. None reads them from `sys.argv`.

    Raises:
        SystemExit: Always: 0 after success, 2 after a usage error or an `HfrAmeError`, 1 after an interruption.
    """
    app(args=None if arguments is None else list(arguments), prog_name="hfr-ame")
