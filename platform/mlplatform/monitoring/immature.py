"""Immature performance: what dated events say of predictions whose labels are not mature yet.

A label that is known three years late tells nothing of the present; the events of the last months do. From them follows
with which risk the present carries a row through its horizon (a period life table), and so what rate is to be expected
of rows of which a part has been observed, and whether higher scores go with earlier events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import narwhals as nw
import numpy as np

from mlplatform.as_of import Duration
from mlplatform.config.settings import UseCaseSettings
from mlplatform.features.training_set import PREDICTION
from mlplatform.gate.checks.base import group_frame
from mlplatform.monitoring.alerts import Verdict
from mlplatform.monitoring.details import ImmatureSummary
from mlplatform.monitoring.immature_judging import Calibration, OfVersion, Ranking, ratio
from mlplatform.monitoring.late_labels import acted_on, slice_column
from mlplatform.monitoring.performance_metrics import PerformanceMetric
from mlplatform.monitoring.performance_records import RecordBase, append
from mlplatform.monitoring.window import length
from mlplatform.naming import CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import PerformanceRecord
from mlplatform.protocols.frames import Frame
from mlplatform.refine.event_spine import EventSpine
from mlplatform.refine.exposures import Counts, Exposures, exposures
from mlplatform.statistics.concordance import concordance
from mlplatform.statistics.life_tables import ExpectedRate, LifeTable, Whole, expected_rate
from mlplatform.statistics.vintages import AgePeriod, Forecast

IMMATURE = "immature"
EXPECTED_RATE, FORECAST_RATE, OBSERVED_RATE = "expected_rate", "forecast_rate", "observed_rate"
EXPOSURE, MEAN_SCORE = "exposure", "mean_score"
VINTAGES = 12
"""So many vintages to a horizon, at most."""
_PLACE = "_vintage"
_PRESENT = "if the risks of the last {} stay as they are"
_TREND = "if risks go on changing as they have changed; the interval is of what comes"


@dataclass
class ImmatureCheck:
    """What the check found.

    Attributes:
        verdicts: One per kind.
        summary: What is expected of the newest predictions; None where nothing is.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    summary: ImmatureSummary | None = None


def check(context: StageContext, spine: EventSpine, slices: Sequence[str]) -> ImmatureCheck:
    """Measure what dated events say of predictions that are not mature, and record it, exactly once for each `as_of`.

    Of each vintage, the predictions of one stretch of prediction times, of each version, and of the values of some
    columns. Versions are held against the limits, and what is told is of the one that predicted last.

    Args:
        context: The run.
        spine: The spine of the events.
        slices: Columns of the spine by whose values performance is measured apart.
    """
    seen = exposures(context.ws, context.namespace, spine, context.as_of)
    if seen is None:
        return ImmatureCheck(_unknown(context.settings, "no event of a prediction is known yet"))
    since = seen.clock.horizon.before(seen.clock.until)
    with context.ws.frames.staged(acted_on(context, spine, since, slices)) as predictions:
        return _Measuring(context, seen, since, predictions).check(slices)


def vintages(settings: UseCaseSettings, as_of: datetime) -> list[tuple[datetime, datetime]]:
    """Return the stretches of prediction times of the vintages that are not mature, oldest first.

    Their length is the monitor's window, or so many of them that a horizon has at most `VINTAGES`.

    Examples:
        >>> from mlplatform.as_of import parse_as_of
        >>> from mlplatform.config.gate import GateSettings
        >>> from mlplatform.config.label import LabelSettings
        >>> settings = UseCaseSettings(owner="risk", label=LabelSettings(horizon="1 year"),
        ...                            gate=GateSettings(floor=0.6), scoring={"every": "1 month"})
        >>> spans = vintages(settings, parse_as_of("2007-01-01"))
        >>> len(spans), spans[0][0].date().isoformat()
        (12, '2006-01-01')
    """
    window, horizon = length(settings), Duration.parse(settings.label.horizon)
    first = horizon.before(as_of)
    share = (as_of - first) / VINTAGES
    a_window = as_of - window.before(as_of)
    # A month has no fixed length: what is only a day or two short of it is the same.
    several = max(1, int(np.ceil(share / a_window - 0.1)))
    ends, place = [as_of], 0
    while ends[-1] > first:
        place += several
        ends.append(Duration(window.months * place, window.seconds * place).before(as_of))
    return list(zip(ends[:0:-1], ends[-2::-1], strict=True))


