"""The facts of a report: plain data, gathered from the platform's own tables, with no plot and no markup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import narwhals as nw

from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.canary import BASIS
from mlplatform.monitoring import base_rate
from mlplatform.monitoring.details import MonitorDetails
from mlplatform.monitoring.performance_metrics import COVERAGE
from mlplatform.monitoring.retrain import RetrainDetails
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops import records, stage_runs
from mlplatform.ops.record_table import MOST_RECORDS
from mlplatform.ops.records import (
    ALERTS,
    DRIFT_METRICS,
    GATE_DECISIONS,
    PERFORMANCE_METRICS,
    STAGE_RUNS,
    AlertRecord,
    PerformanceRecord,
    StageRecord,
)
from mlplatform.ops.schema_mark import platform_version
from mlplatform.ops.stage_runs import as_run
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LabelSpine
from mlplatform.reporting.canaries import CanaryFacts, canaries_of
from mlplatform.reporting.class_outcomes import ClassOutcomes, read_class_outcomes
from mlplatform.reporting.decisions import ChampionFacts, DecisionFacts, champions_of, decisions_of
from mlplatform.reporting.observations import (
    DRIFT_SHOWN,
    DriftFacts,
    Flow,
    Performance,
    Timing,
    WindowFacts,
    drift_of,
    flows_of,
    newest_first,
    performance_of,
    timings_of,
    windows_of,
)
from mlplatform.reporting.outcomes import Outcomes, ScoredStep, read_outcomes
from mlplatform.reporting.vintages import Vintages, read_vintages
from mlplatform.scoring.details import ScoreDetails
from mlplatform.statistics import baseline, metrics
from mlplatform.task import Task
from mlplatform.training.importance import Importance
from mlplatform.training.stage import NAME as TRAIN
from mlplatform.training.stage import TrainDetails


@dataclass(frozen=True)
class RetrainFacts:
    """The retrain decision at a step."""

    due: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class FeatureWorth:
    """What a version's features are worth: how much worse its metric is without each, on its holdout.

    Attributes:
        version: The version.
        features: The most important one first.
    """

    version: int
    features: tuple[Importance, ...]

    @property
    def noise(self) -> tuple[str, ...]:
        """Those without which it does no worse, for all that the holdout can tell."""
        return tuple(item.feature for item in self.features if item.is_noise)


@dataclass(frozen=True)
class StepFacts:
    """Everything known about one `as_of`; None or empty where nothing is.

    Attributes:
        as_of: The step.
        scored: The rows the champion scored.
        scoring_version: The champion that scored, or would have, had rows been due.
        performance: Realised performance on labels known in the window that ends here.
        drift: Every column's stability index, largest first; a column that was missing comes before all.
        decisions: What the gate decided.
        retrain: Whether a retraining was due.
        failures: Stages that failed, with their messages, and have not been done since.
    """

    as_of: datetime
    scored: ScoredStep | None = None
    scoring_version: int | None = None
    performance: Performance | None = None
    drift: tuple[DriftFacts, ...] = ()
    decisions: tuple[DecisionFacts, ...] = ()
    retrain: RetrainFacts | None = None
    failures: tuple[StageRecord, ...] = ()

    @property
    def drifted(self) -> int:
        """Number of columns above their limit."""
        return sum(item.violated for item in self.drift)

    @property
    def unjudged(self) -> str:
        """Why the drift that was measured was not judged; empty where it was, or none was measured."""
        if not self.drift or any(not item.unjudged for item in self.drift):
            return ""
        return self.drift[0].unjudged


@dataclass(frozen=True)
class Facts:
    """All that a report says, apart from when it was written.

    Attributes:
        use_case: Name of the use case.
        description: What it predicts, in its owner's words.
        owner: Who is asked.
        env: The environment.
        home: `local` or `databricks`.
        catalog: Where the tables are.
        task: What is predicted.
        metric: Name of the primary metric.
        greater_is_better: The metric's direction.
        floor: Realised primary metric under which to retrain; None where none is set.
        gate_floor: What the gate asks of a challenger's primary metric.
        margin: How much worse than the champion the gate still accepts.
        max_psi: Stability index above which a column has drifted.
        platform_version: The library's version that wrote the report.
        steps: One entry for each `as_of`, oldest first.
        decisions: All decisions, oldest first.
        champions: Who became champion, oldest first; the last one is champion.
        canaries: Challengers that decided for a share of the entities, oldest first.
        alerts: All events of alerts, newest first.
        windows: The windows of predictions with estimated and realised performance, oldest first.
        newest_run: The stages of the run that started last.
        flows: Rows through each stage.
        timings: How long each stage took.
        outcomes: Predictions and what turned out.
        classes: Of several classes the same, class by class; None: the task has none, or nothing was predicted.
        ran_with: The library's versions that the stages ran with.
        features: What the features of the champion are worth, or of the newest version, where there is none, or the
            champion's were not measured; None: nothing was measured.
        vintages: How the rate of the event grows with age; None where events have no dates.
        never_scored: Rows due before the first scoring without prediction or known label, when last counted.
    """

    use_case: str
    description: str
    owner: str
    env: str
    home: str
    catalog: str
    task: Task
    metric: str
    greater_is_better: bool
    floor: float | None
    gate_floor: float
    margin: float
    max_psi: float
    platform_version: str
    steps: tuple[StepFacts, ...] = ()
    decisions: tuple[DecisionFacts, ...] = ()
    champions: tuple[ChampionFacts, ...] = ()
    canaries: tuple[CanaryFacts, ...] = ()
    alerts: tuple[AlertRecord, ...] = ()
    windows: tuple[WindowFacts, ...] = ()
    newest_run: tuple[StageRecord, ...] = ()
    flows: tuple[Flow, ...] = ()
    timings: tuple[Timing, ...] = ()
    outcomes: Outcomes = field(default_factory=Outcomes)
    classes: ClassOutcomes | None = None
    ran_with: tuple[str, ...] = ()
    never_scored: int = 0
    vintages: Vintages | None = None
    features: FeatureWorth | None = None

    @property
    def champion(self) -> ChampionFacts | None:
        """The current champion, by the applied decisions."""
        return self.champions[-1] if self.champions else None

    @property
    def last(self) -> StepFacts | None:
        """The newest step."""
        return self.steps[-1] if self.steps else None

    @property
    def newest_measured(self) -> StepFacts | None:
        """The newest step with realised performance."""
        return next((step for step in reversed(self.steps) if step.performance), None)

    @property
    def unjudged_windows(self) -> int:
        """How many of the newest measured windows, in a row, were not judged for drift."""
        count = 0
        for step in (step for step in reversed(self.steps) if step.drift):
            if not step.unjudged:
                break
            count += 1
        return count

    @property
    def rows_scored(self) -> int:
        """Rows scored by champions over all steps."""
        return sum(scored.rows for scored in self.outcomes.scored)


def gather(ws: Workspace, namespace: Namespace, spine: LabelSpine, settings: UseCaseSettings) -> Facts:
    """Gather what is known about a use case; a table that does not exist yet counts as empty.

    Args:
        ws: The workspace; only its tables are read.
        namespace: The use case's.
        spine: Its label spine.
        settings: Its settings.

    Raises:
        ConfigError: If the settings name an unknown metric.
        TableError: If a table of the use case is not what the platform writes, or a newer version wrote the platform's.
    """
    records.check_not_newer(ws, namespace)
    events = GATE_DECISIONS.read(ws, namespace)
    stages = tuple(stage_runs.of_the_cycle(STAGE_RUNS.newest(ws, namespace, MOST_RECORDS)))
    decisions, champions = decisions_of(events), champions_of(events)
    monitored = {stage.as_of: as_run(stage, MonitorDetails).details for stage in stages if stage.stage == "monitor"}
    performance = performance_of(_together(ws, namespace), monitored)
    drift = drift_of(DRIFT_METRICS.newest(ws, namespace, MOST_RECORDS, DRIFT_SHOWN), monitored)
    moments = {item.as_of for group in (stages, decisions, performance, drift) for item in group}
    task, until, most = settings.kind_of_task, max(moments, default=None), settings.monitoring.max_rows
    outcomes = read_outcomes(ws, namespace, spine, task, until, most=most)
    moments |= {item.as_of for item in outcomes.scored}
    return Facts(
        use_case=namespace.use_case,
        description=settings.description,
        owner=settings.owner,
        env=ws.env,
        home=ws.home,
        catalog=namespace.catalog,
        task=task,
        metric=settings.training.metric,
        greater_is_better=metrics.primary(settings).greater_is_better,
        floor=settings.monitoring.performance_floor,
        gate_floor=settings.gate.floor,
        margin=settings.gate.margin,
        max_psi=settings.monitoring.max_psi,
        platform_version=platform_version(),
        steps=tuple(
            _step(moment, stages, decisions, performance, drift, outcomes.scored) for moment in sorted(moments)
        ),
        decisions=decisions,
        champions=champions,
        canaries=canaries_of(events, of_canaries(ws, namespace), settings.training.metric),
        alerts=newest_first(ALERTS.newest(ws, namespace, MOST_RECORDS)),
        windows=windows_of(_windows(ws, namespace, settings.training.metric), settings.training.metric),
        newest_run=tuple(stage for stage in stages if stage.run_id == stages[-1].run_id),
        flows=flows_of(stages),
        timings=timings_of(stages),
        outcomes=outcomes,
        classes=read_class_outcomes(ws, namespace, spine, task, until, most),
        ran_with=tuple(sorted({stage.platform_version for stage in stages})),
        never_scored=_never_scored(stages),
        vintages=read_vintages(ws, namespace, spine, max(moments, default=None)),
        features=_features(stages, champions[-1].version if champions else None),
    )


def of_canaries(ws: Workspace, namespace: Namespace) -> list[PerformanceRecord]:
    """Return what the monitor recorded of those for whom a challenger decided."""
    return _performance(ws, namespace, [("basis", "=", BASIS)], lambda frame: frame)


def _together(ws: Workspace, namespace: Namespace) -> list[PerformanceRecord]:
    """Return what was realised of all versions together, without slices."""
    filters: list[Filter] = [("basis", "=", "recent"), ("alias", "=", CHAMPION)]
    return _performance(
        ws,
        namespace,
        filters,
        lambda frame: frame.filter(nw.col("model_version").is_null() & nw.col("slice").is_null()),
    )


def _windows(ws: Workspace, namespace: Namespace, metric: str) -> list[PerformanceRecord]:
    """Return what was measured last of each window."""
    shown, bases = (
        [metric, baseline.metric(metric), COVERAGE, base_rate.RATE],
        ["estimated", "realised", base_rate.BASIS],
    )
    filters: list[Filter] = [("basis", "in", bases), ("alias", "=", CHAMPION), ("metric", "in", shown)]
    by = ["window_start", "window_end", "basis", "metric"]
    return _performance(ws, namespace, filters, lambda frame: frame.unique(subset=by, keep="last", order_by=["as_of"]))


def _performance(
    ws: Workspace, namespace: Namespace, filters: list[Filter], among: Callable[[Frame], Frame]
) -> list[PerformanceRecord]:
    if not ws.tables.exists(PERFORMANCE_METRICS.full_name(namespace)):
        return []
    frame = among(PERFORMANCE_METRICS.frame(ws, namespace, filters)).sort("as_of", descending=True).head(MOST_RECORDS)
    return PERFORMANCE_METRICS.records(ws.frames.collect(frame, at_most=MOST_RECORDS, what="performance on record"))


def _never_scored(stages: tuple[StageRecord, ...]) -> int:
    scorings = [as_run(stage, ScoreDetails).details for stage in stages if stage.stage == "score"]
    counted = [details.unscored_before for details in scorings if details.unscored_before is not None]
    return counted[-1].without_label if counted else 0


def _step(
    as_of: datetime,
    stages: tuple[StageRecord, ...],
    decisions: tuple[DecisionFacts, ...],
    performance: tuple[Performance, ...],
    drift: tuple[DriftFacts, ...],
    scored: tuple[ScoredStep, ...],
) -> StepFacts:
    mine = [stage for stage in stages if stage.as_of == as_of]
    newest = {stage.stage: stage for stage in mine}
    rows = next((item for item in scored if item.as_of == as_of), None)
    return StepFacts(
        as_of=as_of,
        scored=rows,
        scoring_version=rows.versions[-1] if rows else _version(newest.get("score")),
        performance=next((item for item in performance if item.as_of == as_of), None),
        drift=tuple(sorted((item for item in drift if item.as_of == as_of), key=_size, reverse=True)),
        decisions=tuple(item for item in decisions if item.as_of == as_of),
        retrain=_retrain(newest.get("retrain")),
        failures=tuple(stage for stage in newest.values() if stage.status == stage_runs.FAILED),
    )


def _features(stages: tuple[StageRecord, ...], champion: int | None) -> FeatureWorth | None:
    trained = [as_run(stage, TrainDetails).details for stage in stages if stage.stage == TRAIN]
    measured = {item.version: item.importance for item in trained if item.version and item.importance}
    if not measured:
        return None
    version = champion if champion in measured else list(measured)[-1]
    return FeatureWorth(version, tuple(measured[version]))


def _version(stage: StageRecord | None) -> int | None:
    return as_run(stage, ScoreDetails).details.model_version if stage else None


def _retrain(stage: StageRecord | None) -> RetrainFacts | None:
    if stage is None or "due" not in stage.details:
        return None
    details = as_run(stage, RetrainDetails).details
    return RetrainFacts(details.due, tuple(details.reasons))


def _size(item: DriftFacts) -> float:
    # A column that the window lacked has no distance; it is the worst that can happen to it.
    if item.value is None:
        return float("inf") if item.violated else float("-inf")
    return item.value
