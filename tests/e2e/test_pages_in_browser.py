"""Report, index and a decision's page in headless Chromium: quiet, drawn, accessible, inert, on paper and phone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from dateutil.relativedelta import relativedelta

from docs.tools import browser
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.checks.base import Evidence
from mlplatform.gate.decision import Decision
from mlplatform.reporting import evidence_page, index_page
from mlplatform.reporting.canaries import CanaryFacts, GainFacts
from mlplatform.reporting.decisions import ChampionFacts
from mlplatform.reporting.facts import Facts, FeatureWorth, RetrainFacts, StepFacts
from mlplatform.reporting.lineage import DecidedEdit, VersionLineage
from mlplatform.reporting.observations import DriftFacts, Performance, Realised, WindowFacts
from mlplatform.reporting.outcomes import Outcomes, ScoredStep, VersionRows
from mlplatform.reporting.report import render
from mlplatform.reporting.vintages import Interval, Vintage, Vintages
from mlplatform.training.importance import Importance
from tests.support.browsing import Media, Scheme, Visit, browser_or_skip, visited
from tests.support.crossed import crossed
from tests.unit.reporting.test_ageing import agreed, staleness
from tests.unit.reporting.test_reporting import EVIL, FIRST, NOW, alert, decision, empty, full, spoilt, stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# One process for the browser: its tests stay together.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
STEPS, COLUMNS = 25, 24
MOST_BYTES, MOST_SECONDS = 1_000_000, 5.0
PHONE, DESK = 400, 1280
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PAGES = ("report", "index", "decision", "empty", "hostile")
Show = Callable[..., Visit]


def quarter(number: int) -> datetime:
    return FIRST + relativedelta(months=3 * number)


def step(number: int) -> StepFacts:
    at = quarter(number)
    measured = {
        "roc_auc": Realised(0.7 - 0.004 * number, 0.58, violated=False),
        "label_mean": Realised(0.06 + 0.004 * number, None, violated=False),
        "prediction_mean": Realised(0.05, None, violated=False),
        "calibration_ratio": Realised(1.1 + 0.1 * number, 1.5, violated=number > 4),
    }
    drifted = (
        DriftFacts(
            at, f"column_{place}", 0.02 * place + 0.01 * number, 0.25, violated=0.02 * place + 0.01 * number > 0.25
        )
        for place in range(COLUMNS)
    )
    decided = decision(decision_id=f"d{number}", as_of=at, outcome="promoted", challenger=number, champion=number - 1)
    return StepFacts(
        at,
        ScoredStep(at, 3000 + number, 0.05, (max(1, number),), 3000, 0.06 + 0.004 * number),
        max(1, number),
        Performance(at, at - timedelta(days=365), 3000, 0.9, measured),
        tuple(sorted(drifted, key=lambda item: item.value or 0, reverse=True)),
        (decided,) if number else (),
        RetrainFacts(due=number % 4 == 0, reasons=("schedule: 12 months since the last training",)),
    )


def six_years() -> Facts:
    """Six years of quarters, with something in every part of the report."""
    steps = tuple(step(number) for number in range(STEPS))
    scored = tuple(item.scored for item in steps if item.scored)
    decisions = tuple(made for item in steps for made in item.decisions)
    champions = tuple(ChampionFacts(it.challenger, it.as_of, NOW, it.champion) for it in decisions)
    canary = CanaryFacts(
        3, 2, quarter(3), quarter(5), 0.1, "its gain is sure", quarter(5), 900, 800, 7000, (0.71, 0.7),
        GainFacts(0.01, 0.002, 0.02), (0.06, 0.061), GainFacts(-0.001, -0.01, 0.01),
    )  # fmt: skip
    windows = tuple(
        WindowFacts(quarter(number), quarter(number + 1), 3000, 0.8, 0.7, 0.69, 0.66, 0.72)
        for number in range(STEPS - 1)
    )
    rates = [0.01 * (age + 1) for age in range(36)]
    vintages = tuple(
        Vintage(quarter(number), quarter(number + 1), 3000, 36 - number, rates[: 36 - number], Interval(0.3, 0.2, 0.4))
        for number in range(16)
    )
    made = tuple(
        VersionLineage(
            version,
            quarter(version),
            "trained on 8,285 labelled rows",
            (("gold_spine", version), ("gold_labels", version), ("features_lender", version)),
            "e4ebf8a93487e3d0",
            VersionRows(version, 3000, quarter(version), quarter(version)),
        )
        for version in range(1, STEPS)
    )
    edit = DecidedEdit(
        "c1", NOW, quarter(9), "breaking", "ana@example.com", "smoothing was too weak",
        (("features_lender", "code: changed (breaking)", "v3 champion"),), (("features_lender", "features_lender__1"),),
        ("features_old",),
    )  # fmt: skip
    worth = tuple(Importance(f"column_{place}", 0.1 / (place + 1), -0.001, 0.2) for place in range(COLUMNS))
    return replace(
        full(features=FeatureWorth(3, worth), canaries=(canary,), windows=windows, lineage=made, edits=(edit,)),
        steps=steps,
        decisions=decisions,
        champions=champions,
        alerts=tuple(replace(alert("calibration", "critical", "off by 3.58"), as_of=item.as_of) for item in steps),
        newest_run=(stage("ingest"), stage("monitor", details={"notes": ["a file was mostly quarantined"]})),
        outcomes=Outcomes(scored, full().outcomes.deciles, 70_000),
        vintages=Vintages("36 months", 36, quarter(STEPS), vintages),
    )


def hostile() -> Facts:
    """Hostile text wherever a name or a message of somebody else's comes in."""
    column, gate = spoilt("column"), spoilt("gate")
    return replace(
        spoilt("about"),
        steps=column.steps,
        decisions=gate.decisions,
        features=FeatureWorth(1, (Importance(EVIL, 0.1, 0.05, 0.2),)),
        lineage=(VersionLineage(1, FIRST, EVIL, ((EVIL, 1),), EVIL),),
        edits=(DecidedEdit(EVIL, NOW, FIRST, EVIL, EVIL, EVIL, ((EVIL, EVIL, EVIL),), ((EVIL, EVIL),), (EVIL,)),),
    )


