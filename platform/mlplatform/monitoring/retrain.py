"""The retrain decision: by schedule, by age, or on alarm, with a cool-down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mlplatform.as_of import Duration
from mlplatform.config.settings import MonitoringSettings

Windows = Mapping[str, Sequence[tuple[datetime, bool]]]
"""Kind -> the judged windows, oldest first: when, and whether they were in violation."""


@dataclass(frozen=True)
class RetrainDecision:
    """Whether to retrain at a time, and why (or why not).

    Attributes:
        due: Whether to.
        reasons: Each begins with its kind and a colon, as `schedule: ...`.
        held_until: End of the cool-down that holds an alarm back; None when none does.
    """

    due: bool
    reasons: tuple[str, ...]
    held_until: datetime | None = None


def decide(
    as_of: datetime,
    last_trained: datetime | None,
    alarms: Sequence[str],
    limits: MonitoringSettings,
    *,
    windows: Windows | None = None,
    monitored_at: datetime | None = None,
    champion_trained: datetime | None = None,
    unknown: str = "",
) -> RetrainDecision:
    """Decide whether to retrain.

    Due is a retraining by the schedule, whatever else; and, once the cool-down has passed, when realised performance
    is under its floor, when `violated_windows` of the last `of_windows` windows of a kind are in violation and the
    newest one is, or when the champion is older than `max_model_age`.

    Args:
        as_of: Now.
        last_trained: `as_of` of the last training up to now; None when there was none.
        alarms: What realised performance said when it was monitored last.
        limits: Schedule, cool-down, k and n.
        windows: The judged windows up to now, of the kinds to look at.
        monitored_at: When it was monitored last; default: now.
        champion_trained: When the champion was trained; None when unknown.
        unknown: What could not be judged, in words: then "no alarm" is not said.

    Examples:
        >>> from mlplatform.as_of import parse_as_of
        >>> decide(parse_as_of("2007-01-01"), parse_as_of("2006-01-01"), [], MonitoringSettings()).reasons
        ('schedule: 12 months since the training at 2006-01-01',)
    """
    if last_trained is None:
        return RetrainDecision(due=True, reasons=("untrained: there is no trained model",))
    if last_trained == as_of:
        return RetrainDecision(due=False, reasons=("trained at this time",))
    found = (
        *alarms,
        *_violated(monitored_at or as_of, windows or {}, limits),
        *_age(as_of, champion_trained, limits),
    )
    if Duration.parse(limits.retrain_every).after(last_trained) <= as_of:
        schedule = f"schedule: {limits.retrain_every} since the training at {last_trained:%Y-%m-%d}"
        return RetrainDecision(due=True, reasons=(schedule, *found))
    if not found:
        why = f"unknown: {unknown}; the schedule is not due" if unknown else "no alarm, and the schedule is not due"
        return RetrainDecision(due=False, reasons=(why,))
    until = Duration.parse(limits.cooldown).after(last_trained)
    if until <= as_of:
        return RetrainDecision(due=True, reasons=found)
    held = f"cool-down: {limits.cooldown} since the training at {last_trained:%Y-%m-%d}"
    return RetrainDecision(due=False, reasons=(held, *found), held_until=until)


def _violated(monitored_at: datetime, windows: Windows, limits: MonitoringSettings) -> list[str]:
    reasons = []
    for kind in limits.retrain_on:
        last = list(windows.get(kind, ()))[-limits.of_windows :]
        count = sum(violated for _, violated in last)
        if last and last[-1] == (monitored_at, True) and count >= limits.violated_windows:
            reasons.append(
                f"{kind}: {count} of the last {len(last)} windows in violation, the newest too "
                f"({limits.violated_windows} of {limits.of_windows} needed)"
            )
    return reasons


def _age(as_of: datetime, trained: datetime | None, limits: MonitoringSettings) -> list[str]:
    if limits.max_model_age is None or trained is None:
        return []
    if Duration.parse(limits.max_model_age).after(trained) > as_of:
        return []
    return [f"age: the champion was trained at {trained:%Y-%m-%d}, over {limits.max_model_age} ago"]
