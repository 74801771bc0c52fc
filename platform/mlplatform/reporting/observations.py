"""What the monitor and the runs recorded: drift, realised performance, alerts, stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlplatform.as_of import parse_as_of
from mlplatform.monitoring import alerts
from mlplatform.monitoring.drift import TRAINING
from mlplatform.monitoring.performance import CALIBRATION_RATIO
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops.stage_runs import DONE
from mlplatform.protocols.workspace import Workspace
from mlplatform.statistics import baseline

CRITICAL = "critical"
# Stages that every row passes once: their counts may be added up over the runs.
_ADDED_UP = ("ingest", "refine", "features", "score")
# A training takes all rows known by then again: only its newest count says something.
_NEWEST = ("train",)


@dataclass(frozen=True)
class DriftFacts:
    """The population stability index of one column at one step.

    Attributes:
        as_of: The step.
        column: The column.
        value: The index; None where the window lacked the column.
        limit: What it was held against; None where it was not judged.
        violated: Whether it lies beyond.
        unjudged: Why it was not judged; empty where it was.
    """

    as_of: datetime
    column: str
    value: float | None
    limit: float | None
    violated: bool
    unjudged: str = ""


@dataclass(frozen=True)
class Realised:
    """One realised metric at one step.

    Attributes:
        value: Its value.
        limit: What it was held against; None where it was not judged.
        violated: Whether it lies beyond.
        low: Lower end of its 95% interval.
        high: Its upper end.
        unjudged: Why it was not judged although there is a limit; empty where it was.
    """

    value: float | None
    limit: float | None
    violated: bool
    low: float | None = None
    high: float | None = None
    unjudged: str = ""


@dataclass(frozen=True)
class Performance:
    """Realised performance at one step, on the labels that became known in the window that ends there.

    Attributes:
        as_of: The step.
        window_start: Start of the window.
        rows: Labels in it.
        coverage: Share of all predictions so far whose label is known.
        metrics: Metric -> value, limit, verdict.
    """

    as_of: datetime
    window_start: datetime
    rows: int
    coverage: float
    metrics: Mapping[str, Realised]

    def value(self, metric: str) -> float | None:
        """Return a metric's value; None where it was not measured or not defined."""
        found = self.metrics.get(metric)
        return found.value if found else None


@dataclass(frozen=True)
class AlertFacts:
    """One event of an alert: `raised`, `repeated` while it lasts, `recovered`."""

    as_of: datetime
    kind: str
    severity: str
    message: str
    model_version: int | None
    event: str = "raised"
    runbook: str = ""


@dataclass(frozen=True)
class WindowFacts:
    """One window of predictions: what was estimated before labels, and what came of it.

    Attributes:
        start: Prediction times after this.
        end: Prediction times up to this.
        scored: Predictions.
        coverage: Share of them whose label is known.
        estimated: The primary metric before labels; None where there is no estimate.
        realised: The primary metric on the labels known last; None where it is not known or not defined.
        low: Lower end of its 95% interval.
        high: Its upper end.
        note: What the estimate is blind to, or why there is none.
        baseline: The primary metric of the trivial baseline on the same labels.
    """

    start: datetime
    end: datetime
    scored: int | None = None
    coverage: float = 0.0
    estimated: float | None = None
    realised: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    baseline: float | None = None


@dataclass(frozen=True)
class StageFacts:
    """One recorded stage."""

    run_id: str
    stage: str
    as_of: datetime
    status: str
    started_at: datetime
    seconds: float
    rows_in: int | None
    rows_out: int | None
    rows_quarantined: int | None
    message: str
    details: Mapping[str, Any]
    platform_version: str


@dataclass(frozen=True)
class Flow:
    """Rows through one stage.

    Attributes:
        stage: Its name.
        rows_in: Rows that came in; None where the stage does not count them.
        rows_out: Rows that went on.
        rows_quarantined: Rows set aside.
        newest_only: True when only the newest run is counted, because each takes the same rows again.
    """

    stage: str
    rows_in: int | None
    rows_out: int | None
    rows_quarantined: int | None
    newest_only: bool


