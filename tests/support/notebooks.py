"""Runs notebooks in Databricks' source format by IPython, cell by cell, with what a notebook finds there made up."""

from __future__ import annotations

import atexit
import re
import shlex
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

NOTEBOOKS = Path(__file__).parents[2] / "resources" / "notebooks"
HEADER = "# Databricks notebook source\n"
CELL = "# COMMAND ----------"
MAGIC = re.compile(r"^# MAGIC ?", re.MULTILINE)


@dataclass
class Widgets:
    """`dbutils.widgets`: what a notebook asks for, and the user's answers.

    Attributes:
        answers: Widget -> value that the user entered.
        asked: Widget -> default, as the notebook declared it.
    """

    answers: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str, label: str | None = None) -> None:
        """Declare a widget."""
        self.asked[name] = default

    def get(self, name: str) -> str:
        """Return what the user entered, else the default."""
        return self.answers.get(name, self.asked[name])


@dataclass
class NotebookRun:
    """A notebook that ran.

    Attributes:
        names: Its global names.
        shown: What it displayed, each with its rows.
        widgets: Its widgets.
        installed: The arguments of each `%pip`.
        restarts: How many cells had run when Python was restarted, for each restart.
    """

    names: dict[str, Any]
    shown: list[tuple[Any, int]]
    widgets: Widgets
    installed: list[list[str]]
    restarts: list[int]


def cells(path: Path) -> list[str]:
    """Return the notebook's cells, their magic lines as they are typed."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith(HEADER), f"{path.name} is no notebook in source format"
    return [cell.strip() for cell in text.removeprefix(HEADER).split(CELL)]


def run_notebook(path: Path, spark: Any, **answers: str) -> NotebookRun:
    """Run a notebook.

    What `%pip` would install is noted, not installed. A restart forgets all names but the notebook's own.

    Args:
        path: The notebook.
        spark: The notebook's session.
        **answers: Widget -> value.
    """
    module = ModuleType("notebook")
    run = NotebookRun(vars(module), [], Widgets(dict(answers)), [], [])

    def display(item: Any) -> None:
        run.shown.append((item, item.count() if hasattr(item, "sparkSession") else len(item)))

    asked: list[str] = []
    library = SimpleNamespace(restartPython=lambda: asked.append("restart"))
    own = {"spark": spark, "dbutils": SimpleNamespace(widgets=run.widgets, library=library), "display": display}
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    with tempfile.TemporaryDirectory() as folder:
        shell = InteractiveShell(config=config, ipython_dir=folder, user_module=module)
        # IPython's annotation takes a magic function for a shell.
        magic: Any = shell.register_magic_function
        magic(lambda line: run.installed.append(shlex.split(line)), "line", "pip")
        magic(lambda line, cell="": None, "line_cell", "md")
        try:
            shell.push(own)
            for number, cell in enumerate(cells(path), start=1):
                text = MAGIC.sub("", cell)
                result = shell.run_cell(f"%{text}" if text.startswith("%md\n") else text)
                error = result.error_before_exec or result.error_in_exec
                if error is not None:
                    error.add_note(f"{path.name}, cell {number}")
                    raise error
                if asked:
                    asked.clear()
                    run.restarts.append(number)
                    shell.reset(new_session=False)
                    shell.push(own)
        finally:
            # At the end of the process each shell would collect the garbage of all tests: minutes for some forty.
            atexit.unregister(shell.atexit_operations)
    return run
