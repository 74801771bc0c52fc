"""How long rows of a spine have been observed, and in which step of their horizon events came: counted by the engine.

As of a time a row has been observed up to there, and no further than events are known: with files by the quarter, a
month after the last of them nothing new has been seen. What is collected are counts by day (or hour, or minute) of the
prediction and step of the event; how many rows there are makes no difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform.as_of import Duration
from mlplatform.config.settings import UseCaseSettings
from mlplatform.naming import Namespace
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.event_spine import EVENT_AT, EVENT_KNOWN_AT, EVENT_STEP, EVENTS, EventSpine, steps_of
from mlplatform.refine.spine import SPINE
from mlplatform.statistics.life_tables import NO_EVENT, Cohorts, Whole
from mlplatform.statistics.metrics import Vector

MOST_GROUPS = 1_000_000
"""Counts by day of the prediction and step of the event may be so many: ten years by day and month are 440,000."""
_TIME, _NEWEST, _ROWS, _SUM = "__time", "__newest", "__rows", "__sum"
_ONE, _EVENTS, _SQUARES = "__one", "__events", "__squares"
_UNITS = (("1d", timedelta(days=30)), ("1h", timedelta(hours=30)))  # of horizons of at least so long


@dataclass(frozen=True)
class Clock:
    """Ages of rows, in steps of their horizon.

    Attributes:
        horizon: How long a row is observed.
        steps: Into how many steps the horizon is cut.
        until: Up to when rows have been observed.
    """

    horizon: Duration
    steps: int
    until: datetime

    def age(self, moment: datetime) -> int:
        """Return how many steps are over for a row of a prediction time.

        Examples:
            >>> from mlplatform.as_of import parse_as_of
            >>> clock = Clock(Duration.parse("36 months"), 36, parse_as_of("2007-01-01"))
            >>> clock.age(parse_as_of("2006-11-30")), clock.age(parse_as_of("2004-01-01"))
            (1, 36)
        """
        lived, whole = self.until - moment, self.horizon.after(moment) - moment
        return max(0, (self.steps * lived) // whole)

    def steps_in(self, length: Duration) -> int:
        """Return how many steps a stretch before `until` has, to the nearest; at least one, at most the horizon's."""
        start = length.before(self.until)
        share = (self.until - start) / (self.horizon.after(start) - start)
        return min(self.steps, max(1, round(self.steps * share)))

    @property
    def unit(self) -> str:
        """In which units of the prediction time rows are counted: far shorter than a step."""
        length = self.until - self.horizon.before(self.until)
        return next((unit for unit, least in _UNITS if length >= least), "1m")


