"""The canaries: which challenger decided for whom, how that ended, and what it came to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mlplatform.gate import canary
from mlplatform.monitoring.canary import LABEL_DIFFERENCE
from mlplatform.ops.records import GateEvent, PerformanceRecord


@dataclass(frozen=True)
class GainFacts:
    """One number of the challenger's decisions beside the champion's, or their difference, with its 95% interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class CanaryFacts:
    """A canary, and what it came to as it was looked at last.

    Attributes:
        version: The challenger.
        champion: Who decided for the others.
        since: When it began, in data time.
        until: When it ended; None: it has not.
        share: The share of the entities that it began with.
        why: Why it ended.
        as_of: When its outcomes were looked at last; None: they were not.
        decided: How many predictions of it were acted on.
        labels: How many of their labels are known.
        labels_of_champion: How many labels are known of those for whom the champion decided.
        metric: The primary metric of the challenger's decisions, and of the champion's; None: not known.
        gain: Of the one over the other.
        label_mean: Mean label of those for whom the challenger decided, and of the others.
        label_difference: Of the one from the other.
        worse: Whether it did surely worse.
        note: Why nothing could be compared, or at which error it was judged.
    """

    version: int
    champion: int | None
    since: datetime
    until: datetime | None
    share: float
    why: str
    as_of: datetime | None = None
    decided: int = 0
    labels: int = 0
    labels_of_champion: int = 0
    metric: tuple[float | None, float | None] = (None, None)
    gain: GainFacts | None = None
    label_mean: tuple[float | None, float | None] = (None, None)
    label_difference: GainFacts | None = None
    worse: bool = False
    note: str = ""


def canaries_of(
    events: Iterable[GateEvent], records: Iterable[PerformanceRecord], metric: str
) -> tuple[CanaryFacts, ...]:
    """Return the canaries, oldest first.

    Args:
        events: Of the gate, oldest first.
        records: What the monitor recorded of canaries.
        metric: The primary metric's name.
    """
    recorded = list(records)
    return tuple(_facts(item, recorded, metric) for item in canary.all_of(events))


def _facts(item: canary.Canary, recorded: list[PerformanceRecord], metric: str) -> CanaryFacts:
    plain = CanaryFacts(item.version, item.champion, item.since, item.until, item.share, item.why)
    # The champion's part of it says whose window it was measured in.
    looks = [it for it in recorded if it.metric == canary.GAIN and it.model_version == item.version]
    looks = [it for it in looks if it.window_start == item.since]
    if not looks:
        return plain
    newest = max(looks, key=lambda it: it.as_of)
    mine = [it for it in recorded if it.as_of == newest.as_of and it.window_start == item.since]

    def value(name: str, alias: str) -> float | None:
        return next((it.value for it in mine if it.metric == name and it.alias == alias), None)

    other = next((it.rows for it in mine if it.alias == "champion"), 0)
    return CanaryFacts(
        item.version,
        item.champion,
        item.since,
        item.until,
        item.share,
        item.why,
        as_of=newest.as_of,
        decided=newest.scored or 0,
        labels=newest.rows,
        labels_of_champion=other,
        metric=(value(metric, "challenger"), value(metric, "champion")),
        gain=_compared(newest),
        label_mean=(value("label_mean", "challenger"), value("label_mean", "champion")),
        label_difference=_compared(next((it for it in mine if it.metric == LABEL_DIFFERENCE), None)),
        worse=newest.violated,
        note=newest.note or "",
    )


def _compared(record: PerformanceRecord | None) -> GainFacts | None:
    return None if record is None or record.value is None else GainFacts(record.value, record.low, record.high)
