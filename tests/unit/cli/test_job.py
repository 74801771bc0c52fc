"""`mlplatform-job`: how a job's task ends, judged by the shell that runs it."""

from __future__ import annotations

import json
import signal
import sys

import click
import pytest

from mlplatform.cli import job
from mlplatform.cli.main import cli
from mlplatform.cli.main import main as command_line
from mlplatform.errors import NotPromotedError, PlatformError, UsageError
from tests.support.job_task import run_task

THREADS = pytest.mark.parametrize("off_main_thread", [False, True], ids=["main thread", "another thread"])


@pytest.fixture
def added(request: pytest.FixtureRequest):
    """Commands that end in a way of their own; gone after the test."""

    def add(name: str, body):
        cli.add_command(click.command(name)(body))
        request.addfinalizer(lambda: cli.commands.pop(name))

    return add


@pytest.mark.filterwarnings("ignore:To exit")
def test_the_shell_takes_any_exit_for_an_error():
    """Why the command line's own entry point cannot be a task: this is the runner's rule, not ours."""
    done = run_task(["--version"], name="mlplatform")
    assert not done.success
    assert isinstance(done.error, SystemExit)
    assert done.error.code == 0


@THREADS
def test_a_command_that_is_done_returns(off_main_thread):
    done = run_task(["config", "schema"], off_main_thread=off_main_thread)
    assert done.success, done.error
    assert done.returned is None
    assert json.loads(done.printed)["title"]
    for arguments in (["--version"], ["run", "--help"]):
        assert run_task(arguments, off_main_thread=off_main_thread).success


@THREADS
@pytest.mark.parametrize(
    ("parameters", "says", "hint"),
    [
        ([], "mlplatform was called without a command.", "Usage: mlplatform [OPTIONS] COMMAND"),
        (["deployment"], "mlplatform deployment was called without a command.", "Usage: mlplatform deployment"),
        (["nonsense"], "No such command 'nonsense'.", "mlplatform --help"),
        (["run"], "Missing argument 'USE_CASE'.", "Usage: mlplatform run [OPTIONS] USE_CASE"),
        (["run", "credit_risk", "--stge=train"], "'--stage'", "mlplatform run --help"),
        (
            ["deployment", "approval", "--model-version=x"],
            "'x' is not a valid integer",
            "mlplatform deployment approval",
        ),
        (["run", "credit_rsk"], "credit_rsk", "Did you mean credit_risk?"),
        (["run", "credit_risk", "--as-of=yesterday"], "is not a time", ""),
        (["run", "credit_risk", "--workspace=locl"], "locl", "Did you mean local?"),
    ],
)
def test_wrong_use_is_raised_with_the_usage(parameters, says, hint, off_main_thread):
    done = run_task(parameters, off_main_thread=off_main_thread)
    assert not done.success
    assert isinstance(done.error, PlatformError)
    assert done.error.exit_code == 2
    assert says in str(done.error)
    assert hint in str(done.error)
    assert done.printed.endswith(f"{done.error}\n"), "what the run's page shows last"


@THREADS
def test_a_refusal_is_the_error_itself_with_message_and_hint(off_main_thread, added):
    refusal = NotPromotedError("Version 2 was not promoted (rejected): worse.", hint="Read mlplatform history.")

    def refuse():
        raise refusal

    added("refuse", refuse)
    done = run_task(["refuse"], off_main_thread=off_main_thread)
    assert done.error is refusal
    # What the run's page shows.
    assert "Version 2 was not promoted (rejected): worse." in done.printed
    assert "Hint: Read mlplatform history." in done.printed


ERRORS = (PlatformError("ours"), KeyError("theirs"), BrokenPipeError(32, "gone"), KeyboardInterrupt(), EOFError())


@THREADS
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_failure_is_the_error_itself(error, off_main_thread, added):
    """A broken pipe, too: to an engine, say, and click's own runner makes an exit of it."""

    def fail():
        raise error

    added("fail", fail)
    done = run_task(["fail"], off_main_thread=off_main_thread)
    assert not done.success
    assert done.error is error


@pytest.mark.parametrize("code", [0, 1, "a text"])
def test_an_exit_from_below_is_an_error_that_says_so(code, added):
    added("leave", lambda: sys.exit(code))
    done = run_task(["leave"])
    assert isinstance(done.error, PlatformError)
    assert repr(code) in str(done.error)


def test_signals_stay_the_runner_s():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    assert run_task(["config", "schema"]).success
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_tables_are_text_where_the_runner_is_databricks(monkeypatch, added):
    from mlplatform.cli import output

    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "18.0")
    added("tell", lambda: output.console().print(output.table("a title", ("column",), [("cell",)])))
    done = run_task(["tell"])
    assert done.success
    assert "a title" in done.printed
    assert "cell" in done.printed
    assert not done.shown


def test_arguments_may_be_given_in_python():
    with pytest.raises(UsageError, match="No such command"):
        job.main(["nonsense"])


def test_a_broken_pipe_that_is_not_standard_output_s_is_an_error_of_the_command_line_too(added, monkeypatch):
    """A lost connection to an engine is a failure, not success."""

    def fail():
        raise BrokenPipeError(32, "the engine is gone")

    added("fail", fail)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # pytest's own stay
    with pytest.raises(BrokenPipeError, match="the engine is gone"):
        command_line(["fail"])
