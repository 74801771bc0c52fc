"""Gate: a challenger against the champion on labels neither learned from; promotes, or says why not."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from mlplatform import stopping
from mlplatform.errors import NotPromotedError, PlatformError
from mlplatform.gate import champion as champions
from mlplatform.gate import evaluation, first_steps, promotion, rollback
from mlplatform.gate.champion_gate import Decision, decision_id
from mlplatform.gate.checks.base import CheckResult, Evidence
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Plan, PlannedStage
from mlplatform.protocols.registry import ModelVersion
from mlplatform.statistics import metrics

NAME = "gate"
UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Request:
    """What is asked of the gate.

    Attributes:
        version: The version to decide about; None: the one with the alias challenger.
        override: Promote it whatever the checks say, for this reason; empty: no override.
        dry_run: Only say what would be done.
        hold: Decide, and let a promotion wait, approved or not: a later step carries it out.
    """

    version: int | None = None
    override: str = ""
    dry_run: bool = False
    hold: bool = False


@dataclass(frozen=True)
class _Judged:
    """A decision, what it was made on, and what kept the gate from looking."""

    decision: Decision
    evidence: Evidence | None = None
    error: Exception | None = None


def run(context: StageContext, request: Request = Request(), *, only_undecided: bool = False) -> StageResult[Any]:
    """Decide about a version, and promote it if it won.

    Whatever keeps the gate from looking at a known challenger (features, models, labels that cannot be read) rejects
    it, on record. What keeps it from knowing the challenger or the champion is raised.

    Args:
        context: The run.
        request: What is asked.
        only_undecided: As the pipeline does: leave a challenger alone that has been decided about, and raise what
            kept the gate from looking, so that the run fails and is run again.

    A champion that was deleted is not taken for "no champion" either: a challenger is rejected for it, on record, and
    an override goes on without reading it.

    Raises:
        StageError: If there is no challenger.
        RegistryError: If the registry cannot be read: never taken for "no champion".
    """
    request = request or Request()
    ws, model = context.ws, context.use_case.model
    with nullcontext() if request.dry_run else ws.lock(f"promote {model}"):
        done: list[str] = []
        aliases = ws.registry.aliases(model)
        number = request.version if request.version is not None else aliases.get(CHALLENGER)
        finished = _finish_begun(context, number, request, done)
        if finished is not None:
            return finished
        if number is None:
            if only_undecided:
                return StageResult(skipped="there is no challenger")
            raise first_steps.without(CHALLENGER, ws, context.use_case)
        challenger = ws.registry.get(model, number)
        if aliases.get(CHAMPION) == number:
            return _unchanged(number)
        champion = champions.look(context, aliases, forced=bool(request.override))
        if only_undecided and not champion.trouble and _decided_about(context, challenger):
            return StageResult(skipped=f"version {number} has been decided about")
        judged = _judged(context, challenger, champion, request.override)
        result = _settle(context, challenger, judged, request, done)
        if isinstance(judged.error, PlatformError) and result.details["outcome"] == "rejected":
            result.details["hint"] = judged.error.hint
    if only_undecided and judged.error is not None:
        raise judged.error
    return result


def _finish_begun(
    context: StageContext, number: int | None, request: Request, done: list[str]
) -> StageResult[Any] | None:
    """Finish a change that was begun before, or give it up and return None; None as well when there is none."""
    ws, namespace = context.ws, context.namespace
    begun = promotion.pending(ws, namespace)
    if begun is None:
        return None
    why = _superseded(context, begun, number, request)
    if not why:
        context.progress(f"finishing what was begun with version {begun.challenger_version}")
        # Only what is asked about is held back.
        held = request.hold and begun.challenger_version == number
        return _carry_out(context, begun, replace(request, hold=held), done)
    done.append(f"record decision {begun.decision_id} as stale: {why}")
    if not request.dry_run:
        promotion.record(ws, namespace, begun, "stale", why)
    return None


def _judged(context: StageContext, challenger: ModelVersion, champion: champions.Champion, override: str) -> _Judged:
    """Judge a challenger; where the champion is gone it is rejected, and an override promotes it all the same."""
    if champion.trouble:
        judged = _could_not_look(
            context, challenger, champion.number, champions.lost(context.use_case, champion.trouble)
        )
    else:
        judged = _judge(context, challenger, champion.version)
    return replace(judged, decision=_overridden(context, judged.decision, override)) if override else judged


def _settle(
    context: StageContext, challenger: ModelVersion, judged: _Judged, request: Request, done: list[str]
) -> StageResult[Any]:
    """Record a decision with its evidence, unless that was done before, and carry it out."""
    ws, namespace, decision = context.ws, context.namespace, judged.decision
    earlier = promotion.decided(promotion.events(ws, namespace, decision_id=decision.decision_id))
    if earlier is not None:
        # What is carried out is what is on record.
        return _carry_out(context, earlier, request, done)
    folder = f"gate/{decision.decision_id}"
    done.append(f"store the evidence with the run of version {challenger.version}, in {folder}")
    done.append(f"log what was measured on the model of version {challenger.version}")
    done.append(f"record decision {decision.decision_id}: {decision.outcome}")
    if not request.dry_run:
        decision = _store_evidence(context, challenger, judged, folder)
        promotion.record(ws, namespace, decision, "decided")
    return _carry_out(context, decision, request, done)


def roll_back(context: StageContext, *, to: int | None, reason: str, dry_run: bool = False) -> StageResult[Any]:
    """Make an earlier champion champion again.

    Args:
        context: The run.
        to: A version that was champion; None: the one that the present champion replaced.
        reason: Why, for the record.
        dry_run: Only say what would be done.

    Raises:
        UsageError: If there is nothing to go back to.
        NotPromotedError: If a promotion that was interrupted had to be finished first.
        RegistryError: If the registry fails; run again to finish.
    """
    ws, namespace = context.ws, context.namespace
    request = Request(dry_run=dry_run)
    with nullcontext() if dry_run else ws.lock(f"promote {context.use_case.model}"):
        begun = promotion.pending(ws, namespace)
        approval = context.use_case.settings.gate.approval
        gone = _gone(context, begun) if begun is not None else ""
        if begun is not None and gone:
            if not dry_run:
                promotion.record(ws, namespace, begun, "stale", gone)
            begun = None
        if begun is not None and promotion.approved(ws, namespace, begun, approval):
            result = _carry_out(context, begun, request, [])
            if begun.kind == "rollback" and to in (None, begun.challenger_version):
                return result
            raise NotPromotedError(
                f"A change to version {begun.challenger_version} had been interrupted and "
                f"{'would be' if dry_run else 'was'} finished first ({result.details['outcome']}).",
                hint="Look at mlplatform history, and run the rollback again if it is still wanted.",
            )
        decision = rollback.decide(ws, namespace, to=to, reason=reason, as_of=context.as_of)
        done = [f"record decision {decision.decision_id}: roll back to version {decision.challenger_version}"]
        if not dry_run:
            promotion.record(ws, namespace, decision, "decided")
        return _carry_out(context, decision, request, done)


def decide(context: StageContext, challenger: ModelVersion, champion: ModelVersion | None) -> Decision:
    """Score both on the same frozen rows and decide; writes nothing.

    Args:
        context: The run.
        challenger: The version to decide about.
        champion: The champion, or None when the registry says that there is none.
    """
    return _judge(context, challenger, champion).decision


def _judge(context: StageContext, challenger: ModelVersion, champion: ModelVersion | None) -> _Judged:
    use_case = context.use_case
    gate, limits = use_case.gate(use_case.settings), use_case.settings.gate.model_dump_json()
    number, other = challenger.version, champion.version if champion else None
    try:
        gathered = evaluation.gather(context, challenger, champion)
        identity = decision_id(str(use_case.model), number, other, context.as_of, gathered.digest, limits)
        decision = gate.decide(
            gathered.evidence, identity=identity, challenger=number, champion=other, as_of=context.as_of
        )
        return _Judged(replace(decision, decided_by=context.ws.user), gathered.evidence)
    except Exception as error:  # noqa: BLE001  (whatever it is, the gate could not look: closed)
        stopping.check()  # a Ctrl-C is no reason to reject a version
        return _could_not_look(context, challenger, other, error)


def _could_not_look(context: StageContext, challenger: ModelVersion, champion: int | None, error: Exception) -> _Judged:
    model, limits = str(context.use_case.model), context.use_case.settings.gate.model_dump_json()
    message = error.message if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"
    why = f"the gate could not look: {message}"
    rejected = Decision(
        decision_id=decision_id(model, challenger.version, champion, context.as_of, why, limits),
        outcome="rejected",
        reason=why,
        challenger_version=challenger.version,
        champion_version=champion,
        as_of=context.as_of,
        evaluation={"error": message},
        checks=[CheckResult("evaluation", "fail", why)],
        decided_by=context.ws.user,
    )
    return _Judged(rejected, error=error)


def _overridden(context: StageContext, decision: Decision, reason: str) -> Decision:
    applied = sum(row["event"] == "applied" for row in promotion.events(context.ws, context.namespace))
    return replace(
        decision,
        decision_id=decision_id(
            str(context.use_case.model),
            decision.challenger_version,
            decision.champion_version,
            None,
            "override",
            reason,
            str(applied),
        ),
        outcome="promoted",
        reason=f"manual override: {reason} (the gate: {decision.outcome}, {decision.reason})",
        kind="override",
    )


def _store_evidence(context: StageContext, challenger: ModelVersion, judged: _Judged, folder: str) -> Decision:
    """Keep the evidence with the challenger's run; without it nothing is promoted but by hand."""
    from mlplatform.reporting import evidence_page

    decision = judged.decision
    try:
        files = evidence_page.render(decision, judged.evidence, context.use_case.settings, str(context.use_case.model))
        context.ws.registry.log_files(challenger, folder, files)
        context.ws.registry.log_metrics(challenger, _measured(context, judged), decision.as_of)
    except Exception as error:
        stopping.check()
        if decision.kind == "override":
            raise
        why = f"the evidence could not be stored: {error}"
        reason = f"{why}; {decision.reason}" if decision.outcome != "promoted" else why
        return replace(
            decision,
            # Another id: once it can be stored, the same question is to be decided anew.
            decision_id=decision_id(decision.decision_id, decision.challenger_version, None, None, why),
            outcome="rejected",
            reason=reason,
            evaluation={**decision.evaluation, "error": why},
            checks=[*decision.checks, CheckResult("stored_evidence", "fail", why)],
        )
    return decision


