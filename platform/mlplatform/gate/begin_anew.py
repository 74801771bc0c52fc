"""Beginning anew: models on record are gone for good, and the next champion is to be a first one; on record.

A champion that is gone is never taken for "there is none yet": every command that relies on one is refused until
somebody says what is to become of it. This is what to say where nothing can be brought back, neither the registry from
a backup nor a version that was champion.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from mlplatform.errors import UsageError
from mlplatform.gate import champion as champions
from mlplatform.gate import decision_log
from mlplatform.gate.decision import decision_id
from mlplatform.gate.decision_log import BEGUN_ANEW
from mlplatform.gate.details import GateDetails
from mlplatform.naming import CHAMPION, PREVIOUS_CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import GATE_DECISIONS, GateEvent
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage

KIND = "registry"
NO_VERSION = 0
"""Stands for the version of an event that is about none."""


@dataclass(frozen=True)
class BeginAnew(PlannedStage[GateDetails]):
    """The models on record are given up: what is decided from then on goes by the registry as it is.

    A registry that is lost is set aside first, with all that is left of it. Tables and predictions stay.

    Attributes:
        reason: Why, for the record.
    """

    name: ClassVar[str] = "begin-anew"
    recorded: ClassVar[bool] = False  # the event is its record

    reason: str

    def plan(self, context: StageContext) -> Plan[GateDetails]:
        """Return what would be set aside, taken away and recorded; changes nothing.

        Raises:
            UsageError: If no reason is given, or the champion on record is where it should be.
            RegistryError: If the registry cannot be read now.
        """
        ws, namespace, model = context.ws, context.namespace, context.model
        if not self.reason.strip():
            raise UsageError("To begin anew needs a reason.", hint='Say why: --reason "the disk is gone, no backup".')
        lost = ws.registry.lost()
        aliases = {} if lost else ws.registry.aliases(model)
        trouble = lost or champions.look(ws, namespace, aliases, forced=True).trouble
        if not trouble:
            number = aliases.get(CHAMPION)
            there = "has no champion on record" if number is None else f"has version {number} as champion, which exists"
            raise UsageError(
                f"{model} {there}: there is nothing to begin anew.",
                hint=f"Another champion: mlplatform promote or rollback. Who was champion: mlplatform history "
                f"{context.name}",
            )
        # Aliases first: once the record begins anew, one that is left would be a champion like any other.
        todo = [_taking(context, alias, aliases[alias]) for alias in (CHAMPION, PREVIOUS_CHAMPION) if alias in aliases]
        event = self._event(context)
        text = f"record that the models of {context.name} begin anew"
        todo.append(Action(text, lambda: GATE_DECISIONS.append(ws, namespace, [event])))
        if lost:
            todo.append(Action("set what is left of the registry aside", ws.registry.set_aside))
        details = GateDetails(
            decision_id=event.decision_id,
            kind=KIND,
            outcome=BEGUN_ANEW,
            reason=f"{self.reason} ({trouble})",
            champion=event.champion_version,
            steps=[action.text for action in todo],
            dry_run=True,
        )
        return Plan(StageResult(details), tuple(todo))

    def run(self, context: StageContext) -> StageResult[GateDetails]:
        """Begin anew."""
        with context.ws.lock(f"promote {context.model}"):
            plan = self.plan(context)
            plan.result.details.dry_run = False
            return plan.carry_out()

    def _event(self, context: StageContext) -> GateEvent:
        ws, namespace = context.ws, context.namespace
        recorded = decision_log.events(ws, namespace)
        line = decision_log.line_of_champions(recorded)
        last = line[-1] if line else None
        return GateEvent(
            decision_id=decision_id(str(context.model), NO_VERSION, last, None, KIND, self.reason, str(len(recorded))),
            event=BEGUN_ANEW,
            kind=KIND,
            use_case=namespace.use_case,
            model=str(context.model),
            as_of=context.as_of,
            outcome=BEGUN_ANEW,
            reason=self.reason,
            challenger_version=NO_VERSION,
            champion_version=last,
            decided_by=ws.user,
            recorded_at=datetime.now(UTC),
        )


def _taking(context: StageContext, alias: str, version: int) -> Action:
    text = f"take the alias {alias} away from version {version}"
    return Action(text, lambda: context.ws.registry.delete_alias(context.model, alias))
