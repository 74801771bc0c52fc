"""What every stage is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import StageError
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops.stage_runs import RunLog, StageRun
from mlplatform.protocols.workspace import Workspace

Progress = Callable[[str], None]
Advance = Callable[[int, int], None]


def silent(message: str) -> None:
    """Report progress to nobody."""
    del message


def nowhere(done: int, total: int) -> None:
    """Count rows for nobody."""
    del done, total


def alone(stage: Any) -> StageRun[Any]:
    """Refuse to run another stage: there is no run that it could be a part of.

    Raises:
        StageError: Always.
    """
    raise StageError(f"The stage {stage.name} can only be run by a pipeline.", hint="Use Pipeline.execute.")


@dataclass(frozen=True)
class StageContext:
    """One run of one use case at one time.

    Attributes:
        ws: The workspace.
        namespace: Where the use case's tables are.
        settings: The use case's.
        as_of: What was known by then counts, nothing later.
        run_id: Of the run that the stage is part of.
        progress: Takes a line about what is being done.
        advance: Takes how many rows of how many are done, for a progress bar.
        shared_log: The record of the use case's runs, where several runs share one.
        execute: Runs another stage as a part of this run, on record.
    """

    ws: Workspace
    namespace: Namespace
    settings: UseCaseSettings
    as_of: datetime
    run_id: str
    progress: Progress = field(default=silent)
    advance: Advance = field(default=nowhere)
    shared_log: RunLog | None = None
    execute: Callable[[Any], StageRun[Any]] = field(default=alone)

    @cached_property
    def log(self) -> RunLog:
        """The record of the use case's runs."""
        return self.shared_log or RunLog(self.ws, self.namespace)

    @property
    def name(self) -> str:
        """The use case's name."""
        return self.namespace.use_case

    @property
    def tags(self) -> dict[str, str]:
        """What every table, run and model version of the use case is tagged with: whom to ask, and whose it is."""
        return {"owner": self.settings.owner, "use_case": self.name}

    @property
    def model(self) -> ObjectName:
        """The registered model."""
        return self.namespace.model
