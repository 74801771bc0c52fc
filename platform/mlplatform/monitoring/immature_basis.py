"""The outcomes of rows that are not mature, as a recalibration takes them: the rates that dated events let expect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration
from mlplatform.errors import LabelError
from mlplatform.monitoring.immature import IMMATURE, vintages
from mlplatform.monitoring.immature_judging import LEAST_EVENTS
from mlplatform.ops.context import StageContext
from mlplatform.protocols.tables import Filter
from mlplatform.refine.event_spine import EventSpine
from mlplatform.refine.exposures import Counts, exposures
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE, LabelSpine
from mlplatform.statistics.life_tables import Cohorts, ExpectedRate, LifeTable, Whole, expected_rate
from mlplatform.statistics.metrics import Vector
from mlplatform.training.label_frame import LabelFrame
from mlplatform.training.outcomes import RowOutcomes


@dataclass(frozen=True)
class ImmatureBasis:
    """Rates of vintages within the horizon, if the risks of the present stay as they are.

    The rows are those predicted within the window of the recalibration: what is moved are the scores of now. A rate is
    of a whole vintage, and tells no row of it from another.
    """

    name: str = IMMATURE

    def outcomes(
        self, context: StageContext, spine: LabelSpine, *, after: datetime, known_after: datetime | None
    ) -> RowOutcomes:
        """Return the rows that are not mature, each with its vintage's rate; of many a sample, drawn by the engine.

        Raises:
            LabelError: If no event is known, too few are, or some ages were not lived through lately.
        """
        assert isinstance(spine, EventSpine), "it is offered where events are dated"
        seen = exposures(context.ws, context.namespace, spine, context.as_of)
        if seen is None:
            raise _nothing("no event is known yet")
        since = max(after, known_after or after, seen.clock.horizon.before(seen.clock.until))
        limits, frames, time = context.settings.gate, context.ws.frames, spine.prediction_time
        name = context.namespace.gold(SPINE)
        version = context.ws.tables.version(name)
        filters: list[Filter] = [(time, ">", since), (time, "<=", seen.clock.until)]
        facts = frames.read(name, version=version, filters=filters)
        columns = facts.collect_schema().names()
        total = frames.count(facts)
        rows, ages, steps = seen.one_by_one(facts, columns, at_most=limits.max_rows, what="rows that are not mature")
        if not rows.num_rows:
            raise _nothing(f"no row was predicted since {since:%Y-%m-%d}")
        window = Duration.parse(context.settings.monitoring.performance_window)
        history = seen.counted(seen.portfolio(seen.history_since)).get((), Counts.none(seen.clock.steps)).cohorts
        effect = seen.design_effect(window.before(seen.clock.until))
        table = LifeTable.of_period(history, seen.clock.steps_in(window), design_effect=effect)
        if table.events.sum() < LEAST_EVENTS:
            raise _nothing(f"{int(table.events.sum())} events in the last {window}, needs {LEAST_EVENTS}")
        order = np.asarray(pc.sort_indices(rows, sort_keys=spine.order).to_numpy(), dtype=np.int64)
        rows, ages, steps = rows.take(order).select(columns).combine_chunks(), ages[order], steps[order]
        rates = _Rates.of(ages, steps, _vintages(context, rows, time), table)
        labels = pa.nulls(rows.num_rows, spine.label_schema().field(spine.label).type)
        known_at = pa.nulls(rows.num_rows, spine.label_schema().field(LABEL_KNOWN_AT).type)
        frame = LabelFrame(
            rows=rows.append_column(spine.label, labels).append_column(LABEL_KNOWN_AT, known_at),
            versions={str(name): version, str(context.namespace.gold(LABELS)): _labels_version(context)},
            known_rows=total,
            as_of=context.as_of,
            sampled=total > rows.num_rows,
        )
        return RowOutcomes(
            frame,
            targets=rates.values,
            weights=np.full(rows.num_rows, rates.worth),
            ranked=False,
            expected=True,
            low=rates.low,
            high=rates.high,
        )


@dataclass(frozen=True)
class _Rates:
    """The expected rate of each row's vintage.

    Attributes:
        values: Shape (rows,).
        low: Lower ends of their 95% intervals.
        high: Upper ends.
        worth: How much of one known outcome a row is worth.
    """

    values: Vector
    low: Vector
    high: Vector
    worth: float

    @classmethod
    def of(cls, ages: Whole, event_steps: Whole, vintage: Whole, table: LifeTable) -> _Rates:
        """Compute them.

        Raises:
            LabelError: If a rate is not known.
        """
        rates = np.empty((3, ages.size))
        for number in np.unique(vintage):
            mine = vintage == number
            found = _rate(ages[mine], event_steps[mine], table)
            rates[:, mine] = np.array([found.value, *(found.interval() or (np.nan, np.nan))])[:, None]
        # All vintages are off together: rows are worth as many known outcomes as would be as sure as all of them.
        whole = _rate(ages, event_steps, table)
        # The error is one of log(-log(1 - rate)).
        spread = (whole.error or np.inf) * (1 - whole.value) * -float(np.log1p(-whole.value))
        known = whole.value * (1 - whole.value) / spread**2
        return cls(rates[0], rates[1], rates[2], float(np.clip(known / ages.size, 1e-6, 1.0)))


def _rate(ages: Whole, event_steps: Whole, table: LifeTable) -> ExpectedRate:
    found = expected_rate(Cohorts.of(ages, event_steps, np.ones(ages.size), table.steps), table)
    if found is None or found.error is None:
        raise _nothing("the risks of some ages of their horizon are not known")
    return found


def _vintages(context: StageContext, rows: pa.Table, time: str) -> Whole:
    ends = [end for _, end in vintages(context.settings, context.as_of)]
    edges = pa.array(ends, rows.schema.field(time).type).cast(pa.int64()).to_numpy()
    times = rows.column(time).cast(pa.int64()).to_numpy()
    return np.asarray(np.searchsorted(edges, times, side="left"), dtype=np.int64)


def _labels_version(context: StageContext) -> int:
    return context.ws.tables.version(context.namespace.gold(LABELS))


def _nothing(why: str) -> LabelError:
    return LabelError(
        f"Dated events do not tell yet what to expect of predictions that are not mature: {why}.",
        hint="Choose a later --as-of, or recalibrate by realised outcomes (--basis realised).",
    )
