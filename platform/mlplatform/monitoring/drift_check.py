"""The drift part of monitoring: the window's inputs and predictions against training and against the window before."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration
from mlplatform.monitoring import alerts, drift
from mlplatform.monitoring.alerts import Finding, State, too_few
from mlplatform.monitoring.drift import DriftMetric
from mlplatform.naming import CHAMPION, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import DRIFT_METRICS, WINDOW_COUNTS
from mlplatform.protocols.lookups import FeatureLookup
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.spine import SPINE
from mlplatform.scoring.scorer import PREDICTION, PREDICTIONS, UNMATCHED
from mlplatform.statistics import profiles
from mlplatform.statistics.counts import ColumnCounts, count_batches
from mlplatform.training.reference import Reference

_NO_BASELINE = "none"
_SHOWN = 5


@dataclass(frozen=True)
class Window:
    """The champion's predictions of one stretch of prediction times.

    Attributes:
        rows: Keys, prediction, model version, unmatched feature tables; one row a key, of its newest scoring.
        start: Prediction times after this.
        end: Prediction times up to this.
        version: The version that scored the newest of them; None without rows.
    """

    rows: pa.Table
    start: datetime
    end: datetime
    version: int | None

    def of_version(self) -> pa.Table:
        """Return the rows that the window's version predicted."""
        return self.rows.filter(pc.equal(self.rows.column("model_version"), pa.scalar(self.version, pa.int64())))


def read_window(context: StageContext, end: datetime) -> Window:
    """Return the window of prediction times that ends at a time, as it had been scored by then.

    Windows go by event time: a row that was scored later belongs to no later window. What is counted again gives what
    was counted first.
    """
    settings, spine = context.use_case.settings, context.use_case.label_spine()
    start = Duration.parse(settings.monitoring.window or settings.scoring.every).before(end)
    time, keys = spine.prediction_time, list(spine.primary_keys)
    rows = context.ws.tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        columns=[*keys, PREDICTION, UNMATCHED, "model_version", "as_of"],
        filters=[("alias", "=", CHAMPION), ("as_of", "<=", end), (time, ">", start), (time, "<=", end)],
    )
    if not rows.num_rows:
        return Window(rows, start, end, None)
    # After a rescore by a newer champion it is the newer one's rows that count.
    rows = rows.append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
    order = rows.select([*keys, "as_of", "model_version", "_row"])
    order = order.sort_by([("as_of", "ascending"), ("model_version", "ascending")])
    last = order.group_by(keys, use_threads=False).aggregate([("_row", "last"), ("model_version", "last")])
    kept = rows.take(last.column("_row_last").combine_chunks().sort()).drop_columns(["_row"])
    return Window(kept, start, end, order.column("model_version")[-1].as_py())


@dataclass(frozen=True)
class DriftCheck:
    """What the check measured and found."""

    metrics: list[DriftMetric]
    findings: list[Finding]


def check(context: StageContext, window: Window, reference: Reference) -> DriftCheck:
    """Measure the window's drift and record it, exactly once an `as_of`.

    Args:
        context: The run.
        window: Its rows; not empty.
        reference: Of the window's version.

    Raises:
        PlatformError: If the window's inputs cannot be looked up again, a feature table is gone, ...
    """
    limits = context.use_case.settings.monitoring
    ignored = set(context.use_case.monitor.ignored_columns)
    profile = {name: column for name, column in reference.profile.items() if name not in ignored}
    reference = replace(reference, profile=profile)
    counted = _count(context, window, reference)
    found = drift.compare(profile, counted, window.rows.num_rows, limits)
    before = _previous_counts(context, window, reference)
    if before is not None:
        previous = {name: counts for name, counts in before.items() if name in profile}
        found += drift.compare(
            profile, counted, window.rows.num_rows, limits, reference=previous, baseline=drift.PREVIOUS
        )
    found += _match_rates(context, window) + _ages(context, window)
    _record(context, window, reference.version.version, found, counted)
    return DriftCheck(found, _findings(found, window, reference.version.version, limits.min_rows))


