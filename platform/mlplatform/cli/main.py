"""`mlplatform`: the entry point, its commands, and what errors look like."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from mlplatform import stopping
from mlplatform.cli import (
    adopt,
    backfill,
    bundle,
    check,
    completion,
    config,
    deployment,
    doctor,
    gate,
    history,
    monitor,
    new_use_case,
    quarantine,
    retrain,
    rollback,
    run,
    score,
    setup,
    simulate,
    status,
    upload_samples,
)
from mlplatform.errors import PlatformError

PROGRAM, COMPLETION = "mlplatform", "_MLPLATFORM_COMPLETE"
STOPPED = 130

EXAMPLES = """\b
Examples:
  mlplatform doctor
  mlplatform run credit_risk --as-of 2006-01-01
  mlplatform simulate credit_risk delivery_delay
  mlplatform backfill delivery_delay --table route --from 2013-03-01 --to 2013-03-08
  mlplatform score credit_risk --as-of 2006-04-01
  mlplatform monitor credit_risk --as-of 2006-04-01
  mlplatform retrain credit_risk --as-of 2006-04-01 --dry-run
  mlplatform status credit_risk --json
  mlplatform quarantine credit_risk
  mlplatform config show credit_risk --env prod
  mlplatform check credit_risk
  mlplatform new-use-case upsell --task classification --entity account --label bought --from-csv offers.csv
  mlplatform upload-samples credit_risk --workspace databricks
  mlplatform history credit_risk
  mlplatform gate credit_risk --as-of 2007-01-01 --dry-run
  mlplatform rollback credit_risk --reason "complaints about rejected loans"
  mlplatform setup credit_risk --dry-run
  mlplatform bundle generate --check

\b
Exit codes: 0 done, 1 failed, 2 wrong use, 3 not promoted: the gate said no, or could not look.
"""


_DEBUG = "--debug"


class _Commands(click.Group):
    """Takes `--debug` before or after a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what is left without it; `main` shows what was asked for."""
        return super().parse_args(ctx, _without_debug(args)[0])


@click.group(
    cls=_Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="mlplatform", prog_name=PROGRAM)
@click.option(
    _DEBUG,
    is_flag=True,
    expose_value=False,
    help="Show the whole of what lies behind an error; also after the command.",
)
def cli() -> None:
    """Feature tables, training, a champion/challenger gate, batch scoring and monitoring, for each use case."""


COMMANDS = (
    run.run,
    simulate.simulate,
    backfill.backfill,
    score.score,
    monitor.monitor,
    retrain.retrain,
    gate.gate,
    gate.promote,
    rollback.rollback,
    adopt.adopt,
    setup.setup,
    deployment.deployment,
    status.status,
    quarantine.quarantine,
    history.history,
    history.explain,
    new_use_case.new_use_case,
    upload_samples.upload_samples,
    check.check,
    config.config,
    bundle.bundle,
    doctor.doctor,
)
for command in COMMANDS:
    cli.add_command(command)
completion.attach(cli)


def execute(arguments: Sequence[str] | None = None) -> None:
    """Run one command in this process, and return when it is done; what goes wrong is raised as it is.

    Args:
        arguments: The command and its options; None: those that the process was started with.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # Not cli.main, which swallows some errors and exits for others, even where it is asked not to.
        with cli.make_context(PROGRAM, given) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:  # after --help and --version
        if end.exit_code:
            raise PlatformError(f"{PROGRAM} ended with exit code {end.exit_code}.") from end


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    if COMPLETION in os.environ:
        cli.main(prog_name=PROGRAM, complete_var=COMPLETION)  # a shell asks what may come next
    try:
        with stopping.listening():
            code = _outcome(arguments)
    except KeyboardInterrupt:  # again, or at the very end
        code = STOPPED
    if arguments is None:
        # Nothing is left that could be lost: from here on Ctrl-C ends the process as it ends any other.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if code == STOPPED:
        click.echo("\nStopped. What was finished is kept: the same command again goes on from there.", err=True)
    sys.exit(code)


def _outcome(arguments: Sequence[str] | None) -> int:
    """Run a command; return its exit code. Once the process was asked to stop, that is its outcome, whatever comes."""
    try:
        code = _told(arguments)
    except (KeyboardInterrupt, click.Abort):
        return STOPPED
    except (Exception, SystemExit):
        if not stopping.requested():
            raise
    return STOPPED if stopping.requested() else code


def _told(arguments: Sequence[str] | None) -> int:
    _, debug = _without_debug(sys.argv[1:] if arguments is None else arguments)
    try:
        execute(arguments)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except PlatformError as error:
        stopping.check()  # perhaps somebody made this error of the request to stop
        if debug:
            click.echo("".join(traceback.format_exception(error)), err=True)
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(f"Hint:  {error.hint}", err=True)
        return error.exit_code
    except BrokenPipeError:
        if not _nobody_reads():
            raise
    return 0


def _nobody_reads() -> bool:
    """Tell whether we were piped into something that has ended, as `head` does; then drop what is not written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Take `--debug` out, wherever it stands before a `--`: a line that failed is repeated with it at the end."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != _DEBUG]
    return [*kept, *arguments[end:]], len(kept) < end
