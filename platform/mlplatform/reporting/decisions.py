"""The gate's decisions, each with what became of it, and who has been champion since when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlplatform.as_of import parse_as_of

PROMOTED, REJECTED, INSUFFICIENT, STALE, PENDING = "promoted", "rejected", "insufficient", "stale", "pending"
ROLLED_BACK = "rolled back"


@dataclass(frozen=True)
class CheckFacts:
    """One check of the gate, as it was recorded."""

    name: str
    status: str
    value: float | None
    limit: float | None
    detail: str


@dataclass(frozen=True)
class Gain:
    """The challenger's gain over the champion on the same rows, with its bootstrap interval."""

    value: float
    low: float
    high: float
    confidence: float | None


@dataclass(frozen=True)
class DecisionFacts:
    """One decision of the gate.

    Attributes:
        decision_id: Its id.
        as_of: When, in data time.
        recorded_at: When, by the wall clock.
        outcome: `promoted`, `rejected`, `insufficient`, `rolled back`; `pending` for a change of champion that was
            decided and not applied, `stale` for one that found another champion in place.
        reason: Why.
        challenger: Version decided about.
        champion: Version compared with; None for the first.
        rows: Labelled rows that both were compared on.
        gain: Against the champion; None where there was none, or too little evidence to compare.
        checks: Every check, in order.
        kind: `gate`, `override`, `rollback` or `adoption`.
        decided_by: Who ran the command.
        rows_from: Whether the rows were new labels or the challenger's holdout.
    """

    decision_id: str
    as_of: datetime
    recorded_at: datetime
    outcome: str
    reason: str
    challenger: int
    champion: int | None
    rows: int | None
    gain: Gain | None
    checks: tuple[CheckFacts, ...]
    kind: str = "gate"
    decided_by: str = ""
    rows_from: str = ""


@dataclass(frozen=True)
class Champion:
    """A version that became champion.

    Attributes:
        version: The version.
        since: `as_of` of the decision that was applied.
        applied_at: Wall clock of its application.
        before: The champion it replaced; None for the first.
        kind: `gate`, `override`, `rollback` or `adoption`: how it became champion.
        reason: Why.
        decision_id: By which decision.
    """

    version: int
    since: datetime
    applied_at: datetime
    before: int | None
    kind: str = "gate"
    reason: str = ""
    decision_id: str = ""


def decisions_of(events: Iterable[Mapping[str, Any]]) -> tuple[DecisionFacts, ...]:
    """Return the decisions that the events tell of, oldest first.

    Args:
        events: Rows of `gate_decisions`, oldest first, JSON columns decoded, as `promotion.events` returns them.
    """
    found: dict[str, DecisionFacts] = {}
    settled: dict[str, Mapping[str, Any]] = {}
    for row in events:
        if row["event"] == "decided":
            found.setdefault(row["decision_id"], _decision(row))
        else:
            settled[row["decision_id"]] = row
    return tuple(_settle(decision, settled.get(decision.decision_id)) for decision in found.values())


def champions_of(events: Iterable[Mapping[str, Any]]) -> tuple[Champion, ...]:
    """Return who became champion, oldest first, by promotion or by rollback; only what was applied counts.

    Args:
        events: As for `decisions_of`.
    """
    found: list[Champion] = []
    for row in events:
        if row["event"] == "applied":
            before = found[-1].version if found else row["champion_version"]
            found.append(
                Champion(
                    version=row["challenger_version"],
                    since=parse_as_of(row["as_of"]),
                    applied_at=parse_as_of(row["recorded_at"]),
                    before=before,
                    kind=row.get("kind") or "gate",
                    reason=row["reason"],
                    decision_id=row["decision_id"],
                )
            )
    return tuple(found)


def _settle(decision: DecisionFacts, event: Mapping[str, Any] | None) -> DecisionFacts:
    if event is not None and event["event"] == "stale":
        return replace(decision, outcome=STALE, reason=event["reason"])
    if event is None and decision.outcome in (PROMOTED, ROLLED_BACK):
        return replace(decision, outcome=PENDING)
    return decision


def _decision(row: Mapping[str, Any]) -> DecisionFacts:
    checks = row["checks"]
    return DecisionFacts(
        decision_id=row["decision_id"],
        as_of=parse_as_of(row["as_of"]),
        recorded_at=parse_as_of(row["recorded_at"]),
        outcome=row["outcome"],
        reason=row["reason"],
        challenger=row["challenger_version"],
        champion=row["champion_version"],
        rows=row["evaluation"].get("rows"),
        gain=_gain(checks),
        checks=tuple(
            CheckFacts(
                name=check["name"],
                status=check["status"],
                value=check.get("value"),
                limit=check.get("limit"),
                detail=check.get("detail", ""),
            )
            for check in checks
        ),
        kind=row.get("kind") or "gate",
        decided_by=row.get("decided_by") or "",
        rows_from=row["evaluation"].get("rows_from", ""),
    )


def _gain(checks: Iterable[Mapping[str, Any]]) -> Gain | None:
    for check in checks:
        numbers = check.get("numbers") or {}
        if check["name"] == "beats_champion" and {"gain", "low", "high"} <= numbers.keys():
            return Gain(numbers["gain"], numbers["low"], numbers["high"], numbers.get("confidence"))
    return None
