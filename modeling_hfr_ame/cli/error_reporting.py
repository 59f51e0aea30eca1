"""How a user's mistake is shown: one line, not a traceback."""

import os
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import HfrAmeError

EXIT_CODE_USER_ERROR = 2  # what the parser uses for a wrong option: to the user both are "check what you passed"


class ErrorReportingGroup(TyperGroup):
    """The command group that shows an `HfrAmeError` of any sub-command as one red line on stderr and exits with 2.

    With `--debug` (or HFR_AME_DEBUG=1) the error passes through with its traceback. Other exceptions always do: they
    are bugs.
    """

    def invoke(self, ctx: Any) -> Any:
        """Runs the sub-command and reports its `HfrAmeError`.

        Args:
            ctx: Context of the group; its parameter `debug` decides.

        Returns:
            What the sub-command returns.

        Raises:
            typer.Exit: With code 2 after an `HfrAmeError` was shown.
            HfrAmeError: With `debug`.
        """
        try:
            return super().invoke(ctx)
        except HfrAmeError as error:
            if ctx.params.get("debug"):
                raise
            line = " ".join(str(error).split()) or type(error).__name__
            color = False if os.environ.get("NO_COLOR") else None  # None: colours on a terminal only
            typer.secho(f"error: {line}", fg=typer.colors.RED, err=True, color=color)
            raise typer.Exit(EXIT_CODE_USER_ERROR) from None
