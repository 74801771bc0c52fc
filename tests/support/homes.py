"""Homes of the tiny use case before and after undisturbed runs, to go on from and to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import clone, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case


@dataclass(frozen=True)
class Homes:
    """Closed workspaces to go on from, and the use case that was run in them.

    Attributes:
        tiny: The use case, with lines that are quarantined, and so wide a margin that every fair model is promoted.
        empty: With a registry, and nothing in it.
        first: After one undisturbed run, at `FIRST`.
        second: After another one, at `SECOND`.
    """

    FIRST: ClassVar[str] = "2020-08-01"
    SECOND: ClassVar[str] = "2020-11-01"

    tiny: TinyFolder
    empty: Path
    first: Path
    second: Path


def build_homes(folder: Path) -> Homes:
    """Make them in a folder; to be copied."""
    tiny = write_tiny_use_case(folder / "use_cases", rows_a_month=150, gate={"margin": 0.2})
    tiny.soil()
    root = folder / "second"
    with LocalWorkspace.open(root=root) as ws:
        assert ws.registry.aliases("dev.tiny.model") == {}
        empty = clone(root, folder / "empty")
        run_tiny(ws, tiny.folder, Homes.FIRST)
        first = clone(root, folder / "first")
        run_tiny(ws, tiny.folder, Homes.SECOND)
    return Homes(tiny, empty, first, root)
