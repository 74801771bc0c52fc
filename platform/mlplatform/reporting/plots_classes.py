"""The plots of several classes: what was predicted as what, how far each probability holds, and shares over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlplatform.reporting import svg
from mlplatform.reporting.class_outcomes import ClassBin, ClassStep
from mlplatform.reporting.facts import Facts
from mlplatform.reporting.formats import brief, count, moment, percent, plural
from mlplatform.reporting.plots import Plot, paint_observed

_MOST_CELLS = 12
_MOST_CURVES = 9
_ACROSS = 3
_NO_LABEL = "No label of a scored row is known yet."
Table = npt.NDArray[np.float64]


def class_plots(facts: Facts) -> list[Plot]:
    """Return the plots of several classes; none where the task has none."""
    return [confusion(facts), reliability(facts), shares(facts)] if facts.task.is_multiclass else []


def confusion(facts: Facts) -> Plot:
    """Plot how many rows of each class were predicted as each."""
    name, title, found = "confusion", "What was predicted as what", facts.classes
    if found is None or not found.table:
        return Plot(name, title, "", missing=_NO_LABEL)
    table = np.asarray(found.table, dtype=np.float64)
    listed = ", ".join(f"{item.name} {percent(item.right / item.rows)}" for item in found.classes if item.rows)
    sample = f" Counted on a sample of {count(found.rows)} of them." if found.sampled else ""
    caption = (
        f"Predictions of champions whose label is known by now, {count(found.sampled or found.rows)} in all.{sample} "
        "Each line adds up to the rows of one class; on the diagonal those that were right. Found of each class: "
        f"{listed}."
    )
    return Plot(name, title, caption, confusion_svg(name, title, facts.task.classes, table, listed))


def confusion_svg(name: str, title: str, classes: Sequence[str], table: Table, in_words: str) -> str:
    """Draw a confusion table; of many classes the most frequent ones, and the others together.

    Args:
        name: Prefix of the ids inside.
        title: What it is.
        classes: Their names, in order.
        table: Rows of each class (first axis) predicted as each (second).
        in_words: For a reader who cannot see it.
    """
    names, table = _merged(classes, table)
    of_label = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = (440.0, 130.0 + 30.0 * len(names))

    def paint(figure: Any) -> None:
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot()
        for row in range(len(names)):
            for column in range(len(names)):
                colour = svg.BLUE if row == column else svg.HEAT
                strength = 0.08 + 0.6 * float(of_label[row, column])
                corner = (column - 0.47, row - 0.45)
                axes.add_patch(Rectangle(corner, 0.94, 0.9, facecolor=colour, alpha=strength, linewidth=0))
                if table[row, column]:
                    axes.text(column, row, f"{table[row, column]:,.0f}", ha="center", va="center", fontsize=10)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        shown = [brief(text) for text in names]
        axes.set_xticks(range(len(names)), shown, rotation=30, ha="right")
        axes.set_yticks(range(len(names)), shown)
        axes.set(xlabel="Predicted", ylabel="Label")
        axes.grid(visible=False)

    return svg.draw(name, size, paint, f"{title}. {in_words}")


def _merged(classes: Sequence[str], table: Table) -> tuple[list[str], Table]:
    """Return the table of the most frequent classes in their order, with all others as one."""
    if len(classes) <= _MOST_CELLS:
        return list(classes), table
    frequent = np.sort(np.argsort(-(table.sum(axis=1) + table.sum(axis=0)), kind="stable")[: _MOST_CELLS - 1])
    group = np.full(len(classes), frequent.size)
    group[frequent] = np.arange(frequent.size)
    merged = np.zeros((frequent.size + 1, frequent.size + 1))
    np.add.at(merged, (group[:, None], group[None, :]), table)
    others = f"{len(classes) - frequent.size} others"
    return [*(classes[place] for place in frequent), others], merged


def reliability(facts: Facts) -> Plot:
    """Plot how often each class came, by what its probability was."""
    name, title, found = "class_reliability", "How far each class's probability holds", facts.classes
    if found is None or not found.reliability:
        return Plot(name, title, "", missing=_NO_LABEL)
    places = _most_frequent([item.rows for item in found.classes])
    curves = [(found.classes[place].name, found.reliability[place]) for place in places]
    left_out = len(found.classes) - len(places)
    worst = max(curves, key=lambda curve: _gap(curve[1]))
    in_words = f"Farthest off is {worst[0]}, by {percent(_gap(worst[1]))} on average."
    caption = (
        "Rows by tenths of the probability of each class, against how often the class came; 95% intervals. Above the "
        f"dashed line the model predicts too little of a class. {in_words}"
        + (f" Without the {plural(left_out, 'rarest class', 'rarest classes')}." if left_out else "")
    )
    return Plot(name, title, caption, _curves(name, curves, f"{title}. {in_words}"), wide=len(curves) > _ACROSS)


def _gap(bins: Sequence[ClassBin]) -> float:
    rows = sum(bin_.rows for bin_ in bins)
    return sum(bin_.rows * abs(bin_.observed - bin_.predicted) for bin_ in bins) / rows if rows else 0.0


def _curves(name: str, curves: Sequence[tuple[str, Sequence[ClassBin]]], in_words: str) -> str:
    across = min(_ACROSS, len(curves))
    down = -(-len(curves) // across)

    def paint(figure: Any) -> None:
        from matplotlib.ticker import PercentFormatter

        grid = figure.subplots(down, across, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(curves):
                axes.set_axis_off()
                continue
            title, bins = curves[place]
            axes.plot([0, 1], [0, 1], color=svg.MUTED, linestyle=(0, (4, 2)), linewidth=1)
            paint_observed(axes, bins, markersize=4, linewidth=1.2, elinewidth=1)
            axes.set_title(brief(title), fontsize=11)
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(PercentFormatter(xmax=1))
                axis.set_ticks([0, 0.5, 1])

    size = (440.0 if across < _ACROSS or down == 1 else 800.0, 40.0 + 190.0 * down)
    return svg.draw(name, size, paint, in_words)


def shares(facts: Facts) -> Plot:
    """Plot the mean probability of each class against its share of the labels, step by step."""
    name, title, found = "class_shares", "Class shares over time", facts.classes
    if found is None or not found.steps:
        return Plot(name, title, "", missing="No champion has scored any row yet.")
    newest = found.steps[-1]
    places = _most_frequent([newest.predicted[place] for place in range(len(facts.task.classes))])
    listed = ", ".join(f"{facts.task.classes[place]} {percent(newest.predicted[place])}" for place in places)
    left_out = len(facts.task.classes) - len(places)
    in_words = f"At {moment(newest.as_of)} were predicted: {listed}."
    caption = (
        "Line: the mean probability of each class among the rows scored at a step. Squares: its share of the labels of "
        f"the very same rows, as far as they are known. {in_words}"
        + (f" Without the {plural(left_out, 'rarest class', 'rarest classes')}." if left_out else "")
    )
    drawn = _over_time(
        name, [facts.task.classes[place] for place in places], places, found.steps, f"{title}. {in_words}"
    )
    return Plot(name, title, caption, drawn, wide=len(places) > _ACROSS)


def _over_time(name: str, names: Sequence[str], places: Sequence[int], steps: Sequence[ClassStep], text: str) -> str:
    across = min(_ACROSS, len(names))
    down = -(-len(names) // across)

    def paint(figure: Any) -> None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
        from matplotlib.ticker import PercentFormatter

        grid = figure.subplots(down, across, squeeze=False, sharex=True)
        for number, axes in enumerate(grid.flat):
            if number >= len(names):
                axes.set_axis_off()
                continue
            place = places[number]
            axes.plot(
                [step.as_of for step in steps], [step.predicted[place] for step in steps], color=svg.BLUE, marker=".",
                label="Mean probability",
            )  # fmt: skip
            known = [(step.as_of, step.observed[place]) for step in steps if step.observed is not None]
            axes.plot(
                [at for at, _ in known], [share for _, share in known], linestyle="none", marker="s", markersize=5,
                color=svg.ORANGE, label="Share of the labels",
            )  # fmt: skip
            axes.set_title(brief(names[number]), fontsize=11)
            most = max([step.predicted[place] for step in steps] + [share for _, share in known])
            axes.set_ylim(0, 1.1 * most or 1)
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
            locator = AutoDateLocator(minticks=2, maxticks=4)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=10.5)

    size = (440.0 if across < _ACROSS or down == 1 else 800.0, 60.0 + 180.0 * down)
    return svg.draw(name, size, paint, text)


def _most_frequent(weights: Sequence[float]) -> list[int]:
    """Return the places of the largest weights, in their own order."""
    largest = sorted(range(len(weights)), key=lambda place: -weights[place])[:_MOST_CURVES]
    return sorted(largest)
