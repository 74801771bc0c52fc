"""Settings of a use case (`config.yml`), checked by pydantic: an unknown key is an error that names the nearest key."""

from __future__ import annotations

import copy
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from mlplatform.as_of import Duration, interval, parse_as_of, plausible, steps
from mlplatform.config import task_rules
from mlplatform.config.environments import ENVIRONMENTS, read_config
from mlplatform.config.jobs import CronText, JobSettings, Settings
from mlplatform.config.renamed import under_new_names, warn_of_old_names
from mlplatform.config.yaml_file import Place
from mlplatform.errors import ConfigError, UsageError, did_you_mean, shortened
from mlplatform.naming import check_part
from mlplatform.task import Task, TaskName, task_of

CONFIG_FILE = "config.yml"
FOLLOWS: Mapping[Place, Place] = {("monitoring", "performance_floor"): ("gate", "floor")}
"""Settings that take another one's value where they are not set."""
MOST = 2_000_000_000
"""No number of rows, draws or runs is larger: engines count a limit in 32 bits."""
MOST_DRAWS = 100_000
LONGEST_DAYS = 36_500
TRAINING_ROWS = 1_000_000
"""How many labelled rows a training takes at most, unless `training.max_rows` says otherwise."""
SECRET_REFERENCE = "secret-reference"  # nosec B105  # noqa: S105  (the format's name in the JSON schema)
_KEY = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
_MOST_PROBLEMS, _SHOWN = 50, 80


def _duration(text: object) -> object:
    try:
        Duration.parse(str(text))
    except (UsageError, OverflowError) as error:
        raise ValueError(_in_one_line(error)) from None
    return text


def _positive(text: object) -> object:
    duration = Duration.parse(str(_duration(text)))
    if not (duration.months or duration.seconds):
        raise ValueError(f"{text!r} is no time at all: write a duration above zero, as in '1 day'")
    return text


def _interval(text: object) -> object:
    try:
        interval(str(text))
    except (UsageError, OverflowError) as error:
        raise ValueError(_in_one_line(error)) from None
    return text


def _in_one_line(error: Exception) -> str:
    return f"{error.message} {error.hint}".rstrip(" .") if isinstance(error, UsageError) else str(error)


def _time(value: object) -> object:
    if not isinstance(value, str | date | datetime):
        return value
    try:
        return parse_as_of(value).isoformat()
    except UsageError as error:
        raise ValueError(error.message) from None


def _as_of(value: object) -> object:
    text = _time(value)
    if not isinstance(text, str):
        return text
    try:
        plausible(parse_as_of(text), what="the time")
    except UsageError as error:
        raise ValueError(_in_one_line(error)) from None
    return text


def _catalog(name: str) -> str:
    try:
        return check_part(name, of=name)
    except UsageError as error:
        raise ValueError(f"{error.message} {error.hint}") from None


def _bounded_training(value: object) -> object:
    # null meant "all" before there was a bound.
    return TRAINING_ROWS if value is None else value


# YAML turns a text that looks like a date into one.
TimeText = Annotated[str, BeforeValidator(_time)]
"""A point in time, such as `2003-01-01`."""
AsOfText = Annotated[str, BeforeValidator(_as_of)]
"""A time that a pipeline can be run for: not centuries away."""
DurationText = Annotated[str, BeforeValidator(_duration)]
"""A duration such as `36 months` or `2 hours`; a unit alone, as `quarter`, is one of them."""
PositiveText = Annotated[str, BeforeValidator(_positive)]
"""A duration above zero."""
ClassName = Annotated[str, BeforeValidator(task_rules.class_name, json_schema_input_type=str | int)]
"""A value of the label of several classes."""
IntervalText = Annotated[str, BeforeValidator(_interval)]
"""How often: a duration above zero."""


