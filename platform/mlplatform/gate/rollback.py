"""Rollback: an earlier champion becomes champion again, if there is one to go back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from mlplatform.errors import NotPromotedError, UsageError
from mlplatform.gate import decision_log, judged, promotion
from mlplatform.gate.decision import Decision, decision_id
from mlplatform.gate.details import GateDetails
from mlplatform.gate.promotion import Change
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import GateEvent
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage
from mlplatform.protocols.workspace import Workspace


@dataclass(frozen=True)
class Rollback(PlannedStage[GateDetails]):
    """An earlier champion becomes champion again.

    Attributes:
        reason: Why, for the record.
        to: A version that was champion; None: the one that the present champion replaced.
    """

    name: ClassVar[str] = "rollback"
    recorded: ClassVar[bool] = False  # the decision is its record

    reason: str
    to: int | None = None

    def plan(self, context: StageContext) -> Plan[GateDetails]:
        """Return what would be recorded and moved; changes nothing.

        Raises:
            UsageError: If there is nothing to go back to.
            NotPromotedError: If a promotion that was interrupted would have to be finished first.
            RegistryError: If the registry cannot be read.
        """
        return self._change(context, dry_run=True).planned()

    def run(self, context: StageContext) -> StageResult[GateDetails]:
        """Make an earlier champion champion again.

        Raises:
            UsageError: If there is nothing to go back to.
            NotPromotedError: If a promotion that was interrupted had to be finished first.
            RegistryError: If the registry fails; run again to finish.
        """
        with context.ws.lock(f"promote {context.model}"):
            return self._change(context, dry_run=False).carry_out(context)

    def _change(self, context: StageContext, *, dry_run: bool) -> Change:
        ws, namespace = context.ws, context.namespace
        first: list[Action] = []
        begun = decision_log.pending(ws, namespace, until=context.as_of)
        if begun is not None:
            gone = promotion.gone(ws, namespace, begun)
            if gone:
                first = [decision_log.recording(ws, namespace, begun, "stale", gone)]
            elif promotion.approved(ws, namespace, begun, context.settings.gate.approval):
                return self._finished(context, begun, dry_run=dry_run)
        try:
            decision = decide(ws, namespace, to=self.to, reason=self.reason, as_of=context.as_of)
        except UsageError as error:
            return Change(Plan(StageResult(GateDetails()), tuple(first)), error)
        first.append(decision_log.recording(ws, namespace, decision, "decided"))
        return Change(promotion.plan(context, decision, first=first, dry_run=dry_run))

    def _finished(self, context: StageContext, begun: Decision, *, dry_run: bool) -> Change:
        """Plan to finish a change that was interrupted; unless it is this very rollback, it ends with an error."""
        plan = promotion.plan(context, begun, dry_run=dry_run)
        if begun.kind == "rollback" and self.to in (None, begun.challenger_version):
            return Change(plan)
        return Change(
            plan,
            NotPromotedError(
                f"A change to version {begun.challenger_version} had been interrupted and "
                f"{'would be' if dry_run else 'was'} finished first ({plan.result.details.outcome}).",
                hint="Look at mlplatform history, and run the rollback again if it is still wanted.",
            ),
        )


def decide(ws: Workspace, namespace: Namespace, *, to: int | None, reason: str, as_of: datetime) -> Decision:
    """Return the decision to make an earlier champion champion again; writes nothing.

    Args:
        ws: The workspace.
        namespace: The use case's.
        to: A version that was champion before; None: the one that the present champion replaced.
        reason: Why, for the record.
        as_of: The time, in data time.

    Raises:
        UsageError: If no reason is given, or there is nothing to go back to.
        RegistryError: If the registry cannot be read, or has no such version.
    """
    if not reason.strip():
        raise UsageError("A rollback needs a reason.", hint='Say why: --reason "predictions drifted after deployment".')
    model = namespace.model
    champion = ws.registry.aliases(model).get(CHAMPION)
    events = decision_log.events(ws, namespace)
    were = sorted({event.challenger_version for event in events if event.event == "applied"})
    line = decision_log.line_of_champions(events)
    target = to if to is not None else _before(ws, champion, events, namespace)
    if target == champion and line and line[-1] != champion:
        # An older backup, or somebody, made it champion again: the decisions on record follow.
        champion = line[-1]
    if target == champion:
        raise UsageError(f"Version {target} of {model} is champion already.", hint="There is nothing to roll back.")
    if target not in were:
        listed = ", ".join(map(str, were)) or "none"
        raise UsageError(
            f"Version {target} of {model} was never champion.",
            hint=f"Versions that were: {listed}. Another one becomes champion by: mlplatform promote "
            f"{namespace.use_case} --version {target}",
        )
    why = promotion.missing(ws, model, target, events)
    if why:
        existing = ", ".join(str(item) for item in were if not promotion.missing(ws, model, item, events)) or "none"
        raise UsageError(
            f"Version {target} of {model} was champion, and {why}.",
            hint=f"Versions that were champion and exist: {existing}. Another one becomes champion by: mlplatform "
            f'promote {namespace.use_case} --version VERSION --force --reason "why"',
        )
    applied = sum(event.event == "applied" for event in events)
    return Decision(
        # The same rollback asked for again, before anything else was applied, is the same decision.
        decision_id=decision_id(str(model), target, champion, None, "rollback", reason, str(applied)),
        outcome="rolled back",
        reason=reason,
        challenger_version=target,
        champion_version=champion,
        as_of=as_of,
        evaluation={},
        checks=[],
        kind="rollback",
        decided_by=ws.user,
        # As it was judged when it became champion: going back to it does not judge its files anew.
        artifact_digest=judged.recorded_digest(ws, ws.registry.get(model, target)),
    )


def _before(ws: Workspace, champion: int | None, events: Sequence[GateEvent], namespace: Namespace) -> int:
    """Return the newest version that was champion before the present one, and still exists."""
    line = decision_log.line_of_champions(events)
    if champion is None:
        raise UsageError(
            f"{namespace.model} has no champion to roll back.",
            hint=f"To bring one back, name it: --to VERSION. {_were(line)}",
        )
    earlier = line[: len(line) - 1 - line[::-1].index(champion)] if champion in line else line
    earlier = [version for version in earlier if version != champion]
    if not earlier:
        raise UsageError(
            f"There is nothing to roll back to: version {champion} of {namespace.model} replaced no champion.",
            hint=f"See who was champion when: mlplatform history {namespace.use_case}",
        )
    there = (item for item in reversed(earlier) if not promotion.missing(ws, namespace.model, item, events))
    newest = next(there, None)
    if newest is None:
        raise UsageError(
            f"There is nothing to roll back to: the versions of {namespace.model} that were champion before "
            f"({', '.join(map(str, dict.fromkeys(earlier)))}) are gone from the registry.",
            hint=f"Make another one champion: mlplatform promote {namespace.use_case} --version VERSION --force "
            '--reason "why". Where there is no version, train one first: '
            f"mlplatform run {namespace.use_case} --stage train",
        )
    return newest


def _were(line: list[int]) -> str:
    return f"Versions that were champion, the last one at the end: {', '.join(map(str, line))}." if line else ""