def _measured(context: StageContext, judged: _Judged) -> dict[str, float]:
    """Return what the gate measured of the challenger: its metrics on the frame, and the value of each check."""
    evidence, settings = judged.evidence, context.use_case.settings
    measured = {f"gate_check_{it.name}": float(it.value) for it in judged.decision.checks if it.value is not None}
    if evidence is not None and evidence.labels.size and np.isfinite(evidence.challenger).all():
        found = metrics.evaluate(
            settings.task, evidence.labels, evidence.challenger, event_above=settings.label.event_above
        )
        measured |= {f"gate_{name}": value for name, value in found.items()}
    return measured


def _superseded(context: StageContext, begun: Decision, number: int | None, request: Request) -> str:
    """Return why a decision that waits for approval is given up; empty when it is to be finished."""
    approval = context.use_case.settings.gate.approval
    gone = _gone(context, begun)
    if gone or promotion.approved(context.ws, context.namespace, begun, approval):
        return gone
    if request.override:
        return f"it waited for approval when version {number} was promoted by hand"
    if number is not None and number != begun.challenger_version:
        return f"it waited for approval when version {number} was put to the gate"
    return ""


def _gone(context: StageContext, begun: Decision) -> str:
    """Return why a change that was begun cannot be finished: its version was deleted; empty while it is there."""
    number = begun.challenger_version
    there = promotion.exists(context.ws, context.namespace.model, number)
    return "" if there else f"version {number} was deleted before it became champion"