class LabelSettings(Settings):
    """When a label becomes known."""

    horizon: PositiveText = Field(description="Time from the prediction to the moment its label is mature.")
    event_above: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Regression: a label above this is an event (late, say); adds the metric `event_roc_auc`.",
    )
    quantile: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Of the task quantile: which one is predicted; 0.9 is what nine of ten labels stay at or below.",
    )
    event_delay: DurationText = Field(
        default="0 days",
        description="Dated events: how long after it happened an event may become known. What lies nearer to as_of "
        "does not count as observed.",
    )
    classes: tuple[ClassName, ...] = Field(
        default=(),
        description="Of the task multiclass: the values of the label, at least three, text or whole numbers, in the "
        "order of the probabilities. Later ones are added at the end.",
    )


class SearchSettings(Settings):
    """The hyperparameter search: by which library, within which budget, and how its trials run."""

    library: Literal["hyperopt", "optuna"] = Field(
        default="hyperopt", description="What suggests parameters, from the same search_space(); optuna is an extra."
    )

    max_evals: int = Field(
        default=8, ge=1, le=MOST_DRAWS, description="Number of parameter sets tried; 1 takes the defaults only."
    )
    timeout_seconds: float | None = Field(default=None, gt=0, description="Stop the search after this long.")
    parallelism: int = Field(
        default=4,
        ge=1,
        le=256,
        description="So many trials are suggested together, and run at the same time where there are cores and memory. "
        "What is tried depends on it, and not on the cores; hyperopt's first 20 trials are the same whatever it is.",
    )
    workers: Literal["auto", "threads", "processes"] = Field(
        default="auto",
        description="How they run at the same time. auto: on the cluster of a Databricks runtime that offers it; in "
        "threads, where the estimator's library releases Python's lock; else in processes, once they save time.",
    )
    pruning: bool = Field(
        default=False,
        description="optuna only: fit each trial on a part of the rows first, and end it there if it is worse than the "
        "median of those before.",
    )

    @model_validator(mode="after")
    def _prunes_by_optuna(self) -> Self:
        if self.pruning and self.library != "optuna":
            raise ValueError(f"pruning needs library: optuna; {self.library} has none")
        return self


class TrainingSettings(Settings):
    """How a challenger is trained."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="Of all that is drawn: the same gives the same.")
    metric: str = Field(
        default="roc_auc",
        description="Primary metric: searched for, reported, and gated on. Where it is not set, the task's first: "
        "roc_auc, log_loss (multiclass), mae (regression), pinball_loss (quantile), poisson_deviance (counts).",
    )
    holdout: float = Field(default=0.25, gt=0, lt=1, description="Newest share of the label frame kept for evaluation.")
    validation: float = Field(default=0.25, gt=0, lt=1, description="Newest share of the rest, used by the search.")
    since: TimeText | None = Field(default=None, description="Ignore spine rows before this time.")
    window: PositiveText | None = Field(default=None, description="Train on the newest stretch of this length only.")
    min_rows: int = Field(default=500, ge=1, le=MOST, description="Fewer labelled rows than this: no training.")
    max_rows: Annotated[int, BeforeValidator(_bounded_training)] = Field(
        default=TRAINING_ROWS,
        ge=100,
        le=MOST,
        description="Of more labelled rows than this, train on a sample of so many, drawn by a hash of keys and seed.",
    )
    search: SearchSettings = SearchSettings()
    calibrate: Literal["none", "sigmoid", "isotonic"] = Field(
        default="none",
        description="Classification: map probabilities to how often the event happens, on the validation part, which "
        "the estimator is then not fitted on.",
    )
    immature_rows: Literal["none", "weighted"] = Field(
        default="none",
        description="weighted: where events are dated, those of rows that are not mature are fitted on as well, "
        "weighted for censoring. The search and the evaluation stay with mature rows.",
    )
    importance_rows: int = Field(
        default=5_000,
        ge=0,
        le=MOST,
        description="Rows of the holdout by which is measured which features are worth it; 0: it is not measured.",
    )


class ScoringSettings(Settings):
    """When to score."""

    every: IntervalText = Field(
        default="1 month",
        description="Interval of the scoring runs: hour, day, week, month, quarter, year, or a duration.",
    )
    shadow: bool = Field(default=True, description="Let the challenger score beside the champion, without effect.")
    canary: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of the entities for which a challenger decides that the gate let pass, but for being surely "
        "better than the champion, or for approval; 0: the champion decides for all.",
    )


class GuardSettings(Settings):
    """A second metric, in which a challenger may not be worse.

    For a regression, `event_above` makes a binary event of the label, which the prediction is to rank: the AUC of the
    predicted minutes against "more than 15 minutes late", say.
    """

    metric: str
    event_above: float | None = Field(
        default=None, description="Regression only: judge the prediction as a score of the event label > this."
    )
    max_loss: float | None = Field(
        default=None,
        ge=0,
        description="The champion's lead is surely below this (lower end of the gain's interval above minus this).",
    )
    floor: float | None = Field(default=None, description="The challenger must reach this, champion or not.")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.max_loss is None and self.floor is None:
            raise ValueError(f"the guard {self.metric} limits nothing: set max_loss or floor")
        return self

    @property
    def name(self) -> str:
        """Its name among the checks, such as `guard_roc_auc_above_15`."""
        event = "" if self.event_above is None else f"_above_{self.event_above:g}"
        return f"guard_{self.metric}{event}"


class SliceSettings(Settings):
    """Parts of the frame in which a challenger may not be surely worse than the champion."""

    columns: tuple[str, ...] = Field(
        min_length=1, description="Spine columns or looked-up features; numbers of many values are cut at quartiles."
    )
    min_rows: int = Field(default=100, ge=2, le=MOST, description="Slices of fewer rows are not judged.")
    min_positives: int = Field(
        default=20,
        ge=1,
        le=MOST,
        description="Nor those with fewer rows of either class; multiclass: outside of the most frequent one.",
    )
    max_loss: float = Field(default=0.0, ge=0, description="A loss in the primary metric up to this is accepted.")


class FeatureLimits(Settings):
    """What the challenger's looked-up features must be like on the frame."""

    max_null_increase: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Old name of monitoring.max_null_increase.",
        json_schema_extra={"deprecated": True},
    )
    max_age: DurationText | None = Field(
        default=None, description="Age of the newest row of each feature table with a time, at as_of."
    )


