"""Runs notebooks in Databricks' source format, cell by cell, with what a notebook finds there made up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NOTEBOOKS = Path(__file__).parents[2] / "resources" / "notebooks"
HEADER = "# Databricks notebook source\n"
CELL = "# COMMAND ----------"


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
    """

    names: dict[str, Any]
    shown: list[tuple[Any, int]]
    widgets: Widgets


def cells(path: Path) -> list[str]:
    """Return the notebook's cells."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith(HEADER), f"{path.name} is no notebook in source format"
    return [cell.strip() for cell in text.removeprefix(HEADER).split(CELL)]


def run_notebook(path: Path, spark: Any, edits: dict[str, str], **answers: str) -> NotebookRun:
    """Run a notebook.

    Args:
        path: The notebook.
        spark: The notebook's session.
        edits: Lines that the user changes: beginning of the line -> what it reads instead.
        **answers: Widget -> value.
    """
    widgets, shown = Widgets(dict(answers)), []

    def display(item: Any) -> None:
        shown.append((item, item.count() if hasattr(item, "sparkSession") else len(item)))

    library = SimpleNamespace(restartPython=lambda: None)
    names = {"spark": spark, "dbutils": SimpleNamespace(widgets=widgets, library=library), "display": display}
    for number, cell in enumerate(cells(path), start=1):
        lines = [next((edits[start] for start in edits if line.startswith(start)), line) for line in cell.splitlines()]
        exec(compile("\n".join(lines), f"{path.name}, cell {number}", "exec"), names)
    return NotebookRun(names, shown, widgets)
