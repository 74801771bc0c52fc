"""Plots of vintages: cumulative rates by age, and forecasts of those that are not mature; with all of it in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlplatform.reporting import svg
from mlplatform.reporting.formats import count, moment, percent, plural
from mlplatform.reporting.plots import Plot
from mlplatform.reporting.vintages import Vintage, Vintages

_FANS = 3
_SIZE, _WIDE = (440.0, 290.0), (800.0, 300.0)


@dataclass(frozen=True)
class VintageSection:
    """What a report says of vintages.

    Attributes:
        plots: The plots.
        columns: Name and kind of each column of the table.
        rows: The table, as text.
    """

    plots: tuple[Plot, ...]
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]


def section(found: Vintages) -> VintageSection:
    """Return the report's section."""
    return VintageSection((curves(found), fans(found)), tuple(columns(found)), tuple(rows(found)))


def curves(found: Vintages) -> Plot:
    """Plot the cumulative rate by age, a line a vintage: the newer the darker."""
    name, title = "vintages", "Rate of the event by age, a line a vintage"
    drawn = [vintage for vintage in found.vintages if vintage.rates]
    if not drawn:
        why = "No event of any row is known yet." if found.until is None else "No row has lived through a step yet."
        return Plot(name, title, "", missing=why)

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        for place, vintage in enumerate(drawn):
            newest = place == len(drawn) - 1
            strength = 0.2 + 0.8 * place / max(len(drawn) - 1, 1)
            axes.plot(
                np.arange(len(vintage.rates) + 1),
                [0.0, *vintage.rates],
                color=svg.ORANGE if newest else svg.BLUE,
                alpha=1.0 if newest else strength,
                linewidth=2.2 if newest else 1.3,
                marker="o" if newest and len(vintage.rates) == 1 else None,
                label=f"Predicted up to {moment(vintage.end)}" if place in (0, len(drawn) - 1) else None,
            )
        _axes(axes, found)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=10.5)

    half = [(vintage, found.at(vintage, 0.5)) for vintage in drawn]
    told = "; ".join(f"{moment(vintage.end)} {percent(rate)}" for vintage, rate in half if rate is not None)
    in_words = f"After half of the horizon, by the end of their windows: {told}." if told else ""
    caption = (
        f"Share of the rows of each {_stretch(drawn[-1])} that had the event by an age (Kaplan and Meier), as far as "
        "all of them have been observed; the newer the darker, the newest in orange. A line above those before it is a "
        f"vintage with worse risks, long before its {found.horizon} are over. Observed up to {moment(found.until)}. "
        f"{in_words}"
    )
    return Plot(name, title, caption, svg.draw(name, _SIZE, paint, f"{title}. {in_words}"))


def fans(found: Vintages) -> Plot:
    """Plot forecasts by age of vintages that are not mature: the oldest, one between, the newest."""
    name, title = "fan", "Forecast of vintages that are not mature"
    waiting = [vintage for vintage in found.vintages if vintage.fan is not None and vintage.expected is not None]
    if not waiting:
        return Plot(name, title, "", missing=_no_fan(found))
    places = np.unique(np.linspace(0, len(waiting) - 1, _FANS).round().astype(int))
    drawn = [waiting[place] for place in places]

    def paint(figure: Any) -> None:
        for place, (axes, vintage) in enumerate(
            zip(np.atleast_1d(figure.subplots(1, len(drawn), sharey=True)), drawn, strict=True)
        ):
            _paint_fan(axes, vintage, found)
            axes.set_title(f"Predicted up to {moment(vintage.end)}", fontsize=11, color=svg.MUTED)
            if place == 0:
                handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=10.5)

    told = [
        f"{moment(vintage.end)}: {vintage.forecast}, and {vintage.expected} if risks stay as they are"
        for vintage in drawn
    ]
    caption = (
        "Solid: what has been seen. Dashed: the median of what comes if risks go on changing as they have changed, "
        "with its 50% and 95% intervals. Mark at the end: the rate if the risks of the present stay as they are, with "
        f"its 95% interval. {'; '.join(told)}."
    )
    return Plot(name, title, caption, svg.draw(name, _WIDE, paint, f"{title}. {'; '.join(told)}."), wide=True)


def _paint_fan(axes: Any, vintage: Vintage, found: Vintages) -> None:
    fan, expected = vintage.fan, vintage.expected
    assert fan is not None, "only what has a forecast is drawn"
    assert expected is not None, "only what has a forecast is drawn"
    ahead = np.arange(vintage.age, found.steps + 1)
    seen = [0.0, *vintage.rates]

    def from_now(line: Sequence[float]) -> list[float]:
        return [seen[-1], *line[vintage.age :]]

    for ends, strength in ((fan.outer, 0.15), (fan.inner, 0.3)):
        low, high = (from_now(line) for line in ends)
        axes.fill_between(ahead, low, high, color=svg.BLUE, alpha=strength, linewidth=0)
    axes.plot(ahead, from_now(fan.median), color=svg.BLUE, linestyle=(0, (4, 2)), label="Forecast")
    axes.plot(np.arange(len(seen)), seen, color=svg.BLUE, linewidth=2.2, label="Seen")
    if expected.low is not None:
        axes.plot([found.steps] * 2, [expected.low, expected.high], color=svg.ORANGE, linewidth=1.6)
    axes.plot(
        found.steps, expected.value, linestyle="none", marker="D", color=svg.ORANGE, label="If risks stay", zorder=4
    )
    _axes(axes, found)


def _axes(axes: Any, found: Vintages) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(visible=False, axis="x")
    axes.set_xlim(0, found.steps * 1.02)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"Age in {found.step}s" if found.step == "month" else f"Age, {found.steps} steps to the horizon")


def _no_fan(found: Vintages) -> str:
    if found.until is None:
        return "No event of any row is known yet."
    if found.vintages and all(vintage.age >= found.steps for vintage in found.vintages):
        return f"All rows have lived through their {found.horizon}: nothing is left to forecast."
    return "Too little is known: a forecast needs rows that lived through all ages, and three periods with events."


def _stretch(vintage: Vintage) -> str:
    days = (vintage.end - vintage.start).days
    return f"vintage of {plural(days, 'day')}" if days else "vintage"


def columns(found: Vintages) -> list[tuple[str, str]]:
    """Return the names and kinds of the table's columns."""
    shares = [f"After {part} of the horizon" for part in ("1/4", "1/2", "3/4")]
    return [
        ("Predicted up to", "date"), ("Rows", "num"), ("Observed", "num"), *((name, "num") for name in shares),
        (f"Within {found.horizon}", "num"), ("Expected", "num"), ("Forecast", "num"),
    ]  # fmt: skip


def rows(found: Vintages) -> list[tuple[str, ...]]:
    """Return the table as text, the newest vintage first: what the plots show, in numbers."""
    return [
        (
            moment(vintage.end),
            count(vintage.rows),
            f"{vintage.age} of {found.steps}",
            *(_text(found.at(vintage, share)) for share in (0.25, 0.5, 0.75)),
            _text(found.at(vintage, 1.0)),
            str(vintage.expected) if vintage.expected else "none",
            str(vintage.forecast) if vintage.forecast else "none",
        )
        for vintage in reversed(found.vintages)
    ]


def _text(rate: float | None) -> str:
    return "not yet known" if rate is None else percent(rate)
