"""How much of its error a decision may spend: by the setting `gate.error_per`, and the decisions on record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mlplatform.config.gate import GateSettings
from mlplatform.ops.records import GateEvent
from mlplatform.statistics import spending
from mlplatform.statistics.spending import PER_DECISION, PER_YEAR, Spending, Spent


def allowed(limits: GateSettings) -> float:
    """Return the error that is promised, one-sided: of the interval, what lies below its lower end."""
    return round((1 - limits.confidence) / 2, 12)


def alone(limits: GateSettings) -> Spending:
    """Return the spending of a decision before which there was none."""
    if limits.error_per == PER_DECISION:
        return spending.of_each_decision(allowed(limits))
    return spending.first_of_the_year(allowed(limits))


def of_decision(limits: GateSettings, recorded: Sequence[GateEvent], identity: str, as_of: datetime) -> Spending:
    """Return the spending of a decision.

    What counts are decisions of the gate that compared a challenger with the champion, whatever they came to, each
    once, and only where they made the same promise. A decision that is on record already keeps what it spent.

    Args:
        limits: The gate's.
        recorded: The gate's events of this model, oldest first.
        identity: The decision's id.
        as_of: When it is decided, in data time; events as of later do not count.
    """
    if limits.error_per == PER_DECISION:
        return spending.of_each_decision(allowed(limits))
    earlier: dict[str, Spent] = {}
    for event in recorded:
        spent = event.spending
        if event.event != "decided" or event.kind != "gate" or spent.get("per") != PER_YEAR:
            continue
        if event.decision_id == identity:
            return Spending(**spent)
        earlier.setdefault(event.decision_id, Spent(event.as_of, spent["level"]))
    return spending.of_the_year(allowed(limits), earlier.values(), as_of)
