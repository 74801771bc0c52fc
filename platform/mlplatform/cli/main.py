"""`mlplatform`: the entry point, its commands, and what errors look like."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

import click

from mlplatform import no_space, stopping
from mlplatform.cli import (
    ablate,
    adopt,
    apply,
    backfill,
    begin_anew,
    bundle,
    check,
    completion,
    config,
    deployment,
    doctor,
    features,
    gate,
    history,
    ingest,
    maintain,
    monitor,
    new_use_case,
    output,
    plan,
    quarantine,
    rebuild,
    recalibrate,
    repair,
    report,
    retrain,
    rollback,
    run,
    score,
    setup,
    simulate,
    status,
    ui,
    upload_samples,
)
from mlplatform.cli.commands import CommandGroup
from mlplatform.config.folders import BrokenUseCaseWarning
from mlplatform.config.renamed import RenamedSettingWarning
from mlplatform.errors import PlatformError, shortened

PROGRAM, COMPLETION = "mlplatform", "_MLPLATFORM_COMPLETE"
STOPPED = 130
_LONGEST_PATH = 200
_LONG_WORD = re.compile(r"\S{300,}")
_SYSTEM = {
    errno.EACCES: "Is it yours to read and to write?",
    errno.EPERM: "Is it yours to read and to write?",
    errno.EROFS: "Nothing can be written there: name another folder by --home.",
    errno.ENAMETOOLONG: "Give a shorter path.",
    errno.ELOOP: "A link leads back to itself: remove it, or name another path.",
    errno.ENOTDIR: "A file stands where a folder is needed: name another path.",
    errno.EISDIR: "A folder stands where a file is needed: name another path.",
}

EPILOG = """\b
Examples:
  mlplatform doctor
  mlplatform run credit_risk --as-of 2006-01-01
  mlplatform --home /data/trial simulate credit_risk delivery_delay
  mlplatform status credit_risk --json
  mlplatform history credit_risk
  mlplatform plan credit_risk
  mlplatform gate credit_risk --as-of 2007-01-01 --dry-run
  mlplatform rollback credit_risk --reason "complaints about rejected loans"
  mlplatform new-use-case upsell --task classification --entity account --label bought --from-csv offers.csv
  mlplatform check upsell
  mlplatform bundle generate --check
More examples, of each command: mlplatform COMMAND --help

\b
Exit codes: 0 done, 1 failed, 2 wrong use, 3 not promoted: the gate said no, or could not look, 4 something breaking
waits (plan, apply, run, backfill).
"""
SECTIONS = {
    "Use it": (run.run, score.score, monitor.monitor, retrain.retrain, simulate.simulate),
    "Look at it": (
        status.status,
        report.report,
        features.features,
        ui.ui,
        history.history,
        history.explain,
        quarantine.quarantine,
        config.config,
        doctor.doctor,
    ),
    "Operate it": (
        gate.gate,
        gate.promote,
        rollback.rollback,
        recalibrate.recalibrate,
        begin_anew.begin_anew,
        backfill.backfill,
        adopt.adopt,
        maintain.maintain,
        apply.apply,
        ingest.ingest,
        rebuild.rebuild,
        repair.repair,
    ),
    "Author it": (new_use_case.new_use_case, check.check, plan.plan, ablate.ablate),
    "Deploy it": (bundle.bundle, setup.setup, deployment.deployment, upload_samples.upload_samples),
}


@click.group(
    cls=CommandGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="mlplatform", prog_name=PROGRAM)
def cli() -> None:
    """Feature tables, training, a champion/challenger gate, batch scoring and monitoring, for each use case."""


cli.add_sections(SECTIONS)
completion.attach(cli)


def execute(arguments: Sequence[str] | None = None, common: dict[str, Any] | None = None) -> None:
    """Run one command in this process, and return when it is done; what goes wrong is raised as it is.

    Args:
        arguments: The command and its options; None: those that the process was started with.
        common: Is filled with the common options that were given.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # Not cli.main, which swallows some errors and exits for others, even where it is asked not to.
        with cli.make_context(PROGRAM, words, obj={} if common is None else common) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:  # after --help and --version
        if end.exit_code:
            raise PlatformError(f"{PROGRAM} ended with exit code {end.exit_code}.") from end


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    if COMPLETION in os.environ:
        cli.main(prog_name=PROGRAM, complete_var=COMPLETION)  # a shell asks what may come next
    with output.readers_may_go():
        _show_warnings_plainly()
        code = _code(arguments)
    sys.exit(code)


def _show_warnings_plainly() -> None:
    """Let a warning about a file of the user's read as a message: it is about no line of code."""
    show, told = warnings.showwarning, set[str]()

    def showwarning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, RenamedSettingWarning | BrokenUseCaseWarning):
            text = output.printable(f"Warning: {message}")
            if text not in told:  # several places of a command look for use cases
                click.echo(text, err=True)
            told.add(text)
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = showwarning


def _code(arguments: Sequence[str] | None) -> int:
    """Run a command until it is done or the process is asked to stop; return its exit code."""
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
    return code


def _outcome(arguments: Sequence[str] | None) -> int:
    """Run a command; return its exit code. Once the process was asked to stop, that is its outcome, whatever comes."""
    try:
        code = _run(arguments)
    except (KeyboardInterrupt, click.Abort):
        return STOPPED
    except (Exception, SystemExit):
        if not stopping.requested():
            raise
    return STOPPED if stopping.requested() else code


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command, show its error if there is one, and return its exit code."""
    common: dict[str, Any] = {}
    try:
        execute(arguments, common)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        # It repeats what was typed, however long.
        text = _LONG_WORD.sub(lambda word: shortened(word[0]), shown.getvalue())
        click.echo(output.printable(text), nl=False, err=True)
        if isinstance(error, click.UsageError) and error.ctx is None:
            click.echo(f"Try '{PROGRAM} --help' for help.", err=True)  # else click says so, of the very command
        return 2
    except Exception as error:
        told = no_space.told(error, "the command") or _of_system(error) or error
        if not isinstance(told, PlatformError):
            raise
        stopping.check()  # perhaps somebody made this error of the request to stop
        return _shown(told, traced=error if common.get("debug") else None)
    return 0


def _of_system(error: Exception) -> PlatformError | None:
    """Return what the system says of a file or folder of the user's: that is all there is to say."""
    if not isinstance(error, OSError) or error.errno is None or error.filename is None:
        return None
    hint = _SYSTEM.get(error.errno, "--debug shows what was being done with it.")
    return PlatformError(f"{shortened(str(error.filename), _LONGEST_PATH)}: {error.strerror}.", hint=hint)


def _shown(error: PlatformError, *, traced: Exception | None) -> int:
    """Show an error and its hint, and the traceback where one is asked for; return the exit code."""
    if traced is not None:
        click.echo("".join(traceback.format_exception(traced)), err=True)
    click.echo(output.printable(f"Error: {error.message}"), err=True)
    if error.hint:
        click.echo(output.printable(f"Hint:  {error.hint}"), err=True)
    return error.exit_code
