"""The report's plots over time: scores and outcomes, realised performance. Facts in, SVG out; matplotlib loads here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from mlplatform.reporting import svg
from mlplatform.reporting.facts import Facts
from mlplatform.reporting.formats import brief, count, limit, moment, number, percent, plural
from mlplatform.reporting.wording import wording
from mlplatform.statistics.baseline import metric as of_baseline
from mlplatform.statistics.quantile_metrics import COVERAGE

_SIZE = (440.0, 290.0)
_FIRST_DAY, _LAST_DAY = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_CLOSE = 0.06  # champions nearer than this share of the axis would write their labels over each other


@dataclass(frozen=True)
class Plot:
    """A plot, or why there is none.

    Attributes:
        name: Its id on the page.
        title: Its heading.
        caption: How to read it; plain text.
        svg: Markup; empty when there is nothing to draw.
        missing: What is missing, and when it will be there; empty when the plot was drawn.
        wide: True when it needs the page's whole width.
    """

    name: str
    title: str
    caption: str
    svg: str = ""
    missing: str = ""
    wide: bool = False


def scores(facts: Facts) -> Plot:
    """Plot mean score against observed outcome, step by step, with champion changes; of a quantile its coverage."""
    if facts.task.predicts_quantile:
        return _coverage(facts)
    words = wording(facts.task)
    name, title, rate, what = "scores", words.title, words.is_rate, words.what
    steps = facts.outcomes.scored
    if not steps:
        return Plot(name, title, "", missing="No champion has scored any row yet.")
    with_label = [step for step in steps if step.observed is not None]
    windows = [(step.as_of, step.performance.value(words.metric)) for step in facts.steps if step.performance]

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot(
            [step.as_of for step in steps],
            [step.mean for step in steps],
            color=svg.BLUE,
            marker="o",
            label=words.score,
        )
        full = [step for step in with_label if step.rows_known == step.rows]
        part = [step for step in with_label if step.rows_known < step.rows]
        dots = {"linestyle": "none", "marker": "s", "color": svg.ORANGE, "markersize": 7, "zorder": 4}
        if full:
            axes.plot(
                [step.as_of for step in full], [step.observed for step in full], label="Observed, same rows", **dots
            )
        if part:
            axes.plot(
                [step.as_of for step in part],
                [step.observed for step in part],
                label="Observed, same rows, part known",
                **{**dots, "markerfacecolor": "none", "markeredgewidth": 1.6},
            )
        if windows:
            axes.plot(
                [at for at, _ in windows],
                [value for _, value in windows],
                color=svg.ORANGE,
                linestyle=(0, (4, 2)),
                marker=".",
                label="Observed, labels of the window",
            )
        low, high = axes.get_ylim()
        # Room at the top for the champions' names.
        axes.set_ylim(0 if rate else low, high + (high - low) * 0.1)
        if rate:
            _percent_axis(axes.yaxis)
        _time_axis(axes, facts, [step.as_of for step in steps] + [at for at, _ in windows])
        _mark_champions(axes, facts)
        _legend(figure, axes)

    if with_label:
        in_words = f"Labels are known for {count(facts.outcomes.rows_known)} of the predictions so far."
    else:
        in_words = f"No label of a scored row is known yet, so that there is no observed {what} to compare with."
    caption = (
        "Each dot stands for the rows scored at that step. Squares: what turned out for the very same rows, hollow "
        f"while only a part is known. Dashed: the {what} among all labels that became known in the monitor's window up "
        f"to the step; their predictions are older. Vertical lines: a new champion. {in_words}"
    )
    values = ", ".join(f"{moment(step.as_of)} {_shown(step.mean, rate)}" for step in steps[-8:])
    return Plot(
        name, title, caption, svg.draw(name, _SIZE, paint, f"{title} by step. Mean scores: {values}. {in_words}")
    )


class Bin(Protocol):
    """Rows of about the same prediction: what was predicted of them and what came, with its interval."""

    @property
    def predicted(self) -> float:
        """The mean prediction."""
        ...

    @property
    def observed(self) -> float:
        """What came on average."""
        ...

    @property
    def low(self) -> float:
        """The lower end of its interval."""
        ...

    @property
    def high(self) -> float:
        """The upper end of its interval."""
        ...


def paint_observed(axes: Any, bins: Sequence[Bin], places: Sequence[float] | None = None, **look: Any) -> None:
    """Paint what came, with intervals, at places or against what was predicted; the look is for `errorbar`."""
    axes.errorbar(
        [bin_.predicted for bin_ in bins] if places is None else places,
        [bin_.observed for bin_ in bins],
        # The observed rate lies inside its interval but for the last digit of a float.
        yerr=[
            [max(0.0, bin_.observed - bin_.low) for bin_ in bins],
            [max(0.0, bin_.high - bin_.observed) for bin_ in bins],
        ],
        color=svg.BLUE,
        marker="o",
        **look,
    )


def _coverage(facts: Facts) -> Plot:
    """Plot how many of the labels lay at or below the predicted quantile, step by step."""
    name, title, level = "scores", wording(facts.task).title, facts.task.level or 0.0
    points = [
        (step.as_of, found)
        for step in facts.steps
        if step.performance
        and (found := step.performance.metrics.get(COVERAGE)) is not None
        and found.value is not None
    ]
    if not points:
        return Plot(name, title, "", missing="No label of a scored row is known yet: nothing can be counted.")

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        times, values = [at for at, _ in points], [found.value for _, found in points]
        ends = [(found.low if found.low is not None else found.value, found.high or found.value) for _, found in points]
        axes.fill_between(times, [low for low, _ in ends], [high for _, high in ends], color=svg.BLUE, alpha=0.15)
        axes.plot(times, values, color=svg.BLUE, marker="o", label="Share at or below, 95% interval")
        off = [(at, found.value) for at, found in points if found.violated]
        if off:
            axes.plot(
                [at for at, _ in off],
                [value for _, value in off],
                linestyle="none",
                marker="X",
                markersize=8,
                color=svg.RED,
                label="Too far off",
                zorder=3,
            )
        axes.axhline(level, color=svg.MUTED, linestyle=(0, (4, 2)), label=f"Level {level:g}")
        _percent_axis(axes.yaxis)
        _time_axis(axes, facts, times)
        _mark_champions(axes, facts)
        _legend(figure, axes)

    newest = points[-1]
    in_words = f"At {moment(newest[0])}: {percent(newest[1].value)} of the labels, {percent(level)} is meant."
    caption = (
        "How many of the labels that became known in the monitor's window up to the step lie at or below their "
        f"predictions. Above the dashed line predictions are too high, below it too low. {in_words}"
    )
    return Plot(name, title, caption, svg.draw(name, _SIZE, paint, f"{title} by step. {in_words}"))


def performance(facts: Facts) -> Plot:
    """Plot the realised primary metric with its floor."""
    name, title = "performance", f"Realised {facts.metric}"
    points = [
        (step.as_of, value, step.performance.metrics[facts.metric].violated, step.performance.rows)
        for step in facts.steps
        if step.performance and (value := step.performance.value(facts.metric)) is not None
    ]
    values = [value for _, value, _, _ in points]
    baseline = [
        (step.as_of, value)
        for step in facts.steps
        if step.performance and (value := step.performance.value(of_baseline(facts.metric))) is not None
    ]
    if not points:
        return Plot(
            name,
            title,
            "",
            missing="No label of a scored row is known yet: predictions can be judged after the label's horizon.",
        )
    word = "floor" if facts.greater_is_better else "limit"
    floor, whose = (facts.floor, word) if facts.floor is not None else (facts.gate_floor, f"the gate's {word}")

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot([at for at, *_ in points], values, color=svg.BLUE, zorder=2)
        for violated, colour, mark, label in (
            (False, svg.BLUE, "o", f"Realised {brief(facts.metric)}"),
            (True, svg.RED, "X", "Violates its limit"),
        ):
            mine = [(at, value) for at, value, found_so, _ in points if found_so == violated]
            if mine:
                axes.plot(
                    [at for at, _ in mine],
                    [value for _, value in mine],
                    linestyle="none",
                    marker=mark,
                    color=colour,
                    markersize=7,
                    label=label,
                    zorder=3,
                )
        axes.axhline(floor, color=svg.RED, linestyle=(0, (4, 2)), label=f"{whose.capitalize()} {limit(floor)}")
        if baseline:
            axes.plot(
                [at for at, _ in baseline],
                [value for _, value in baseline],
                color=svg.MUTED,
                linestyle=(0, (1, 1.5)),
                marker="D",
                markersize=5,
                label="Trivial baseline",
                zorder=1,
            )
        shown = [floor, *values, *(value for _, value in baseline)]
        low, high = min(shown), max(shown)
        room = max(high - low, abs(high) * 0.02, 1e-9) * 0.25
        axes.set_ylim(low - room, high + room)
        _time_axis(axes, facts, [at for at, *_ in points])
        _mark_champions(axes, facts)
        _legend(figure, axes)

    newest = points[-1]
    direction = "Higher" if facts.greater_is_better else "Lower"
    in_words = f"At {moment(newest[0])}: {number(newest[1])} on {plural(newest[3], 'label')}."
    if baseline:
        in_words += f" The trivial baseline, which knows the training labels only, has {number(baseline[-1][1])}."
    caption = (
        f"Predictions joined with the labels that became known in the window up to the step. {direction} is better. "
        f"{in_words} The predictions of a window may come from earlier champions than the one in place at the step."
    )
    return Plot(name, title, caption, svg.draw(name, _SIZE, paint, f"{title} over time with its floor. {in_words}"))


def _shown(value: float, rate: bool) -> str:
    return percent(value) if rate else number(value)


def _percent_axis(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(xmax=1))


def _time_axis(axes: Any, facts: Facts, times: Sequence[datetime]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    start, end = min(times), max(times)
    if facts.steps:
        start, end = min(start, facts.steps[0].as_of), max(end, facts.steps[-1].as_of)
    # One step alone has no width; a month on both sides gives it an axis one can read.
    room = (end - start) * 0.04 or timedelta(days=30)
    # A time at an end of the calendar, as an older version let through, has no room beyond; a day of it is left, for
    # matplotlib counts days in floats.
    left = start - room if start >= _FIRST_DAY + room else _FIRST_DAY
    right = end + room if end <= _LAST_DAY - room else _LAST_DAY
    axes.set_xlim(left, right)
    axes.grid(visible=False, axis="x")
    if start == end:
        axes.set_xticks([start], [moment(start)])
        return
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _mark_champions(axes: Any, facts: Facts) -> None:
    from matplotlib.dates import date2num

    left, right = axes.get_xlim()
    written: float | None = None
    for champion in facts.champions:
        place = float(date2num(champion.since))
        if not left <= place <= right:
            continue
        axes.axvline(place, color=svg.MUTED, linewidth=1, linestyle=":", zorder=1)
        if written is None or (place - written) / (right - left) > _CLOSE:
            axes.annotate(
                f"v{champion.version}",
                (place, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -2),
                textcoords="offset points",
                va="top",
                fontsize=10.5,
                color=svg.MUTED,
            )
            written = place


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=10.5, handlelength=1.8, columnspacing=1)
