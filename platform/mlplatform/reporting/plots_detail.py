"""The report's plots of the model's parts: drift by column, calibration by decile, the gate's decisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlplatform.reporting import svg
from mlplatform.reporting.decisions import INSUFFICIENT, PENDING, PROMOTED, REJECTED, STALE, DecisionFacts
from mlplatform.reporting.facts import Facts, StepFacts
from mlplatform.reporting.formats import brief, count, limit, moment, number, percent, plural, printable
from mlplatform.reporting.observations import DriftFacts
from mlplatform.reporting.plots import Plot, paint_observed
from mlplatform.reporting.wording import wording
from mlplatform.statistics.spending import percent as percent_of

_MOST_COLUMNS, _MOST_STEPS, _MOST_DECISIONS = 30, 40, 24
_DATE_WIDTH, _NAMES_WIDTH = 82.0, 190.0  # of a date above the map, of the columns' names left of it
_FEW = 2  # a heatmap of no more steps fits half the page
_WITH_NUMBERS = 14  # more steps than this, and the numbers would not fit in their cells
_WIDTH = 440.0
_DASHES = (0, (3, 2))
_OUTCOMES = {
    PROMOTED: (svg.GREEN, "o"),
    PENDING: (svg.GREEN, "D"),
    REJECTED: (svg.RED, "X"),
    STALE: (svg.MUTED, "X"),
    INSUFFICIENT: (svg.MUTED, "s"),
}


def drift(facts: Facts) -> Plot:
    """Plot the stability index of each column at each step."""
    name, title = "drift", "Drift by column"
    steps = [step for step in facts.steps if step.drift][-_MOST_STEPS:]
    if not steps:
        return Plot(name, title, "", missing="The monitor has compared no scored window with a reference yet.")
    cells = {(item.column, item.as_of): item for step in steps for item in step.drift}
    worst: dict[str, float] = {}
    for item in cells.values():
        psi = item.value if item.value is not None else float("inf")
        worst[item.column] = max(worst.get(item.column, 0.0), psi)
    columns = sorted(worst, key=lambda column: (-worst[column], column))
    shown = columns[:_MOST_COLUMNS]
    with_numbers = len(steps) <= _WITH_NUMBERS
    unjudged = any(step.unjudged for step in steps)
    size = (
        min(800.0, _NAMES_WIDTH + 122.0 * len(steps)) + 20.0 * max(0, min(len(steps), _WITH_NUMBERS) - 10),
        46.0 + 22.0 * len(shown) + (24.0 if unjudged else 0.0),
    )

    def paint(figure: Any) -> None:
        from matplotlib.patches import Patch

        axes = figure.add_subplot()
        for row, column in enumerate(shown):
            for place, step in enumerate(steps):
                item = cells.get((column, step.as_of))
                if item is None:
                    continue
                _cell(axes, place, row, item, facts.max_psi, with_number=with_numbers or item.value is None)
        axes.set_xlim(-0.5, len(steps) - 0.5)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_yticks(range(len(shown)), [brief(column) for column in shown])
        every = math.ceil(_DATE_WIDTH * len(steps) / (size[0] - _NAMES_WIDTH))
        axes.set_xticks(range(0, len(steps), every), [moment(step.as_of) for step in steps[::every]])
        axes.xaxis.tick_top()
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if unjudged:
            dashed = Patch(facecolor="none", edgecolor=svg.MUTED, linestyle=_DASHES, label="Not judged: too few rows")
            figure.legend(handles=[dashed], loc="outside lower left", fontsize=10.5)

    left_out = ""
    if len(columns) > len(shown):
        left_out = f" The {len(shown)} columns with the largest drift of {len(columns)} are drawn."
    newest = steps[-1]
    judged = (
        f"the window was not judged ({newest.unjudged})"
        if newest.unjudged
        else f"{newest.drifted} of {len(newest.drift)} columns were above their limit"
    )
    in_words = (
        f"At {moment(newest.as_of)}, {judged}; the worst was {printable(newest.drift[0].column)} "
        f"({'missing' if newest.drift[0].value is None else number(newest.drift[0].value)})."
    )
    caption = (
        "Population stability index of each step's scored rows against the reference profile of the champion that "
        f"scored them. Blue deepens up to the limit of {limit(facts.max_psi)}; above it, cells are orange, up to four "
        f"times the limit, and violations are bold. Columns with the largest drift come first. {in_words}{left_out}"
        f"{_unjudged_told(steps)}"
    )
    return Plot(
        name, title, caption, svg.draw(name, size, paint, f"Heatmap of drift. {in_words}"), wide=len(steps) > _FEW
    )


def _cell(axes: Any, place: int, row: int, item: DriftFacts, max_psi: float, *, with_number: bool) -> None:
    from matplotlib.patches import Rectangle

    look: dict[str, Any] = {"facecolor": "none", "edgecolor": svg.MUTED, "linewidth": 1, "linestyle": _DASHES}
    font: dict[str, Any] = {"color": svg.MUTED, "fontstyle": "italic"}
    if not item.unjudged:
        colour, strength = _heat(item, max_psi)
        look = {"facecolor": colour, "alpha": strength, "linewidth": 0}
        font = {"fontweight": "bold" if item.violated else "normal"}
    axes.add_patch(Rectangle((place - 0.47, row - 0.44), 0.94, 0.88, **look))
    if with_number:
        text = "missing" if item.value is None else f"{item.value:.2f}"
        axes.text(place, row, text, ha="center", va="center", fontsize=10, **font)


def _unjudged_told(steps: Sequence[StepFacts]) -> str:
    many = sum(bool(step.unjudged) for step in steps)
    if not many:
        return ""
    return (
        f" {many} of {plural(len(steps), 'window')} not judged, with dashes and without colour: too few rows to tell "
        "drift from chance. These are neither well nor ill."
    )


def calibration(facts: Facts) -> Plot:
    """Plot the reliability curve of predictions whose label is known, with events per decile."""
    name, title = "calibration", "Calibration of realised predictions"
    if not facts.task.level_is_watched:
        why = f"A reliability curve is for probabilities, and this is {facts.task.noun}."
        return Plot(name, title, "", missing=why)
    bins = facts.outcomes.deciles
    if not bins:
        return Plot(name, title, "", missing="No label of a scored row is known yet, so that nothing can be compared.")
    if facts.task.predicts_quantile:
        return _coverage(facts)
    words = wording(facts.task)
    rate, what, cases = words.is_rate, words.what, words.cases

    def paint(figure: Any) -> None:
        upper, lower = figure.subplots(2, 1, height_ratios=(3, 2))
        most = max(max(bin_.high, bin_.predicted) for bin_ in bins) * 1.05 or 1.0
        widest = max(bin_.predicted for bin_ in bins) * 1.1 or 1.0
        diagonal = min(widest, most)
        upper.plot([0, diagonal], [0, diagonal], color=svg.MUTED, linestyle=(0, (4, 2)), label="Perfect calibration")
        label = f"Observed {what}, 95% interval"
        paint_observed(upper, bins, linewidth=1.4, elinewidth=1.2, capsize=3, label=label)
        upper.set_xlim(0, widest)
        upper.set_ylim(0, most)
        if rate:
            _percent_axes(upper)
        upper.set_xlabel(f"{words.of_decile} of the decile")
        places = range(len(bins))
        lower.bar(
            [place - 0.2 for place in places],
            [bin_.predicted * bin_.rows for bin_ in bins],
            width=0.38,
            color=svg.BLUE,
            alpha=0.45,
            label=f"{cases} expected",
        )
        lower.bar(
            [place + 0.2 for place in places],
            [bin_.observed * bin_.rows for bin_ in bins],
            width=0.38,
            color=svg.ORANGE,
            label=f"{cases} observed",
        )
        lower.set_xticks(list(places), [str(place + 1) for place in places])
        lower.set_xlabel("Decile, by rising prediction")
        lower.grid(visible=False, axis="x")
        for axes in (upper, lower):
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=10.5, borderaxespad=0.1)

    rows = sum(bin_.rows for bin_ in bins)
    expected = sum(bin_.predicted * bin_.rows for bin_ in bins)
    observed = sum(bin_.observed * bin_.rows for bin_ in bins)
    too = "is less sure than it may be" if facts.task.is_multiclass else "predicts too little"
    what_of = " events" if facts.task.is_binary else " right ones" if facts.task.is_multiclass else ""
    in_words = f"{count(expected)}{what_of} were expected among {plural(rows, 'row')}, {count(observed)} were observed."
    caption = (
        "All predictions of champions whose label is known by now, in bins of about equal number of rows (equal "
        f"predictions stay together). {in_words} Above the dashed line the model {too}. Intervals: "
        f"{'Wilson' + chr(39) + 's' if rate else 'of a mean'}."
    )
    shown = percent if rate else number
    listed = ", ".join(f"{shown(bin_.predicted)} predicted and {shown(bin_.observed)} observed" for bin_ in bins)
    return Plot(name, title, caption, svg.draw(name, (_WIDTH, 410), paint, f"Reliability curve: {listed}. {in_words}"))


def _coverage(facts: Facts) -> Plot:
    """Plot the coverage of a quantile by decile of the predictions."""
    name, title, level, bins = "calibration", "Coverage by decile", facts.task.level or 0.0, facts.outcomes.deciles

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        places = list(range(1, len(bins) + 1))
        axes.axhline(level, color=svg.MUTED, linestyle=(0, (4, 2)), label=f"Level {level:g}")
        paint_observed(
            axes,
            bins,
            places,
            linestyle="none",
            elinewidth=1.2,
            capsize=3,
            label="Share at or below, 95% interval",
        )
        _percent_axis(axes.yaxis)
        axes.set_xticks(places)
        axes.set_xlabel("Decile, by rising prediction")
        axes.grid(visible=False, axis="x")
        figure.legend(loc="outside upper left", ncols=2, fontsize=10.5)

    rows = sum(bin_.rows for bin_ in bins)
    observed = sum(bin_.observed * bin_.rows for bin_ in bins) / rows
    in_words = f"Of {plural(rows, 'label')}, {percent(observed)} lie at or below the predictions; {level:.0%} is meant."
    caption = (
        "All predictions of champions whose label is known by now, in bins of about equal number of rows. "
        f"{in_words} A quantile that is right on the whole may be too high for small and too low for large predictions."
    )
    listed = ", ".join(f"{percent(bin_.observed)} at {number(bin_.predicted)}" for bin_ in bins)
    return Plot(name, title, caption, svg.draw(name, (_WIDTH, 300), paint, f"{title}: {listed}. {in_words}"))


def decisions(facts: Facts) -> Plot:
    """Plot the gain of each challenger with its interval, by outcome."""
    name, title = "decisions", "Gain of challengers over the champion"
    shown = facts.decisions[-_MOST_DECISIONS:]
    if not shown:
        return Plot(name, title, "", missing="The gate has decided nothing yet.")
    if not any(decision.gain for decision in shown):
        return Plot(name, title, "", missing="No challenger has been compared with a champion yet.")

    def paint(figure: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        axes.axvline(0, color=svg.MUTED, linewidth=1)
        if facts.margin:
            axes.axvline(-facts.margin, color=svg.RED, linewidth=1, linestyle=(0, (4, 2)), label="Margin")
        for row, decision in enumerate(shown):
            colour, mark = _OUTCOMES.get(decision.outcome, (svg.MUTED, "s"))
            if decision.gain is None:
                axes.annotate(
                    f"{brief(decision.outcome)}, {'by its scores' if decision.recalibrated_from else 'not compared'}",
                    (0, row),
                    xycoords=("axes fraction", "data"),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=10.5,
                    color=colour,
                    bbox={"facecolor": svg.SURFACE, "edgecolor": "none", "pad": 1},
                )
                continue
            gain = decision.gain
            axes.plot([gain.low, gain.high], [row, row], color=colour, linewidth=2.4, solid_capstyle="butt")
            axes.plot([gain.value], [row], color=colour, marker=mark, markersize=8, linestyle="none")
        for outcome in dict.fromkeys(decision.outcome for decision in shown if decision.gain):
            colour, mark = _OUTCOMES.get(outcome, (svg.MUTED, "s"))
            axes.plot([], [], color=colour, marker=mark, linewidth=2.4, label=brief(outcome).capitalize())
        axes.set_yticks(range(len(shown)), [f"{moment(decision.as_of)}  {_pair(decision)}" for decision in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        ends = [end for decision in shown if decision.gain for end in (decision.gain.low, decision.gain.high)]
        low, high = min([0.0, -facts.margin, *ends]), max([0.0, *ends])
        room = (high - low) * 0.08 or 1.0
        axes.set_xlim(low - room, high + room)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"Gain in {brief(facts.metric)}; right of zero is better")
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", ncols=4, fontsize=10.5)

    levels = sorted({item.gain.confidence for item in shown if item.gain and item.gain.confidence})
    span = dict.fromkeys(percent_of(item) for item in (levels[0], levels[-1])) if levels else {}
    level = f"{' to '.join(span)} " if span else ""
    in_words = "; ".join(f"{moment(item.as_of)} version {item.challenger} {item.outcome}" for item in shown)
    asked = f"minus the margin of {limit(facts.margin)}" if facts.margin else "zero"
    caption = (
        f"Difference in {facts.metric} on the same labelled rows, with its {level}paired bootstrap interval. The gate "
        f"asks for the whole interval to lie above {asked}, and for its other checks below."
    )
    size = (_WIDTH, 96.0 + 30.0 * len(shown))
    return Plot(name, title, caption, svg.draw(name, size, paint, f"Decisions of the gate: {in_words}."))


def _heat(item: DriftFacts, max_psi: float) -> tuple[str, float]:
    allowed = item.limit or max_psi
    if item.value is None:
        return svg.RED, 0.6
    if item.value <= allowed:
        return svg.BLUE, round(0.06 + 0.44 * max(item.value, 0.0) / allowed, 2)
    return svg.HEAT, round(0.35 + 0.45 * min(1.0, math.log(item.value / allowed, 4)), 2)


def _percent_axes(axes: Any) -> None:
    _percent_axis(axes.xaxis)
    _percent_axis(axes.yaxis)


def _percent_axis(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(xmax=1))


def _pair(decision: DecisionFacts) -> str:
    return f"v{decision.challenger}" + (f" vs v{decision.champion}" if decision.champion is not None else ", the first")
