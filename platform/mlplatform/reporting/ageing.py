"""How fast models grew stale, as people are told: in sentences, in a table, and in a plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlplatform.as_of import shown
from mlplatform.monitoring.staleness import Staleness
from mlplatform.reporting import svg
from mlplatform.reporting.formats import brief, count, limit, number, plural
from mlplatform.reporting.plots import Plot
from mlplatform.statistics.staleness import FEWEST_WINDOWS, AgeInterval, Ages, AtAge

_SIZE = (440.0, 300.0)


@dataclass(frozen=True)
class Section:
    """What a report says of it.

    Attributes:
        sentences: What follows, and what it rests on.
        caption: How to read the table.
        columns: Name and kind of each column.
        rows: The table, as text.
        plots: Of the metric, and of the loss.
    """

    sentences: tuple[str, ...]
    caption: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    plots: tuple[Plot, ...]


def section(staleness: Staleness) -> Section:
    """Return the report's section."""
    names = [
        name if name.startswith(staleness.metric) else f"{name[:1].upper()}{name[1:]}" for name in headings(staleness)
    ]
    columns = tuple((name, "num" if place else "date") for place, name in enumerate(names))
    return Section(tuple(sentences(staleness)), caption(staleness), columns, tuple(rows(staleness)), plots(staleness))


def headings(staleness: Staleness) -> tuple[str, ...]:
    """Return the names of the table's columns."""
    metric = staleness.metric
    return ("age", "windows", "rows", metric, "compared in", f"{metric}, stale", f"{metric}, champion then", "loss",
            "interval of the loss")  # fmt: skip


def rows(staleness: Staleness) -> list[tuple[str, ...]]:
    """Return the table as text, one row for each age."""
    return [
        (
            staleness.length(at.age) or "",
            count(at.windows),
            count(at.rows),
            number(at.metric),
            count(at.compared),
            number(at.stale),
            number(at.then),
            number(at.loss),
            number(None) if at.loss is None else _span(at.loss_interval),
        )
        for at in staleness.curve.ages
    ]


def caption(staleness: Staleness) -> str:
    """Return how to read the table."""
    metric, level = staleness.metric, _level(staleness)
    return (
        f"Age: from the training to the beginning of the window that is predicted. First the mean {metric} of models "
        "of that age, windows weighted by their rows; then, on the windows in which a younger model was champion, that "
        "of the older one beside it. Loss: how much worse the older one is, above zero is worse, with its "
        f"{level} interval over windows. Where there are fewer than {FEWEST_WINDOWS} of them, the interval knows the "
        "chance of their rows only, and says so: it is narrower than it should be, and nothing is recommended by it."
    )


def sentences(staleness: Staleness) -> list[str]:
    """Return what follows, and what it rests on; the recommendation comes first."""
    told = _recommendation(staleness)
    if staleness.windows:
        versions = ", ".join(map(str, staleness.champions))
        told.append(
            f"{plural(staleness.windows, 'window')} with {count(staleness.rows)} labelled rows "
            f"{'were' if staleness.windows > 1 else 'was'} scored, by "
            f"version{'s' if len(staleness.champions) > 1 else ''} {versions}; labels as known by "
            f"{shown(staleness.as_of)}."
        )
    if staleness.waiting:
        told.append(f"Of {plural(staleness.waiting, 'later window')} the labels were not known yet.")
    if staleness.without_label:
        told.append(f"{plural(staleness.without_label, 'window')} had no row with a label.")
    return [*told, *(f"Left out: {why}" for why in staleness.left_out)]


def _recommendation(staleness: Staleness) -> list[str]:
    found, length = staleness.curve.recommended, staleness.length
    accepted = f"more than {limit(found.limit)} {staleness.metric}" if found.limit else f"any {staleness.metric}"
    if found.verdict == "too few":
        if not found.windows:
            why = (
                "no window was predicted by an older model beside a younger champion. Replay a longer time, or retrain "
                "more often in it (monitoring.retrain_every)."
            )
        else:
            why = (
                f"there were too few windows: older models were compared with the champion of then in {found.windows}, "
                f"and fewer than {FEWEST_WINDOWS} tell nothing. Replay a longer time, or shorter steps (--every)."
            )
        return [f"Recommended retraining interval: not known, for {why}"]
    youngest, oldest = found.judged[0].first, found.judged[-1].last
    if found.verdict == "age":
        interval = f"{_level(staleness)} interval {length(found.earliest)} to {length(found.latest)}"
        answer = (
            f"Recommended: retrain at the latest every {length(found.age)} ({interval}): from that age on models lose "
            f"{accepted} against the champion of then, surely from {length(found.latest)} on."
        )
    else:
        may = f" It may from {length(found.earliest)} on." if found.earliest is not None else ""
        answer = (
            f"Recommended retraining interval: none within the ages seen. Up to an age of {length(oldest)}, no model "
            f"surely loses {accepted} against the champion of then.{may}"
        )
    told = [answer]
    if youngest > 1:
        told.append(f"No model younger than {length(youngest)} was compared: what is said begins there.")
    if any(group.last > group.first for group in found.judged):
        parts = "; ".join(_group(group, staleness) for group in found.judged)
        told.append(f"Ages of too few windows are judged together with their neighbours. {parts}.")
    return told


def _group(group: Ages, staleness: Staleness) -> str:
    ages = str(staleness.length(group.first))
    if group.last > group.first:
        ages = f"{ages} to {staleness.length(group.last)}"
    return f"{ages}: loss {number(group.loss)} ({_span(group.interval)}) in {plural(group.windows, 'window')}"


