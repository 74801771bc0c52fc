"""`mlplatform-job`: the same commands as the task of a Databricks job.

A wheel task does not start a process: its entry point is called inside an IPython shell, on whatever thread the runner
has. There leaving by `sys.exit` is an error, with code 0 too, and what the run's page shows is the text of the
exception. So this entry point returns when the command is done, raises the error itself when it is not, and leaves
signals to the runner.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from mlplatform.cli.main import execute
from mlplatform.errors import PlatformError, UsageError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command of `mlplatform` as a job's task.

    What exits with 3 on the command line raises `NotPromotedError`: the task fails, and no task after it runs.

    Args:
        arguments: The command and its options; None: those of the task, which stand in `sys.argv`.

    Raises:
        UsageError: If the command or its options are wrong.
        PlatformError: What the command raised, message and hint in its text; other errors come through as they are.

    Examples:
        >>> main(["run"])
        Traceback (most recent call last):
        ...
        mlplatform.errors.UsageError: Missing argument 'USE_CASE'.
        Hint: Usage: mlplatform run [OPTIONS] USE_CASE. All options: mlplatform run --help
    """
    try:
        execute(arguments)
    except click.ClickException as error:
        raise _as_ours(error) from None
    except SystemExit as end:
        # A library's, or a use case's: whatever its code, the command did not come to its end.
        raise PlatformError(
            f"The command was left by sys.exit({end.code!r}) before its end.",
            hint="The traceback says where: raise an error there, or return.",
        ) from end


def _as_ours(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    if context is None:
        return UsageError(error.format_message())
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is the whole help
        message = f"{context.command_path} was called without a command."
    else:
        message = error.format_message()
    usage = " ".join(context.get_usage().split())
    return UsageError(message, hint=f"{usage}. All options: {context.command_path} --help")