def _carry_out(context: StageContext, decision: Decision, request: Request, done: list[str]) -> StageResult[Any]:
    """Do what is left of a recorded decision (or only list it), and return the stage's result."""
    ws, namespace, approval = context.ws, context.namespace, context.use_case.settings.gate.approval
    event, todo = promotion.steps(ws, namespace, decision, approval, hold=request.hold)
    if not request.dry_run:
        event = promotion.apply(ws, namespace, decision, approval=approval, hold=request.hold)
    outcome: str = decision.outcome
    reason, number = decision.reason, decision.challenger_version
    if event == "stale":
        outcome, reason = "rejected", f"another champion was set meanwhile; decision {decision.decision_id} is stale"
    elif event == "waiting":
        outcome = promotion.WAITING
        reason = (
            f"the checks passed; set the tag {promotion.APPROVAL_TAG}={promotion.APPROVED} on version {number}, "
            f"then run the gate again ({reason})"
        )
    elif event == "applied" and not todo and ws.registry.aliases(namespace.model).get(CHAMPION) != number:
        outcome = "rejected"
        reason = (
            f"decision {decision.decision_id} was applied before, and version {number} has been replaced since; "
            "a decision is applied once"
        )
    details: dict[str, Any] = {
        "decision_id": decision.decision_id,
        "kind": decision.kind,
        "outcome": outcome,
        "reason": reason,
        "challenger": number,
        "champion": decision.champion_version,
        "rows_from": decision.evaluation.get("rows_from"),
        "checks": [{key: value for key, value in asdict(it).items() if key != "histogram"} for it in decision.checks],
        "steps": [*done, *(step.text for step in todo)],
        "dry_run": request.dry_run,
    }
    return StageResult(rows_in=decision.evaluation.get("rows"), details=details)


