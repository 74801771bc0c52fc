"""What every stage is handed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from mlplatform.naming import Namespace
from mlplatform.ops.stage_runs import RunLog
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.as_of_view import WorkspaceAsOf
from mlplatform.use_case import UseCase

Progress = Callable[[str], None]
Advance = Callable[[int, int], None]


def silent(message: str) -> None:
    """Report progress to nobody."""
    del message


def nowhere(done: int, total: int) -> None:
    """Count rows for nobody."""
    del done, total


@dataclass(frozen=True)
class StageContext:
    """One run of one use case at one time.

    Attributes:
        ws: The workspace.
        use_case: The use case.
        as_of: What was known by then counts, nothing later.
        run_id: Of the run that the stage is part of.
        progress: Takes a line about what is being done.
        advance: Takes how many rows of how many are done, for a progress bar.
        shared_log: The record of the use case's runs, where several runs share one.
    """

    ws: Workspace
    use_case: UseCase
    as_of: datetime
    run_id: str
    progress: Progress = field(default=silent)
    advance: Advance = field(default=nowhere)
    shared_log: RunLog | None = None

    @cached_property
    def log(self) -> RunLog:
        """The record of the use case's runs."""
        return self.shared_log or RunLog(self.ws, self.namespace)

    @property
    def namespace(self) -> Namespace:
        """Where the use case's tables are."""
        return self.use_case.namespace

    def view(self, allowed: Collection[str] | None = None) -> WorkspaceAsOf:
        """Return the workspace as known at `as_of`."""
        return WorkspaceAsOf(self.ws, self.namespace, self.as_of, allowed=allowed)
