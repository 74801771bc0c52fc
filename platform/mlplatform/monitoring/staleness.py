"""How fast a model grows stale: past champions on the windows that came after them, beside the champion of then.

Nothing is written: predictions are held against labels in memory and forgotten, and what comes out is numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from mlplatform.as_of import Duration, shown
from mlplatform.errors import LabelError, PlatformError
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.gate import decision_log, evaluation, promotion
from mlplatform.monitoring.late_labels import settled_until
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import GateEvent
from mlplatform.protocols.registry import ModelVersion
from mlplatform.refine.spine import LabelSpine
from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import paired_difference
from mlplatform.statistics.intervals import NORMAL, interval
from mlplatform.statistics.metrics import Metric, Vector
from mlplatform.statistics.staleness import Curve, ScoredWindow, curve
from mlplatform.training.label_frame import KnownLabels, LabelFrame
from mlplatform.training.version_tags import TRAINED_AS_OF_TAG, TRAINED_THROUGH_TAG, time_of

_ROW_DRAWS = 200
LEAST_ROWS = 100
"""Of a window, however many windows share `gate.max_rows`."""


@dataclass(frozen=True)
class PastChampion:
    """A version that was champion.

    Attributes:
        version: As the registry has it.
        trained_as_of: What was known by then it may know; its age counts from here.
        trained_through: The newest prediction time that it was fitted on.
        since: The time as of which it first became champion.
    """

    version: ModelVersion
    trained_as_of: datetime
    trained_through: datetime
    since: datetime

    def may_score(self, start: datetime) -> bool:
        """Tell whether a window that begins at a time lies after all that the version learned, and was champion for."""
        return max(self.trained_as_of, self.trained_through, self.since) <= start


@dataclass(frozen=True)
class Staleness:
    """What became of past champions.

    Attributes:
        metric: The primary metric.
        greater_is_better: Its direction.
        every: A step, as a duration: ages are whole numbers of it.
        as_of: Labels known by then counted.
        champions: Versions that were scored with.
        windows: Windows with labels that were scored.
        rows: Labelled rows of these.
        waiting: Windows whose labels were not known yet.
        without_label: Windows in which no row has a label.
        left_out: What could not be scored or measured, and why.
        curve: Metric and loss by age, and the age that follows.
    """

    metric: str
    greater_is_better: bool
    every: str
    as_of: datetime
    champions: tuple[int, ...]
    windows: int
    rows: int
    waiting: int
    without_label: int
    left_out: tuple[str, ...]
    curve: Curve

    def length(self, age: int | None) -> str | None:
        """Return an age as a duration."""
        return None if age is None else self.length_of(self.every, age)

    @staticmethod
    def length_of(every: str, age: int) -> str:
        """Return so many steps as a duration.

        Examples:
            >>> Staleness.length_of("quarter", 2), Staleness.length_of("month", 1), Staleness.length_of("7 days", 0)
            ('6 months', '1 month', '0')
        """
        step = Duration.parse(every)
        text = str(Duration(step.months * age, step.seconds * age)) if age else "0"
        return text.removesuffix("s") if text.startswith("1 ") else text

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data: ages in steps, and as durations."""
        plain = asdict(self)
        found = plain.pop("curve")
        recommended = found["recommended"]
        for name in ("age", "earliest", "latest"):
            recommended[f"{name}_duration"] = self.length(recommended[name])
        return {
            **plain,
            "as_of": self.as_of.isoformat(),
            "champions": list(self.champions),
            "left_out": list(self.left_out),
            "ages": [{**at, "duration": self.length(at["age"])} for at in found["ages"]],
            "recommended": recommended,
        }


