"""What a check of the gate is, what it looks at, and what it answers."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlplatform.config.gate import GateSettings
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import ConfigError, did_you_mean
from mlplatform.ops.records import PerformanceRecord
from mlplatform.protocols.registry import ModelSignature
from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import Estimated, PairedDifference, estimated, paired_difference
from mlplatform.statistics.metrics import Metric, Vector
from mlplatform.statistics.spending import Spending

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["pass", "fail", "skipped"]
NO_CHAMPION = "there is no champion yet"
_BARS = 40


@dataclass(frozen=True)
class FeatureFacts:
    """What the challenger's looked-up and computed features were like on the frame.

    Attributes:
        null_share: Feature -> share of nulls on the frame, in [0, 1].
        trained_null_share: Feature -> share of nulls in its training data.
        newest: Feature table -> time of its newest row by `as_of`; None for a table without rows by then. Tables
            without a timeseries column are left out.
    """

    null_share: Mapping[str, float]
    trained_null_share: Mapping[str, float]
    newest: Mapping[str, datetime | None]


@dataclass(frozen=True)
class RecalibrationEvidence:
    """What beside labels a recalibrated challenger is judged by.

    Attributes:
        origin: The version that it was made of: the champion.
        weights: How much of one known outcome each row is worth, shape (rows,).
        expected: Whether labels are rates that are expected, not outcomes.
        low: The lowest rate that each row may have, shape (rows,); None: labels are not in doubt.
        high: The highest.
    """

    origin: int
    weights: Vector
    expected: bool = False
    low: Vector | None = None
    high: Vector | None = None


@dataclass(frozen=True)
class Evidence:
    """What the gate decides on: labels known by `as_of` that neither model was fitted on, and predictions.

    See the glossary: docs/glossary.md

    Attributes:
        labels: Shape (rows,); of several classes the number of each row's.
        challenger: Shape (rows,), the challenger's predictions; of several classes shape (rows, classes).
        champion: In the same shape, the champion's on the same rows; None if there is no champion.
        source: Where the rows come from, and the Delta versions of what they were read from.
        as_of: The time of the decision; None in tests of single checks.
        rows: The frame's columns and the challenger's features, row by row as `labels`; None: not gathered.
        training: The labelled spine rows that the challenger was fitted on; None: not gathered.
        features: What its features were like; None: not gathered.
        signatures: Of challenger and champion; None: not gathered.
        seconds_per_1000_rows: Time to score 1,000 rows by the challenger; None: not measured.
        recalibration: Of a challenger that is the champion with its probabilities moved, what the rows are worth; None:
            it is another model, and has to be better as one.
        spending: The error of the comparison with the champion; None: as of a decision before which there was none.
        canary: What was recorded last of the challenger's decisions as a canary; None: nothing was.

    Examples:
        >>> rows = pa.table({"region": ["north", "south"]})
        >>> evidence = Evidence(np.array([0.0, 1.0]), np.array([0.2, 0.9]), champion=None, source={}, rows=rows)
        >>> evidence.column("region", setting="gate.slices.columns").to_pylist()
        ['north', 'south']
    """

    labels: Vector
    challenger: Vector
    champion: Vector | None
    source: dict[str, Any]
    as_of: datetime | None = None
    rows: pa.Table | None = None
    training: pa.Table | None = None
    features: FeatureFacts | None = None
    signatures: tuple[ModelSignature, ModelSignature | None] | None = None
    seconds_per_1000_rows: float | None = None
    recalibration: RecalibrationEvidence | None = None
    spending: Spending | None = None
    canary: PerformanceRecord | None = None

    @property
    def expected(self) -> bool:
        """Whether labels are rates that are expected, not outcomes."""
        return self.recalibration is not None and self.recalibration.expected

    @property
    def rarest_class(self) -> int:
        """Rows of the rarer of the two classes; of rates that are expected, as far as they count."""
        if self.recalibration is None:
            return int(min((self.labels == 1).sum(), (self.labels == 0).sum()))
        weights = self.recalibration.weights
        return int(min(float(weights @ self.labels), float(weights @ (1 - self.labels))))

    def rarest_of(self, classes: Sequence[str]) -> tuple[str, int]:
        """Return the rarest of several classes and its rows; a label is the number of its class.

        Args:
            classes: Their names.
        """
        known = self.labels[np.isfinite(self.labels)]
        counts = np.bincount(known.astype(np.int64), minlength=len(classes))
        return classes[int(counts.argmin())], int(counts.min())

    @property
    def of_how_many(self) -> str:
        """Of how many labelled rows these are a sample, as in ` of 52000`; empty where they are all."""
        known = self.source.get("known_rows", 0)
        return f" of {known}" if known > self.labels.size else ""

    def column(self, name: str, *, setting: str) -> pa.ChunkedArray[Any]:
        """Return a column of the frame.

        Args:
            name: The column.
            setting: The setting that asked for it, for the message.

        Raises:
            ConfigError: If the frame has no column of that name.
        """
        if self.rows is None or name not in self.rows.column_names:
            columns = self.rows.column_names if self.rows is not None else ()
            raise ConfigError(f"{setting} names the unknown column {name!r}", hint=did_you_mean(name, columns))
        return self.rows.column(name)


@dataclass(frozen=True)
class CheckResult:
    """One check of the gate: its numbers, its limit, and how it ended.

    See the glossary: docs/glossary.md

    Attributes:
        name: The check's.
        status: `pass`, `fail`, or `skipped` (the detail says why).
        detail: In words, with the numbers that decided.
        value: What is held against the limit.
        limit: The limit.
        numbers: What else was computed.
        histogram: Of a bootstrapped difference: bars' `edges` and `counts`, for the page of plots.
        parts: Numbers by part of the frame, such as slices.

    Examples:
        >>> result = CheckResult("floor", "pass", "roc_auc 0.8100, at least 0.7000 is needed", 0.81, 0.7)
        >>> CheckResult.of(result.to_record()) == result
        True
    """

    name: str
    status: Status
    detail: str
    value: float | None = None
    limit: float | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    histogram: dict[str, list[float]] = field(default_factory=dict)
    parts: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> CheckResult:
        """Return a result as it is on record; what this version does not know is left out."""
        return cls(**{item.name: record[item.name] for item in fields(cls) if item.name in record})

    def to_record(self, *, histogram: bool = True) -> dict[str, Any]:
        """Return the result as plain data, as it is kept on record.

        Args:
            histogram: With the bars of its plot.
        """
        # A use case's own check may give NumPy's numbers, which JSON does not know.
        record = json.loads(json.dumps(asdict(self), default=_plain))
        return record if histogram else {key: value for key, value in record.items() if key != "histogram"}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


class GateCheck(ABC):
    """Base class of the gate's checks, and of a use case's own.

    See the glossary: docs/glossary.md

    Attributes:
        name: What decisions call it; unique in a gate.

    Examples:
        >>> class MeanScore(GateCheck):
        ...     name = "mean_score"
        ...
        ...     def run(self, evidence):
        ...         mean = float(evidence.challenger.mean())
        ...         return self.verdict(mean <= 0.2, f"mean score {mean:.3f}, at most 0.2", mean, 0.2)
        >>> settings = UseCaseSettings.model_validate(
        ...     {"owner": "risk", "label": {"horizon": "3 months"}, "gate": {"floor": 0.7}}
        ... )
        >>> MeanScore(settings).run(Evidence(np.zeros(2), np.array([0.1, 0.7]), champion=None, source={})).detail
        'mean score 0.400, at most 0.2'
    """

    name: str

    def __init__(self, settings: UseCaseSettings) -> None:
        """Take the use case's settings."""
        self.settings = settings
        self.limits: GateSettings = settings.gate
        self.metric: Metric = metrics.primary(settings)

    @abstractmethod
    def run(self, evidence: Evidence) -> CheckResult:
        """Look, and answer; whatever is raised counts as failed, with its message."""

    def verdict(
        self, passed: bool, detail: str, value: float | None = None, limit: float | None = None, **numbers: float
    ) -> CheckResult:
        """Return a result of this check."""
        status: Status = "pass" if passed else "fail"
        return CheckResult(self.name, status, detail, value, limit, {key: float(it) for key, it in numbers.items()})

    def skipped(self, why: str, **numbers: float) -> CheckResult:
        """Return that nothing was to be checked, and why."""
        return CheckResult(self.name, "skipped", why, numbers={key: float(it) for key, it in numbers.items()})

    @staticmethod
    def value_of(metric: Metric, labels: Vector, predictions: Vector) -> float:
        """Return a metric's value.

        Raises:
            ArithmeticError: If it is not a finite number.
        """
        value = metric.compute(labels, predictions)
        if not math.isfinite(value):
            raise ArithmeticError(f"{metric.name} is {value}")
        return value

    def compare(
        self,
        evidence: Evidence,
        metric: Metric,
        challenger: Vector,
        other: Vector,
        *,
        labels: Vector | None = None,
        stratify: bool | None = None,
    ) -> PairedDifference:
        """Compare two vectors of predictions by the paired bootstrap that the settings describe.

        Args:
            evidence: Gives the labels, and the clusters where the settings name them.
            metric: What is compared.
            challenger: Shape (rows,).
            other: Shape (rows,).
            labels: Shape (rows,); default: the evidence's.
            stratify: Draw within each value of the labels, unless there are clusters; default: where the metric needs
                both classes. Drawn so, the share of events never differs: of a loss, such as the Brier score, whose
                value that share decides, the interval would be far too narrow.
        """
        truth = evidence.labels if labels is None else labels
        clusters = cluster_numbers(evidence, self.limits.cluster_by)
        within = metric.within_classes if stratify is None else stratify
        return paired_difference(
            metric,
            truth,
            challenger,
            other,
            stratify=within and clusters is None,
            confidence=self.limits.confidence,
            draws=self.limits.draws,
            seed=self.limits.seed,
            clusters=clusters,
        )

    def estimate(self, evidence: Evidence, metric: Metric, predictions: Vector) -> Estimated:
        """Return a metric of one vector of predictions, with its interval by the bootstrap that the settings describe.

        Args:
            evidence: Gives the labels, and the clusters where the settings name them.
            metric: The metric.
            predictions: Shape (rows,).
        """
        return estimated(
            metric,
            evidence.labels,
            predictions,
            confidence=self.limits.confidence,
            draws=self.limits.draws,
            seed=self.limits.seed,
            clusters=cluster_numbers(evidence, self.limits.cluster_by),
        )


