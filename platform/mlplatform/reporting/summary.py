"""The facts in words: what a reader should know before looking at any table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from mlplatform.ops.stage_runs import FAILED
from mlplatform.reporting.facts import Facts, StepFacts
from mlplatform.reporting.formats import NOTHING, count, limit, moment, number, percent, plural, printable
from mlplatform.reporting.observations import CRITICAL, Realised
from mlplatform.statistics.baseline import GAIN
from mlplatform.statistics.baseline import metric as of_baseline
from mlplatform.statistics.class_metrics import ACCURACY
from mlplatform.statistics.quantile_metrics import COVERAGE

State = Literal["good", "watch", "bad", "unjudged", "none"]


@dataclass(frozen=True)
class Tile:
    """One number at the top of the page.

    Attributes:
        label: What it is.
        value: The number, written out.
        note: Against what it is judged.
        state: `good`, `watch`, `bad`; `unjudged` where too little was there to judge what was measured: neither well
            nor ill; `none` where there is nothing to judge.
    """

    label: str
    value: str
    note: str
    state: State


def sentences(facts: Facts) -> list[str]:
    """Return the summary, a sentence or two on each topic; every number in it stands in the facts."""
    if not facts.steps:
        return [f"Nothing has been run for {facts.use_case} in {facts.env} yet: there is nothing to report."]
    topics = [_volume(facts), _champion(facts), _gate(facts), _performance(facts), _drift(facts), _alerts(facts)]
    return [text for text in [*topics, _newest_run(facts), _retraining(facts)] if text]


def tiles(facts: Facts) -> list[Tile]:
    """Return the numbers for the top of the page."""
    makers = [_champion_tile, _metric_tile, _baseline_tile, _calibration_tile, drift_tile, _run_tile]
    return [tile for tile in (make(facts) for make in makers) if tile is not None]


def shown_mean(facts: Facts, value: float | None) -> str:
    """Return a mean score or label: a percentage for probabilities, else a number."""
    return percent(value) if facts.task.predicts_probabilities else number(value)


def _volume(facts: Facts) -> str:
    span = f"{plural(len(facts.steps), 'step')} from {moment(facts.steps[0].as_of)} to {moment(facts.steps[-1].as_of)}"
    if len(facts.steps) == 1:
        span = f"One step, at {moment(facts.steps[0].as_of)}"
    if not facts.rows_scored:
        return f"{span}. No row has been scored yet."
    versions = sorted({version for scored in facts.outcomes.scored for version in scored.versions})
    labelled = facts.outcomes.rows_known
    outcome = (
        f"for {plural(labelled, 'prediction')} the label is known" if labelled else "no label of theirs is known yet"
    )
    early = facts.never_scored
    before = f" {plural(early, 'row')} due before the first scoring never had a prediction." if early else ""
    return f"{span}. {plural(facts.rows_scored, 'row')} scored by {_versions(versions)}; {outcome}.{before}"


def _champion(facts: Facts) -> str:
    champion = facts.champion
    if champion is None:
        return "There is no champion yet: no promotion has been applied."
    over = f", in place of version {champion.before}" if champion.before is not None else ", the first one"
    scored = sum(item.rows for item in facts.outcomes.scored if champion.version in item.versions)
    used = "" if scored else " It has not scored any row yet."
    return f"Version {champion.version} is champion since {moment(champion.since)}{over}.{used}"


def _gate(facts: Facts) -> str:
    if not facts.decisions:
        return "The gate has decided nothing yet."
    tally = Counter(decision.outcome for decision in facts.decisions)
    listed = ", ".join(f"{amount} {outcome}" for outcome, amount in tally.most_common())
    newest = facts.decisions[-1]
    return (
        f"The gate has decided about {plural(len(facts.decisions), 'challenger')}: {listed}. The newest, version "
        f"{newest.challenger} at {moment(newest.as_of)}, was {newest.outcome}: {newest.reason}."
    )


def _performance(facts: Facts) -> str:
    step = facts.newest_measured
    if step is None or step.performance is None:
        return "Realised performance is not known yet: no label of a scored row has become known."
    performance = step.performance
    value = performance.value(facts.metric)
    text = f"At {moment(step.as_of)}, realised {facts.metric} is {number(value)} on {plural(performance.rows, 'label')}"
    if facts.floor is not None and value is not None:
        side = "above" if value > facts.floor else "below" if value < facts.floor else "at"
        text += f", {side} the {'floor' if facts.greater_is_better else 'limit'} of {limit(facts.floor)}"
    observed, predicted = performance.value("label_mean"), performance.value("prediction_mean")
    share = performance.value(COVERAGE)
    if share is not None:
        text += f"; {percent(share)} of the labels lie at or below the predicted quantile {facts.task.level:g}"
    elif facts.task.is_multiclass and performance.value(ACCURACY) is not None:
        text += f"; {percent(performance.value(ACCURACY))} of the predictions were right"
    elif observed is not None and predicted is not None:
        text += f"; {shown_mean(facts, observed)} was observed where {shown_mean(facts, predicted)} was predicted"
    baseline = performance.metrics.get(of_baseline(facts.metric))
    gain = performance.metrics.get(GAIN)
    if baseline is not None and baseline.value is not None:
        text += f"; the trivial baseline, which knows the training labels only, has {number(baseline.value)}"
        if gain is not None and gain.violated:
            text += ", and a version is surely worse than that"
    return f"{text}. Labels are known for {percent(performance.coverage)} of the predictions looked at."


def _drift(facts: Facts) -> str:
    step = next((step for step in reversed(facts.steps) if step.drift), None)
    if step is None:
        return "Drift has not been measured yet."
    worst = step.drift[0]
    size = "missing from the scored rows" if worst.value is None else f"index {number(worst.value)}"
    allowed = f", limit {limit(worst.limit)}" if worst.limit is not None else ""
    if step.unjudged:
        many = facts.unjudged_windows
        row = f"None of the newest {many} windows was judged, so that drift raised no alert. " if many > 1 else ""
        return (
            f"{row}The newest measured window, at {moment(step.as_of)}, was not judged: {step.unjudged}. Its largest "
            f"drift, which may be chance, is in {printable(worst.column)} ({size})."
        )
    return (
        f"The newest measured window, at {moment(step.as_of)}, has {step.drifted} of {len(step.drift)} columns above "
        f"their drift limit; the largest drift is in {printable(worst.column)} ({size}{allowed})."
    )


def _alerts(facts: Facts) -> str:
    if not facts.alerts:
        return "No alert has been raised."
    raised = [alert for alert in facts.alerts if alert.event == "raised"]
    critical = sum(alert.severity == CRITICAL for alert in raised)
    newest = [
        alert for alert in facts.alerts if facts.last and alert.as_of == facts.last.as_of and alert.event != "recovered"
    ]
    now = "; ".join(f"{alert.severity}: {alert.message}" for alert in newest) or "none"
    return f"{plural(len(raised), 'alert')} raised so far, {critical} of them critical. At the newest step: {now}."


def _newest_run(facts: Facts) -> str:
    failed = [stage for stage in facts.newest_run if stage.status == FAILED]
    if failed:
        return f"The newest run failed in {failed[-1].stage}: {failed[-1].message}"
    return ""


def _retraining(facts: Facts) -> str:
    step = next((step for step in reversed(facts.steps) if step.retrain), None)
    if step is None or step.retrain is None:
        return ""
    verb = "was due" if step.retrain.due else "was not due"
    return f"At {moment(step.as_of)} a retraining {verb}: {'; '.join(step.retrain.reasons)}."


def _champion_tile(facts: Facts) -> Tile:
    champion = facts.champion
    if champion is None:
        return Tile("Champion", "none yet", "no promotion was applied", "none")
    return Tile("Champion", f"version {champion.version}", f"since {moment(champion.since)}", "good")


def _metric_tile(facts: Facts) -> Tile:
    label, step = f"Realised {facts.metric}", facts.newest_measured
    metric = step.performance.metrics.get(facts.metric) if step and step.performance else None
    if step is None or metric is None or metric.value is None:
        return Tile(label, "not yet known", "no label has become known", "none")
    if metric.unjudged:
        return Tile(label, number(metric.value), f"{metric.unjudged}, at {moment(step.as_of)}", "unjudged")
    if facts.floor is None:
        return Tile(label, number(metric.value), f"at {moment(step.as_of)}, no floor is set", "none")
    note = f"{'floor' if facts.greater_is_better else 'limit'} {limit(facts.floor)}, at {moment(step.as_of)}"
    return Tile(label, number(metric.value), note, "bad" if metric.violated else "good")


def _baseline_tile(facts: Facts) -> Tile | None:
    step = facts.newest_measured
    measured = step.performance.metrics if step and step.performance else {}
    gain, baseline = measured.get(GAIN), measured.get(of_baseline(facts.metric))
    if step is None or gain is None or gain.value is None or baseline is None:
        return None  # measured by an earlier version, or nothing known yet, of which the tile before this one tells
    label, value = "Gain over the trivial baseline", f"{gain.value:+.4g}"
    if gain.unjudged:
        return Tile(label, value, f"{gain.unjudged}, at {moment(step.as_of)}", "unjudged")
    note = f"its {facts.metric}: {number(baseline.value)}"
    if gain.low is not None and gain.high is not None:
        note += f", 95% interval {gain.low:+.3g} to {gain.high:+.3g}"
    state: State = "bad" if gain.violated else "good" if gain.low is not None and gain.low > 0 else "watch"
    return Tile(label, value, note, state)


def _calibration_tile(facts: Facts) -> Tile:
    label, step = "Observed / predicted", facts.newest_measured
    if step is None or step.performance is None:
        return Tile(label, "not yet known", "no label has become known", "none")
    share = step.performance.metrics.get(COVERAGE)
    if share is not None and share.value is not None:
        return _coverage_tile(facts, step, share)
    found = step.performance.ratio()
    if found is not None:
        of_class, ratio, value = found
        label = f"{label}, {of_class}" if of_class else label
        if ratio.unjudged:
            return Tile(label, f"{value:.2f} times", f"{ratio.unjudged}, at {moment(step.as_of)}", "unjudged")
        note = f"limit {limit(ratio.limit)} either way" if ratio.limit else "no limit is set"
        note += "; the class farthest from 1" if of_class else ""
        return Tile(label, f"{value:.2f} times", note, "bad" if ratio.violated else "good")
    observed, predicted = step.performance.value("label_mean"), step.performance.value("prediction_mean")
    if observed is None or predicted is None:
        return Tile(label, NOTHING, "not measured", "none")
    return Tile(label, f"{number(observed)} / {number(predicted)}", "mean label and mean prediction", "none")


def _coverage_tile(facts: Facts, step: StepFacts, share: Realised) -> Tile:
    label, value = f"Labels at or below the quantile {facts.task.level:g}", percent(share.value)
    if share.unjudged:
        return Tile(label, value, f"{share.unjudged}, at {moment(step.as_of)}", "unjudged")
    note = f"a gap of {limit(share.limit)} is allowed" if share.limit is not None else f"at {moment(step.as_of)}"
    if share.low is not None and share.high is not None:
        note += f", 95% interval {percent(share.low)} to {percent(share.high)}"
    return Tile(label, value, note, "bad" if share.violated else "good")


def drift_tile(facts: Facts) -> Tile:
    """Return the number for the newest window's drift."""
    step = next((step for step in reversed(facts.steps) if step.drift), None)
    if step is None:
        return Tile("Columns drifted", "not yet known", "no window has been measured", "none")
    if step.unjudged:
        many = facts.unjudged_windows
        note = f"{step.unjudged}, at {moment(step.as_of)}" + (f"; {many} windows in a row" if many > 1 else "")
        return Tile("Columns drifted", "not judged", note, "unjudged")
    state: State = "watch" if step.drifted else "good"
    return Tile("Columns drifted", f"{step.drifted} of {len(step.drift)}", f"at {moment(step.as_of)}", state)


def _run_tile(facts: Facts) -> Tile:
    if not facts.newest_run:
        return Tile("Newest run", NOTHING, "nothing has been run", "none")
    failed = [stage.stage for stage in facts.newest_run if stage.status == FAILED]
    note = f"{count(len(facts.newest_run))} stages at {moment(facts.newest_run[-1].as_of)}"
    if failed:
        return Tile("Newest run", f"failed in {failed[-1]}", note, "bad")
    return Tile("Newest run", "completed", note, "good")


def _versions(versions: list[int]) -> str:
    listed = ", ".join(str(version) for version in versions)
    return f"version {listed}" if len(versions) == 1 else f"versions {listed}"