def measure(
    context: StageContext,
    spine: LabelSpine,
    moments: Sequence[datetime],
    every: str,
    *,
    functions: Sequence[FeatureFunctionSpec] = (),
    trusted_types: Collection[str] = (),
) -> Staleness:
    """Score each window between two steps with every champion from before it, and hold them against each other.

    Point in time correct: a window is scored by versions that were trained as of its beginning or earlier and had been
    champion by then; features are looked up as of each row's own time; labels count as known by the run's `as_of`.
    Rows whose labels may still come are left out, events that are known early among them. A version that is gone, or
    cannot score, is left out, and said. Who was champion then is read from the decisions on record. The windows share
    `gate.max_rows`: of more rows each has a sample, drawn by the engine.

    Args:
        context: The run; its `as_of` is the end of the simulation.
        spine: The label spine.
        moments: The steps, ascending.
        every: How far they are apart.
        functions: The use case's feature functions.
        trusted_types: Types that its stored models may hold beyond the platform's own.

    Raises:
        PlatformError: If labels, decisions or the registry cannot be read.
    """
    register_functions(context.ws, context.namespace, functions)
    recorded = decision_log.events(context.ws, context.namespace)
    left_out: dict[str, None] = {}
    champions = past_champions(context, recorded, moments[0], left_out) if moments else {}
    settled = settled_until(context.settings, context.as_of)
    spans = [(start, min(end, settled)) for start, end in pairwise(moments)]
    open_spans = [(start, end) for start, end in spans if end > start]
    limits, primary = context.settings.gate, metrics.primary(context.settings)
    scorable = [span for span in open_spans if any(item.may_score(span[0]) for item in champions.values())]
    at_most = max(LEAST_ROWS, limits.max_rows // max(1, len(scorable)))
    work = _Work(context, spine, primary, trusted_types, at_most, left_out)
    for start, end in scorable:
        eligible = [item for item in champions.values() if item.may_score(start)]
        work.window(start, end, eligible, standing(recorded, start), moments)
    found = curve(
        work.seen,
        greater_is_better=primary.greater_is_better,
        limit=limits.margin,
        confidence=limits.confidence,
        draws=limits.draws,
        seed=limits.seed,
    )
    return Staleness(
        metric=primary.name,
        greater_is_better=primary.greater_is_better,
        every=every,
        as_of=context.as_of,
        champions=tuple(sorted(work.scored)),
        windows=work.windows,
        rows=work.rows,
        waiting=len(spans) - len(open_spans),
        without_label=work.without_label,
        left_out=tuple(left_out),
        curve=found,
    )


def past_champions(
    context: StageContext, recorded: Sequence[GateEvent], first: datetime, left_out: dict[str, None]
) -> Mapping[int, PastChampion]:
    """Return the versions that became champion from a time on, up to the run's `as_of`.

    Args:
        context: The run.
        recorded: The gate's events, oldest first.
        first: The time.
        left_out: Takes what is said of versions that are gone, or do not say what they were trained on.
    """
    since: dict[int, datetime] = {}
    for event in recorded:
        if event.event == "applied" and first <= event.as_of <= context.as_of:
            number = event.challenger_version
            since[number] = min(event.as_of, since.get(number, event.as_of))
    found = {}
    for number, moment in sorted(since.items()):
        why = promotion.missing(context.ws, context.model, number, recorded)
        if why:
            left_out[f"version {number}: {why}"] = None
            continue
        version = context.ws.registry.get(context.model, number)
        try:
            times = [time_of(version, tag) for tag in (TRAINED_AS_OF_TAG, TRAINED_THROUGH_TAG)]
        except PlatformError as error:
            left_out[f"version {number}: {error.message}"] = None
            continue
        found[number] = PastChampion(version, times[0], times[1], moment)
    return found


def standing(recorded: Sequence[GateEvent], moment: datetime) -> int | None:
    """Return which version was champion as of a time, by the decisions on record; None: there was none."""
    line = decision_log.line_of_champions(event for event in recorded if event.as_of <= moment)
    return line[-1] if line else None


@dataclass
class _Work:
    """What was scored so far."""

    context: StageContext
    spine: LabelSpine
    metric: Metric
    trusted_types: Collection[str]
    at_most: int
    left_out: dict[str, None]
    seen: list[ScoredWindow] = field(default_factory=list)
    scored: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    windows: int = 0
    rows: int = 0
    without_label: int = 0

    def window(
        self,
        start: datetime,
        end: datetime,
        eligible: Sequence[PastChampion],
        then: int | None,
        moments: Sequence[datetime],
    ) -> None:
        """Score one window with its champions."""
        context = self.context
        known = KnownLabels.at(context.ws, context.namespace, self.spine, context.as_of, after=start, until=end)
        try:
            frame = known.frame(at_most=self.at_most, seed=context.settings.gate.seed)
        except LabelError:
            self.without_label += 1
            return
        numbers = ", ".join(str(item.version.version) for item in eligible)
        context.progress(f"staleness: {frame} of {shown(start)} to {shown(end)}, version(s) {numbers}")
        labels = np.asarray(frame.rows.column(self.spine.label).to_numpy(), dtype=np.float64)
        made = {item.version.version: self._predictions(item.version, frame, labels, start) for item in eligible}
        found = {number: predictions for number, predictions in made.items() if predictions is not None}
        if not found:
            return
        self.windows += 1
        self.rows += labels.size
        self.scored |= set(found)
        young = next((item for item in eligible if item.version.version == then), None)
        for item in eligible:
            predictions = found.get(item.version.version)
            if predictions is None:
                continue
            younger = found.get(young.version.version) if young and item.trained_as_of < young.trained_as_of else None
            spread = interval(self.metric, labels, predictions, resample=True)
            self.seen.append(
                ScoredWindow(
                    window=self.windows - 1,
                    age=sum(item.trained_as_of < moment <= start for moment in moments),
                    rows=labels.size,
                    metric=self.metric.compute(labels, predictions),
                    then=None if younger is None else self.metric.compute(labels, younger),
                    error=None if spread is None else (spread[1] - spread[0]) / (2 * NORMAL),
                    loss_error=None if younger is None else self._error(labels, younger, predictions),
                )
            )

    def _error(self, labels: Vector, younger: Vector, older: Vector) -> float | None:
        """Return the standard error of the difference between two models on a window; None where it has none."""
        settings = self.context.settings
        try:
            drawn = paired_difference(
                self.metric,
                labels,
                younger,
                older,
                stratify=self.metric.within_classes,
                confidence=settings.gate.confidence,
                draws=_ROW_DRAWS,
                seed=settings.gate.seed,
            )
        except (ValueError, ArithmeticError):
            return None
        return drawn.standard_error

    def _predictions(self, version: ModelVersion, frame: LabelFrame, labels: Vector, start: datetime) -> Vector | None:
        """Return what a version predicts for a window; None, and why is noted, where nothing can be measured by it."""
        if version.version in self.failed:
            return None
        try:
            predictions, _ = evaluation.score(self.context.ws, self.spine, version, frame, self.trusted_types)
        except PlatformError as error:
            self.failed.add(version.version)
            self.left_out[f"version {version.version}: {error.message}"] = None
            return None
        what = ""
        if not np.isfinite(predictions).all():
            what = "it gave predictions that are no numbers"
        elif not np.isfinite(self.metric.compute(labels, predictions)):
            what = f"{self.metric.name} is not defined"
        if what:
            self.left_out[f"version {version.version} on the window from {shown(start)}: {what}"] = None
            return None
        return predictions
