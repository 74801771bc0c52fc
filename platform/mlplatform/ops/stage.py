"""A stage of the cycle: what it is called, what it reads and writes, when it is due, and what it would do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, Self

from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import D, StageResult


class Stage(ABC, Generic[D]):
    """A step of the cycle, with its parts and options as its fields.

    Subclasses are frozen dataclasses. A stage is idempotent: run again at the same `as_of`, it finds what is done.

    Attributes:
        name: Under which it is recorded.
        recorded: Whether its runs are recorded; what is recorded elsewhere (a decision) is not.
    """

    name: ClassVar[str]
    recorded: ClassVar[bool] = True

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:  # noqa: ARG002  (none, unless a stage says so)
        """Return the tables that it reads."""
        return ()

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:  # noqa: ARG002
        """Return the tables that it writes, those of its record aside."""
        return ()

    def due(self, context: StageContext) -> Self | None:  # noqa: ARG002
        """Return what of it is due: itself, itself with narrower options, or None when nothing is."""
        return self

    @abstractmethod
    def run(self, context: StageContext) -> StageResult[D]:
        """Do it.

        Raises:
            PlatformError: If it cannot be done; what was done before stays, and running again goes on from there.
        """


@dataclass(frozen=True)
class Action:
    """One action of a plan: what it does, in words, and the doing."""

    text: str
    act: Callable[[], object]


@dataclass(frozen=True)
class Plan(Generic[D]):
    """What a stage is about to do: a dry run prints the actions, a real run carries them out.

    Attributes:
        result: What it will have come to.
        actions: In order.
    """

    result: StageResult[D]
    actions: tuple[Action, ...] = ()

    def carry_out(self) -> StageResult[D]:
        """Do what is planned, and return the result."""
        for action in self.actions:
            action.act()
        return self.result


class PlannedStage(Stage[D]):
    """A stage that can say what it would do: a dry run is its plan, and a real run carries the same plan out."""

    @abstractmethod
    def plan(self, context: StageContext) -> Plan[D]:
        """Return what is to be done; changes nothing."""

    def run(self, context: StageContext) -> StageResult[D]:
        """Carry the plan out."""
        return self.plan(context).carry_out()
