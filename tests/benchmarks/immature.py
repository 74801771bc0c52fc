"""What dated events said of the loans of 2005 to 2008 before their labels were mature, beside what came true.

Credit risk is refined once; then everything is computed as of each quarter, from the charge-offs that were known by
then, by the platform's own code. With `--home`, a home in which `mlplatform simulate credit_risk` was run: when the
first alarms rang, and the mean scores beside the rates.

    python tests/benchmarks/immature.py [--home .mlplatform]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlplatform import open_use_case, open_workspace
from mlplatform.as_of import Duration, parse_as_of, steps
from mlplatform.ops.records import ALERTS, PERFORMANCE_METRICS
from mlplatform.pipeline import Pipeline
from mlplatform.protocols.tables import Filter
from mlplatform.refine.exposures import Counts, exposures
from mlplatform.refine.spine import LABELS, SPINE
from mlplatform.statistics.life_tables import LifeTable, expected_rate
from mlplatform.statistics.vintages import AgePeriod

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase

FIRST, LAST, END = "2006-01-01", "2009-01-01", "2012-01-01"
AGES = (0, 12, 18, 24)
LEVEL, FACTOR, QUARTER = 0.9, 1.5, Duration.parse("quarter")


@dataclass(frozen=True)
class Said:
    """What was said of a window's loans at one time.

    Attributes:
        present: The rate if the risks of the last twelve months stay.
        forecast: The median if they go on changing.
        low: Lower end of its 90% prediction interval.
        high: Its upper end.
    """

    present: float
    forecast: float
    low: float
    high: float


def said(ws: Workspace, use_case: UseCase, as_of: datetime, end: datetime) -> Said:
    """Compute as of a time what is to be expected of the loans of the quarter up to another."""
    spine, namespace = use_case.label_spine(), use_case.namespace
    seen = exposures(ws, namespace, spine, as_of)
    months = seen.clock.steps_in(Duration.parse(use_case.settings.monitoring.performance_window))
    history = seen.counted(seen.portfolio(seen.history_since))[()].cohorts
    time = spine.prediction_time
    within: list[Filter] = [(time, ">", QUARTER.before(end)), (time, "<=", end)]
    rows = ws.frames.read(namespace.gold(SPINE), columns=list(spine.primary_keys), filters=within)
    own = seen.counted(rows).get((), Counts.none(seen.clock.steps)).cohorts
    expected = expected_rate(own, LifeTable.of_period(history, months))
    model = AgePeriod.fit(history, months)
    forecast = None if isinstance(model, str) else model.forecast(own)
    nothing = float("nan")
    low, high = forecast.interval(LEVEL) if forecast else (nothing, nothing)
    return Said(expected.value if expected else nothing, forecast.value if forecast else nothing, low, high)


def came_true(ws: Workspace, use_case: UseCase, end: datetime) -> tuple[int, float]:
    """Return how many loans a quarter had, and which share was charged off within the horizon."""
    spine = use_case.label_spine()
    within: list[Filter] = [(spine.prediction_time, ">", QUARTER.before(end)), (spine.prediction_time, "<=", end)]
    labels = ws.tables.to_arrow(use_case.namespace.gold(LABELS), at_most=100_000, filters=within)
    values = labels.column(spine.label).to_numpy()
    return values.size, float(np.mean(values))


def rates() -> None:
    """Print the rates of each quarter's loans as of four ages, and how often the forecast at 18 months was right."""
    right = held = windows = 0
    with tempfile.TemporaryDirectory() as folder, open_workspace("local", root=folder) as ws:
        use_case = open_use_case(ws, "credit_risk", Path("use_cases"))
        Pipeline(ws, use_case, parse_as_of(END)).run(["ingest", "refine"])
        print(
            "loans of the   loans   life table   own vintage, risks stay     forecast at 18 months    came\n"
            "quarter to              at once     +12    +18    +24 months     (90% interval)           true"
        )
        for end in steps(parse_as_of(FIRST), parse_as_of(LAST), "quarter"):
            found = [said(ws, use_case, Duration(months=age).after(end), end) for age in AGES]
            rows, truth = came_true(ws, use_case, end)
            at18 = found[AGES.index(18)]
            near, inside = 1 / FACTOR <= at18.forecast / truth <= FACTOR, at18.low <= truth <= at18.high
            right, held, windows = right + near, held + inside, windows + 1
            now, *later = (f"{item.present:6.1%}" for item in found)
            marks = f"{'' if near else 'off '}{'' if inside else 'out'}"
            print(
                f"{end:%Y-%m-%d}   {rows:6d}     {now}   {' '.join(later)}           {at18.forecast:6.1%} "
                f"({at18.low:5.1%} to {at18.high:5.1%})  {truth:6.1%}  {marks}"
            )
    print(f"within a factor of {FACTOR}: {right} of {windows}; in the {LEVEL:.0%} interval: {held} of {windows}")


def alarms(home: Path) -> None:
    """Print the alarms of a simulated home, and what was recorded as of each step."""
    with open_workspace("local", root=home, read_only=True) as ws:
        namespace = open_use_case(ws, "credit_risk", Path("use_cases")).namespace
        print("\nas of        expected within 36 months (95%)   mean score   ratio     of the newest quarter's loans")
        records = PERFORMANCE_METRICS.read(ws, namespace, [("basis", "=", "immature")])
        newest = [item for item in records if item.model_version is None and item.slice is None]
        newest = [item for item in newest if item.window_end == item.as_of]
        for as_of in sorted({item.as_of for item in newest}):
            mine = {item.metric: item for item in newest if item.as_of == as_of}
            rate, mean = mine["expected_rate"], mine["mean_score"].value
            if rate.value is None or not mean:
                continue
            print(
                f"{as_of:%Y-%m-%d}   {rate.value:6.2%} ({rate.low or 0:.2%} to {rate.high or 0:.2%})"
                f"               {mean:6.2%}      {rate.value / mean:5.2f}"
            )
        for kind in ("immature_calibration", "immature_performance", "calibration", "performance"):
            rung = [f"{item.as_of:%Y-%m-%d} {item.event}" for item in ALERTS.read(ws, namespace) if item.kind == kind]
            told = [text for text in rung if not text.endswith("repeated")]
            print(f"{kind}: {', '.join(told) or 'never'}")


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="a home in which credit_risk was simulated")
    arguments = parser.parse_args()
    rates()
    if arguments.home:
        alarms(arguments.home)


if __name__ == "__main__":
    main()