def unknown() -> list[Finding]:
    """Return what is found where there is no row to judge."""
    kinds = (alerts.DRIFT, alerts.PREDICTION_DRIFT, alerts.WINDOW_SHIFT)
    return [Finding(kind, "unknown", "there are no predictions in the window") for kind in kinds]


def _count(context: StageContext, window: Window, reference: Reference) -> dict[str, ColumnCounts]:
    inputs = {name: column for name, column in reference.profile.items() if name != PREDICTION}
    counted = count_batches(inputs, _inputs(context, window))
    if PREDICTION in reference.profile:
        counted |= count_batches(
            {PREDICTION: reference.profile[PREDICTION]}, [window.of_version().select([PREDICTION])]
        )
    return counted


def _inputs(context: StageContext, window: Window) -> Iterator[pa.RecordBatch]:
    """Yield the inputs of the scored rows as of their own prediction times."""
    spine, trainer = context.use_case.label_spine(), context.use_case.model_trainer()
    keys, time = list(spine.primary_keys), spine.prediction_time
    rows = context.ws.tables.to_arrow(
        context.namespace.gold(SPINE), filters=[(time, ">", window.start), (time, "<=", window.end)]
    )
    rows = rows.join(window.rows.select(keys), keys=keys, join_type="left semi").select(rows.column_names)
    context.use_case.register_functions(context.ws)
    training_set = context.ws.fe.create_training_set(
        df=rows, feature_lookups=list(trainer.lookups()), label=None, exclude_columns=list(trainer.exclude_columns)
    )
    return training_set.to_batches()


def _previous_counts(context: StageContext, window: Window, reference: Reference) -> dict[str, ColumnCounts] | None:
    """Return the counts of the window before, in the same cells; None when it has no rows."""
    rows = context.ws.tables.to_arrow(
        context.namespace.ops("window_counts"),
        filters=[
            ("use_case", "=", context.use_case.name),
            ("window_end", "=", window.start),
            ("model_version", "=", reference.version.version),
            ("as_of", "<", context.as_of),
        ],
    )
    if rows.num_rows:
        kept = json.loads(rows.sort_by([("as_of", "ascending")]).column("counts")[-1].as_py())
        if kept.get("format") == profiles.FORMAT:
            return {name: ColumnCounts(**counts) for name, counts in kept["columns"].items()}
    before = read_window(context, window.start)
    if before.version is None:
        return None
    # Another version monitored it, in the cells of its own reference, or the cells were others: counted again.
    counted = _count(context, before, reference)
    if before.version != reference.version.version:
        counted.pop(PREDICTION, None)  # made by another model
    return counted


def _match_rates(context: StageContext, window: Window) -> list[DriftMetric]:
    limits = context.use_case.settings.monitoring
    rows, judged = window.rows.num_rows, window.rows.num_rows >= limits.min_rows
    missing = Counter(cast("list[str]", pc.list_flatten(window.rows.column(UNMATCHED)).to_pylist()))
    found = []
    for table in sorted({table.name for table in _tables(context)}):
        rate = 1 - missing.get(table, 0) / rows
        violated = judged and limits.min_match_rate is not None and rate < limits.min_match_rate
        limit = limits.min_match_rate
        found.append(DriftMetric(table, "match_rate", rate, limit, violated, baseline=_NO_BASELINE, judged=judged))
    return found