class GateSettings(Settings):
    """Limits of the champion/challenger gate."""

    min_rows: int = Field(
        default=500, ge=1, le=MOST, description="Rows of the frozen label frame below which nothing is decided."
    )
    min_positives: int = Field(
        default=50, ge=1, le=MOST, description="Rows of each class below which nothing is decided."
    )
    max_rows: int = Field(
        default=200_000,
        ge=100,
        le=MOST,
        description="Of more labelled rows than this, decide on a sample of so many, drawn by a hash of keys and seed.",
    )
    floor: float = Field(description="The primary metric must reach this.")
    margin: float = Field(
        default=0.0,
        ge=0,
        description="0: the challenger must be surely better than the champion; above: surely not worse than by this.",
    )
    confidence: float = Field(default=0.9, gt=0.5, lt=1, description="Two-sided level of the bootstrap interval.")
    error_per: Literal["decision", "year"] = Field(
        default="year",
        description="What the error of the comparison with the champion, (1 - confidence) / 2, is for: each decision, "
        "or all decisions about a model within a year together, of which each then spends a part.",
    )
    draws: int = Field(default=500, ge=100, le=MOST_DRAWS, description="Bootstrap resamples.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of all that is drawn: the same gives the same.")
    cluster_by: tuple[str, ...] = Field(
        default=(), description="Resample whole clusters of rows that agree in these columns, such as the entity's key."
    )
    baseline_by: tuple[str, ...] = Field(
        default=(),
        description="Spine columns by which the trivial baseline takes the training labels' mean (median for mae).",
    )
    max_calibration_error: float | None = Field(
        default=None, gt=0, description="Limit of the expected calibration error."
    )
    max_brier: float | None = Field(default=None, gt=0, description="Limit of the Brier score.")
    max_coverage_gap: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Quantile: how far the share of labels at or below the prediction may be from label.quantile.",
    )
    max_calibration_ratio: float | None = Field(
        default=None,
        gt=1,
        description="Counts, and each class of several: what observed over predicted sum, or its inverse, may be.",
    )
    min_calibration_slope: float | None = Field(default=None, description="Least calibration slope; 1 is perfect.")
    max_calibration_slope: float | None = Field(default=None, description="Largest calibration slope.")
    guards: tuple[GuardSettings, ...] = ()
    slices: SliceSettings | None = None
    features: FeatureLimits = FeatureLimits()
    signature: Literal["compatible", "any"] = Field(
        default="compatible", description="Whether the challenger must take the rows that the champion takes."
    )
    max_seconds_per_1000_rows: float | None = Field(
        default=None, gt=0, description="Limit of the time to score 1,000 rows, lookups included."
    )
    approval: Literal["auto", "manual"] = Field(
        default="auto", description="manual: a promotion waits for the version's tag Approval_Check=Approved."
    )


