"""The gate's decisions, each with what became of it, and who has been champion since when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from mlplatform.gate.checks.base import CheckResult
from mlplatform.gate.decision_log import BEGUN_ANEW
from mlplatform.gate.evaluation import RECALIBRATED_FROM
from mlplatform.ops.records import GateEvent
from mlplatform.statistics.spending import Spending

PROMOTED, REJECTED, INSUFFICIENT, STALE, PENDING = "promoted", "rejected", "insufficient", "stale", "pending"
ROLLED_BACK = "rolled back"


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
        spending: The error of the comparison with the champion; None where nothing was compared, or by an earlier
            release, in which each decision had the whole.
        known_rows: Labelled rows that were known; more than `rows` where those are a sample. None: not on record.
        recalibrated_from: The champion that the challenger is, with its probabilities moved; None: another model.
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
    checks: tuple[CheckResult, ...]
    kind: str = "gate"
    decided_by: str = ""
    rows_from: str = ""
    known_rows: int | None = None
    recalibrated_from: int | None = None
    spending: Spending | None = None

    @property
    def who(self) -> str:
        """The version decided about, and what it was made of, as in `v5, recalibrated from v3`."""
        return said_of(self.challenger, self.recalibrated_from)

    @property
    def sampled_from(self) -> int | None:
        """How many labelled rows the rows are a sample of; None where they are all."""
        more = self.rows is not None and self.known_rows is not None and self.known_rows > self.rows
        return self.known_rows if more else None


@dataclass(frozen=True)
class ChampionFacts:
    """A version that became champion.

    Attributes:
        version: The version.
        since: `as_of` of the decision that was applied.
        applied_at: Wall clock of its application.
        before: The champion it replaced; None for the first.
        kind: `gate`, `override`, `rollback` or `adoption`: how it became champion.
        reason: Why.
        decision_id: By which decision.
        recalibrated_from: The champion that it is, with its probabilities moved; None: another model.
    """

    version: int
    since: datetime
    applied_at: datetime
    before: int | None
    kind: str = "gate"
    reason: str = ""
    decision_id: str = ""
    recalibrated_from: int | None = None

    @property
    def who(self) -> str:
        """The version, and what it was made of."""
        return said_of(self.version, self.recalibrated_from)


def said_of(version: int, recalibrated_from: int | None) -> str:
    """Return a version in words.

    Examples:
        >>> said_of(5, 3), said_of(2, None)
        ('v5, recalibrated from v3', 'v2')
    """
    return f"v{version}" + (f", recalibrated from v{recalibrated_from}" if recalibrated_from else "")


def decisions_of(events: Iterable[GateEvent]) -> tuple[DecisionFacts, ...]:
    """Return the decisions that the events tell of, oldest first.

    Args:
        events: Of the gate, oldest first.
    """
    decisions: dict[str, DecisionFacts] = {}
    settled: dict[str, GateEvent] = {}
    earlier: list[DecisionFacts] = []
    for event in events:
        if event.event == BEGUN_ANEW:
            # The same decision about another model of that number is another one.
            earlier.extend(_settle(decision, settled.get(decision.decision_id)) for decision in decisions.values())
            decisions, settled = {}, {}
        elif event.event == "decided":
            decisions.setdefault(event.decision_id, _decision(event))
        else:
            settled[event.decision_id] = event
    return (*earlier, *(_settle(decision, settled.get(decision.decision_id)) for decision in decisions.values()))


def champions_of(events: Iterable[GateEvent]) -> tuple[ChampionFacts, ...]:
    """Return who became champion, oldest first, by promotion or by rollback; only what was applied counts.

    Args:
        events: As for `decisions_of`.
    """
    champions: list[ChampionFacts] = []
    before: int | None = None
    origins: dict[int, int] = {}
    for event in events:
        if event.evaluation.get(RECALIBRATED_FROM):
            origins[event.challenger_version] = event.evaluation[RECALIBRATED_FROM]
        if event.event == BEGUN_ANEW:
            before, origins = None, {}
        elif event.event == "applied":
            champions.append(
                ChampionFacts(
                    version=event.challenger_version,
                    since=event.as_of,
                    applied_at=event.recorded_at,
                    before=before if before is not None else event.champion_version,
                    kind=event.kind or "gate",
                    reason=event.reason,
                    decision_id=event.decision_id,
                    recalibrated_from=origins.get(event.challenger_version),
                )
            )
            before = event.challenger_version
    return tuple(champions)


def _settle(decision: DecisionFacts, event: GateEvent | None) -> DecisionFacts:
    if event is not None and event.event == "stale":
        return replace(decision, outcome=STALE, reason=event.reason)
    if event is None and decision.outcome in (PROMOTED, ROLLED_BACK):
        return replace(decision, outcome=PENDING)
    return decision


def _decision(event: GateEvent) -> DecisionFacts:
    checks = tuple(CheckResult.of(check) for check in event.checks)
    return DecisionFacts(
        decision_id=event.decision_id,
        as_of=event.as_of,
        recorded_at=event.recorded_at,
        outcome=event.outcome,
        reason=event.reason,
        challenger=event.challenger_version,
        champion=event.champion_version,
        rows=event.evaluation.get("rows"),
        gain=_gain(checks),
        checks=checks,
        kind=event.kind or "gate",
        decided_by=event.decided_by or "",
        rows_from=event.evaluation.get("rows_from", ""),
        known_rows=event.evaluation.get("known_rows"),
        recalibrated_from=event.evaluation.get(RECALIBRATED_FROM),
        spending=Spending(**event.spending) if event.spending else None,
    )


def _gain(checks: Iterable[CheckResult]) -> Gain | None:
    for check in checks:
        numbers = check.numbers
        if check.name == "beats_champion" and {"gain", "low", "high"} <= numbers.keys():
            return Gain(numbers["gain"], numbers["low"], numbers["high"], numbers.get("confidence"))
    return None