@dataclass(frozen=True)
class Timing:
    """How long a stage took each time it was done, oldest first."""

    stage: str
    seconds: tuple[float, ...]


def read_ops(ws: Workspace, namespace: Namespace, table: str) -> list[dict[str, Any]]:
    """Return a use case's rows of one of the platform's tables; none when the table does not exist yet."""
    name = namespace.ops(table)
    if not ws.tables.exists(name):
        return []
    rows: list[dict[str, Any]] = ws.tables.to_arrow(name, filters=[("use_case", "=", namespace.use_case)]).to_pylist()
    return rows


def drift_of(
    rows: Iterable[Mapping[str, Any]], monitored: Mapping[datetime, Mapping[str, Any]] | None = None
) -> tuple[DriftFacts, ...]:
    """Return the population stability indexes against training, by step and column.

    Args:
        rows: Of `ops.drift_metrics`.
        monitored: What the monitor recorded of itself at each step.
    """
    mine = [row for row in rows if row["baseline"] == TRAINING and row["metric"] in ("psi", "missing")]
    violated = {row["as_of"] for row in mine if row["violated"]}
    found = []
    for row in mine:
        moment, why = parse_as_of(row["as_of"]), ""
        # A missing column has no limit, and violates wherever it is judged.
        without_limit = row["limit"] is None and not (row["metric"] == "missing" and row["violated"])
        if without_limit or (row["as_of"] not in violated and _unjudged(monitored, moment, alerts.DRIFT)):
            why = _unjudged(monitored, moment, alerts.DRIFT) or f"{row['rows']:,} rows"
        found.append(DriftFacts(moment, row["column"], row["value"], row["limit"], row["violated"], why))
    return tuple(sorted(found, key=lambda item: (item.as_of, item.column)))


def _unjudged(monitored: Mapping[datetime, Mapping[str, Any]] | None, moment: datetime, kind: str) -> str:
    """Return why a kind of check was not judged at a step; empty where it was, or nothing is known of it."""
    details = (monitored or {}).get(moment)
    if details is None or kind in details.get("windows", {}):
        return ""
    # Before the reason was recorded, what was not judged was left out of the windows.
    return str(details.get("not_judged", {}).get(kind, "")) or ("too few rows" if "windows" in details else "")