AlarmKind = Literal["drift", "prediction_drift", "calibration", "immature_calibration", "immature_performance"]
ALARM_KINDS: tuple[AlarmKind, ...] = (
    "drift",
    "prediction_drift",
    "calibration",
    "immature_calibration",
    "immature_performance",
)


def _secret_reference(text: str) -> str:
    scope, slash, key = text.partition("/")
    if not (slash and scope and key) or "://" in text or "/" in key:
        # The value is not repeated: it may be the very URL that must not be shown.
        raise ValueError("is no secret reference: write scope/key, never the URL itself")
    return text


class WebhookSettings(Settings):
    """Where alerts are posted. The URL is a secret: only its reference stands here."""

    secret: Annotated[str, AfterValidator(_secret_reference)] = Field(
        description="Reference `scope/key` of the secret that holds the URL.",
        json_schema_extra={"format": SECRET_REFERENCE, "pattern": r"^[^/:]+/[^/]+$"},  # editors flag a URL
    )
    format: Literal["slack", "teams"] = Field(default="slack", description="Shape of the JSON that is posted.")
    timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="For connecting and for each answer.")
    attempts: int = Field(default=3, ge=1, le=10, description="Tries in one run; what fails is tried in the next.")
    backoff_seconds: float = Field(default=0.5, ge=0, le=60, description="Wait before the second try; then doubled.")
    give_up_after: int = Field(
        default=20, ge=1, le=MOST, description="Runs in which an alert is tried before it is given up."
    )


class AlertSettings(Settings):
    """How alerts are sent, beside the log and the table of alerts."""

    webhook: WebhookSettings | None = None
    runbook: str = Field(default="docs/runbook", description="Folder or URL of the runbook; `/<kind>.md` is added.")


