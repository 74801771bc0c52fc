"""The record of the gate's decisions: what is written to it, what is left to be done, and the line of champions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from mlplatform.gate.decision import MOVES, Decision
from mlplatform.naming import Namespace, ops_table
from mlplatform.ops.records import GATE_DECISIONS, GateEvent
from mlplatform.ops.stage import Action
from mlplatform.protocols.workspace import Workspace

Event = Literal["decided", "applied", "stale", "waiting"]
BEGUN_ANEW = "begun anew"
"""The event after which decisions before it are about models that are gone: versions may be counted from 1 again."""


def events(ws: Workspace, namespace: Namespace, *, decision_id: str | None = None) -> list[GateEvent]:
    """Return the gate's events of a use case, or of one of its decisions, oldest first, since its models began anew."""
    recorded = GATE_DECISIONS.read(ws, namespace)
    begun = max((place for place, event in enumerate(recorded) if event.event == BEGUN_ANEW), default=-1)
    return [event for event in recorded[begun + 1 :] if decision_id in (None, event.decision_id)]


def find(ws: Workspace, decision_id: str) -> list[GateEvent]:
    """Return the events of one decision of any use case of this environment, by its id or the beginning of it."""
    recorded = GATE_DECISIONS.read_from(ws, ops_table(ws.catalog, GATE_DECISIONS.name, ws.prefix))
    return [event for event in recorded if event.decision_id.startswith(decision_id)]


def record(ws: Workspace, namespace: Namespace, decision: Decision, event: Event, reason: str = "") -> None:
    """Append an event to the decision table."""
    row = GateEvent(
        decision_id=decision.decision_id,
        event=event,
        kind=decision.kind,
        use_case=namespace.use_case,
        model=str(namespace.model),
        as_of=decision.as_of,
        outcome="rejected" if event == "stale" else decision.outcome,
        reason=reason or decision.reason,
        challenger_version=decision.challenger_version,
        champion_version=decision.champion_version,
        evaluation=decision.evaluation,
        checks=[check.to_record() for check in decision.checks],
        decided_by=decision.decided_by,
        artifact_digest=decision.artifact_digest or None,
        spending=asdict(decision.spending) if decision.spending else {},
        recorded_at=datetime.now(UTC),
    )
    GATE_DECISIONS.append(ws, namespace, [row])


def recording(ws: Workspace, namespace: Namespace, decision: Decision, event: Event, reason: str = "") -> Action:
    """Return the action that records an event of a decision."""
    if event != "decided":
        what = f" as {event}{f': {reason}' if reason else ''}"
    elif decision.kind == "rollback":
        what = f": roll back to version {decision.challenger_version}"
    else:
        what = f": {decision.outcome}"
    text = f"record decision {decision.decision_id}{what}"
    return Action(text, lambda: record(ws, namespace, decision, event, reason))


def decided(recorded: Iterable[GateEvent]) -> Decision | None:
    """Return the decision that the events of one decision id hold, or None if there are none."""
    return next((Decision.of(event) for event in recorded if event.event == "decided"), None)


def pending(ws: Workspace, namespace: Namespace, *, until: datetime | None = None) -> Decision | None:
    """Return the newest change of champion that was decided and neither applied nor found stale; None: all settled.

    Args:
        ws: The workspace.
        namespace: The use case's.
        until: Decisions as of later than this are left for later: what was decided then is not known yet.
    """
    settled = set()
    for event in reversed(events(ws, namespace)):
        if event.event in ("applied", "stale"):
            settled.add(event.decision_id)
        elif until is not None and event.as_of > until:
            continue
        elif event.outcome in MOVES and event.decision_id not in settled:
            return decided([event])
    return None


def line_of_champions(recorded: Iterable[GateEvent]) -> list[int]:
    """Replay the applied events: the line of champions, the present one last, each after the one it replaced.

    A promotion appends. A rollback to a version in the line cuts everything behind it off; one to a version that had
    been cut off appends it again.

    Args:
        recorded: Events, oldest first.
    """
    line: list[int] = []
    for event in recorded:
        if event.event != "applied":
            continue
        version = event.challenger_version
        if event.kind == "rollback" and version in line:
            while line[-1] != version:
                line.pop()
        else:
            line.append(version)
    return line
