"""Vintages in the report of the tiny use case with dated events: what is drawn, and the same in numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.naming import Namespace
from mlplatform.pipeline import Pipeline
from mlplatform.reporting import plots_vintages
from mlplatform.reporting.report import write_report
from mlplatform.reporting.vintages import Vintages, read_vintages
from tests.support.tiny_dated import DatedTiny
from tests.support.tiny_runs import open_tiny
from tests.support.tiny_use_case import NAME, TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from mlplatform.use_case import UseCase
    from mlplatform.workspace.local.workspace import LocalWorkspace

NS = Namespace("dev", NAME)
AS_OF = "2020-09-01"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    settings = {"monitoring": {"performance_window": "1 month", "min_rows": 50}}
    return write_tiny_use_case(tmp_path_factory.mktemp("vintages"), gate={"margin": 0.2}, **settings)


@pytest.fixture(scope="module")
def use_case(ws: LocalWorkspace, tiny: TinyFolder) -> UseCase:
    opened = DatedTiny.open(NAME, tiny.folder, ws)
    Pipeline(ws, opened, parse_as_of(AS_OF)).run(["ingest", "refine"])
    return opened


def found_at(ws: LocalWorkspace, use_case: UseCase, as_of: str) -> Vintages:
    found = read_vintages(ws, NS, use_case.label_spine(), parse_as_of(as_of))
    assert found is not None
    return found


def test_a_vintage_is_a_window_of_predictions_and_its_rates_grow_with_age(ws, use_case):
    found = found_at(ws, use_case, AS_OF)
    assert [f"{vintage.end:%Y-%m-%d}" for vintage in found.vintages] == [
        "2020-04-01", "2020-05-01", "2020-06-01", "2020-07-01", "2020-08-01", "2020-09-01",
    ]  # fmt: skip
    ages = [vintage.age for vintage in found.vintages]
    assert ages == sorted(ages, reverse=True)
    assert ages[0] == found.steps == 36
    for vintage in found.vintages:
        assert len(vintage.rates) == vintage.age
        assert list(vintage.rates) == sorted(vintage.rates)
    labels = ws.tables.to_arrow(NS.gold("labels"), at_most=10**5).to_pandas()
    mature = found.vintages[1]
    inside = (labels["signed_up_at"] > mature.start) & (labels["signed_up_at"] <= mature.end)
    assert mature.rates[-1] == pytest.approx(labels.loc[inside, "cancelled"].mean())


def test_what_is_not_mature_has_an_expected_rate_and_a_forecast_that_begins_where_it_is(ws, use_case):
    found = found_at(ws, use_case, AS_OF)
    waiting = [vintage for vintage in found.vintages if vintage.age < found.steps]
    assert len(waiting) == 3
    for vintage in waiting:
        assert vintage.expected.low < vintage.expected.value < vintage.expected.high
        assert vintage.forecast.low <= vintage.forecast.value <= vintage.forecast.high
        if vintage.age:
            assert vintage.fan.median[vintage.age - 1] >= vintage.rates[-1] - 1e-9
        assert (
            vintage.fan.outer[0][-1] <= vintage.fan.inner[0][-1] <= vintage.fan.inner[1][-1] <= vintage.fan.outer[1][-1]
        )
    assert all(vintage.expected is None for vintage in found.vintages if vintage.age == found.steps)


def test_as_of_a_time_no_later_event_shows(ws, use_case):
    then = found_at(ws, use_case, "2020-07-01")
    assert f"{then.until:%Y-%m-%d}" == "2020-07-01"
    assert f"{then.vintages[-1].end:%Y-%m-%d}" == "2020-07-01"
    assert then.vintages[-1].age < then.steps


def test_the_report_shows_curves_and_fan_with_titles_and_a_table(ws, use_case, tiny, tmp_path):
    page = write_report(ws, NS, use_case.label_spine(), use_case.settings, tmp_path).read_text(encoding="utf-8")
    for name, title in (("vintages", "Rate of the event by age"), ("fan", "Forecast of vintages")):
        figure = re.search(rf'<figure id="plot-{name}".*?</figure>', page, re.DOTALL)[0]
        assert f"<h3>{title}" in figure
        assert re.search(rf'<svg[^>]*aria-label="{title}[^"]{{20,}}"', figure)
        assert "<figcaption>" in figure
    table = page[page.index("Vintages, in numbers") :]
    assert table.count('<th role="rowheader" scope="row" class="date">2020-') >= 6
    assert "gold_events" in page
    assert "not yet known" in table


def test_a_use_case_without_dates_has_no_such_section(ws, use_case, tiny, tmp_path):
    plain = open_tiny(ws, tiny.folder)
    assert read_vintages(ws, NS, plain.label_spine(), parse_as_of(AS_OF)) is None
    page = write_report(ws, NS, plain.label_spine(), plain.settings, tmp_path).read_text(encoding="utf-8")
    assert "plot-vintages" not in page


def test_where_nothing_can_be_drawn_the_report_says_why(ws, use_case):
    early = found_at(ws, use_case, "2020-01-15")
    curves, fan = plots_vintages.section(early).plots
    assert (curves.missing, fan.missing) == ("No event of any row is known yet.",) * 2
    mature = found_at(ws, use_case, AS_OF)
    old = Vintages(mature.horizon, mature.steps, mature.until, mature.vintages[:3])
    assert "nothing is left to forecast" in plots_vintages.section(old).plots[1].missing