class MonitoringSettings(Settings):
    """Limits of the monitor, and when to retrain."""

    max_psi: float = Field(
        default=0.25, gt=0, description="Population stability index above which a column has drifted."
    )
    max_js: float | None = Field(
        default=None, gt=0, le=1, description="Jensen-Shannon distance above which a column has drifted."
    )
    max_ks: float | None = Field(
        default=None, gt=0, le=1, description="Kolmogorov-Smirnov distance above which a number has drifted."
    )
    max_null_increase: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Rise of a column's null share over the training data's that counts as drift. Where it is set, the "
        "gate rejects a challenger with such a feature, too; by default it rejects only features that are all null.",
    )
    max_out_of_range: float = Field(
        default=0.05, gt=0, le=1, description="Share of values outside of training's range that counts."
    )
    max_new_categories: float = Field(
        default=0.05, gt=0, le=1, description="Share of categories unseen in training that counts."
    )
    false_alarm_rate: float = Field(
        default=0.01, gt=0, lt=1, description="Probability that a window without any change is flagged as drifted."
    )
    max_feature_age: DurationText | None = Field(
        default=None, description="Age of a feature table's newest row above which its features are stale."
    )
    min_match_rate: float | None = Field(
        default=None, ge=0, le=1, description="Share of scored rows that must be found in each feature table."
    )
    window: PositiveText | None = Field(
        default=None,
        description="Length of the windows of prediction times that are compared, as long as the runs lie apart; "
        "default: scoring.every.",
    )
    min_rows: int = Field(default=100, ge=1, le=MOST, description="Windows with fewer rows are recorded, not judged.")
    max_rows: int = Field(
        default=200_000,
        ge=1000,
        le=MOST,
        description="So many rows are taken into memory at most. What can be added up is computed on all rows, the "
        "rest on a sample of so many, drawn by a hash of the keys; the record says so.",
    )
    unjudged_windows: int = Field(
        default=3, ge=1, le=MOST, description="So many windows in a row that were not judged raise an alert."
    )
    performance_floor: float | None = Field(
        default=None,
        description="Realised primary metric under which to retrain; default: gate.floor. null: no floor.",
    )
    max_calibration_ratio: float = Field(
        default=1.5, gt=1, description="Observed over predicted mean (or its inverse) that raises an alert."
    )
    max_coverage_gap: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Quantile: a share of labels at or below the prediction that is farther from label.quantile than "
        "this raises an alert.",
    )
    performance_window: PositiveText = Field(
        default="12 months",
        description="Length of the stretch whose newly known labels are judged together; of dated events, from which "
        "the risks of the present are taken.",
    )
    label_grace: DurationText = Field(
        default="7 days", description="How long after its horizon a label may still come before it counts as never."
    )
    retrain_every: DurationText = Field(default="12 months", description="The schedule: retrain when this has passed.")
    cooldown: DurationText = Field(
        default="6 months", description="No retraining on alarm within this time of the last."
    )
    retrain_on: tuple[AlarmKind, ...] = Field(
        default=ALARM_KINDS, description="Kinds of violated windows that lead to a retraining."
    )
    violated_windows: int = Field(
        default=2,
        ge=1,
        le=MOST,
        description="k: so many of the last `of_windows` judged windows, the newest among them.",
    )
    of_windows: int = Field(default=3, ge=1, le=1000, description="n: see `violated_windows`.")
    max_model_age: DurationText | None = Field(
        default=None, description="Retrain when the champion was trained longer ago than this."
    )
    profile_schedule: CronText | None = Field(
        default="0 0 4 ? * SUN",
        description="Databricks: when the data profile is refreshed by itself (Quartz cron, in jobs.timezone); each "
        "monitoring refreshes it, too. null: only then.",
    )
    alerts: AlertSettings = AlertSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_rows < self.min_rows:
            raise ValueError(
                f"max_rows ({self.max_rows}) is below min_rows ({self.min_rows}): nothing would be judged."
            )
        if self.violated_windows > self.of_windows:
            raise ValueError(
                f"violated_windows ({self.violated_windows}) cannot be more than of_windows ({self.of_windows})."
            )
        return self


class RecalibrationSettings(Settings):
    """How a champion's probabilities are moved to what outcomes say, without training it again."""

    when: Literal["by_hand", "on_alarm"] = Field(
        default="by_hand",
        description="on_alarm: where alarms of calibration are all that asks for a retraining, the champion is "
        "recalibrated instead. by_hand: only `mlplatform recalibrate` does it.",
    )
    basis: Literal["realised", "immature"] = Field(
        default="realised",
        description="By what: realised labels, or rates that labels which are not mature yet tell of.",
    )
    method: Literal["auto", "odds", "isotonic"] = Field(
        default="auto",
        description="odds: level, and slope where enough is known; isotonic: a rising curve, which takes 1,000 "
        "outcomes of the rarer class; auto: a curve only where it is better on rows that it was not fitted to.",
    )
    window: PositiveText | None = Field(
        default=None,
        description="Outcomes that became known within this time count; default: monitoring.performance_window.",
    )
    holdout: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Share of the entities that nothing is learned from: the gate judges by them.",
    )
    min_events: int = Field(
        default=20, ge=2, le=MOST, description="Outcomes of either class to learn from, below which nothing is moved."
    )
    max_loss: float = Field(
        default=0.005,
        ge=0,
        description="What a curve, which makes ties, may cost in the primary metric; moved odds keep the ranking.",
    )
    cooldown: DurationText = Field(
        default="3 months", description="No recalibration on alarm within this time of the last."
    )


