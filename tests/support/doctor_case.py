"""A workspace that tests damage, examine and repair, and the state of one that nothing happened to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlplatform.doctor.examination import examine
from mlplatform.doctor.repair import Repaired, repair
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.state import business_state
from tests.support.tiny_runs import open_tiny
from tests.support.tiny_use_case import NAME, TinyFolder

if TYPE_CHECKING:
    from pathlib import Path

    from mlplatform.doctor.finding import Finding


@dataclass(frozen=True)
class Case:
    """A workspace that may be damaged.

    Attributes:
        root: Its folder.
        tiny: The use case.
        twin: The state of a workspace that nothing happened to.
    """

    root: Path
    tiny: TinyFolder
    twin: dict[str, Any]

    def folder(self, table: str) -> Path:
        """Return the folder of a table, as in `tiny.silver_signups`."""
        schema, name = table.split(".")
        return self.root / "tables" / "dev" / schema / name

    def examine(self) -> list[Finding]:
        """Check all there is."""
        with LocalWorkspace.open(root=self.root) as ws:
            return examine(ws, NAME, self.tiny.open)

    def repair(self, *, dry_run: bool = False) -> Repaired:
        """Repair what can be."""
        with LocalWorkspace.open(root=self.root) as ws:
            return repair(ws, NAME, self.tiny.open, "first", dry_run=dry_run)

    def state(self) -> dict[str, Any]:
        """Return the business rows."""
        return state_of(self.root, self.tiny)


def state_of(root: Path, tiny: TinyFolder) -> dict[str, Any]:
    with LocalWorkspace.open(root=root) as ws:
        state = business_state(ws, open_tiny(ws, tiny.folder).namespace)
    # Which batch refined a row is another matter.
    return {
        key: [_without_batch(row) for row in rows] if isinstance(rows, list) else rows for key, rows in state.items()
    }


def _without_batch(row: Any) -> Any:
    return re.sub(r'"_batch": \d+, ', "", row) if isinstance(row, str) else row
