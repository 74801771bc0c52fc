"""The retrain decision: by schedule, or on alarm, with a cool-down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlplatform.as_of import Duration
from mlplatform.config import MonitoringSettings


@dataclass(frozen=True)
class RetrainDecision:
    """Whether to retrain at a time, and why (or why not)."""

    due: bool
    reasons: tuple[str, ...]


def decide(
    as_of: datetime, last_trained: datetime | None, alarms: Sequence[str], limits: MonitoringSettings
) -> RetrainDecision:
    """Decide whether to retrain.

    Args:
        as_of: Now.
        last_trained: `as_of` of the last training up to now; None when there was none.
        alarms: Performance alarms raised at `as_of`.
        limits: Schedule and cool-down.

    Examples:
        >>> from mlplatform.as_of import parse_as_of
        >>> decide(parse_as_of("2007-01-01"), parse_as_of("2006-01-01"), [], MonitoringSettings())
        RetrainDecision(due=True, reasons=('schedule: 12 months since the training at 2006-01-01',))
    """
    if last_trained is None:
        return RetrainDecision(due=True, reasons=("there is no trained model",))
    if last_trained == as_of:
        return RetrainDecision(due=False, reasons=("trained at this time",))
    if Duration.parse(limits.retrain_every).after(last_trained) <= as_of:
        return RetrainDecision(
            due=True,
            reasons=(f"schedule: {limits.retrain_every} since the training at {last_trained:%Y-%m-%d}", *alarms),
        )
    if alarms:
        if Duration.parse(limits.cooldown).after(last_trained) <= as_of:
            return RetrainDecision(due=True, reasons=tuple(alarms))
        return RetrainDecision(
            due=False,
            reasons=(f"cool-down: {limits.cooldown} since the training at {last_trained:%Y-%m-%d}", *alarms),
        )
    return RetrainDecision(due=False, reasons=("no alarm, and the schedule is not due",))
