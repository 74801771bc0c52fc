"""The plots of one decision: the metric's difference, curves or residuals side by side, calibration, slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.checks.base import CheckResult, Evidence
from mlplatform.gate.decision import Decision
from mlplatform.reporting import svg
from mlplatform.reporting.formats import brief, limit, number, percent, plural
from mlplatform.reporting.plots import Plot
from mlplatform.reporting.plots_classes import confusion_svg
from mlplatform.reporting.wording import wording
from mlplatform.statistics import class_metrics
from mlplatform.statistics.metrics import Vector
from mlplatform.statistics.quantile_metrics import covered
from mlplatform.task import Task

_SIZE = (440.0, 300.0)
_POINTS = 300
_BARS = 40
_BINS = 10
_MOST_SLICES = 30
_OF_CALIBRATION = ("calibration", "coverage", "brier", "calibration_slope", "class_ratios")
_NOTHING = "There was nothing to look at: "


def all_plots(decision: Decision, evidence: Evidence | None, settings: UseCaseSettings) -> list[Plot]:
    """Return the plots of a decision; one that cannot be drawn says why.

    Args:
        decision: The decision, with every check's numbers.
        evidence: What it was made on; None when the gate could not look.
        settings: The use case's.
    """
    names = {check.name: check for check in decision.checks}
    looked = evidence if evidence is not None and evidence.labels.size else None
    why = _NOTHING + decision.reason
    if looked is not None and names.get("finite_predictions", CheckResult("", "fail", "")).status != "pass":
        looked = None
    task = settings.kind_of_task
    if task.is_multiclass:
        side_by_side = [_confusion(decision, looked, settings, why)]
    else:
        side_by_side = [(_curves if task.is_binary else _residuals)(decision, looked, why)]
    return [
        _difference(names, settings),
        *side_by_side,
        _calibration(decision, looked, settings, why),
        _slices(names.get("slices")),
    ]


def _models(decision: Decision, evidence: Evidence) -> Iterator[tuple[str, Vector, str]]:
    yield f"Challenger, version {decision.challenger_version}", evidence.challenger, svg.BLUE
    if evidence.champion is not None:
        yield f"Champion, version {decision.champion_version}", evidence.champion, svg.ORANGE


def _difference(names: dict[str, CheckResult], settings: UseCaseSettings) -> Plot:
    name, title = "difference", f"Distribution of the difference in {settings.training.metric}"
    compared = ("recalibrated_log_loss", "beats_champion", "beats_trivial")
    check = next((names[it] for it in compared if it in names and names[it].histogram), None)
    metric = settings.training.metric
    if check is not None and check.name == compared[0]:
        metric, title = "log_loss", "Distribution of the difference in log_loss"
    if check is None:
        return Plot(name, title, "", missing="Nothing was compared: too little evidence, or predictions that are none.")
    edges, counts = check.histogram["edges"], check.histogram["counts"]
    low, high, gain = (check.numbers[it] for it in ("low", "high", "gain"))
    against = "a predictor that knows nothing" if check.name == "beats_trivial" else "the champion"

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=svg.BLUE, alpha=0.5)
        axes.axvspan(low, high, color=svg.BLUE, alpha=0.12, label="Interval")
        axes.axvline(gain, color=svg.BLUE, label="Gain")
        axes.axvline(check.limit, color=svg.RED, linestyle=(0, (4, 2)), label=f"Limit {limit(check.limit)}")
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(f"Gain in {brief(metric)} over {against}; right of zero is better")
        axes.set_ylabel("Draws")
        figure.legend(loc="outside upper left", ncols=3, fontsize=10.5)

    in_words = f"Gain {number(gain)}, interval {number(low)} to {number(high)}, limit {limit(check.limit)}."
    caption = (
        f"Gain of the challenger over {against} in each of {check.numbers['draws']:,.0f} paired bootstrap draws of the "
        f"same rows. {in_words} The check asks for the whole interval to lie right of the limit."
    )
    return Plot(name, title, caption, svg.draw(name, _SIZE, paint, f"{title}. {in_words}"))


def _curves(decision: Decision, evidence: Evidence | None, why: str) -> Plot:
    name, title = "curves", "ROC and precision-recall curves"
    if evidence is None or np.unique(evidence.labels).size < 2:  # noqa: PLR2004
        return Plot(name, title, "", missing=why)
    if evidence.expected:
        return Plot(name, title, "", missing="Labels are rates that are expected: they rank nobody.")
    rate = float(evidence.labels.mean())

    def paint(figure: Any) -> None:
        from sklearn.metrics import precision_recall_curve, roc_curve

        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=svg.MUTED, linestyle=(0, (4, 2)), linewidth=1)
        right.axhline(rate, color=svg.MUTED, linestyle=(0, (4, 2)), linewidth=1)
        for label, predictions, colour in _models(decision, evidence):
            fall_out, recall, _ = roc_curve(evidence.labels, predictions)
            left.plot(*_thinned(fall_out, recall), color=colour, label=label)
            precision, recalls, _ = precision_recall_curve(evidence.labels, predictions)
            # From recall 0 on, and without the library's added point (recall 0, precision 1), which no model reached.
            right.plot(*_thinned(recalls[-2::-1], precision[-2::-1]), color=colour)
        left.set(xlabel="False positive rate", ylabel="True positive rate")
        right.set(xlabel="Recall", ylabel="Precision", ylim=(0, None))
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=10.5)

    caption = (
        f"Both models on the same {plural(evidence.labels.size, 'row')}, {percent(rate)} of them positive. Dashed: a "
        "predictor that knows nothing."
    )
    return Plot(name, title, caption, svg.draw(name, (800, 330), paint, f"{title}. {caption}"), wide=True)


def _confusion(decision: Decision, evidence: Evidence | None, settings: UseCaseSettings, why: str) -> Plot:
    name, title, classes = "curves", "What the challenger predicts as what", settings.kind_of_task.classes
    if evidence is None:
        return Plot(name, title, "", missing=why)
    table = class_metrics.confusion(evidence.labels, evidence.challenger)
    told = []
    for label, predictions, _ in _models(decision, evidence):
        found = class_metrics.of_each(classes, evidence.labels, predictions)
        listed = ", ".join(f"{item.name} {percent(item.right / item.rows)}" for item in found if item.rows)
        told.append(f"{label} finds of each class: {listed}.")
    caption = f"Each line adds up to the rows of one class; on the diagonal those that were right. {' '.join(told)}"
    return Plot(name, title, caption, confusion_svg(name, title, classes, table, told[0]))


def _residuals(decision: Decision, evidence: Evidence | None, why: str) -> Plot:
    name, title = "curves", "Residuals"
    if evidence is None:
        return Plot(name, title, "", missing=why)
    errors = [predictions - evidence.labels for _, predictions, _ in _models(decision, evidence)]
    # The farthest percent would leave the rest in one bar; it is counted into the outermost ones.
    ends = np.quantile(np.concatenate(errors), [0.005, 0.995])
    edges = np.linspace(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1, _BARS + 1)

    def paint(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for label, predictions, colour in _models(decision, evidence):
            error = np.clip(predictions - evidence.labels, edges[0], edges[-1])
            left.hist(error, bins=edges, histtype="step", color=colour, label=label, linewidth=1.8)
            middles, spreads = _by_bin(predictions, np.abs(predictions - evidence.labels))
            right.plot(middles, spreads, color=colour, marker="o")
        left.axvline(0, color=svg.MUTED, linewidth=1)
        left.set(xlabel="Prediction minus label", ylabel="Rows")
        right.set(xlabel="Mean prediction of the decile", ylabel="Mean absolute error", ylim=(0, None))
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=10.5)

    caption = (
        f"Both models on the same {plural(evidence.labels.size, 'row')}. Left: prediction minus label, the farthest "
        "percent in the outermost bars. Right: mean absolute error by decile of the model's own predictions."
    )
    return Plot(name, title, caption, svg.draw(name, (800, 330), paint, f"{title}. {caption}"), wide=True)


def _calibration(decision: Decision, evidence: Evidence | None, settings: UseCaseSettings, why: str) -> Plot:
    name, title = "calibration", "Calibration"
    if evidence is None:
        return Plot(name, title, "", missing=why)
    task = settings.kind_of_task
    observed_as = wording(task).observed

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        ends: list[float] = []
        for label, given, colour in _models(decision, evidence):
            predictions, outcome = _level(task, evidence.labels, given)
            predicted, observed = _by_bin(predictions, outcome)
            axes.plot(predicted, observed, color=colour, marker="o", label=label)
            ends += [*predicted, *observed]
        if task.level is None:
            span = [min(ends), max(ends)]
            axes.plot(span, span, color=svg.MUTED, linestyle=(0, (4, 2)), linewidth=1, label="Perfect calibration")
        else:
            axes.axhline(task.level, color=svg.MUTED, linestyle=(0, (4, 2)), linewidth=1, label=f"Level {task.level:g}")
        axes.set_xlabel(f"{wording(task).of_decile} of the decile")
        axes.set_ylabel(observed_as if task.level is None else "Share of labels at or below")
        figure.legend(loc="outside upper left", ncols=2, fontsize=10.5)

    shown = {check.name: check for check in decision.checks}
    details = [shown[it].detail for it in _OF_CALIBRATION if it in shown]
    too = "predicts too little" if task.level is None else "predicts too much"
    too = "is less sure than it may be" if task.is_multiclass else too
    caption = f"Rows in ten bins by each model's own predictions. Above the dashed line the model {too}." + (
        f" The challenger: {'; '.join(details)}." if details else ""
    )
    return Plot(name, title, caption, svg.draw(name, _SIZE, paint, f"{title} of both models by decile."))


def _level(task: Task, labels: Vector, given: Vector) -> tuple[Vector, Vector]:
    """Return what was predicted and what turned out, row by row; of several classes how sure, and whether right."""
    if task.is_multiclass:
        return given.max(axis=1), 1 - class_metrics.misses(labels, given)
    return given, covered(labels, given) if task.predicts_quantile else labels


def _slices(check: CheckResult | None) -> Plot:
    name, title = "slices", "Gain by slice"
    if check is None or not check.parts:
        return Plot(name, title, "", missing=check.detail if check else "The check did not run.")
    parts = sorted(check.parts, key=lambda part: part["gain"])[:_MOST_SLICES]

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.axvline(0, color=svg.MUTED, linewidth=1)
        if check.limit:
            axes.axvline(check.limit, color=svg.RED, linestyle=(0, (4, 2)), linewidth=1)
        for row, part in enumerate(parts):
            colour = svg.RED if part["worse"] else svg.BLUE
            axes.plot([part["low"], part["high"]], [row, row], color=colour, linewidth=2.2)
            axes.plot([part["gain"]], [row], color=colour, marker="o", linestyle="none")
        axes.set_yticks(range(len(parts)), [f"{brief(part['slice'])} ({part['rows']:,})" for part in parts])
        axes.set_ylim(len(parts) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("Gain over the champion")

    left_out, judged = len(check.parts) - len(parts), plural(len(check.parts), "slice")
    caption = (
        f"Gain in each slice with its number of rows; right of zero is better. The interval is corrected for {judged}. "
        f"A slice fails when its whole interval lies left of the limit {limit(check.limit)}. {check.detail}."
        + (f" The {left_out} slices with the largest gains are not drawn." if left_out else "")
    )
    size = (440.0, 90.0 + 26.0 * len(parts))
    return Plot(name, title, caption, svg.draw(name, size, paint, f"{title}. {check.detail}."))


def _thinned(x: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return at most so many points of a curve as can be seen, its ends among them."""
    if x.size <= _POINTS:
        return x, y
    kept = np.unique(np.linspace(0, x.size - 1, _POINTS).astype(int))
    return x[kept], y[kept]


def _by_bin(predictions: Vector, values: Vector) -> tuple[list[float], list[float]]:
    """Return mean prediction and mean value of ten bins of about equal numbers of rows, by rising prediction."""
    order = np.argsort(predictions, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if part.size]
    return [float(predictions[part].mean()) for part in parts], [float(values[part].mean()) for part in parts]
