"""The first sentence of a report: whether the model may be used, by what is on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mlplatform.ops.stage_runs import FAILED
from mlplatform.reporting.facts import Facts, StepFacts
from mlplatform.reporting.formats import limit, moment, number, plural
from mlplatform.reporting.observations import CRITICAL, Performance
from mlplatform.statistics.baseline import GAIN

Answer = Literal["yes", "with care", "no"]


@dataclass(frozen=True)
class ReportVerdict:
    """Whether the champion may be used.

    Attributes:
        answer: `no` where there is no champion, or its outcomes violate a limit of its ranking or error, or are surely
            worse than the trivial baseline's; `with care` where something else needs a look, or no outcome is known.
        sentence: The answer with its reasons.
    """

    answer: Answer
    sentence: str


def verdict(facts: Facts) -> ReportVerdict:
    """Return whether the champion may be used; each reason stands in the facts.

    Args:
        facts: Of the report.
    """
    champion = facts.champion
    if not facts.steps:
        return ReportVerdict("no", "There is no model to use: nothing has been run yet.")
    if champion is None:
        return ReportVerdict("no", "There is no model to use: none has passed the gate.")
    name = f"version {champion.version}"
    judged = facts.newest_measured
    against = _all(facts, judged, (_below_floor, _worse_than_baseline))
    if against:
        return ReportVerdict("no", f"Do not rely on {name}: {'; '.join(against)}.")
    doubts = _all(facts, judged, (_failed, _calibration, _alerts, _drift, _unknown))
    if doubts:
        return ReportVerdict("with care", f"Use {name} with care: {'; '.join(doubts)}.")
    return ReportVerdict(
        "yes", f"{name.capitalize()} may be used: its outcomes are within all limits that were judged."
    )


_Reason = Callable[[Facts, StepFacts | None], str]


def _all(facts: Facts, judged: StepFacts | None, reasons: tuple[_Reason, ...]) -> list[str]:
    return [text for reason in reasons if (text := reason(facts, judged))]


def _performance(judged: StepFacts | None) -> Performance | None:
    return judged.performance if judged else None


def _below_floor(facts: Facts, judged: StepFacts | None) -> str:
    performance = _performance(judged)
    metric = performance.metrics.get(facts.metric) if performance else None
    if judged is None or metric is None or not metric.violated:
        return ""
    against = f"{'below' if facts.greater_is_better else 'above'} {limit(metric.limit)}"
    return f"{facts.metric} of what came true is {number(metric.value)} at {moment(judged.as_of)}, {against}"


def _worse_than_baseline(facts: Facts, judged: StepFacts | None) -> str:
    del facts
    performance = _performance(judged)
    gain = performance.metrics.get(GAIN) if performance else None
    return "it is surely worse than the trivial baseline" if gain is not None and gain.violated else ""


def _failed(facts: Facts, judged: StepFacts | None) -> str:
    del judged
    failed = [stage for stage in facts.newest_run if stage.status == FAILED]
    return f"the newest run failed in {failed[-1].stage}, so that predictions may be old" if failed else ""


def _calibration(facts: Facts, judged: StepFacts | None) -> str:
    del facts
    performance = _performance(judged)
    found = performance.ratio() if performance else None
    if judged is None or found is None or not found[1].violated:
        return ""
    of_class, _, value = found
    if of_class:
        return f"{of_class} came {value:.2f} times as often as was predicted (at {moment(judged.as_of)})"
    return f"what came true is {value:.2f} times what was predicted (at {moment(judged.as_of)})"


def _alerts(facts: Facts, judged: StepFacts | None) -> str:
    del judged
    last = facts.last
    open_now = [
        alert
        for alert in facts.alerts
        if last and alert.as_of == last.as_of and alert.event != "recovered" and alert.severity == CRITICAL
    ]
    kinds = dict.fromkeys(alert.kind.replace("_", " ") for alert in open_now)
    return f"{plural(len(kinds), 'critical alert')} at the newest step ({', '.join(kinds)})" if kinds else ""


def _drift(facts: Facts, judged: StepFacts | None) -> str:
    del judged
    step = next((step for step in reversed(facts.steps) if step.drift), None)
    if step is None or step.unjudged or not step.drifted:
        return ""
    return f"{step.drifted} of {len(step.drift)} columns it reads have drifted since its training"


def _unknown(facts: Facts, judged: StepFacts | None) -> str:
    performance = _performance(judged)
    metric = performance.metrics.get(facts.metric) if performance else None
    if metric is None or metric.value is None:
        return "no outcome of its predictions is known yet; only the gate has judged it"
    if metric.unjudged:
        return f"outcomes could not be judged ({metric.unjudged})"
    return ""