class MaintenanceSettings(Settings):
    """When small files are put together, and how long old versions of the tables are kept."""

    small_files: int = Field(
        default=50, ge=2, le=MOST, description="A table with more small files than this has them put together."
    )
    target_mb: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="At home: size that a file grows to by compaction, in megabytes; null: 32. A local merge rewrites "
        "whole files: the smaller they are, the less a small change costs. Databricks chooses by the table's size.",
    )
    keep_days: int = Field(
        default=30,
        ge=1,
        le=LONGEST_DAYS,
        description="How long a version of a table can be read after it was the newest. Versions that champion, "
        "previous_champion or challenger were trained on are kept longer.",
    )
    keep_unused_days: int = Field(
        default=90,
        ge=1,
        le=LONGEST_DAYS,
        description="How long a table stays of which a newer version is written, and that no model in use reads.",
    )
    after_runs: bool = Field(
        default=True,
        description="At home: put small files together at the end of a run, too. Nothing is removed then.",
    )

    @property
    def target_size(self) -> int | None:
        """Size that a file grows to, in bytes; None: the workspace's own."""
        return None if self.target_mb is None else self.target_mb * 1024**2


class SimulationSettings(Settings):
    """What `mlplatform simulate` replays, unless its options say otherwise."""

    start: AsOfText = Field(description="First as_of.")
    end: AsOfText = Field(description="Last as_of, included.")
    every: IntervalText = Field(
        description="Step: hour, day, week, month, quarter, year, or a duration such as `6 months`."
    )

    @model_validator(mode="after")
    def _steps(self) -> Self:
        try:
            next(steps(parse_as_of(self.start), parse_as_of(self.end), self.every))
        except UsageError as error:
            raise ValueError(error.message) from None
        return self


class UseCaseSettings(Settings):
    """Everything a use case's `config.yml` may say."""

    owner: str = Field(min_length=1, description="Who is asked when it breaks; tagged on runs and model versions.")
    description: str = ""
    task: TaskName = "classification"
    catalog: Annotated[str, AfterValidator(_catalog)] | None = Field(
        default=None,
        description="Catalog of all the use case's objects, where the environment's name is not the catalog's; may "
        "differ by environment.",
    )
    landing: str = Field(
        default="data", description="Where files land: relative to the use case's folder, or absolute."
    )
    changes: Literal["auto", "ask"] = Field(
        default="auto",
        description="What a run does where an edit gives tables other values that no model in use reads: compute them "
        "anew by itself, or leave that to `mlplatform apply`. What is breaking always is.",
    )
    label: LabelSettings
    training: TrainingSettings = TrainingSettings()
    scoring: ScoringSettings = ScoringSettings()
    gate: GateSettings
    monitoring: MonitoringSettings = MonitoringSettings()
    recalibration: RecalibrationSettings = RecalibrationSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    simulation: SimulationSettings | None = None
    jobs: JobSettings = JobSettings()

    @property
    def kind_of_task(self) -> Task:
        """What is predicted, and what follows from it."""
        return replace(task_of(self.task), level=self.label.quantile, classes=self.label.classes)

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that the jobs need beside the wheel: those declared, and the search's library."""
        library = self.training.search.library
        # hyperopt is a dependency of the wheel itself.
        searched = () if library == "hyperopt" else (library,)
        return tuple(dict.fromkeys([*self.jobs.packages, *searched]))

    @model_validator(mode="after")
    def _floor_of_the_gate(self) -> Self:
        if "performance_floor" not in self.monitoring.model_fields_set:
            followed = self.monitoring.model_copy(update={"performance_floor": self.gate.floor})
            object.__setattr__(self, "monitoring", followed)
        return self

    @model_validator(mode="after")
    def _enough_fits(self) -> Self:
        """Let the bounds that are not set hold the least that is needed; those that are set must."""
        for name in ("training", "gate"):
            options: TrainingSettings | GateSettings = getattr(self, name)
            if options.max_rows >= options.min_rows:
                continue
            if "max_rows" in options.model_fields_set:
                so = "there would be no training" if name == "training" else "nothing would ever be decided"
                raise ValueError(f"{name}.max_rows is below {name}.min_rows: {so}")
            object.__setattr__(self, name, options.model_copy(update={"max_rows": options.min_rows}))
        return self

    @model_validator(mode="after")
    def _one_limit_of_nulls(self) -> Self:
        """Let monitor and gate go by one limit, whichever of its two names was used."""
        limit = self.gate.features.max_null_increase
        if "max_null_increase" in self.monitoring.model_fields_set:
            # Written twice, the gate must not become laxer than either says.
            written = [it for it in (limit, self.monitoring.max_null_increase) if it is not None]
            limits = self.gate.features.model_copy(update={"max_null_increase": min(written, default=None)})
            object.__setattr__(self, "gate", self.gate.model_copy(update={"features": limits}))
        elif limit is not None:
            object.__setattr__(self, "monitoring", self.monitoring.model_copy(update={"max_null_increase": limit}))
        return self

    @model_validator(mode="after")
    def _goes_with_the_task(self) -> Self:
        task_rules.check(self)
        return self


