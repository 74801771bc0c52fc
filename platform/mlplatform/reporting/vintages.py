"""Vintages: how the rate of the event grows with age, and what is expected where the horizon is not over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import narwhals as nw

from mlplatform.as_of import Duration
from mlplatform.monitoring.immature import vintages as spans_of
from mlplatform.naming import Namespace
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.event_spine import EventSpine
from mlplatform.refine.exposures import Counts, Exposures, exposures
from mlplatform.refine.spine import SPINE, LabelSpine
from mlplatform.reporting.formats import percent
from mlplatform.statistics.life_tables import LifeTable, expected_rate
from mlplatform.statistics.vintages import AgePeriod, Forecast

MOST = 16
"""So many vintages are drawn, the newest ones."""
_PLACE = "_vintage"
_OUTER, _INNER = (0.025, 0.975), (0.25, 0.75)


@dataclass(frozen=True)
class Interval:
    """A rate with the ends of its 95% interval."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """Return it as text."""
        ends = "" if self.low is None or self.high is None else f" ({percent(self.low)} to {percent(self.high)})"
        return f"{percent(self.value)}{ends}"


@dataclass(frozen=True)
class Fan:
    """The forecast of a vintage by age, from where it is on.

    Attributes:
        median: At the end of each step, shape (steps,); before the vintage's age what has been seen.
        inner: Ends of the 50% interval.
        outer: Ends of the 95% interval.
    """

    median: Sequence[float]
    inner: tuple[Sequence[float], Sequence[float]]
    outer: tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Vintage:
    """Rows predicted in one stretch of time.

    Attributes:
        start: Prediction times after this.
        end: Prediction times up to this.
        rows: How many rows.
        age: Steps that are over for all of them.
        rates: Cumulative rate at the end of each step that is over for all.
        expected: Within the horizon, if risks stay as they are; None: not known.
        forecast: If risks go on changing as they have changed; None: too little is known.
        fan: That by age; None without one.
    """

    start: datetime
    end: datetime
    rows: int
    age: int
    rates: Sequence[float]
    expected: Interval | None = None
    forecast: Interval | None = None
    fan: Fan | None = None


@dataclass(frozen=True)
class Vintages:
    """What is known of vintages.

    Attributes:
        horizon: The label's horizon, as the settings say it.
        steps: Into how many steps it is cut.
        until: Up to when rows have been observed; None where no event is known.
        vintages: Oldest first.
    """

    horizon: str
    steps: int = 0
    until: datetime | None = None
    vintages: tuple[Vintage, ...] = ()

    @property
    def step(self) -> str:
        """What a step is called."""
        return (
            "month" if self.steps == Duration.parse(self.horizon).months else f"step of 1/{self.steps} of the horizon"
        )

    def at(self, vintage: Vintage, share: float) -> float | None:
        """Return a vintage's rate after a share of the horizon; None where it is not so old."""
        step = max(1, round(self.steps * share))
        return vintage.rates[step - 1] if len(vintage.rates) >= step else None


def read_vintages(ws: Workspace, namespace: Namespace, spine: LabelSpine, as_of: datetime | None) -> Vintages | None:
    """Read how the rates of vintages grew, as of a time; None where events have no dates.

    Args:
        ws: The workspace.
        namespace: The use case's.
        spine: Its label spine.
        as_of: The time; None: there was no run.
    """
    if not isinstance(spine, EventSpine) or not spine.settings.kind_of_task.is_binary:
        return None
    horizon = spine.settings.label.horizon
    seen = exposures(ws, namespace, spine, as_of) if as_of is not None and _exist(ws, namespace) else None
    if seen is None:
        return Vintages(horizon)
    # The newest ones, mature or not: as many again before those whose horizon is not over.
    newest = spans_of(spine.settings, seen.as_of)
    spans = [*spans_of(spine.settings, newest[0][0]), *newest]
    counted = _counted(seen, spans)
    history = Counts.together(list(counted.values())) if counted else Counts.none(seen.clock.steps)
    window = Duration.parse(spine.settings.monitoring.performance_window)
    steps, effect = seen.clock.steps_in(window), seen.design_effect(window.before(seen.clock.until))
    table = LifeTable.of_period(history.cohorts, steps, design_effect=effect)
    model = AgePeriod.fit(history.cohorts, steps)
    found = [
        _vintage(seen, spans[place - 1], counts, table, model if isinstance(model, AgePeriod) else None)
        for place, counts in sorted(counted.items())
        if place > 0
    ]
    return Vintages(horizon, seen.clock.steps, seen.clock.until, tuple(found[-MOST:]))


def _exist(ws: Workspace, namespace: Namespace) -> bool:
    return ws.tables.exists(namespace.gold(SPINE))


def _counted(seen: Exposures, spans: Sequence[tuple[datetime, datetime]]) -> dict[int, Counts]:
    """Count rows by vintage, from 1 on; 0 holds what is older."""
    time, place = nw.col(seen.spine.prediction_time), nw.lit(0)
    for start, _ in spans:
        place = place + (time > start).cast(nw.Int64)
    rows = seen.portfolio(seen.history_since).with_columns(place.alias(_PLACE))
    return {int(key[0]): counts for key, counts in seen.counted(rows, by=[_PLACE]).items()}


def _vintage(
    seen: Exposures, span: tuple[datetime, datetime], counts: Counts, table: LifeTable, model: AgePeriod | None
) -> Vintage:
    cohorts, steps = counts.cohorts, seen.clock.steps
    age = min(int(counts.ages.min()), steps)
    own = LifeTable.of_cohorts(cohorts)
    vintage = Vintage(span[0], span[1], round(counts.total), age, tuple(own.rates[:age].tolist()))
    if age >= steps:
        return vintage
    expected = expected_rate(cohorts, table)
    forecast = model.forecast(cohorts) if model is not None else None
    low, high = (expected.interval() if expected is not None else None) or (None, None)
    return Vintage(
        vintage.start,
        vintage.end,
        vintage.rows,
        vintage.age,
        vintage.rates,
        expected=Interval(expected.value, low, high) if expected is not None else None,
        forecast=Interval(forecast.value, *forecast.interval()) if forecast is not None else None,
        fan=_fan(forecast) if forecast is not None else None,
    )


def _fan(forecast: Forecast) -> Fan:
    lowest, low, median, high, highest = (
        line.tolist() for line in forecast.quantiles(_OUTER[0], _INNER[0], 0.5, _INNER[1], _OUTER[1])
    )
    return Fan(median, (low, high), (lowest, highest))