@dataclass(frozen=True)
class Counts:
    """Rows of one group, by age and step of the event.

    Attributes:
        ages: Steps that are over, shape (groups,).
        event_steps: The step of the event, shape (groups,), or `NO_EVENT`.
        rows: How many rows, shape (groups,).
        sums: The sum of what was added up over them, shape (groups,); zeros where nothing was.
        steps: How many steps the horizon has.
    """

    ages: Whole
    event_steps: Whole
    rows: Vector
    sums: Vector
    steps: int

    @property
    def cohorts(self) -> Cohorts:
        """The rows by age."""
        return Cohorts.of(self.ages, self.event_steps, self.rows, self.steps)

    @property
    def total(self) -> float:
        """The number of rows."""
        return float(self.rows.sum())

    @property
    def mean(self) -> float:
        """The mean of what was added up, whatever the order in which an engine gives the groups."""
        return math.fsum(self.sums) / self.total

    @classmethod
    def none(cls, steps: int) -> Counts:
        """Return the counts of no rows."""
        nothing, whole = np.zeros(0), np.zeros(0, dtype=np.int64)
        return cls(whole, whole, nothing, nothing, steps)

    @classmethod
    def together(cls, parts: Sequence[Counts]) -> Counts:
        """Return the rows of several groups of rows as one.

        Args:
            parts: At least one.
        """
        return cls(
            np.concatenate([part.ages for part in parts]),
            np.concatenate([part.event_steps for part in parts]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.sums for part in parts]),
            parts[0].steps,
        )

    def where(self, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Counts:
        """Return some of the groups."""
        return Counts(self.ages[chosen], self.event_steps[chosen], self.rows[chosen], self.sums[chosen], self.steps)


@dataclass(frozen=True)
class Exposures:
    """What is known as of a time about how long rows have been observed, and of their events.

    Attributes:
        ws: The workspace.
        namespace: The use case's.
        spine: Its spine.
        as_of: The time.
        clock: The ages.
    """

    ws: Workspace
    namespace: Namespace
    spine: EventSpine
    as_of: datetime
    clock: Clock

    def counted(self, rows: Frame, *, by: Sequence[str] = (), summed: str = "") -> dict[tuple[Any, ...], Counts]:
        """Count rows by age and step of the event, those of each value of some columns apart.

        Args:
            rows: With the spine's keys and prediction time.
            by: The columns.
            summed: A column whose sum is taken, too.
        """
        time, frames = self.spine.prediction_time, self.ws.frames
        joined = self.with_events(rows).with_columns(nw.col(time).dt.truncate(self.clock.unit).alias(_TIME))
        added_up = [nw.col(summed).sum().alias(_SUM)] if summed else []
        groups = joined.group_by(*by, _TIME, EVENT_STEP).agg(
            nw.len().alias(_ROWS), nw.col(time).max().alias(_NEWEST), *added_up
        )
        found = frames.collect(groups, at_most=MOST_GROUPS, what="counts by prediction time and step of the event")
        return dict(self._groups(found, by))

    def with_events(self, rows: Frame) -> Frame:
        """Return rows with the step of the event known as of the time; null without one."""
        keys = list(self.spine.primary_keys)
        events = known_events(self.ws, self.namespace, self.as_of)
        return rows.join(events.select(*keys, EVENT_STEP), on=keys, how="left")

    def portfolio(self, since: datetime) -> Frame:
        """Return the keys of all rows of the spine with a prediction time after `since` that have been observed."""
        time, keys = self.spine.prediction_time, list(self.spine.primary_keys)
        filters = [(time, ">", since), (time, "<=", self.clock.until)]
        return self.ws.frames.read(self.namespace.gold(SPINE), columns=keys, filters=filters)

    @property
    def history_since(self) -> datetime:
        """From which prediction time on rows are looked at: of the older horizon's rows all ages are known."""
        horizon, window = self.clock.horizon, Duration.parse(self.spine.settings.monitoring.performance_window)
        return horizon.before(horizon.before(window.before(self.clock.until)))

    def design_effect(self, since: datetime) -> float:
        """Return how many times the variance of a count of events is that of independent ones.

        An entity that has several rows has its event in several of them: they are one piece of news. Where
        `gate.cluster_by` names columns of the spine, the rows that share their values are.
        """
        frames, namespace, spine = self.ws.frames, self.namespace, self.spine
        events = known_events(self.ws, namespace, self.as_of).filter(nw.col(EVENT_AT) > since)
        facts = {column.name for column in (*spine.key_columns, *spine.columns)}
        by = [name for name in spine.settings.gate.cluster_by if name in facts] or list(spine.entity_keys)
        if not set(by) <= set(spine.primary_keys):
            keys = list(spine.primary_keys)
            rows = frames.read(namespace.gold(SPINE), columns=[*keys, *(name for name in by if name not in keys)])
            events = events.select(*keys).join(rows, on=keys, how="inner")
        shared = events.group_by(*by).agg(nw.len().alias(_ONE))
        counts = nw.col(_ONE).cast(nw.Float64)
        sums = shared.select(counts.sum().alias(_EVENTS), (counts * counts).sum().alias(_SQUARES))
        (row,) = frames.collect(sums, at_most=1, what="how many events entities share").to_pylist()
        return float(row[_SQUARES] / row[_EVENTS]) if row[_EVENTS] else 1.0

    def one_by_one(
        self, rows: Frame, columns: Sequence[str], *, at_most: int, what: str
    ) -> tuple[pa.Table, Whole, Whole]:
        """Return rows, with the age and the step of the event of each; for what cannot be counted.

        Args:
            rows: With the spine's keys and prediction time.
            columns: Columns to return; the keys come along.
            at_most: How many rows; of more a sample, the same one whenever it is drawn.
            what: What they are.
        """
        time, frames, keys = self.spine.prediction_time, self.ws.frames, self.spine.primary_keys
        drawn = frames.sample(rows, keys=keys, at_most=at_most, seed=0)
        joined = self.with_events(drawn).with_columns(nw.col(time).dt.truncate(self.clock.unit).alias(_TIME))
        chosen = joined.select(*dict.fromkeys((*columns, *keys)), _TIME, EVENT_STEP)
        found = frames.collect(chosen, at_most=at_most, what=what)
        found = found.sort_by([(key, "ascending") for key in keys])
        ages, steps = self._ages(_micros(found, _TIME), _micros(found, time)), _steps(found)
        return found.drop_columns([_TIME, EVENT_STEP]), ages, steps

    def _ages(self, times: Whole, newest: Whole) -> Whole:
        """Return ages, shape (rows,): all rows of a unit of time are as old as its newest one.

        Were some older than others, their events would be counted without the others that were at risk with them.
        """
        units, place = np.unique(times, return_inverse=True)
        last = np.full(units.size, np.iinfo(np.int64).min)
        np.maximum.at(last, place, newest)
        ages = [self.clock.age(_moment(int(value), self.clock.until)) for value in last]
        return np.asarray(ages, dtype=np.int64)[place]

    def _groups(self, found: pa.Table, by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], Counts]]:
        if not found.num_rows:
            return
        ages = self._ages(_micros(found, _TIME), _micros(found, _NEWEST))
        rows = np.asarray(found.column(_ROWS).to_numpy(), dtype=np.float64)
        sums = (
            np.asarray(found.column(_SUM).cast(pa.float64()).to_numpy(), dtype=np.float64)
            if _SUM in found.column_names
            else np.zeros(rows.size)
        )
        whole = Counts(ages, _steps(found), rows, sums, self.clock.steps)
        if not by:
            yield (), whole
            return
        values = list(zip(*(found.column(name).to_pylist() for name in by), strict=True))
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        group = np.array([numbers[value] for value in values])
        for value, number in numbers.items():
            yield value, whole.where(group == number)


