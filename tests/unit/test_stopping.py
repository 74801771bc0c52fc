"""Ctrl-C: wherever it comes, and whatever is made of it on the way, the process ends as stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from mlplatform import stopping
from mlplatform.workspace.local import duck
from tests.support.crossed import crossed, every

# Each is run as the body of a command; `interrupt` sends the signal to this very process, so that it comes right there.
PLACES = {
    "in plain code": "interrupt()",
    "where somebody swallows it": """
        try:
            interrupt()
        except BaseException:
            pass
        reporter.line("going on")
        raise AssertionError("went on")
    """,
    "where somebody swallows it, at the very end": """
        try:
            interrupt()
        except:
            pass
    """,
    "where an error is made of it": """
        try:
            interrupt()
        except KeyboardInterrupt:
            raise RuntimeError("Query interrupted") from None
    """,
    "where an error of ours is made of it": """
        try:
            interrupt()
        except KeyboardInterrupt:
            raise StageError("the engine fell over", hint="?") from None
    """,
    "where it is left by an exit": """
        try:
            interrupt()
        except KeyboardInterrupt:
            sys.exit(0)
    """,
    "in the destructor of an object": """
        class Dying:
            def __del__(self):
                interrupt()
        Dying()
        time.sleep(30)
        raise AssertionError("went on")
    """,
    "in a callback of the garbage collector": """
        import weakref
        class Dying: pass
        thing = Dying()
        watching = weakref.ref(thing, lambda _: interrupt())
        del thing
        time.sleep(30)
        raise AssertionError("went on")
    """,
    "in a callback from C": """
        import ctypes
        callback = ctypes.CFUNCTYPE(None)(interrupt)
        callback()
        time.sleep(30)
        raise AssertionError("went on")
    """,
    "while a module is imported": """
        import importlib.abc, importlib.util
        class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path=None, target=None):
                return importlib.util.spec_from_loader(name, self) if name == "heavy" else None
            def exec_module(self, module):
                try:
                    interrupt()
                except BaseException as error:
                    raise ImportError("no heavy") from error
        sys.meta_path.insert(0, Finder())
        try:
            import heavy
        except ImportError:
            heavy = None
        reporter.line("going on")
        raise AssertionError("went on")
    """,
    "twice": """
        try:
            interrupt()
        finally:
            interrupt()
    """,
    "again while all is closed": """
        from contextlib import ExitStack
        with ExitStack() as stack:
            stack.callback(interrupt)
            stack.callback(interrupt)
            interrupt()
    """,
    "within a stage that records what failed": """
        from mlplatform.gate.champion_gate import guarded
        class Check:
            name = "check"
            def run(self, evidence):
                try:
                    interrupt()
                except KeyboardInterrupt:
                    raise RuntimeError("Query interrupted") from None
        print(guarded(Check(), None), file=sys.stderr)
        raise AssertionError("went on")
    """,
}
COMMAND = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored behind a shell's &
import click
from mlplatform.cli import main as entry, output
from mlplatform.errors import StageError

def interrupt():
    os.kill(os.getpid(), signal.{sent})
    time.sleep(30)  # the handler runs before this ends

@entry.cli.command("stop-here")
def stop_here():
    with output.reporting(total=1) as reporter:
{body}

sys.argv = ["mlplatform", "stop-here"]
entry.main()
"""


def run(body: str, sent: str = "SIGINT") -> subprocess.CompletedProcess[str]:
    code = COMMAND.format(body=textwrap.indent(textwrap.dedent(body), " " * 8), sent=sent)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("place", every(3, PLACES))
def test_a_ctrl_c_is_never_swallowed(place: str) -> None:
    done = run(PLACES[place])
    assert done.returncode == 130, done.stderr
    assert done.stderr.count("Stopped. What was finished is kept") == 1
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    assert "went on" not in done.stderr


@pytest.mark.parametrize(
    ("place", "sent"),
    crossed(["in plain code", "where an error is made of it", "in the destructor of an object"], ["SIGTERM", "SIGHUP"]),
)
def test_nor_is_a_termination_or_a_hang_up(place: str, sent: str) -> None:
    done = run(PLACES[place], sent)
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done.stderr


def test_without_one_errors_are_what_they_are() -> None:
    failed = run('raise StageError("the engine fell over", hint="start it")')
    assert (failed.returncode, "Error: the engine fell over" in failed.stderr) == (1, True)
    broken = run('raise RuntimeError("Query interrupted")')
    assert (broken.returncode, "RuntimeError: Query interrupted" in broken.stderr) == (1, True)
    assert run("sys.exit(7)").returncode == 7
    dying = run("class Dying:\n    def __del__(self):\n        raise ValueError('dead')\nDying()")
    assert (dying.returncode, "ValueError: dead" in dying.stderr) == (0, True)


def test_what_was_ignored_from_the_start_stays_ignored() -> None:
    code = COMMAND.format(body=" " * 8 + "os.kill(os.getpid(), signal.SIGINT)", sent="SIGINT")
    code = code.replace("signal.default_int_handler)", "signal.SIG_IGN)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_behind_nohup_a_hang_up_stays_ignored() -> None:
    code = COMMAND.format(body=" " * 8 + "os.kill(os.getpid(), signal.SIGHUP)", sent="SIGHUP")
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_afterwards_all_is_as_it_was() -> None:
    def state() -> list[object]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
        return [*map(signal.getsignal, numbers), sys.unraisablehook]

    before = state()
    with stopping.listening():
        assert state() != before
        stopping.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert stopping.requested()
    assert state() == before
    assert not stopping.requested()


def test_in_another_thread_signals_are_left_alone() -> None:
    seen: list[bool] = []

    def listen() -> None:
        with stopping.listening():
            seen.append(signal.getsignal(signal.SIGTERM) is before)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [True]


def test_duckdb_does_not_keep_it(tmp_path) -> None:
    """DuckDB makes an error of a Ctrl-C, which a gate would record as a reason to reject a version."""
    code = f"""
import os, pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from mlplatform.workspace.local import duck
def press(number: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return number
with duck.connect(pathlib.Path({str(tmp_path)!r})) as connection:
    connection.create_function("press", press)
    connection.execute("SELECT press(1)").fetchall()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    # Whether DuckDB makes an error of it, or lets it through, depends on where it is just then; the end does not.
    assert done.stderr.strip().endswith("KeyboardInterrupt"), done.stdout


def test_nor_does_it_where_it_stops_computing(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt), duck.connect(tmp_path):
        raise RuntimeError("Query interrupted")  # its words for a Ctrl-C between two steps of a query
    with pytest.raises(RuntimeError, match="out of memory"), duck.connect(tmp_path):
        raise RuntimeError("out of memory")
