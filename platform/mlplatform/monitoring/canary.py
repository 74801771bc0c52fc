"""What became of those for whom a challenger decided, held against those for whom the champion did, as labels come.

Who is in a canary is drawn by a hash, and has nothing to do with what becomes of him: the two groups differ by chance,
and by who decided. So their outcomes are compared as two samples, by the same bootstrap as in the gate. It says what no
comparison on the same rows can say: what the decisions themselves changed.

The alert looks each time that the monitor runs, and of a challenger that is no worse it is to ring in at most as many
years as the gate may be wrong in: each look has a share of that error, as decisions of the gate have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform.gate import canary as canaries
from mlplatform.gate import decision_log
from mlplatform.gate.canary import BASIS, GAIN, Canary
from mlplatform.gate.checks.base import group_frame, told
from mlplatform.gate.checks.evidence import rarest_class
from mlplatform.gate.spending import allowed
from mlplatform.monitoring import alerts
from mlplatform.monitoring.alerts import Verdict, too_few
from mlplatform.monitoring.details import CanaryOutcome
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import PERFORMANCE_METRICS, PerformanceRecord
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.class_labels import class_number
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, LabelSpine
from mlplatform.scoring.class_columns import number_columns, stored_columns, with_numbers
from mlplatform.scoring.class_columns import numbers as numbers_of
from mlplatform.scoring.predictions import DECIDED, PREDICTIONS
from mlplatform.scoring.watermark import STAGE as SCORE
from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import FEWEST_CLUSTERS, Group, PairedDifference, difference_of_groups
from mlplatform.statistics.intervals import LEVEL, interval
from mlplatform.statistics.metrics import Metric
from mlplatform.statistics.spending import Spent, of_the_year, percent
from mlplatform.task import Task

LABEL_DIFFERENCE = "canary_label_difference"
_LABEL = "_label"
_LABEL_MEAN = Metric("label_mean", lambda labels, _: float(labels.mean()), greater_is_better=True)
_SEED = 0


@dataclass(frozen=True)
class Arm:
    """Those for whom one version decided.

    Attributes:
        alias: As which it did.
        version: The version.
        decided: How many.
        group: Labels and predictions of those whose label is known; of more than `monitoring.max_rows` a sample.
    """

    alias: str
    version: int | None
    decided: int
    group: Group

    @property
    def labels(self) -> int:
        """How many labels are compared."""
        return int(self.group.labels.size)


def check(context: StageContext, spine: LabelSpine) -> tuple[CanaryOutcome, Verdict] | None:
    """Compare the newest canary with its champion by the labels known at `as_of`, and record it once.

    Returns:
        What was found, and what is said of it; None where no challenger had decided for anybody by then.

    Raises:
        PlatformError: If predictions, labels or the record cannot be read.
    """
    recorded = decision_log.events(context.ws, context.namespace)
    known = canaries.all_of(event for event in recorded if event.as_of <= context.as_of)
    if not known:
        return None
    canary = known[-1]
    scorings = _scorings(context, canary)
    if not scorings:
        return None
    arms = _arms(context, spine, canary, scorings)
    gain, why = _gain(context, *arms)
    level = _level(context, canary)
    worse = gain is not None and gain.leaving(level).high < 0
    found = _Found(canary, arms, gain, why, worse)
    _record(context, found, why or f"judged at an error of {percent(level)}")
    outcome = CanaryOutcome(
        model_version=canary.version,
        champion=canary.champion,
        since=canary.since,
        until=canary.until,
        decided=arms[0].decided,
        labels=arms[0].labels,
        labels_of_champion=arms[1].labels,
        gain=gain.gain if gain else None,
        low=gain.low if gain else None,
        high=gain.high if gain else None,
        worse=worse,
        why=why,
    )
    return outcome, _verdict(context, found)


@dataclass(frozen=True)
class _Found:
    """Both arms of a canary, the gain of the one over the other, and why there is none."""

    canary: Canary
    arms: tuple[Arm, Arm]
    gain: PairedDifference | None
    why: str
    worse: bool


def _scorings(context: StageContext, canary: Canary) -> dict[datetime, float]:
    """Return the times of the scorings in which the canary decided for somebody -> for which share."""
    until = context.as_of if canary.until is None else min(canary.until, context.as_of)
    parts = [
        (record.as_of, record.details.get("canary") or {})
        for record in context.log.all_records(SCORE, since=canary.since, until=until)
    ]
    return {
        moment: float(part["share"])
        for moment, part in parts
        if part.get("model_version") == canary.version and part.get("rows")
    }


def _arms(context: StageContext, spine: LabelSpine, canary: Canary, scorings: dict[datetime, float]) -> tuple[Arm, Arm]:
    frames, keys = context.ws.frames, list(spine.primary_keys)
    task = context.settings.kind_of_task
    predictions = frames.read(
        context.namespace.gold(PREDICTIONS),
        columns=[*keys, *stored_columns(task), "model_version", "alias", DECIDED],
        filters=[("as_of", "in", sorted(scorings)), ("alias", "in", [CHALLENGER, CHAMPION])],
    ).filter(nw.col(DECIDED))
    predictions = with_numbers(predictions, task)
    of_challenger = predictions.filter(nw.col("alias") == CHALLENGER, nw.col("model_version") == canary.version)
    # Those in the share whom the challenger could not predict are nobody's: who they are hangs on the model.
    of_champion = frames.share(
        predictions.filter(nw.col("alias") == CHAMPION),
        keys=spine.entity_keys,
        share=max(scorings.values()),
        salt=canaries.salt(context, canary.version),
        outside=True,
    )
    return (
        _arm(context, spine, of_challenger, CHALLENGER, canary.version),
        _arm(context, spine, of_champion, CHAMPION, canary.champion),
    )


def _arm(context: StageContext, spine: LabelSpine, rows: Frame, alias: str, version: int | None) -> Arm:
    frames, keys, limit = context.ws.frames, list(spine.primary_keys), context.settings.monitoring.max_rows
    task = context.settings.kind_of_task
    label = class_number(spine.label, task.classes) if task.is_multiclass else nw.col(spine.label).cast(nw.Float64)
    labels = frames.read(
        context.namespace.gold(LABELS),
        columns=[*keys, spine.label, LABEL_KNOWN_AT],
        filters=[(LABEL_KNOWN_AT, "<=", context.as_of)],
    ).select(*keys, label.alias(_LABEL))
    labels = labels.filter(~nw.col(_LABEL).is_null())
    known = rows.select(*keys, *number_columns(task)).join(labels, on=keys, how="inner")
    if frames.count(known) > limit:
        known = frames.sample(known, keys=keys, at_most=limit, seed=_SEED)
    # An engine gives rows in any order, and what is drawn from them hangs on it.
    found = frames.collect(known, at_most=limit, what=f"labels of those for whom the {alias} decided")
    found = found.sort_by([(key, "ascending") for key in keys]).combine_chunks()
    return Arm(alias, version, frames.count(rows), _group(found, spine.entity_keys, task))


def _group(rows: pa.Table, entity: Sequence[str], task: Task) -> Group:
    """Return labels and predictions; where an entity has several rows, they are drawn together."""
    numbers = group_frame(rows, entity).groupby(list(entity), sort=False, dropna=False).ngroup().to_numpy()
    several = numbers.size > 0 and int(numbers.max()) + 1 < numbers.size
    return Group(
        np.asarray(rows.column(_LABEL).to_numpy(), dtype=np.float64),
        numbers_of(rows, task),
        np.asarray(numbers, dtype=np.int64) if several else None,
    )


def _gain(context: StageContext, challenger: Arm, champion: Arm) -> tuple[PairedDifference | None, str]:
    """Compare the two; where that cannot be done, return why."""
    settings = context.settings
    fewest, needed = min(challenger.labels, champion.labels), settings.monitoring.min_rows
    if fewest < needed:
        return None, too_few(fewest, needed, "label")
    if settings.kind_of_task.is_binary:
        rarest = min(rarest_class(arm.group.labels) for arm in (challenger, champion))
        if rarest < FEWEST_CLUSTERS:
            return None, too_few(rarest, FEWEST_CLUSTERS, "label of the rarer class")
    try:
        return _compared(context, metrics.primary(settings), challenger, champion), ""
    except (ValueError, ArithmeticError) as error:
        return None, str(error)


def _compared(context: StageContext, metric: Metric, challenger: Arm, champion: Arm) -> PairedDifference:
    limits = context.settings.gate
    return difference_of_groups(
        metric,
        challenger.group,
        champion.group,
        confidence=limits.confidence,
        draws=limits.draws,
        seed=limits.seed,
    )


def _level(context: StageContext, canary: Canary) -> float:
    """Return the error of this look: those before have spent of it by when they were, and by nothing else."""
    error = allowed(context.settings.gate)
    looks = PERFORMANCE_METRICS.read(
        context.ws,
        context.namespace,
        [("basis", "=", BASIS), ("metric", "=", GAIN), ("as_of", "<", context.as_of), ("as_of", ">=", canary.since)],
    )
    spent: list[Spent] = []
    for moment in sorted({it.as_of for it in looks if it.model_version == canary.version and it.limit is not None}):
        spent.append(Spent(moment, of_the_year(error, spent, moment).level))
    return of_the_year(error, spent, context.as_of).level


def _verdict(context: StageContext, found: _Found) -> Verdict:
    canary, gain = found.canary, found.gain
    if canary.until is not None:
        return Verdict(alerts.CANARY, "ok", model_version=canary.version)  # it decides for nobody any more
    if gain is None:
        return Verdict(alerts.CANARY, "unknown", found.why, canary.version)
    if not found.worse:
        return Verdict(alerts.CANARY, "ok", model_version=canary.version)
    message = (
        f"version {canary.version} decides for a share of the entities since {canary.since:%Y-%m-%d}, and does surely "
        f"worse than version {canary.champion}: {told(gain)} in {context.settings.training.metric}, on "
        f"{found.arms[0].labels:,} and {found.arms[1].labels:,} labels. To end it: mlplatform rollback {context.name} "
        "--end-canary --reason WHY"
    )
    return Verdict(alerts.CANARY, "violated", message, canary.version)


def _record(context: StageContext, found: _Found, note: str) -> None:
    canary, gain, counted = found.canary, found.gain, _counted(found.arms[0])
    base = PerformanceRecord(
        use_case=context.name,
        as_of=context.as_of,
        basis=BASIS,
        alias=CHALLENGER,
        model_version=canary.version,
        window_start=canary.since,
        window_end=context.as_of if canary.until is None else min(canary.until, context.as_of),
        metric=GAIN,
        violated=False,
        rows=0,
        coverage=0.0,
    )
    records = [record for arm in found.arms for record in _of_arm(context, arm, base)]
    of_gain = counted | {"note": note, "violated": found.worse}
    if gain is not None:
        ends = gain.leaving((1 - LEVEL) / 2)
        of_gain |= {"value": gain.gain, "low": ends.low, "high": ends.high, "limit": 0.0}
        if not context.settings.kind_of_task.is_multiclass:  # the number of a class has no mean
            rate = _compared(context, _LABEL_MEAN, *found.arms).leaving((1 - LEVEL) / 2)
            of_rate = {"metric": LABEL_DIFFERENCE, "value": rate.gain, "low": rate.low, "high": rate.high}
            records.append(replace(base, **(counted | of_rate)))
    records.append(replace(base, **of_gain))
    once = Transaction(f"monitor:{context.name}:{context.as_of.isoformat()}:{BASIS}")
    PERFORMANCE_METRICS.append(context.ws, context.namespace, records, transactions=[once])


def _of_arm(context: StageContext, arm: Arm, base: PerformanceRecord) -> list[PerformanceRecord]:
    """Return the records of what one version's decisions came to: the primary metric, and means of both columns.

    Classes have no mean.
    """
    if not arm.labels:
        return []
    settings = context.settings
    primary = metrics.primary(settings)
    labels, predictions = arm.group.labels, arm.group.predictions
    values = metrics.evaluate(settings.kind_of_task, labels, predictions, event_above=settings.label.event_above)
    records = []
    for name in (primary.name, "label_mean", "prediction_mean"):
        if name not in values:
            continue
        metric = primary if name == primary.name else name
        ends = interval(metric, labels, predictions, resample=metric is primary) if np.isfinite(values[name]) else None
        low, high = ends or (None, None)
        value = float(values[name]) if np.isfinite(values[name]) else None
        given = {"metric": name, "value": value, "low": low, "high": high, "alias": arm.alias}
        records.append(replace(base, **(_counted(arm) | given | {"model_version": arm.version})))
    return records


def _counted(arm: Arm) -> dict[str, Any]:
    return {
        "rows": arm.labels,
        "scored": arm.decided,
        "known": arm.labels,
        "coverage": arm.labels / arm.decided if arm.decided else 0.0,
    }