class _Measuring:
    """The measuring of predictions as of one time."""

    def __init__(self, context: StageContext, seen: Exposures, since: datetime, predictions: Frame) -> None:
        self.context, self.seen, self.since, self.predictions = context, seen, since, predictions
        self.settings, self.clock = context.settings, seen.clock
        window = Duration.parse(self.settings.monitoring.performance_window)
        newest = self.clock.steps_in(window)
        history = seen.counted(seen.portfolio(seen.history_since)).get((), Counts.none(self.clock.steps)).cohorts
        effect = seen.design_effect(window.before(self.clock.until))
        self.table = LifeTable.of_period(history, newest, design_effect=effect)
        self.model = AgePeriod.fit(history, newest)
        self.events = int(self.table.events.sum())
        self.kinds = (Calibration(self.settings, self.events, self._unseen()), Ranking(self.settings))

    def check(self, slices: Sequence[str]) -> ImmatureCheck:
        """Measure, judge and record."""
        spans = vintages(self.settings, self.context.as_of)
        time = nw.col(self.seen.spine.prediction_time)
        place = nw.lit(0)
        for _, end in spans[:-1]:
            place = place + (time > end).cast(nw.Int64)
        placed = self.predictions.with_columns(place.alias(_PLACE))
        groups = self.seen.counted(placed, by=[_PLACE, "model_version"], summed=PREDICTION)
        if not groups:
            why = f"no prediction waits for its label at {self.clock.until:%Y-%m-%d}"
            return ImmatureCheck(_unknown(self.settings, why))
        whole = RecordBase(self.context, IMMATURE, CHAMPION, None, self.since, self.context.as_of)
        records: list[PerformanceRecord] = []
        summary = None
        for number, counts in _by(groups, 0).items():
            expected, forecast = self._expected(counts), self._forecast(counts)
            base = replace(whole, start=max(spans[number][0], self.since), end=spans[number][1])
            records += base.records(self._metrics(counts, expected, forecast), round(counts.total))
            summary = self._summary(base, counts, expected, forecast)
        of_versions = self._of_versions(_by(groups, 1))
        verdicts, judged = [], []
        _, newest = max(groups)
        for kind in self.kinds:
            verdict, metrics = kind.judge(of_versions, newest)
            verdicts += [verdict] if kind.limit is not None else []
            judged.append(metrics)
        for item in of_versions:
            measured = self._metrics(item.counts, item.expected, None)
            held = [metrics[item.version] for metrics in judged]
            records += replace(whole, version=item.version).records([*measured, *held], round(item.counts.total))
        records += self._slices(slices, whole)
        append(self.context, IMMATURE, records)
        return ImmatureCheck(verdicts, summary)

    def _expected(self, counts: Counts) -> ExpectedRate | None:
        return expected_rate(counts.cohorts, self.table)

    def _forecast(self, counts: Counts) -> Forecast | None:
        return self.model.forecast(counts.cohorts) if isinstance(self.model, AgePeriod) else None

    def _metrics(
        self, counts: Counts, expected: ExpectedRate | None, forecast: Forecast | None
    ) -> list[PerformanceMetric]:
        cohorts = counts.cohorts
        low, high = (expected.interval() if expected is not None else None) or (None, None)
        note = _PRESENT.format(self.settings.monitoring.performance_window) if expected is not None else self._unseen()
        metrics = [
            PerformanceMetric(
                EXPECTED_RATE, expected.value if expected else None, None, violated=False, low=low, high=high, note=note
            ),
            PerformanceMetric(OBSERVED_RATE, cohorts.seen / cohorts.size, None, violated=False),
            PerformanceMetric(EXPOSURE, cohorts.exposure, None, violated=False),
            PerformanceMetric(MEAN_SCORE, counts.mean, None, violated=False),
        ]
        if forecast is not None:
            low, high = forecast.interval()
            metrics.append(
                PerformanceMetric(FORECAST_RATE, forecast.value, None, violated=False, low=low, high=high, note=_TREND)
            )
        return metrics

    def _summary(
        self, base: RecordBase, counts: Counts, expected: ExpectedRate | None, forecast: Forecast | None
    ) -> ImmatureSummary:
        low, high = (expected.interval() if expected is not None else None) or (None, None)
        forecast_low, forecast_high = forecast.interval() if forecast is not None else (None, None)
        return ImmatureSummary(
            until=self.clock.until,
            window_end=base.end,
            rows=round(counts.total),
            mean_score=counts.mean,
            expected_rate=expected.value if expected is not None else None,
            low=low,
            high=high,
            forecast_rate=forecast.value if forecast is not None else None,
            forecast_low=forecast_low,
            forecast_high=forecast_high,
            events=self.events,
        )

    def _of_versions(self, counted: Mapping[int, Counts]) -> list[OfVersion]:
        spine, limit = self.seen.spine, self.settings.monitoring.max_rows
        names = ["model_version", PREDICTION]
        what = "predictions that are not mature"
        rows, ages, steps = self.seen.one_by_one(self.predictions, names, at_most=limit, what=what)
        shared = [name for name in self.settings.gate.cluster_by if name in rows.column_names]
        by = shared or list(spine.entity_keys)
        clusters: Whole = np.asarray(
            group_frame(rows, by).groupby(by, dropna=False, sort=False, observed=True).ngroup(), dtype=np.int64
        )
        scores = np.asarray(rows.column(PREDICTION).to_numpy(), dtype=np.float64)
        made_by = np.asarray(rows.column("model_version").to_numpy())
        found = []
        for version in sorted(counted):
            mine = made_by == version
            ordered = concordance(scores[mine], ages[mine], steps[mine], self.clock.steps, clusters=clusters[mine])
            found.append(OfVersion(version, counted[version], self._expected(counted[version]), ordered))
        return found

    def _slices(self, columns: Sequence[str], whole: RecordBase) -> Iterator[PerformanceRecord]:
        least = self.settings.monitoring.min_rows
        for column in columns:
            groups = self.seen.counted(self.predictions, by=[slice_column(column)], summed=PREDICTION)
            for (value,), counts in sorted(groups.items(), key=lambda item: str(item[0])):
                if value is None or counts.total < least:
                    continue
                expected = self._expected(counts)
                metrics = [*self._metrics(counts, expected, None), ratio(counts, expected)]
                yield from replace(whole, slice=f"{column}={value}").records(metrics, round(counts.total))

    def _unseen(self) -> str:
        ages = np.flatnonzero(~self.table.is_seen)
        first, last = (int(ages[0]) + 1, int(ages[-1]) + 1) if ages.size else (1, self.clock.steps)
        window = self.settings.monitoring.performance_window
        return f"no row lived through steps {first} to {last} of {self.clock.steps} of the horizon in the last {window}"


def _by(groups: Mapping[tuple[int, ...], Counts], place: int) -> dict[int, Counts]:
    values = sorted({key[place] for key in groups})
    return {
        value: Counts.together([counts for key, counts in groups.items() if key[place] == value]) for value in values
    }


def _unknown(settings: UseCaseSettings, why: str) -> list[Verdict]:
    """Return what is to be said where nothing can be judged."""
    kinds = (Calibration(settings, 0, why), Ranking(settings))
    return [Verdict(kind.name, "unknown", why) for kind in kinds if kind.limit is not None]
