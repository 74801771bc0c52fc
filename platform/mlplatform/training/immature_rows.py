"""Rows whose labels are not mature, in a training: events that have come count already, weighted for censoring.

Among rows that are not mature only those with an event are known to have a label. To take them as they are would make
the event far too frequent; to wait for all labels is to learn of years ago. Inverse probability of censoring weights do
neither: an event counts one over the probability that a row is observed for as long as it took (Robins and Finkelstein,
Biometrics 2000; for the learning of classifiers Vock et al., "Adapting machine learning techniques to censored
time-to-event health record data", Journal of Biomedical Informatics 2016). Rows that lived through the horizon without
the event count one over the probability to be observed that long. All weights are divided by this one, so that what has
no event counts as in a training without it. The rows that the model is not fitted on, its holdout, are no part of the
population that this probability is of.

They are right where risks by age do not change. Where they do, early events are of the present, late ones of the past:
a model so trained lies between one of the past and the present.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import ConfigError
from mlplatform.naming import Namespace
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.event_spine import EVENT_STEP, EventSpine
from mlplatform.refine.exposures import Exposures, exposures
from mlplatform.refine.spine import LABEL_KNOWN_AT, SPINE, LabelSpine
from mlplatform.statistics.life_tables import NO_EVENT, Whole
from mlplatform.statistics.metrics import Vector
from mlplatform.training.label_frame import LabelFrame
from mlplatform.training.split import time_split


@dataclass(frozen=True)
class ImmatureRows:
    """Rows that are not mature and had their event, and by how much rows count.

    Attributes:
        frame: The rows, each with the label 1.
        weights: Of these rows, shape (rows,).
        of_frame: Weights of the rows of the label frame, shape (labelled rows,), in its order.
    """

    frame: LabelFrame
    weights: Vector
    of_frame: Vector


def observed_shares(ages: Whole, counts: Vector, steps: int) -> Vector:
    """Return which share of rows is observed beyond each step, and at the end of the horizon: shape (steps + 1,).

    Args:
        ages: Steps that are over, shape (groups,).
        counts: Rows of each group, shape (groups,).
        steps: How many steps the horizon has.

    Examples:
        >>> observed_shares(np.array([0, 1, 2, 5]), np.ones(4), 2).tolist()
        [0.75, 0.5, 0.5]
    """
    lived = np.bincount(np.minimum(ages, steps), weights=counts, minlength=steps + 1)
    beyond = lived[::-1].cumsum()[::-1] / lived.sum()
    return np.append(beyond[1:], beyond[-1])


def censoring_weights(event_steps: Whole, shares: Vector) -> Vector:
    """Return by how much rows count, shape (rows,): those that lived through the horizon without an event one.

    Args:
        event_steps: The step of the event, shape (rows,), or `NO_EVENT` of rows that lived through the horizon.
        shares: As `observed_shares` gives them; above zero at the end.

    Examples:
        >>> censoring_weights(np.array([0, 1, NO_EVENT]), np.array([0.75, 0.5, 0.5])).tolist()
        [0.6666666666666666, 1.0, 1.0]
    """
    return np.asarray(shares[-1] / shares[np.where(event_steps == NO_EVENT, shares.size - 1, event_steps)])


def immature_rows(
    ws: Workspace, namespace: Namespace, spine: LabelSpine, as_of: datetime, frame: LabelFrame, after: datetime | None
) -> ImmatureRows | None:
    """Return the rows that are not mature and had an event that was known by `as_of`, with the weights of all.

    Args:
        ws: The workspace.
        namespace: The use case's.
        spine: Its spine.
        as_of: The time.
        frame: The labelled rows.
        after: Only rows with later prediction times; None: all.

    Returns:
        None where there are none.

    Raises:
        ConfigError: If events have no dates.
    """
    if not isinstance(spine, EventSpine) or not spine.settings.kind_of_task.is_binary:
        raise ConfigError(
            f"training.immature_rows is weighted, and {type(spine).__name__} says nothing of when events happened.",
            hint="Make it an EventSpine, or leave the setting at none.",
        )
    seen = exposures(ws, namespace, spine, as_of)
    if seen is None:
        return None
    time = nw.col(spine.prediction_time)
    oldest = pc.min(frame.rows.column(spine.prediction_time)).as_py() - timedelta(microseconds=1)
    since = oldest if after is None else after
    first, last = _held_out(spine, frame)
    population = seen.counted(seen.portfolio(since).filter((time < first) | (time > last))).get(())
    if population is None:
        return None
    shares = observed_shares(population.ages, population.rows, seen.clock.steps)
    rows, steps = _waiting(seen, frame, since)
    if not rows.num_rows or not shares[-1]:
        return None
    young = replace(frame, rows=rows, known_rows=rows.num_rows, sampled=False)
    return ImmatureRows(young, censoring_weights(steps, shares), censoring_weights(_steps_of(seen, frame), shares))


def _held_out(spine: LabelSpine, frame: LabelFrame) -> tuple[datetime, datetime]:
    """Return the first and the last prediction time of the labelled rows that the registered model is not fitted on."""
    options, times = spine.settings.training, frame.rows.column(spine.prediction_time)
    moments = times.to_numpy().astype("datetime64[us]")
    split = time_split(moments, holdout=options.holdout, validation=options.validation)
    # Where the model is calibrated, the validation part is for that.
    first = split.validation.start if options.calibrate != "none" else split.holdout.start
    return times[int(first)].as_py(), times[-1].as_py()


def _waiting(seen: Exposures, frame: LabelFrame, since: datetime) -> tuple[pa.Table, Whole]:
    """Return the rows with an event that are not mature, and the steps of their events."""
    spine, frames, keys = seen.spine, seen.ws.frames, list(seen.spine.primary_keys)
    young = max(since, seen.clock.horizon.before(seen.clock.until))
    filters: list[Filter] = [(spine.prediction_time, ">", young), (spine.prediction_time, "<=", seen.clock.until)]
    facts = frames.read(seen.namespace.gold(SPINE), filters=filters)
    columns = facts.collect_schema().names()
    with_event = seen.with_events(facts).filter(~nw.col(EVENT_STEP).is_null())
    total = frames.count(with_event)
    # Where labelled rows are a sample, these are one of the same share: else they would count for more.
    share = frame.rows.num_rows / frame.known_rows
    table, ages, steps = seen.one_by_one(
        with_event.drop(EVENT_STEP), columns, at_most=max(1, round(total * share)), what="events of rows not mature"
    )
    known = frame.rows.select(keys)
    chosen = pa.array(steps < ages)
    table, steps = table.filter(chosen), steps[steps < ages]
    order = pc.sort_indices(table, sort_keys=spine.order)
    table, steps = table.take(order).combine_chunks(), steps[order.to_numpy()]
    # A spine may say its labels itself, and earlier than this.
    numbered = table.select(keys).append_column("__row", pa.array(range(table.num_rows), pa.int64()))
    rest = np.sort(numbered.join(known, keys=keys, join_type="left anti").column("__row").to_numpy())
    table, steps = table.take(pa.array(rest, pa.int64())), steps[rest]
    schema = frame.rows.schema
    labels = pa.array(np.ones(table.num_rows)).cast(schema.field(spine.label).type)
    known_at = pa.array([seen.as_of] * table.num_rows, schema.field(LABEL_KNOWN_AT).type)
    whole = table.append_column(spine.label, labels).append_column(LABEL_KNOWN_AT, known_at)
    return whole.select(schema.names), steps


def _steps_of(seen: Exposures, frame: LabelFrame) -> Whole:
    """Return the steps of the events of labelled rows, in the frame's order; `NO_EVENT` of those without the label."""
    spine, keys = seen.spine, list(seen.spine.primary_keys)
    rows = seen.ws.frames.of(frame.rows.select(keys))
    table, _, steps = seen.one_by_one(rows, keys, at_most=frame.rows.num_rows, what="events of labelled rows")
    order = pc.sort_indices(table, sort_keys=spine.order).to_numpy()
    return np.where(frame.rows.column(spine.label).to_numpy() == 1, steps[order], NO_EVENT)
