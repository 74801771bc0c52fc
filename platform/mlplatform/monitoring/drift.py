"""Drift: how far a window of scored rows lies from training and from the window before, column by column."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from mlplatform.as_of import Duration
from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.features.probabilities import is_of_prediction, profiled
from mlplatform.features.spec_lookups import lookups_of, spec_of, tables_of
from mlplatform.features.training_set import PREDICTION
from mlplatform.monitoring import alerts
from mlplatform.monitoring.alerts import State, Verdict, too_few
from mlplatform.monitoring.monitor import Monitor
from mlplatform.monitoring.window import Window, read_window
from mlplatform.naming import ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import DRIFT_METRICS, WINDOW_COUNTS, DriftRecord, WindowRecord
from mlplatform.protocols.column_counts import ColumnCounts
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.spine import SPINE, LabelSpine
from mlplatform.scoring.class_columns import number_names
from mlplatform.statistics import distances, profiles
from mlplatform.statistics.counts import count_batches
from mlplatform.statistics.profiles import ColumnProfile, Profile, cells_of
from mlplatform.training.reference import Reference

if TYPE_CHECKING:
    from mlplatform.protocols.tables import FrameLike

TRAINING = "training"
PREVIOUS = "previous window"
_NO_BASELINE = "none"
_SHOWN = 5
# Distance -> the test that says whether chance explains it: psi and js are judged by that of chi-square.
_TESTED_BY = {
    "psi": "chi_square",
    "js": "chi_square",
    "chi_square": "chi_square",
    "ks": "ks",
    "null_increase": "null_increase",
    "out_of_range": "out_of_range",
    "new_categories": "new_categories",
}
# Tests whose p-values are corrected together, over all columns; each family gets its part of the rate of false alarms.
_FAMILIES = (
    frozenset({"chi_square"}),
    frozenset({"ks"}),
    frozenset({"null_increase", "out_of_range", "new_categories"}),
)


@dataclass(frozen=True)
class DriftMetric:
    """One measured distance.

    Attributes:
        column: The column, or the feature table.
        metric: `psi`, `js`, `ks`, `chi_square`, `null_increase`, `out_of_range`, `new_categories`, `missing`;
            of feature tables `match_rate` and `age_days`.
        value: The distance; None when it could not be measured.
        limit: From the settings; None: recorded, not judged.
        violated: True when the value lies beyond the limit and chance does not explain it.
        p_value: Probability of such a distance without any change, corrected for the number of columns.
        baseline: What the window was compared with: `training` or `previous window`.
        judged: False where there were too few rows to say anything: neither well nor ill. On record such a distance
            has no limit.
    """

    column: str
    metric: str
    value: float | None
    limit: float | None
    violated: bool
    p_value: float | None = None
    baseline: str = TRAINING
    judged: bool = True


def compare(
    profile: Profile,
    window: Mapping[str, ColumnCounts],
    rows: int,
    limits: MonitoringSettings,
    *,
    reference: Mapping[str, ColumnCounts] | None = None,
    baseline: str = TRAINING,
) -> list[DriftMetric]:
    """Compare a window with a reference.

    A distance is a violation when it lies above its limit AND a test says that chance does not explain it: a small
    window alone is far from everything. The tests of all columns are corrected together (Holm), so that a window
    without change is flagged with a probability of at most `false_alarm_rate`, whatever the number of columns.

    Args:
        profile: Gives the cells, and the reference unless `reference` does.
        window: Counts of the window's columns in the profile's cells.
        rows: Rows of the window.
        limits: What counts as drifted.
        reference: Counts to compare with (the previous window's); default: the profile's own.
        baseline: What those are.

    Returns:
        The metrics of each column. A window of fewer than `min_rows` rows is measured and not judged.
    """
    judged = rows >= limits.min_rows
    metrics: list[DriftMetric] = []
    for name, column in profile.items():
        before = (reference or {}).get(name) if reference is not None else column.counts
        if name not in window:
            violated = judged and (reference is None or before is not None)
            metrics.append(DriftMetric(name, "missing", None, None, violated=violated, baseline=baseline))
        elif before is not None:
            metrics.extend(
                replace(item, baseline=baseline) for item in _column(name, column, before, window[name], limits)
            )
    metrics = _corrected(metrics)
    return [
        replace(item, violated=item.violated or (judged and _beyond(item, limits)), judged=judged) for item in metrics
    ]


def _corrected(metrics: Sequence[DriftMetric]) -> list[DriftMetric]:
    """Return the metrics with p-values corrected for the number of tests in their family (Holm)."""
    corrected: dict[tuple[str, str], float] = {}
    for family in _FAMILIES:
        tests = {
            (item.column, _TESTED_BY[item.metric]): item.p_value
            for item in metrics
            if item.p_value is not None and _TESTED_BY[item.metric] in family
        }
        corrected |= zip(tests, distances.holm(list(tests.values())), strict=True)
    return [
        item if item.p_value is None else replace(item, p_value=corrected[item.column, _TESTED_BY[item.metric]])
        for item in metrics
    ]


def _beyond(item: DriftMetric, limits: MonitoringSettings) -> bool:
    if item.value is None or item.limit is None or item.p_value is None:
        return False
    # The other way round, so that NaN, which is neither above nor below, is not taken for well.
    return not (item.value <= item.limit or item.p_value >= limits.false_alarm_rate / len(_FAMILIES))


_Make = Callable[[str, float, float | None, float], DriftMetric]


def _column(
    name: str, column: ColumnProfile, before: ColumnCounts, now: ColumnCounts, limits: MonitoringSettings
) -> list[DriftMetric]:
    if not now.rows:
        return [DriftMetric(name, "psi", None, limits.max_psi, violated=False)]
    if not before.rows:
        return []
    old, new = column.bins(before), column.bins(now)
    statistic, p_value = distances.chi_square(column.tested_bins(before), column.tested_bins(now))
    shares, seen = old / before.rows, new / now.rows

    def metric(kind: str, value: float, limit: float | None, p: float) -> DriftMetric:
        return DriftMetric(name, kind, value, limit, violated=False, p_value=p)

    psi = distances.population_stability_index(shares, seen)
    metrics = [
        metric("psi", psi, limits.max_psi, p_value),
        metric("js", distances.jensen_shannon(shares, seen), limits.max_js, p_value),
        metric("chi_square", statistic, None, p_value),
        metric(
            "null_increase",
            now.nulls / now.rows - before.nulls / before.rows,
            limits.max_null_increase,
            distances.share_rise(before.nulls, before.rows, now.nulls, now.rows),
        ),
    ]
    if column.kind == "numeric":
        metrics.extend(_numeric(metric, before, now, limits))
    elif now.values and before.values:
        unseen = int(new[-2])
        rise = unseen / now.rows - int(old[-2]) / before.rows
        expected = max(int(old[-2]), column.expected_unseen()) if before is column.counts else int(old[-2])
        p_new = distances.share_rise(expected, before.rows, unseen, now.rows)
        metrics.append(metric("new_categories", rise, limits.max_new_categories, p_new))
    return metrics


def _numeric(metric: _Make, before: ColumnCounts, now: ColumnCounts, limits: MonitoringSettings) -> list[DriftMetric]:
    old, new = np.asarray(before.cells), np.asarray(now.cells)
    if not now.values or not before.values:
        return []
    gap, p_value = distances.kolmogorov_smirnov(old, new)
    # The first and the last cell lie outside of what training saw; where it saw no value they are one and the same.
    outside, outside_before = now.values - int(new[1:-1].sum()), before.values - int(old[1:-1].sum())
    rise = outside / now.rows - outside_before / before.rows
    p_out = distances.share_rise(outside_before, before.rows, outside, now.rows)
    return [metric("ks", gap, limits.max_ks, p_value), metric("out_of_range", rise, limits.max_out_of_range, p_out)]


@dataclass(frozen=True)
class DriftCheck:
    """What the check measured, and what it says."""

    metrics: list[DriftMetric]
    verdicts: list[Verdict]


def check(
    context: StageContext,
    spine: LabelSpine,
    functions: Sequence[FeatureFunctionSpec],
    monitor: Monitor,
    window: Window,
    reference: Reference,
) -> DriftCheck:
    """Measure the window's drift and record it, exactly once for each `as_of`.

    Args:
        context: The run.
        spine: The label spine.
        functions: The feature functions.
        monitor: Which of them are not watched.
        window: Its rows; not empty.
        reference: Of the window's version.

    Raises:
        PlatformError: If the window's inputs cannot be looked up again, a feature table is gone, ...
    """
    limits = context.settings.monitoring
    ignored = set(monitor.ignored_columns)
    profile = {name: column for name, column in reference.profile.items() if name not in ignored}
    spec = spec_of(context.ws, reference.version)
    read = tables_of(spec)
    counter = _Counter(context, spine, spec, functions, replace(reference, profile=profile))
    counted = counter.count(window)
    metrics = compare(profile, counted, window.rows, limits)
    before = counter.counts_before(window)
    if before is not None:
        previous = {name: counts for name, counts in before.items() if name in profile}
        metrics += compare(profile, counted, window.rows, limits, reference=previous, baseline=PREVIOUS)
    metrics += _match_rates(window, read, limits) + _ages(context, read, window)
    version = reference.version.version
    _record(context, window, version, metrics, counted)
    return DriftCheck(metrics, _verdicts(metrics, window, version, limits.min_rows))


def unknown() -> list[Verdict]:
    """Return what is said where there is no row to judge."""
    kinds = (alerts.DRIFT, alerts.PREDICTION_DRIFT, alerts.WINDOW_SHIFT)
    return [Verdict(kind, "unknown", "there are no predictions in the window") for kind in kinds]


@dataclass(frozen=True)
class _Counter:
    """Counts windows in the cells of a reference."""

    context: StageContext
    spine: LabelSpine
    spec: FeatureSpec
    functions: Sequence[FeatureFunctionSpec]
    reference: Reference

    def count(self, window: Window) -> dict[str, ColumnCounts]:
        """Return the counts of a window's inputs and predictions."""
        frames, task = self.context.ws.frames, self.context.settings.kind_of_task
        cells = cells_of(self.reference.profile)
        of_prediction = {name: cells.pop(name) for name in list(cells) if is_of_prediction(name)}
        counted = frames.count_cells(self._inputs(window), cells)
        if of_prediction and window.rows_of_version == len(window.predictions()):
            return counted | count_batches(of_prediction, [profiled(window.predictions(), task)])
        # In the engine a probability's column is named by the place of its class.
        columns = {PREDICTION: PREDICTION} | {name: column for column, name in number_names(task).items()}
        known = {columns[name]: it for name, it in of_prediction.items() if name in columns}
        found = frames.count_cells(window.of_version, known) if known else {}
        return counted | {name: found[column] for name, column in columns.items() if column in found}

    def counts_before(self, window: Window) -> dict[str, ColumnCounts] | None:
        """Return the counts of the window before, in the same cells; None when it has no rows."""
        version = self.reference.version.version
        records = WINDOW_COUNTS.read(
            self.context.ws,
            self.context.namespace,
            [("window_end", "=", window.start), ("model_version", "=", version), ("as_of", "<", self.context.as_of)],
        )
        if records and records[-1].counts.get("format") == profiles.FORMAT:
            columns = records[-1].counts["columns"]
            return {name: ColumnCounts(**counts) for name, counts in columns.items()}
        before = read_window(self.context, self.spine, window.start)
        if before.version is None:
            return None
        # Another version monitored it, in the cells of its own reference, or the cells were others: counted again.
        counted = self.count(before)
        if before.version != version:  # by another model
            counted = {name: counts for name, counts in counted.items() if not is_of_prediction(name)}
        return counted

    def _inputs(self, window: Window) -> FrameLike:
        """Return the inputs of the scored rows as of their own prediction times."""
        time, keys = self.spine.prediction_time, list(self.spine.primary_keys)
        rows = self.context.ws.frames.read(
            self.context.namespace.gold(SPINE), filters=[(time, ">", window.start), (time, "<=", window.end)]
        )
        register_functions(self.context.ws, self.context.namespace, self.functions)
        training_set = self.context.ws.fe.create_training_set(
            df=rows.join(window.frame.select(*keys), on=keys, how="semi"),
            feature_lookups=lookups_of(self.spec),
            label=None,
            exclude_columns=[column.output_name for column in self.spec.columns if not column.include],
        )
        return training_set.to_rows()


def _match_rates(window: Window, read: Collection[ObjectName], limits: MonitoringSettings) -> list[DriftMetric]:
    judged, limit = window.rows >= limits.min_rows, limits.min_match_rate
    metrics = []
    names = {table.name for table in read}
    for table, missing in sorted(window.unmatched.items()):
        if table not in names:
            continue
        rate = 1 - missing / window.rows
        violated = judged and limit is not None and not rate >= limit
        metrics.append(DriftMetric(table, "match_rate", rate, limit, violated, baseline=_NO_BASELINE, judged=judged))
    return metrics


def _ages(context: StageContext, tables: set[ObjectName], window: Window) -> list[DriftMetric]:
    limit = context.settings.monitoring.max_feature_age
    allowed = Duration.parse(limit) if limit else None
    metrics = []
    for table in sorted(tables):
        column = context.ws.tables.describe(table).timeseries_column
        if column is None:
            continue
        newest = context.ws.tables.largest(table, column, filters=[(column, "<=", context.as_of)])
        age = None if newest is None else (context.as_of - newest) / timedelta(days=1)
        # A table without any row is as stale as can be.
        stale = allowed is not None and (newest is None or allowed.after(newest) < context.as_of)
        days = (allowed.after(window.end) - window.end) / timedelta(days=1) if allowed else None
        metrics.append(DriftMetric(table.name, "age_days", age, days, stale, baseline=_NO_BASELINE))
    return metrics


def _record(
    context: StageContext,
    window: Window,
    version: int,
    metrics: Sequence[DriftMetric],
    counted: Mapping[str, ColumnCounts],
) -> None:
    once = [Transaction(f"monitor:{context.name}:{context.as_of.isoformat()}")]
    columns = {name: asdict(counts) for name, counts in counted.items()}
    counts = WindowRecord(
        use_case=context.name,
        as_of=context.as_of,
        model_version=version,
        window_start=window.start,
        window_end=window.end,
        rows=window.rows,
        counts={"format": profiles.FORMAT, "columns": columns},
    )
    WINDOW_COUNTS.append(context.ws, context.namespace, [counts], transactions=once)
    records = [
        DriftRecord(
            use_case=context.name,
            as_of=context.as_of,
            baseline=metric.baseline,
            model_version=version,
            window_start=window.start,
            window_end=window.end,
            column=metric.column,
            metric=metric.metric,
            value=metric.value,
            # What was not judged has no limit on record: that it did not violate one says nothing.
            limit=metric.limit if metric.judged else None,
            p_value=metric.p_value,
            violated=metric.violated,
            rows=window.rows,
        )
        for metric in metrics
    ]
    DRIFT_METRICS.append(context.ws, context.namespace, records, transactions=once)


def _verdicts(metrics: Sequence[DriftMetric], window: Window, version: int, min_rows: int) -> list[Verdict]:
    def of(kind: str, what: str, mine: Sequence[DriftMetric]) -> list[Verdict]:
        if not mine:
            return []
        violated = sorted((item for item in mine if item.violated), key=_size, reverse=True)
        if not all(item.judged for item in mine):
            return [Verdict(kind, "unknown", too_few(window.rows, min_rows), version)]
        state: State = "violated" if violated else "ok"
        more = f" and {len(violated) - _SHOWN} more" if len(violated) > _SHOWN else ""
        listed = ", ".join(f"{item.column} ({_shown(item)})" for item in violated[:_SHOWN]) + more
        message = f"{len(violated)} limit(s) of {what} violated: {listed}" if violated else ""
        return [Verdict(kind, state, message, version)]

    training = [item for item in metrics if item.baseline == TRAINING]
    return [
        *of(alerts.DRIFT, "drift", [item for item in training if not is_of_prediction(item.column)]),
        *of(alerts.PREDICTION_DRIFT, "prediction drift", [item for item in training if is_of_prediction(item.column)]),
        *of(alerts.WINDOW_SHIFT, "a shift since the window before", _of_baseline(metrics, PREVIOUS)),
        *of(alerts.UNMATCHED_FEATURES, "feature match rate", _limited(metrics, "match_rate")),
        *of(alerts.STALE_FEATURES, "feature age", _limited(metrics, "age_days")),
    ]


def _of_baseline(metrics: Sequence[DriftMetric], baseline: str) -> list[DriftMetric]:
    return [item for item in metrics if item.baseline == baseline]


def _limited(metrics: Sequence[DriftMetric], metric: str) -> list[DriftMetric]:
    return [item for item in metrics if item.metric == metric and item.limit is not None]


def _size(metric: DriftMetric) -> float:
    return metric.value if metric.value is not None else float("inf")


def _shown(metric: DriftMetric) -> str:
    return f"{metric.metric} {metric.value:.2f}" if metric.value is not None else metric.metric