def load_settings(path: Path, env: str) -> UseCaseSettings:
    """Read a use case's settings for one environment.

    The section `environments.<env>` of the file, if it has one, is laid over the rest.

    Args:
        path: The `config.yml`.
        env: Name of the environment: `dev`, `staging`, `prod`, or one that the file declares.

    Raises:
        ConfigError: If the file is missing, is not YAML, or holds unknown keys or wrong values; all are listed at once.
        UsageError: If the environment does not exist.
    """
    written = read_config(path)
    merged = _merge(under_new_names(written.settings), under_new_names(written.section(env)))
    warn_of_old_names(path, written.lines, (ENVIRONMENTS, env))
    try:
        return UseCaseSettings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(
            "\n".join([f"{path} has {error.error_count()} wrong setting(s):", *_problems(error, written.lines, env)]),
            hint="`mlplatform config schema` prints every setting there is, with its meaning.",
        ) from None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _problems(error: ValidationError, written: Mapping[Place, int], env: str) -> list[str]:
    lines = []
    for problem in error.errors()[:_MOST_PROBLEMS]:
        path = [str(part) for part in problem["loc"]]
        where = ".".join(part if part.isprintable() and len(part) <= _SHOWN else shortened(part) for part in path)
        if problem["type"] == "extra_forbidden":
            text = f"  {where}: unknown key. {did_you_mean(path[-1], _known_keys(path[:-1]))}"
        elif problem["type"] == "missing":
            text = f"  {where}: is required and missing."
        elif problem["type"] == "string_type":
            text = f"  {where}: a text belongs here (got {shortened(problem['input'], 200)}): put it into quotes."
        else:
            got = f" (got {shortened(problem['input'], 200)})" if path and "webhook" not in path else ""
            text = f"  {where}: {problem['msg']}{got}.".replace("  : Value error, ", "  ")
        line = _line_of(path or _named_in(problem["msg"], written), written, env)
        lines.append(f"{text} (line {line})" if line else text)
    if error.error_count() > _MOST_PROBLEMS:
        lines.append(f"  and {error.error_count() - _MOST_PROBLEMS:,} more.")
    return lines


def _named_in(message: str, written: Mapping[Place, int]) -> list[str]:
    """Return the first setting that a message names: what settings must be together is said of all of them at once."""
    for word in _KEY.findall(message):
        path = str(word).split(".")
        if tuple(path[:1]) in written:
            return path
    return []


def _line_of(path: list[str], lines: Mapping[Place, int], env: str) -> int | None:
    """Return the line of a setting, or of the section that it stands in; that of the environment counts."""
    while path:
        line = lines.get((ENVIRONMENTS, env, *path)) or lines.get(tuple(path))
        if line:
            return line
        path = path[:-1]
    return None


def _known_keys(path: list[str]) -> list[str]:
    model: type[BaseModel] = UseCaseSettings
    for key in (part for part in path if not part.isdigit()):
        field = model.model_fields.get(key)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) in (typing.Union, tuple):
        return next((model for part in typing.get_args(annotation) if (model := _model_in(part))), None)
    return None