def cluster_numbers(evidence: Evidence, columns: tuple[str, ...]) -> npt.NDArray[np.int64] | None:
    """Number the rows' clusters from 0 on, shape (rows,); None when each row stands by itself."""
    if not columns:
        return None
    rows = pa.table([evidence.column(name, setting="gate.cluster_by") for name in columns], names=list(columns))
    frame = group_frame(rows, columns)
    return np.asarray(frame.groupby(list(columns), sort=False, dropna=False).ngroup(), dtype=np.int64)


def group_frame(rows: pa.Table, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns to group and match by as pandas: as text, which is exact and does not depend on what is null.

    Args:
        rows: The rows.
        columns: Which columns.
    """
    frame: pd.DataFrame = pa.table([rows.column(name).cast(pa.string()) for name in columns], list(columns)).to_pandas()
    return frame


def histogram(difference: PairedDifference) -> dict[str, list[float]]:
    """Return the distribution of a difference in bars, small enough to be kept with the decision."""
    low, high = float(difference.gains.min()), float(difference.gains.max())
    least = 1e-6 * max(1.0, abs(low))
    if high - low < least:  # as good as one value: no bars so thin could be told apart
        low, high = low - least, high + least
    counts, edges = np.histogram(difference.gains, bins=_BARS, range=(low, high))
    return {"edges": [float(edge) for edge in edges], "counts": [float(count) for count in counts]}


def not_finite(result: CheckResult) -> list[str]:
    """Return which of a result's numbers are none: nothing can be said to hold of them.

    Of the parts infinity may be one end of an interval; NaN is none.

    Examples:
        >>> not_finite(CheckResult("own", "pass", "", value=float("nan"), limit=0.5, numbers={"rows": 3}))
        ['value nan']
    """
    named = {"value": result.value, "limit": result.limit, **result.numbers}
    wrong = [f"{name} {number}" for name, number in named.items() if number is not None and not math.isfinite(number)]
    parts = [(part.get("slice", place), key, it) for place, part in enumerate(result.parts) for key, it in part.items()]
    return wrong + [f"{key} of {name} nan" for name, key, it in parts if isinstance(it, float) and math.isnan(it)]


def told(difference: PairedDifference) -> str:
    """Return gain and interval in words."""
    return f"gain {difference.gain:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
