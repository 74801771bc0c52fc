"""The index of use cases: one row each, with a link to its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlplatform.reporting.facts import Facts
from mlplatform.reporting.formats import moment, number, plural
from mlplatform.reporting.summary import drift_tile
from mlplatform.reporting.verdict import ReportVerdict, verdict

TEMPLATE = "index.html.j2"
_WIDE, _HIGH, _EDGE = 120.0, 28.0, 3.0
_MOST_POINTS = 60


@dataclass(frozen=True)
class IndexRow:
    """One use case of the index.

    Attributes:
        name: The use case.
        link: The file of its report, beside the index.
        description: What it predicts, in its owner's words.
        owner: Who is asked.
        verdict: Whether its model may be used.
        champion: Version and since when, or that there is none.
        age: How old the champion is at the newest step.
        metric: The newest realised metric, written out.
        trend: The realised metric over time as points of a line, `x,y x,y ...`; empty with fewer than two.
        trend_told: The same in words.
        drift: The drift of the newest window, written out.
        drift_state: `good`, `watch`, `bad`, `unjudged`, `none`.
        last_scoring: When rows were scored last, and how many.
        next_step: What to do next.
    """

    name: str
    link: str
    description: str
    owner: str
    verdict: ReportVerdict
    champion: str
    age: str
    metric: str
    trend: str
    trend_told: str
    drift: str
    drift_state: str
    last_scoring: str
    next_step: str


def entry(facts: Facts, link: str) -> IndexRow:
    """Return the row of a use case.

    Args:
        facts: Of its report.
        link: The report's file name.
    """
    values = [
        value
        for step in facts.steps
        if step.performance and (value := step.performance.value(facts.metric)) is not None
    ][-_MOST_POINTS:]
    drift = drift_tile(facts)
    scored = [item for item in facts.outcomes.scored if item.rows]
    champion, last = facts.champion, facts.last
    age = ""
    if champion is not None and last is not None:
        age = plural((last.as_of - champion.since).days, "day")
    return IndexRow(
        name=facts.use_case,
        link=link,
        description=facts.description,
        owner=facts.owner,
        verdict=verdict(facts),
        champion=f"version {champion.version} since {moment(champion.since)}" if champion else "none yet",
        age=age,
        metric=f"{facts.metric} {number(values[-1])}" if values else f"{facts.metric} not yet known",
        trend=_line(values),
        trend_told=f"{facts.metric} from {number(values[0])} to {number(values[-1])} over {plural(len(values), 'step')}"
        if values
        else "",
        drift=", ".join(text for text in (drift.value, drift.note) if text),
        drift_state=drift.state,
        last_scoring=f"{plural(scored[-1].rows, 'row')} at {moment(scored[-1].as_of)}" if scored else "never",
        next_step=next_step(facts),
    )


def next_step(facts: Facts) -> str:
    """Return what to do next about a use case, as a command where there is one."""
    name, last = facts.use_case, facts.last
    if last is None:
        return f"mlplatform run {name}"
    failed = [stage for stage in facts.newest_run if stage.status == "failed"]
    if failed:
        return f"mend what failed ({failed[-1].stage}), then mlplatform run {name} --as-of {moment(last.as_of)}"
    pending = [decision for decision in facts.decisions if decision.outcome == "pending"]
    if pending and pending[-1] is facts.decisions[-1]:
        return f"version {pending[-1].challenger} waits for mlplatform promote {name}"
    if facts.champion is None:
        return f"why there is no champion: mlplatform history {name}"
    if last.retrain is not None and last.retrain.due:
        return f"a retraining is due: mlplatform retrain {name}"
    return "nothing: the next run by its schedule"


def _line(values: Sequence[float]) -> str:
    """Return values as points of a line in a box of 120 by 28.

    Examples:
        >>> _line([0.5, 1.0])
        '3.0,25.0 117.0,3.0'
        >>> _line([0.5])
        ''
    """
    if len(values) < 2:  # noqa: PLR2004
        return ""
    low, high = min(values), max(values)
    room = (high - low) or 1.0
    step = (_WIDE - 2 * _EDGE) / (len(values) - 1)
    points = [
        (_EDGE + place * step, _HIGH - _EDGE - (value - low) / room * (_HIGH - 2 * _EDGE))
        for place, value in enumerate(values)
    ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def total(entries: Sequence[IndexRow]) -> str:
    """Return how many models may be used, in words.

    Args:
        entries: The rows.
    """
    tally = {answer: sum(item.verdict.answer == answer for item in entries) for answer in ("yes", "with care", "no")}
    told = f"{tally['yes']} may be used, {tally['with care']} with care, {tally['no']} not"
    return f"{plural(len(entries), 'use case')}. Of their models {told}."


def render(entries: Sequence[IndexRow], *, env: str, home: str, generated_at: datetime) -> str:
    """Return the page.

    Args:
        entries: The rows, in the order in which they are shown.
        env: The environment.
        home: `local` or `databricks`.
        generated_at: Wall clock.
    """
    from mlplatform.reporting.report import environment

    return (
        environment()
        .get_template(TEMPLATE)
        .render(entries=entries, env=env, home=home, generated_at=generated_at, total=total(entries))
    )