def _level(staleness: Staleness) -> str:
    return f"{limit(100 * staleness.curve.recommended.confidence)}%"


def plots(staleness: Staleness) -> tuple[Plot, ...]:
    """Plot the metric by age, and beside it the loss against the models that were champion on the same windows."""
    name, title = "staleness", f"{staleness.metric} by age of the model"
    ages = staleness.curve.ages
    if not ages:
        return (Plot(name, title, "", missing="No champion has a window after it whose labels are known."),)
    compared = [at for at in ages if at.loss is not None]
    found = staleness.curve.recommended
    newest, oldest = ages[0], ages[-1]
    in_words = (
        f"{number(newest.metric)} at age {staleness.length(newest.age)}, {number(oldest.metric)} at age "
        f"{staleness.length(oldest.age)}."
    )
    bars = (
        f"Bars: {_level(staleness)} intervals; dotted, where fewer than {FEWEST_WINDOWS} windows were seen, over their "
        "rows only."
    )
    text = f"The mean {staleness.metric} of the models of each age, {_better(staleness)} is better. "
    if compared:
        text += "Dashed, where a younger model was champion: the older and the younger one on the same windows. "

    def paint_metrics(figure: Any) -> None:
        _metrics(figure.subplots(), ages, compared, staleness)
        _legend(figure)

    drawn = svg.draw(name, _SIZE, paint_metrics, f"{title}. {in_words}")
    first = Plot(name, title, f"{text}{bars} {in_words}", drawn)
    loss_name, loss_title = f"{name}-loss", f"Loss in {staleness.metric} by age"
    if not compared:
        return first, Plot(
            loss_name, loss_title, "", missing="No window was predicted by an older and a younger model."
        )
    worst = max(compared, key=lambda at: at.loss or 0.0)
    loss_in_words = f"The largest is {number(worst.loss)}, at age {staleness.length(worst.age)}."
    loss_text = (
        "How much worse the older model was than the champion of then, above zero is worse; dashed: the loss that is "
        f"accepted, {limit(found.limit)}. {bars} "
    )
    if found.judged:
        loss_text += (
            "Blue: ages put together until they were compared in so many windows, by which the recommendation goes. "
        )

    def paint_losses(figure: Any) -> None:
        _losses(figure.subplots(), compared, staleness)
        _legend(figure)

    drawn = svg.draw(loss_name, _SIZE, paint_losses, f"{loss_title}. {loss_in_words}")
    return first, Plot(loss_name, loss_title, loss_text + loss_in_words, drawn)


def _legend(figure: Any) -> None:
    once: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            once.setdefault(label, handle)
    figure.legend(once.values(), once.keys(), loc="outside upper left", ncols=2)


def _metrics(axes: Any, ages: tuple[AtAge, ...], compared: list[AtAge], staleness: Staleness) -> None:
    axes.plot([at.age for at in ages], [at.metric for at in ages], color=svg.BLUE, marker="o", label="All of that age")
    for at in ages:
        _bar(axes, at.age, at.interval, svg.BLUE)
    places = [at.age for at in compared]
    dots = {"linestyle": (0, (4, 2)), "markersize": 5, "linewidth": 1.2}
    if compared:
        axes.plot(places, [at.stale for at in compared], color=svg.BLUE, marker="s", label="The older one", **dots)
        axes.plot(places, [at.then for at in compared], color=svg.ORANGE, marker="s", label="Champion then", **dots)
    axes.set_ylabel(brief(staleness.metric))
    _age_axis(axes, staleness)


def _losses(axes: Any, compared: list[AtAge], staleness: Staleness) -> None:
    found = staleness.curve.recommended
    axes.axhline(found.limit, color=svg.RED, linestyle=(0, (4, 2)), linewidth=1, label="Accepted loss")
    if compared:
        axes.plot([at.age for at in compared], [at.loss for at in compared], color=svg.MUTED, marker="o", label="Loss")
        for at in compared:
            _bar(axes, at.age, at.loss_interval, svg.MUTED)
    for group in found.judged:
        ends, both = [group.first - 0.3, group.last + 0.3], [group.loss, group.loss]
        axes.fill_between(ends, group.interval.low, group.interval.high, color=svg.BLUE, alpha=0.15, linewidth=0)
        axes.plot(ends, both, color=svg.BLUE, label="Loss as judged")
    if found.age is not None:
        axes.axvspan(found.earliest, found.latest, color=svg.ORANGE, alpha=0.15, linewidth=0)
        axes.axvline(found.age, color=svg.ORANGE, linewidth=1.2, label="Retrain by then")
    axes.set_ylabel(f"Loss in {brief(staleness.metric)}")
    axes.set_xlim(-0.5, staleness.curve.ages[-1].age + 0.5)
    _age_axis(axes, staleness)


def _age_axis(axes: Any, staleness: Staleness) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(f"Age in steps of {staleness.length_of(staleness.every, 1)}")


def _better(staleness: Staleness) -> str:
    return "higher" if staleness.greater_is_better else "lower"


def _bar(axes: Any, age: int, interval: AgeInterval | None, colour: str) -> None:
    if interval is not None:
        line = "solid" if interval.over == "windows" else (0, (1, 1.5))
        axes.plot([age, age], [interval.low, interval.high], color=colour, linewidth=1.2, linestyle=line)


def _span(interval: AgeInterval | None) -> str:
    if interval is None:
        return "none"
    over = "" if interval.over == "windows" else " (rows only)"
    return f"{number(interval.low)} to {number(interval.high)}{over}"
