"""The canary: the challenger decides for a share of the entities, on record, until it is promoted or taken out.

It begins with the gate: a challenger that passed every check, but for being surely better than the champion (or that
waits for approval), is given the share of `scoring.canary`. It ends when a champion is made, by promotion or rollback,
when another version is challenger, when the gate looks again and refuses it, or by hand. All of it stands among the
gate's events, so that a scoring of the past has the canary that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from mlplatform.errors import UsageError
from mlplatform.gate import decision_log
from mlplatform.gate.checks.base import CheckResult
from mlplatform.gate.checks.evidence import FinitePredictions, Probabilities
from mlplatform.gate.checks.performance import BeatsChampion
from mlplatform.gate.decision import MOVES, decision_id
from mlplatform.gate.details import GateDetails
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import GATE_DECISIONS, PERFORMANCE_METRICS, GateEvent, PerformanceRecord
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage

KIND, BEGAN, ENDED = "canary", "canary began", "canary ended"
BASIS, GAIN = "canary", "canary_gain"
"""How the monitor records what became of those for whom a challenger decided, in `performance_metrics`."""
_SHARE = "share"


@dataclass(frozen=True)
class Canary:
    """A challenger that decides for a share of the entities.

    Attributes:
        version: The challenger.
        champion: Who decides for the others.
        since: When it began, in data time.
        share: The share that it began with; what counts is the setting at each scoring.
        until: When it ended; None: it has not.
        why: Why it ended.
    """

    version: int
    champion: int | None
    since: datetime
    share: float
    until: datetime | None = None
    why: str = ""


def all_of(recorded: Iterable[GateEvent]) -> list[Canary]:
    """Return the canaries that events tell of, oldest first; only the last one may be open.

    Args:
        recorded: Events, oldest first.
    """
    found: list[Canary] = []
    current: Canary | None = None
    for event in recorded:
        if event.event == BEGAN or (current is not None and _ends(event, current)):
            if current is not None:
                found.append(_ended(current, event))
            current = None
        if event.event == BEGAN:
            share = float(event.evaluation.get(_SHARE, 0.0))
            current = Canary(event.challenger_version, event.champion_version, event.as_of, share)
    return found if current is None else [*found, current]


def open_at(recorded: Iterable[GateEvent], moment: datetime) -> Canary | None:
    """Return the canary at a time, as the events up to it tell; None: there was none.

    Args:
        recorded: Events, oldest first.
        moment: The time, in data time.
    """
    canaries = all_of(event for event in recorded if event.as_of <= moment)
    return canaries[-1] if canaries and canaries[-1].until is None else None


def outcome(context: StageContext, version: int) -> PerformanceRecord | None:
    """Return what was recorded last, by a run's time, of what a version came to as a canary; None: nothing was.

    Raises:
        TableError: If the record cannot be read.
    """
    found = PERFORMANCE_METRICS.read(
        context.ws,
        context.namespace,
        [("basis", "=", BASIS), ("metric", "=", GAIN), ("as_of", "<=", context.as_of), ("model_version", "=", version)],
    )
    return found[-1] if found else None


def salt(context: StageContext, version: int) -> str:
    """Return what entities are drawn by: each version has a share of its own, the same in every scoring."""
    return f"canary:{context.name}:{version}"


def refusal(checks: Sequence[CheckResult], outcome: str) -> str:
    """Return why a challenger is not given any entity; empty where it may be.

    Args:
        checks: What the gate found, of its newest decision about it.
        outcome: What that came to.
    """
    found = {check.name: check for check in checks}
    if outcome == "insufficient":
        return "there were too few labels to check it by"
    for name in (FinitePredictions.name, Probabilities.name):
        if name not in found:
            return f"the gate has not looked at {name}"
    failed = [check.name for check in checks if check.status == "fail" and check.name != BeatsChampion.name]
    if failed:
        return f"the gate refused it: {', '.join(failed)}"
    compared = found.get(BeatsChampion.name)
    if compared is None or compared.status == "skipped":
        return "it was not compared with the champion"
    high = compared.numbers.get("high")
    if high is None or not high >= 0:
        return "it is surely worse than the champion"
    return ""


def following(context: StageContext, aliases: Mapping[str, int], details: GateDetails) -> list[Action]:
    """Return what is to be recorded about the canary after the gate has looked at a version.

    Args:
        context: The run.
        aliases: Of the model, before.
        details: What the gate came to.

    Raises:
        TableError: If the record cannot be read.
    """
    if details.outcome in MOVES:
        return []  # whoever becomes champion ends it
    recorded = decision_log.events(context.ws, context.namespace)
    number, current = aliases.get(CHALLENGER), open_at(recorded, context.as_of)
    todo = []
    if current is not None and current.version != number:
        now = "no version is challenger any more" if number is None else f"version {number} is challenger now"
        todo.append(_recording(context, recorded, ENDED, current.version, current.champion, now))
        current = None
    champion, share = aliases.get(CHAMPION), context.settings.scoring.canary
    decided = _newest(recorded, number, details)
    if number is None or champion is None or not share or decided is None:
        return todo
    why = refusal(decided.checks, decided.outcome)
    if current is not None and why:
        todo.append(_recording(context, recorded, ENDED, number, champion, why))
    elif current is None and not why and not _begun_since(recorded, number, decided.recorded_at):
        reason = f"the gate let it pass, but for: {details.reason}" if details.reason else "the gate let it pass"
        todo.append(_recording(context, recorded, BEGAN, number, champion, reason, {_SHARE: share}))
    return todo


@dataclass(frozen=True)
class EndCanary(PlannedStage[GateDetails]):
    """The challenger decides for nobody any more; it stays challenger, and scores in the shadow.

    Attributes:
        reason: Why, for the record.
    """

    name: ClassVar[str] = "end-canary"
    recorded: ClassVar[bool] = False  # the event is its record

    reason: str

    def plan(self, context: StageContext) -> Plan[GateDetails]:
        """Return what would be recorded; changes nothing.

        Raises:
            UsageError: If no reason is given, or there is no canary.
        """
        if not self.reason.strip():
            raise UsageError("To end a canary needs a reason.", hint='Say why: --reason "complaints".')
        recorded = decision_log.events(context.ws, context.namespace)
        current = open_at(recorded, context.as_of)
        if current is None:
            raise UsageError(
                f"{context.model} has no canary: no challenger decides for anybody.",
                hint=f"Who did, and when: mlplatform history {context.name}",
            )
        action = _recording(context, recorded, ENDED, current.version, current.champion, self.reason)
        details = GateDetails(
            kind=KIND,
            outcome=ENDED,
            reason=self.reason,
            challenger=current.version,
            champion=current.champion,
            steps=[action.text],
            dry_run=True,
        )
        return Plan(StageResult(details), (action,))

    def run(self, context: StageContext) -> StageResult[GateDetails]:
        """End it."""
        with context.ws.lock(f"promote {context.model}"):
            plan = self.plan(context)
            plan.result.details.dry_run = False
            return plan.carry_out()


@dataclass(frozen=True)
class _Decided:
    checks: Sequence[CheckResult]
    outcome: str
    recorded_at: datetime | None = None


def _ends(event: GateEvent, current: Canary) -> bool:
    return event.event in ("applied", decision_log.BEGUN_ANEW) or (
        event.event == ENDED and event.challenger_version == current.version
    )


def _ended(current: Canary, event: GateEvent) -> Canary:
    if event.event == "applied":
        became = event.challenger_version
        why = "it became champion" if became == current.version else f"version {became} became champion"
    elif event.event == BEGAN:
        why = f"version {event.challenger_version} took its place"
    else:
        why = event.reason
    return Canary(current.version, current.champion, current.since, current.share, event.as_of, why)


def _newest(recorded: Sequence[GateEvent], number: int | None, details: GateDetails) -> _Decided | None:
    """Return the gate's newest decision about a version: the one being made, else the newest on record."""
    about = [it for it in recorded if it.event == "decided" and it.kind == "gate" and it.challenger_version == number]
    if details.decision_id and details.challenger == number and details.kind == "gate":
        known = next((it for it in about if it.decision_id == details.decision_id), None)
        checks = [CheckResult.of(check) for check in details.checks]
        outcome = known.outcome if known else details.outcome
        return _Decided(checks, outcome, known.recorded_at if known else None)
    if not about:
        return None
    return _Decided([CheckResult.of(check) for check in about[-1].checks], about[-1].outcome, about[-1].recorded_at)