def exposures(ws: Workspace, namespace: Namespace, spine: EventSpine, as_of: datetime) -> Exposures | None:
    """Return what is known as of a time; None where no event is known yet, and nobody knows up to when."""
    until = observed_until(ws, namespace, spine.settings, as_of)
    if until is None:
        return None
    horizon = Duration.parse(spine.settings.label.horizon)
    return Exposures(ws, namespace, spine, as_of, Clock(horizon, steps_of(horizon), until))


def observed_until(ws: Workspace, namespace: Namespace, settings: UseCaseSettings, as_of: datetime) -> datetime | None:
    """Return up to when rows have been observed as of a time; None where no event is known by then.

    It is the time itself, or the last one at which an event became known: from then on nobody has told anything. What
    became known late is allowed for by `label.event_delay`.
    """
    if not ws.tables.exists(namespace.gold(EVENTS)):
        return None
    newest = known_events(ws, namespace, as_of).select(nw.col(EVENT_KNOWN_AT).max().alias(_NEWEST))
    found = ws.frames.collect(newest, at_most=1, what="when an event became known last").column(_NEWEST)[0].as_py()
    if found is None:
        return None
    return Duration.parse(settings.label.event_delay).before(min(found, as_of))


def known_events(ws: Workspace, namespace: Namespace, as_of: datetime) -> Frame:
    """Return the events that were known by a time, without those that a correction took back."""
    events = ws.frames.read(namespace.gold(EVENTS), filters=[(EVENT_KNOWN_AT, "<=", as_of)])
    return events.filter(~nw.col(EVENT_AT).is_null())


def _micros(table: pa.Table, column: str) -> Whole:
    times = table.column(column).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return np.asarray(times.to_numpy(), dtype=np.int64)


def _steps(table: pa.Table) -> Whole:
    steps = np.asarray(table.column(EVENT_STEP).cast(pa.float64()).to_numpy(), dtype=np.float64)
    return np.asarray(np.where(np.isnan(steps), NO_EVENT, steps), dtype=np.int64)


def _moment(micros: int, like: datetime) -> datetime:
    return datetime.fromtimestamp(0, tz=like.tzinfo) + timedelta(microseconds=micros)