def judged_page() -> str:
    """The page about one decision, with its curves."""
    dice = np.random.default_rng(0)
    labels = (dice.random(600) < 0.3).astype(float)
    challenger, champion = (np.clip(0.2 + by * labels + 0.2 * dice.random(600), 0, 1) for by in (0.3, 0.1))
    evidence = Evidence(labels, challenger, champion, source={})
    checks = [*decision().checks]
    made = Decision("d1", "promoted", "surely better", 2, 1, FIRST, {"rows": 600, "tables": {"gold_labels": 3}}, checks)
    settings = UseCaseSettings.model_validate(
        {"owner": "loans@example.com", "label": {"horizon": "1 month"}, "gate": {"floor": 0.6}}
    )
    return evidence_page.render(made, evidence, settings, "dev.loans.model")[evidence_page.PAGE_FILE]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    entries = [index_page.entry(facts, "report.html") for facts in (six_years(), full(), empty())]
    pages = {
        "report": render(six_years(), NOW, staleness(agreed(8))),
        "index": index_page.render(entries, env="dev", home="local", generated_at=NOW),
        "decision": judged_page(),
        "empty": render(empty(), NOW),
        "hostile": render(hostile(), NOW),
    }
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    browser_or_skip()
    with browser.opened() as found:
        yield found