def _begun_since(recorded: Sequence[GateEvent], number: int, decided_at: datetime | None) -> bool:
    """Tell whether a version has had its canary since a decision; one that was ended does not begin by itself again."""
    return decided_at is not None and any(
        it.event == BEGAN and it.challenger_version == number and it.recorded_at >= decided_at for it in recorded
    )


def _recording(
    context: StageContext,
    recorded: Sequence[GateEvent],
    event: str,
    version: int,
    champion: int | None,
    reason: str,
    evaluation: dict[str, Any] | None = None,
) -> Action:
    ws, namespace, model = context.ws, context.namespace, str(context.model)

    def act() -> None:
        row = GateEvent(
            decision_id=decision_id(model, version, champion, context.as_of, event, str(len(recorded))),
            event=event,
            kind=KIND,
            use_case=namespace.use_case,
            model=model,
            as_of=context.as_of,
            outcome=event,
            reason=reason,
            challenger_version=version,
            champion_version=champion,
            evaluation=evaluation or {},
            decided_by=ws.user,
            recorded_at=datetime.now(UTC),
        )
        GATE_DECISIONS.append(ws, namespace, [row])

    what = "begins" if event == BEGAN else f"ends: {reason}"
    share = f", deciding for {evaluation[_SHARE]:.3g} of the entities" if evaluation else ""
    return Action(f"record that the canary of version {version} {what}{share}", act)
