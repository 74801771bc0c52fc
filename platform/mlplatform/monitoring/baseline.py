"""The trivial baseline beside the model: the same rows, the same labels, and whether the model is surely worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import PlatformError
from mlplatform.gate.checks.base import group_frame
from mlplatform.gate.evaluation import training_labels
from mlplatform.monitoring import alerts
from mlplatform.monitoring.alerts import Verdict, too_few
from mlplatform.monitoring.late_labels import Judged
from mlplatform.monitoring.performance_metrics import PerformanceMetric, said
from mlplatform.ops.context import StageContext
from mlplatform.refine.spine import LabelSpine
from mlplatform.statistics import baseline, metrics
from mlplatform.statistics.baseline import Clusters, Compared
from mlplatform.statistics.distances import holm
from mlplatform.statistics.intervals import interval
from mlplatform.statistics.metrics import Vector
from mlplatform.training import reference


class Baselines:
    """What the baseline of each model version knew, each read once."""

    def __init__(self, context: StageContext, spine: LabelSpine) -> None:
        """Take the run."""
        self._context = context
        self._spine = spine
        self._learned: dict[int, Mapping[str, float] | str] = {}

    def of(self, version: int) -> Mapping[str, float] | str:
        """Return what `baseline.learn` gave for a version's training labels, or why it is not known.

        It is kept with the version's reference profile; for a version that was trained before it was, it is learnt now
        from the labels that the version was fitted on.
        """
        if version not in self._learned:
            try:
                self._learned[version] = self._read(version)
            except PlatformError as error:
                self._learned[version] = f"the training labels of version {version} are not known: {error.message}"
        return self._learned[version]

    def _read(self, version: int) -> Mapping[str, float]:
        registered = self._context.ws.registry.get(self._context.model, version)
        try:
            kept = reference.load(self._context.ws, registered).baseline
        except PlatformError:
            kept = None  # without its profile the labels are still there; the monitor tells of the profile
        context, task = self._context, self._context.settings.kind_of_task
        if kept is not None and baseline.complete(kept, task):
            return kept
        labels = training_labels(context.ws, context.namespace, self._spine, registered)
        return baseline.learn(_floats(labels.column("label")), task)


@dataclass(frozen=True)
class Beside:
    """The baseline beside a model on the same rows.

    Attributes:
        metrics: The baseline's own.
        compared: The model with it, in the primary metric; None where they could not be compared.
        unknown: Why they were not, or are not to be judged; empty where they are.
        rows: On how many rows.
        sampled: Of what these are a sample; empty where they are all.
    """

    metrics: list[PerformanceMetric]
    compared: Compared | None
    unknown: str = ""
    rows: int = 0
    sampled: str = ""


def measure(known: Judged, baselines: Baselines, settings: UseCaseSettings) -> Beside:
    """Realise the baseline on the rows whose label is known.

    Args:
        known: Predictions with labels.
        baselines: Of the versions that predicted.
        settings: Task, primary metric, and below which number of rows nothing is judged.
    """
    rows, labels = known.known(), known.vectors()[0]
    versions = np.asarray(rows.column("model_version").to_numpy())
    learned: dict[int, Mapping[str, float]] = {}
    for version in np.unique(versions).tolist():
        found = baselines.of(version)
        if isinstance(found, str):
            return Beside([], None, found, int(rows.num_rows), known.sampled)
        learned[version] = found
    primary, predictions, task = settings.training.metric, known.vectors()[1], settings.kind_of_task

    def guesses(name: str) -> Vector:
        of_version = {version: baseline.says(found, name, task) for version, found in learned.items()}
        return np.array([of_version[version] for version in versions], dtype=np.float64)

    found_metrics = []
    for metric in metrics.of(settings.kind_of_task):
        made = guesses(metric.name)
        value = metric.compute(labels, made) if labels.size else float("nan")
        ends = interval(metric, labels, made) if np.isfinite(value) else None
        low, high = ends or (None, None)
        shown = value if np.isfinite(value) else None
        found_metrics.append(
            PerformanceMetric(
                baseline.metric(metric.name),
                shown,
                None,
                violated=False,
                low=low,
                high=high,
                note=known.sampled or None,
            )
        )
    by = settings.gate.cluster_by
    clusters = _clusters(rows, by) if by and set(by) <= set(rows.column_names) else None
    usual = [baseline.usual_loss(learned[version], primary, task) for version in versions]
    lost = [value for value in usual if value is not None]
    compared = (
        baseline.compare(
            metrics.primary(settings),
            labels,
            predictions,
            guesses(primary),
            usual=float(np.mean(lost)) if lost else None,
            clusters=clusters,
        )
        if labels.size
        else None
    )
    unknown = _too_little(labels, compared, settings)
    return Beside(found_metrics, compared, unknown, int(labels.size), known.sampled)


def gain(beside: Beside, *, judge: bool, violated: bool = False) -> PerformanceMetric:
    """Return the model's gain over the baseline as a metric.

    Args:
        beside: As measured.
        judge: Whether it is held against its limit, which is zero, where there is enough to judge.
        violated: Whether the model is surely worse.
    """
    found = beside.compared
    note = said(f"not judged: {beside.unknown}" if judge and beside.unknown else None, beside.sampled)
    limit = 0.0 if judge and not beside.unknown else None
    if found is None:
        return PerformanceMetric(baseline.GAIN, None, None, violated=False, note=beside.unknown or None)
    return PerformanceMetric(baseline.GAIN, found.gain, limit, violated, found.low, found.high, note=note)


def surely_worse(found: Mapping[int, Beside], settings: UseCaseSettings) -> list[int]:
    """Return the versions that are surely worse than the baseline.

    One-sided, corrected for the number of versions (Holm): where no version is worse, the probability that one is said
    to be is at most `monitoring.false_alarm_rate`.
    """
    judged = [version for version, beside in found.items() if not beside.unknown]
    p_values = [_p_worse(found[version]) for version in judged]
    level = settings.monitoring.false_alarm_rate
    return [version for version, p in zip(judged, holm(p_values), strict=True) if p < level]


def verdict(found: Mapping[int, Beside], rows: Mapping[int, int], settings: UseCaseSettings) -> Verdict:
    """Return what is to be told of all versions.

    Args:
        found: Version -> as measured.
        rows: Version -> labels that it was measured on.
        settings: As for `surely_worse`.
    """
    worse = surely_worse(found, settings)
    if worse:
        told = "; ".join(_told(version, found[version].compared, rows[version], settings) for version in worse)
        return Verdict(alerts.WORSE_THAN_BASELINE, "violated", told, worse[0])
    judged = [version for version, beside in found.items() if not beside.unknown]
    if judged:
        return Verdict(alerts.WORSE_THAN_BASELINE, "ok", model_version=judged[-1])
    why = "; ".join(dict.fromkeys(beside.unknown for beside in found.values()))
    return Verdict(alerts.WORSE_THAN_BASELINE, "unknown", why or no_labels(settings))


def no_labels(settings: UseCaseSettings) -> str:
    """Say that no label has become known in the performance window."""
    return f"no label of a prediction became known in the last {settings.monitoring.performance_window}"


def _told(version: int, compared: Compared | None, rows: int, settings: UseCaseSettings) -> str:
    assert compared is not None, "only what was compared is judged"
    primary = metrics.primary(settings)
    mine = compared.baseline + compared.gain * (1 if primary.greater_is_better else -1)
    return (
        f"realised {primary.name} of version {version} is surely worse than that of the trivial baseline "
        f"({describe(settings)}): {mine:.4g} against {compared.baseline:.4g} on {rows} labels, gain "
        f"{compared.gain:.3g} (95% {compared.low:.3g} to {compared.high:.3g})"
    )


def describe(settings: UseCaseSettings) -> str:
    """Say what the baseline predicts."""
    task = settings.kind_of_task
    if settings.training.metric == "mae":
        return "the training labels' median"
    if task.predicts_quantile:
        return f"the training labels' quantile {task.level:g}"
    if task.is_multiclass:
        return "how frequent each class was among the training labels"
    return "the training labels' base rate" if task.is_binary else "the training labels' mean"


def _too_little(labels: Vector, compared: Compared | None, settings: UseCaseSettings) -> str:
    if labels.size < settings.monitoring.min_rows:
        return too_few(int(labels.size), settings.monitoring.min_rows)
    task = settings.kind_of_task
    if task.is_multiclass:
        others = int(labels.size - np.bincount(labels.astype(np.int64), minlength=1).max())
        if others < baseline.LEAST_OF_CLASS:
            return too_few(others, baseline.LEAST_OF_CLASS, "row outside the most frequent class")
    if task.is_binary:
        events = int((labels == 1).sum())
        fewest = min(events, int(labels.size) - events)
        if fewest < baseline.LEAST_OF_CLASS:
            return too_few(fewest, baseline.LEAST_OF_CLASS, "event" if fewest == events else "non-event")
    if compared is None:
        return f"{settings.training.metric} is not defined on these rows"
    return compared.why


def _p_worse(beside: Beside) -> float:
    return 1.0 if beside.compared is None or beside.compared.p_worse is None else beside.compared.p_worse


def _clusters(rows: pa.Table, by: Sequence[str]) -> Clusters:
    frame = group_frame(rows, list(by))
    return np.asarray(frame.groupby(list(by), dropna=False, sort=False, observed=True).ngroup(), dtype=np.int64)


def _floats(column: pa.ChunkedArray[Any]) -> Vector:
    return np.asarray(column.to_numpy(), dtype=np.float64)