def _ages(context: StageContext, window: Window) -> list[DriftMetric]:
    limit = context.use_case.settings.monitoring.max_feature_age
    allowed = Duration.parse(limit) if limit else None
    found = []
    for table in sorted(_tables(context)):
        column = context.ws.tables.describe(table).timeseries_column
        if column is None:
            continue
        newest = context.ws.tables.largest(table, column, filters=[(column, "<=", context.as_of)])
        age = None if newest is None else (context.as_of - newest) / timedelta(days=1)
        # A table without any row is as stale as can be.
        stale = allowed is not None and (newest is None or allowed.after(newest) < context.as_of)
        days = (allowed.after(window.end) - window.end) / timedelta(days=1) if allowed else None
        found.append(DriftMetric(table.name, "age_days", age, days, stale, baseline=_NO_BASELINE))
    return found


def _tables(context: StageContext) -> set[ObjectName]:
    lookups = context.use_case.model_trainer().lookups()
    return {ObjectName.parse(item.table_name) for item in lookups if isinstance(item, FeatureLookup)}


def _record(
    context: StageContext,
    window: Window,
    version: int,
    found: Sequence[DriftMetric],
    counted: Mapping[str, ColumnCounts],
) -> None:
    common = {
        "use_case": context.use_case.name,
        "as_of": context.as_of,
        "model_version": version,
        "window_start": window.start,
        "window_end": window.end,
        "rows": window.rows.num_rows,
    }
    once = [Transaction(f"monitor:{context.use_case.name}:{context.as_of.isoformat()}")]
    columns = {name: asdict(item) for name, item in counted.items()}
    counts = json.dumps({"format": profiles.FORMAT, "columns": columns})
    context.ws.tables.append(
        context.namespace.ops("window_counts"),
        pa.Table.from_pylist([{**common, "counts": counts}], schema=WINDOW_COUNTS.schema),
        transactions=once,
    )
    # What was not judged has no limit on record: that it did not violate one says nothing.
    rows = [{**common, **asdict(item), "limit": item.limit if item.judged else None} for item in found]
    context.ws.tables.append(
        context.namespace.ops("drift_metrics"),
        pa.Table.from_pylist(rows, schema=DRIFT_METRICS.schema),
        transactions=once,
    )


def _findings(found: Sequence[DriftMetric], window: Window, version: int, min_rows: int) -> list[Finding]:
    def of(kind: str, what: str, mine: Sequence[DriftMetric]) -> list[Finding]:
        if not mine:
            return []
        violated = sorted((item for item in mine if item.violated), key=_size, reverse=True)
        if not all(item.judged for item in mine):
            return [Finding(kind, "unknown", too_few(window.rows.num_rows, min_rows), version)]
        state: State = "violated" if violated else "ok"
        more = f" and {len(violated) - _SHOWN} more" if len(violated) > _SHOWN else ""
        listed = ", ".join(f"{item.column} ({_shown(item)})" for item in violated[:_SHOWN]) + more
        message = f"{len(violated)} limit(s) of {what} violated: {listed}" if violated else ""
        return [Finding(kind, state, message, version)]

    training = [item for item in found if item.baseline == drift.TRAINING]
    return [
        *of(alerts.DRIFT, "drift", [item for item in training if item.column != PREDICTION]),
        *of(alerts.PREDICTION_DRIFT, "prediction drift", [item for item in training if item.column == PREDICTION]),
        *of(alerts.WINDOW_SHIFT, "a shift since the window before", _of_baseline(found, drift.PREVIOUS)),
        *of(alerts.UNMATCHED_FEATURES, "feature match rate", _limited(found, "match_rate")),
        *of(alerts.STALE_FEATURES, "feature age", _limited(found, "age_days")),
    ]


def _of_baseline(found: Sequence[DriftMetric], baseline: str) -> list[DriftMetric]:
    return [item for item in found if item.baseline == baseline]


def _limited(found: Sequence[DriftMetric], metric: str) -> list[DriftMetric]:
    return [item for item in found if item.metric == metric and item.limit is not None]


def _size(metric: DriftMetric) -> float:
    return metric.value if metric.value is not None else float("inf")


def _shown(metric: DriftMetric) -> str:
    return f"{metric.metric} {metric.value:.2f}" if metric.value is not None else metric.metric
