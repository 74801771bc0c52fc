"""A job's task as Databricks runs it: an entry point called in an IPython shell, its parameters in sys.argv."""

from __future__ import annotations

import atexit
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

ENTRY_POINT = "mlplatform-job"
# Looked up by the names in the task's declaration, called without arguments.
CELL = """
from importlib.metadata import distribution
(point,) = distribution("mlplatform").entry_points.select(group="console_scripts", name={name!r})
returned = point.load()()
"""


@dataclass(frozen=True)
class Outcome:
    """What the shell tells of a cell.

    Attributes:
        success: Whether the shell holds that it ran well.
        error: What was raised, if anything.
        returned: What the entry point returned; only of a success.
        printed: Standard output and standard error.
        shown: Whether anything but text was displayed.
    """

    success: bool
    error: BaseException | None
    returned: object
    printed: str
    shown: bool


def run_task(parameters: Sequence[str], *, name: str = ENTRY_POINT, off_main_thread: bool = False) -> Outcome:
    """Run an entry point of the installed package as a wheel task does."""
    found: list[Outcome] = []
    if off_main_thread:
        thread = threading.Thread(target=lambda: found.append(_run(parameters, name)))
        thread.start()
        thread.join()
    else:
        found.append(_run(parameters, name))
    return found[0]


def _run(parameters: Sequence[str], name: str) -> Outcome:
    before = sys.argv
    # A module of its own: by default the shell takes the place of __main__.
    module = ModuleType("task")
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    with tempfile.TemporaryDirectory() as folder:
        shell = InteractiveShell(config=config, ipython_dir=folder, user_module=module)
        sys.argv = [name, *parameters]
        try:
            with capture_output() as captured:
                result = shell.run_cell(CELL.format(name=name))
        finally:
            sys.argv = before
            # At the end of the process each shell would collect the garbage of all tests: minutes for some forty.
            atexit.unregister(shell.atexit_operations)
    return Outcome(
        result.success,
        result.error_before_exec or result.error_in_exec,
        vars(module).get("returned"),
        captured.stdout + captured.stderr,
        bool(captured.outputs),
    )
