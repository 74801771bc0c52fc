"""What is examined: a use case in a workspace, as of its newest run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from mlplatform.naming import ObjectName
from mlplatform.ops import markers, stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details
from mlplatform.protocols.workspace import Workspace
from mlplatform.scoring.stage import Score
from mlplatform.use_case import UseCase

T = TypeVar("T", bound=Details)


@dataclass(frozen=True)
class Subject:
    """A use case in a workspace.

    Attributes:
        use_case: The use case.
        context: Its newest run: `as_of` is the latest time at which a stage ended well.
        score: Its stage `score`.
    """

    use_case: UseCase
    context: StageContext
    score: Score

    @property
    def ws(self) -> Workspace:
        """The workspace."""
        return self.context.ws

    @property
    def name(self) -> str:
        """The use case's name."""
        return self.use_case.name

    def has_run(self, stage: str, table: ObjectName) -> bool:
        """Tell whether it is on record that a stage brought a table up to date."""
        return markers.last(self.context, stage, table, Details) is not None

    def holds(self, stage: str, table: ObjectName) -> bool:
        """Tell whether a table exists that a stage brought up to date: what else there is, is another check's."""
        return self.has_run(stage, table) and self.ws.tables.exists(table)

    def written(self, stage: str) -> tuple[ObjectName, ...]:
        """Return the tables that the newest run of a stage brought up to date: those that it looks after now."""
        for record in reversed(self.context.log.records(stage)):
            if record.status in stage_runs.ENDED_WELL:
                return tuple(map(ObjectName.parse, record.outputs))
        return ()

    @cached_property
    def at(self) -> str:
        """The time, as a command takes it."""
        from mlplatform.as_of import argument

        return argument(self.context.as_of)


def newest_moment(context: StageContext) -> StageContext | None:
    """Return a context as of the latest time at which a stage of the cycle ended well; None: none did."""
    from dataclasses import replace

    moments = [
        record.as_of
        for record in stage_runs.of_the_cycle(context.log.records())
        if record.status in stage_runs.ENDED_WELL
    ]
    return replace(context, as_of=max(moments)) if moments else None