def _unchanged(number: int) -> StageResult[Any]:
    details: dict[str, Any] = {
        "decision_id": None,
        "kind": "gate",
        "outcome": UNCHANGED,
        "reason": f"version {number} is champion already",
        "challenger": number,
        "champion": number,
        "rows_from": None,
        "checks": [],
        "steps": [],
        "dry_run": False,
    }
    return StageResult(details=details)


def _decided_about(context: StageContext, version: ModelVersion) -> bool:
    """Tell whether the gate has looked at a version; a decision made because it could not look does not count.

    Nor does one from before the version was made: a model that was deleted and made again counts from 1 again.
    """
    return any(
        row["challenger_version"] == version.version
        and row["recorded_at"] >= version.created_at
        and row["kind"] != "rollback"
        and "error" not in row["evaluation"]
        for row in promotion.events(context.ws, context.namespace)
    )


@dataclass(frozen=True)
class Gate(PlannedStage[Any]):
    """A challenger is held against the champion, and promoted or not.

    Attributes:
        request: What is asked.
        only_undecided: Leave a challenger alone that has been decided about.
    """

    name: ClassVar[str] = NAME

    request: Request = Request()
    only_undecided: bool = False

    def due(self, context: StageContext) -> Self | None:
        """A challenger that nothing has been decided about is due."""
        del context
        return replace(self, only_undecided=True)

    def plan(self, context: StageContext) -> Plan[Any]:
        """Return what it would do."""
        return Plan(run(context, replace(self.request, dry_run=True), only_undecided=self.only_undecided))

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context, self.request, only_undecided=self.only_undecided)


@dataclass(frozen=True)
class Rollback(PlannedStage[Any]):
    """An earlier champion is made champion again.

    Attributes:
        reason: Why.
        to: Its version; None: the one before the present champion.
    """

    name: ClassVar[str] = "rollback"
    recorded: ClassVar[bool] = False  # the decision is its record

    reason: str
    to: int | None = None

    def plan(self, context: StageContext) -> Plan[Any]:
        """Return what it would do."""
        return Plan(roll_back(context, to=self.to, reason=self.reason, dry_run=True))

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return roll_back(context, to=self.to, reason=self.reason, dry_run=False)
