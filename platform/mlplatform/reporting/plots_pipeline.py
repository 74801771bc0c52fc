"""The report's plots of the pipeline: rows and seconds by stage."""

from __future__ import annotations

from typing import Any

from mlplatform.reporting import svg
from mlplatform.reporting.facts import Facts
from mlplatform.reporting.formats import brief, count, seconds
from mlplatform.reporting.plots import Plot

_WIDTH = 440.0


def flow(facts: Facts) -> Plot:
    """Plot how many rows went through each stage."""
    name, title = "flow", "Rows by stage"
    flows = facts.flows
    if not flows:
        return Plot(name, title, "", missing="No stage has been run to its end yet.")
    most = max([1, *(value or 0 for item in flows for value in (item.rows_in, item.rows_out, item.rows_quarantined))])

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        series = (
            ("in", svg.MUTED, [item.rows_in for item in flows]),
            ("out", svg.BLUE, [item.rows_out for item in flows]),
            ("quarantined", svg.RED, [item.rows_quarantined for item in flows]),
        )
        for offset, (label, colour, values) in zip((-0.26, 0.0, 0.26), series, strict=True):
            places = [row + offset for row in range(len(flows))]
            axes.barh(places, [value or 0 for value in values], height=0.23, color=colour, label=f"Rows {label}")
            for place, value in zip(places, values, strict=True):
                if value is None and label == "quarantined":
                    continue  # only the stages that check rows can set rows aside
                text = "not counted" if value is None else count(value)
                axes.annotate(
                    text, (value or 0, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=10
                )
        labels = [f"{brief(item.stage)}\n(newest)" if item.newest_only else brief(item.stage) for item in flows]
        axes.set_yticks(range(len(flows)), labels)
        axes.set_ylim(len(flows) - 0.5, -0.5)
        axes.set_xlim(0, most * 1.22)
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines["bottom"].set_visible(False)
        figure.legend(loc="outside upper left", ncols=3, fontsize=10.5)

    in_words = "; ".join(
        f"{item.stage}: {count(item.rows_in)} in, {count(item.rows_out)} out, {count(item.rows_quarantined)} set aside"
        for item in flows
    )
    caption = (
        "Added up over all recorded runs; for the training, the newest alone, because each takes the older rows again. "
        "A feature row is a new value of an entity's history, not a row of the table it came from."
    )
    size = (_WIDTH, 60.0 + 58.0 * len(flows))
    return Plot(name, title, caption, svg.draw(name, size, paint, f"Rows by stage. {in_words}."))


def durations(facts: Facts) -> Plot:
    """Plot how long each stage took, run by run."""
    name, title = "durations", "Seconds by stage"
    timings = facts.timings
    if not timings:
        return Plot(name, title, "", missing="No stage has been run to its end yet.")

    def paint(figure: Any) -> None:
        from matplotlib.ticker import FuncFormatter

        axes = figure.add_subplot()
        earlier = [(value, row) for row, item in enumerate(timings) for value in item.seconds[:-1]]
        axes.plot(
            [value for value, _ in earlier],
            [row for _, row in earlier],
            linestyle="none",
            marker="o",
            markersize=6,
            color=svg.MUTED,
            alpha=0.5,
            markeredgewidth=0,
            label="Earlier runs",
        )
        newest = [item.seconds[-1] for item in timings]
        axes.plot(
            newest, range(len(timings)), linestyle="none", marker="D", markersize=7, color=svg.BLUE, label="Newest"
        )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
        axes.set_yticks(range(len(timings)), [brief(item.stage) for item in timings])
        axes.set_ylim(len(timings) - 0.5, -0.5)
        axes.tick_params(length=0, which="both")
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper left", ncols=2, fontsize=10.5)

    in_words = "; ".join(f"{item.stage} {seconds(item.seconds[-1])}" for item in timings)
    caption = f"One dot for each time that the stage was done; the scale is logarithmic. Newest: {in_words}."
    size = (_WIDTH, 80.0 + 34.0 * len(timings))
    return Plot(name, title, caption, svg.draw(name, size, paint, f"Seconds by stage. Newest: {in_words}."))