def performance_of(
    rows: Iterable[Mapping[str, Any]], monitored: Mapping[datetime, Mapping[str, Any]] | None = None
) -> tuple[Performance, ...]:
    """Return realised performance of all versions together, one entry a step, oldest first.

    Args:
        rows: Of `ops.performance_metrics`.
        monitored: What the monitor recorded of itself at each step.
    """
    steps: dict[datetime, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["basis"] != "recent" or row["alias"] != CHAMPION or row["model_version"] is not None or row["slice"]:
            continue
        steps.setdefault(parse_as_of(row["as_of"]), []).append(row)
    return tuple(
        Performance(
            as_of=as_of,
            window_start=parse_as_of(mine[0]["window_start"]),
            rows=mine[0]["rows"],
            coverage=mine[0]["coverage"],
            metrics={row["metric"]: _realised(row, (monitored or {}).get(as_of)) for row in mine},
        )
        for as_of, mine in sorted(steps.items())
    )


_NOT_JUDGED = "not judged: "


def _realised(row: Mapping[str, Any], details: Mapping[str, Any] | None) -> Realised:
    note, limit = row.get("note") or "", row["limit"]
    why = note.removeprefix(_NOT_JUDGED) if note.startswith(_NOT_JUDGED) else ""
    if limit is not None and details is not None and "windows" in details and "not_judged" not in details:
        # Recorded before the table said so itself: what was not judged was left out of the windows.
        kind = alerts.CALIBRATION if row["metric"] == CALIBRATION_RATIO else alerts.PERFORMANCE
        why = "" if kind in details["windows"] else "too few labels"
    return Realised(row["value"], limit, row["violated"], row.get("low"), row.get("high"), why)


def windows_of(rows: Iterable[Mapping[str, Any]], metric: str) -> tuple[WindowFacts, ...]:
    """Return the windows of predictions, oldest first, each as it was measured last.

    Args:
        rows: Of `ops.performance_metrics`.
        metric: The primary metric.
    """
    found: dict[tuple[datetime, datetime], WindowFacts] = {}
    mine = [row for row in rows if row["basis"] in ("estimated", "realised") and row["alias"] == CHAMPION]
    for row in sorted(mine, key=lambda row: (row["as_of"], row["basis"])):
        place = (parse_as_of(row["window_start"]), parse_as_of(row["window_end"]))
        window = found.get(place, WindowFacts(*place))
        if row["basis"] == "realised":
            window = replace(window, scored=row["scored"], coverage=row["coverage"])
        if row["metric"] == baseline.metric(metric):
            window = replace(window, baseline=row["value"])
        elif row["metric"] == metric and row["basis"] == "estimated":
            window = replace(window, estimated=row["value"], note=(row["note"] or "").partition(f"; {_NOT_JUDGED}")[0])
        elif row["metric"] == metric:
            window = replace(window, realised=row["value"], low=row["low"], high=row["high"])
        found[place] = window
    return tuple(window for _, window in sorted(found.items()))


def alerts_of(rows: Iterable[Mapping[str, Any]]) -> tuple[AlertFacts, ...]:
    """Return the alerts, newest first, the critical ones of a step before the others."""
    found = [
        AlertFacts(
            as_of=parse_as_of(row["as_of"]),
            kind=row["kind"],
            severity=row["severity"],
            message=row["message"],
            model_version=row["model_version"],
            event=row["event"],
            runbook=row["runbook"],
        )
        for row in rows
    ]
    found.sort(key=lambda alert: (alert.severity != CRITICAL, alert.kind))
    return tuple(sorted(found, key=lambda alert: alert.as_of, reverse=True))


def stages_of(rows: Iterable[Mapping[str, Any]]) -> tuple[StageFacts, ...]:
    """Return the recorded stages in the order in which they started.

    Args:
        rows: As `stage_runs.read` returns them: oldest first, JSON columns decoded.
    """
    return tuple(
        StageFacts(
            run_id=row["run_id"],
            stage=row["stage"],
            as_of=parse_as_of(row["as_of"]),
            status=row["status"],
            started_at=parse_as_of(row["started_at"]),
            seconds=row["seconds"],
            rows_in=row["rows_in"],
            rows_out=row["rows_out"],
            rows_quarantined=row["rows_quarantined"],
            message=row["message"] or "",
            details=row["details"],
            platform_version=row["platform_version"],
        )
        for row in rows
    )


def flows_of(stages: Sequence[StageFacts]) -> tuple[Flow, ...]:
    """Return how many rows went through each stage; stages that never ran well are left out."""
    found = []
    for name in (*_ADDED_UP, *_NEWEST):
        mine = [stage for stage in stages if stage.stage == name and stage.status == DONE]
        if not mine:
            continue
        newest_only = name in _NEWEST
        counted = mine[-1:] if newest_only else mine
        found.append(
            Flow(
                stage=name,
                rows_in=_total(stage.rows_in for stage in counted),
                rows_out=_total(stage.rows_out for stage in counted),
                rows_quarantined=_total(stage.rows_quarantined for stage in counted),
                newest_only=newest_only,
            )
        )
    return tuple(found)


def timings_of(stages: Sequence[StageFacts]) -> tuple[Timing, ...]:
    """Return how long each stage took; the retrain decision is left out, its time holds that of train and gate."""
    taken: dict[str, list[float]] = {}
    for stage in stages:
        if stage.status == DONE and stage.stage != "retrain":
            taken.setdefault(stage.stage, []).append(stage.seconds)
    return tuple(Timing(name, tuple(values)) for name, values in taken.items())


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