@pytest.fixture(scope="module")
def show(opened: Browser, files: dict[str, Path]) -> Iterator[Show]:
    """Show a page of `files` in a window of some width, on screen or paper; each is opened once, light and dark."""
    visits: dict[tuple[str, Scheme], Visit] = {}
    with ExitStack() as windows:

        def shown(name: str, scheme: Scheme = "light", *, width: int = DESK, media: Media = "screen") -> Visit:
            if (name, scheme) not in visits:
                visits[name, scheme] = windows.enter_context(visited(opened, files[name], scheme=scheme))
            page = visits[name, scheme].page
            page.emulate_media(media=media, color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            return visits[name, scheme]

        yield shown


in_each_scheme = pytest.mark.parametrize("scheme", SCHEMES)
each_page = pytest.mark.parametrize("name", PAGES)


@each_page
@in_each_scheme
def test_a_page_is_quiet_and_asks_nobody(show: Show, name: str, scheme: Scheme) -> None:
    visit = show(name, scheme)
    assert visit.said == []
    assert [address.partition("/pages")[0] for address in visit.asked] == [visit.page.url.partition("/pages")[0]]


@each_page
@pytest.mark.parametrize(("scheme", "width"), crossed(SCHEMES, [DESK, PHONE]))
def test_axe_finds_nothing(show: Show, name: str, scheme: Scheme, width: int) -> None:
    assert show(name, scheme, width=width).violations() == []


def test_axe_would_find_something(opened: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        render(empty(), NOW).replace("--muted: #56616c", "--muted: #c9ccd0").replace('lang="en"', ""), encoding="utf-8"
    )
    with visited(opened, page) as found:
        rules = {line.split(" ")[0] for line in found.violations()}
    assert {"color-contrast", "html-has-lang"} <= rules


@in_each_scheme
def test_charts_are_drawn(show: Show, scheme: Scheme) -> None:
    charts = show("report", scheme).charts()
    names = {chart["name"] for chart in charts}
    assert {f"plot-{name}" for name in ("scores", "performance", "calibration", "decisions", "drift", "flow")} <= names
    for chart in charts:
        assert chart["width"] > 300, chart
        assert chart["height"] > 100, chart
        assert 0.5 < chart["drawn"] <= 1.05, chart
        assert chart["texts"] >= 4, chart
        assert chart["colours"] >= 4, chart


def test_light_and_dark_differ_and_both_are_readable(show: Show) -> None:
    seen = {
        scheme: show("report", scheme).page.evaluate(
            """[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
                getComputedStyle(document.querySelector("#plot-scores svg text")).fill]"""
        )
        for scheme in SCHEMES
    }
    for light, dark in zip(seen["light"], seen["dark"], strict=True):
        assert light != dark
    assert luminance(seen["light"][0]) > luminance(seen["light"][1])
    assert luminance(seen["dark"][0]) < luminance(seen["dark"][1])


def luminance(colour: str) -> float:
    """Return how light `rgb(r, g, b)` is, from 0 to 255."""
    parts = [float(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@in_each_scheme
def test_a_category_that_is_called_like_a_script_is_text(show: Show, scheme: Scheme) -> None:
    visit = show("hostile", scheme)
    page = visit.page
    assert page.evaluate("document.querySelectorAll('script, b[onmouseover], style:not(head style)').length") == 0
    assert "<script>alert('1')</script>" in page.inner_text("body")
    # It stands in the drift plot as well, as a label of its axis.
    assert "<script>" in "".join(page.locator("#plot-drift svg text").all_text_contents())
    page.mouse.move(200, 400)
    page.keyboard.press("Tab")
    assert visit.said == []


@each_page
@in_each_scheme
def test_a_phone_needs_no_sideways_scrolling(show: Show, name: str, scheme: Scheme) -> None:
    assert show(name, scheme, width=PHONE).too_wide() == []


def test_a_page_that_is_too_wide_would_be_noticed(opened: Browser, tmp_path: Path) -> None:
    page = tmp_path / "wide.html"
    page.write_text(render(empty(), NOW).replace("<main>", '<main><p style="width: 500px">x</p>'), encoding="utf-8")
    with visited(opened, page, width=PHONE) as found:
        assert "the page is" in found.too_wide()[0]


@in_each_scheme
def test_on_paper_it_is_light_whole_and_nothing_is_cut(show: Show, scheme: Scheme) -> None:
    visit = show("report", scheme, width=700, media="print")
    page = visit.page
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert luminance(ink) < 100, "dark on white, whatever the reader likes on a screen"
    assert not page.locator("nav").is_visible()
    frames = "[...document.querySelectorAll('.scroll')]"
    cut = page.evaluate(f"{frames}.filter(it => getComputedStyle(it).overflowX !== 'visible').length")
    assert cut == 0
    assert visit.too_wide() == []
    # What is folded on a screen cannot be opened on paper.
    folded = "[...document.querySelectorAll('details:not([open]) table')]"
    assert page.evaluate(f"{folded}.length") > 5
    hidden = page.evaluate(f"{folded}.filter(it => !it.checkVisibility()).length")
    assert hidden == 0
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert 3 <= paper.count(b"/Type /Page\n") <= 60


def test_six_years_of_quarters_are_light_and_quickly_made(files: dict[str, Path]) -> None:
    assert files["report"].stat().st_size < MOST_BYTES
    # Of the processor: how long one waits for it depends on who else uses the machine.
    before = time.process_time()
    render(six_years(), NOW, staleness(agreed(8)))
    assert time.process_time() - before < MOST_SECONDS
