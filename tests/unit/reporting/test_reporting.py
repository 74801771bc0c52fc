"""The report's page and plots, from hand-made facts: what it says, what it refuses to say, and that text stays text."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.gate.checks.base import CheckResult
from mlplatform.ops.records import AlertRecord, StageRecord
from mlplatform.reporting import plots, plots_detail, plots_pipeline, summary
from mlplatform.reporting.decisions import ChampionFacts, DecisionFacts, Gain
from mlplatform.reporting.facts import Facts, FeatureWorth, RetrainFacts, StepFacts
from mlplatform.reporting.observations import (
    DriftFacts,
    Flow,
    Performance,
    Realised,
    Timing,
)
from mlplatform.reporting.outcomes import Decile, Outcomes, ScoredStep
from mlplatform.reporting.report import render
from mlplatform.task import TASKS
from mlplatform.training.importance import Importance
from tests.support import pictures
from tests.support.crossed import every

NOW = parse_as_of("2026-11-23T04:05:06")
FIRST, SECOND, THIRD = (parse_as_of(text) for text in ("2006-01-01", "2007-01-01", "2008-01-01"))
EVIL = "<script>alert('1')</script>\"&$x^2$<b onmouseover=alert(1)>\x07{{ 7*7 }}]]>--><style>*{display:none}</style>"
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
ALL_PLOTS = (
    plots.scores,
    plots.performance,
    plots_detail.drift,
    plots_detail.calibration,
    plots_detail.decisions,
    plots_pipeline.flow,
    plots_pipeline.durations,
)


class Page(HTMLParser):
    """Reads a page, and refuses one whose elements do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.source = page
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"attribute twice on <{tag}>: {names}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(name)) is not None]


def empty(**changes: Any) -> Facts:
    base = Facts(
        use_case="loans",
        description="Will it be repaid?",
        owner="loans@example.com",
        env="dev",
        home="local",
        catalog="dev",
        task=TASKS["classification"],
        metric="roc_auc",
        greater_is_better=True,
        floor=0.58,
        gate_floor=0.6,
        margin=0.0,
        max_psi=0.25,
        platform_version="0.1.0",
    )
    return replace(base, **changes)


def decision(**changes: Any) -> DecisionFacts:
    base = DecisionFacts(
        decision_id="d2",
        as_of=SECOND,
        recorded_at=NOW,
        outcome="rejected",
        reason="not sure enough",
        challenger=2,
        champion=1,
        rows=5150,
        gain=Gain(0.021, -0.0004, 0.0415, 0.9),
        checks=(
            CheckResult("floor", "pass", "roc_auc 0.6753", 0.6753, 0.58),
            CheckResult("beats_champion", "fail", "gain +0.0210", -0.0004, -0.0),
            CheckResult("calibration", "skipped", "no limit is set"),
        ),
    )
    return replace(base, **changes)


def alert(kind: str, severity: str, message: str) -> AlertRecord:
    return AlertRecord(
        alert_id="a1",
        use_case="loans",
        as_of=SECOND,
        kind=kind,
        event="raised",
        severity=severity,
        message=message,
        model_version=1,
        runbook="",
        channels="log",
        raised_at=NOW,
    )


def stage(name: str, **changes: Any) -> StageRecord:
    base = StageRecord(
        run_id="r1",
        use_case="loans",
        stage=name,
        as_of=SECOND,
        status="done",
        started_at=NOW,
        seconds=1.25,
        rows_in=10,
        rows_out=9,
        rows_quarantined=1,
        platform_version="0.1.0",
    )
    return replace(base, **changes)


def full(**changes: Any) -> Facts:
    scored = (ScoredStep(FIRST, 3019, 0.0174, (1,), 3019, 0.0623), ScoredStep(SECOND, 500, 0.02, (1,), 20, 0.05))
    measured = Performance(
        SECOND,
        FIRST,
        3039,
        0.86,
        {
            "roc_auc": Realised(0.5512, 0.58, violated=True),
            "label_mean": Realised(0.0623, None, violated=False),
            "prediction_mean": Realised(0.0174, None, violated=False),
            "calibration_ratio": Realised(3.58, 1.5, violated=True),
        },
    )
    drifted = (DriftFacts(SECOND, "state", 1.75, 0.25, violated=True), DriftFacts(SECOND, "amount", 0.05, 0.25, False))
    first = decision(decision_id="d1", as_of=FIRST, outcome="promoted", champion=None, challenger=1, gain=None)
    steps = (
        StepFacts(
            FIRST, scored[0], 1, decisions=(first,), retrain=RetrainFacts(due=False, reasons=("trained at this time",))
        ),
        StepFacts(
            SECOND, scored[1], 1, measured, drifted, (decision(),), RetrainFacts(due=True, reasons=("schedule",))
        ),
    )
    bins = (Decile(300, 0.0, 0.01, 0.005, 0.01, 0.004, 0.03), Decile(300, 0.01, 0.5, 0.08, 0.2, 0.16, 0.25))
    return empty(
        steps=steps,
        decisions=(first, decision()),
        champions=(ChampionFacts(1, FIRST, NOW, None),),
        alerts=(alert("calibration", "critical", "off by 3.58"),),
        newest_run=(stage("ingest"), stage("score", seconds=75.0, rows_quarantined=None)),
        flows=(Flow("ingest", 100, 90, 10, False), Flow("features", None, 50, None, False)),
        timings=(Timing("ingest", (1.0, 2.0)), Timing("train", (95.0,))),
        outcomes=Outcomes(scored, bins, 3039),
        ran_with=("0.1.0",),
        **changes,
    )


@functools.cache
def full_page() -> Page:
    return Page(render(full(), NOW))


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave pictures out of the pages of a test that looks at their words."""
    full_page()  # the one that is kept has them
    pictures.leave_out(monkeypatch)


def test_a_full_page_is_well_formed_and_says_the_facts():
    page = full_page()
    for fact in ("loans", "loans@example.com", "version 1 since 2006-01-01", "2006-01-01 to 2007-01-01, 2 steps"):
        assert fact in page.text
    for fact in ("3,019", "1.74%", "6.23%", "0.5512", "state 1.75", "rejected", "not sure enough", "1 min 15 s"):
        assert fact in page.text
    assert len(page.all("svg")) == len(ALL_PLOTS)


def test_a_page_loads_nothing():
    page = full_page()
    text = page.source
    assert not re.search(r"https?://|@import|src=|url\((?!#)", text)
    assert not [tag for tag, _ in page.elements if tag in ("script", "link", "img", "iframe", "object", "base")]
    assert all(target.startswith("#") for target in page.attributes("href"))
    policy = next(meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'")


def test_ids_are_unique_and_every_reference_leads_somewhere():
    page = full_page()
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    wanted = [value[1:] for value in page.attributes("href")] + page.attributes("aria-labelledby")
    wanted += [found for value in page.attributes("clip-path") for found in re.findall(r"url\(#(.+)\)", value)]
    assert set(wanted) <= set(ids)


def test_readers_who_cannot_see_it_are_told():
    page = full_page()
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table")) > 0
    assert len(page.all("h1")) == 1
    assert page.all("html")[0]["lang"] == "en"


def spoilt(what: str) -> Facts:
    """Return the full facts with hostile text in one of its places."""
    facts = full()
    first, second = facts.steps
    if what == "about":
        alerts = (alert(EVIL, EVIL, EVIL),)
        return replace(facts, owner=EVIL, description=EVIL, alerts=alerts)
    if what == "column":
        bad = (DriftFacts(SECOND, EVIL, None, 0.25, violated=True),)
        return replace(facts, steps=(first, replace(second, drift=bad)))
    if what == "gate":
        checks = (CheckResult(EVIL, EVIL, EVIL, 1.0, 2.0),)
        worse = decision(reason=EVIL, outcome=EVIL, checks=checks, decision_id=EVIL)
        return replace(facts, decisions=(worse,), steps=(replace(first, decisions=(worse,)), second))
    if what == "stage":
        failed = stage(EVIL, status="failed", message=EVIL, run_id=EVIL)
        return replace(
            facts,
            newest_run=(failed,),
            flows=(Flow(EVIL, 1, 1, 1, newest_only=True),),
            timings=(Timing(EVIL, (1.0,)),),
            steps=(replace(first, failures=(failed,)), second),
        )
    assert second.performance is not None
    measured = replace(second.performance, metrics={EVIL: Realised(0.5, None, violated=False)})
    return replace(facts, metric=EVIL, steps=(first, replace(second, performance=measured)))


@pytest.mark.parametrize("what", ["about", "column", "gate", "stage", "metric"])
def test_text_never_becomes_markup(what: str):
    before, after = full_page(), Page(render(spoilt(what), NOW))
    assert {tag for tag, _ in after.elements} <= {tag for tag, _ in before.elements} | {"p"}
    assert len(after.all("style")) == len(before.all("style"))
    assert not [name for _, attributes in after.elements for name in attributes if name.startswith("on")]
    assert "alert('1')" in after.text
    assert "{{ 7*7 }}" in after.text
    assert "\x07" not in after.text


def test_nothing_run_yet_says_so_everywhere():
    page = Page(render(empty(), NOW))
    assert "Nothing has been run for loans in dev yet" in page.text
    assert "none yet" in page.text
    assert not page.all("svg")
    assert not page.all("table")


@pytest.mark.parametrize("plot", ALL_PLOTS)
def test_a_plot_without_facts_says_what_is_missing(plot: Any):
    drawn = plot(empty())
    assert drawn.missing
    assert not drawn.svg


@pytest.mark.parametrize("plot", ALL_PLOTS)
def test_a_plot_is_xml_with_the_pages_colours_and_its_text_as_text(plot: Any):
    drawn = plot(full())
    root = ET.fromstring(drawn.svg)
    assert root.tag == "svg"
    assert "var(--ink)" in drawn.svg or "var(--muted)" in drawn.svg
    assert not re.search(r"#0[0-9]0[0-9]0[0-9]", drawn.svg)
    assert list(root.iter("text"))
    assert drawn.svg == plot(full()).svg


def test_scored_rows_without_labels_are_plotted_and_the_rest_is_said_to_be_missing():
    scored = (ScoredStep(FIRST, 10, 0.2, (1,)),)
    facts = empty(steps=(StepFacts(FIRST, scored[0], 1),), outcomes=Outcomes(scored))
    page = Page(render(facts, NOW))
    assert "no label of theirs is known yet" in page.text
    assert "not yet known" in page.text
    assert "None" not in page.text
    assert plots.scores(facts).svg
    assert plots.performance(facts).missing
    assert plots_detail.calibration(facts).missing


@pytest.mark.usefixtures("painted")
def test_a_regression_has_means_and_no_reliability_curve():
    measured = Performance(
        FIRST, FIRST - timedelta(days=365), 10, 1.0,
        {
            "mae": Realised(4.2, 5.0, violated=False),
            "label_mean": Realised(31.5, None, violated=False),
            "prediction_mean": Realised(30.25, None, violated=False),
        },
    )  # fmt: skip
    scored = (ScoredStep(FIRST, 10, 30.25, (1,), 10, 31.5),)
    facts = empty(
        task=TASKS["regression"],
        metric="mae",
        greater_is_better=False,
        floor=5.0,
        steps=(StepFacts(FIRST, scored[0], 1, measured),),
        outcomes=Outcomes(scored, (), 10),
    )
    page = Page(render(facts, NOW))
    assert "Mean prediction" in page.text
    assert "Observed mean" in page.text
    assert "Observed rate" not in page.text
    assert "30.25" in page.text
    assert "%" not in " ".join(summary.sentences(facts)[:1])
    assert "this is a regression" in plots_detail.calibration(facts).missing
    assert "below the limit of 5" in " ".join(summary.sentences(facts))


@pytest.mark.usefixtures("painted")
def test_many_steps_and_columns_are_cut_and_it_is_said():
    days = [FIRST + timedelta(days=number) for number in range(150)]
    steps = tuple(
        StepFacts(day, drift=tuple(DriftFacts(day, f"c{column}", 0.1, 0.25, False) for column in range(40)))
        for day in days
    )
    page = Page(render(empty(steps=steps), NOW))
    assert "The newest 120 of 150 are shown" in page.text
    assert "The 30 columns with the largest drift of 40 are drawn" in page.text


FEW = "4,706 rows, needs 5,000"


def unjudged() -> Facts:
    facts = full()
    drifted = tuple(replace(item, violated=False, limit=None, unjudged=FEW) for item in facts.steps[1].drift)
    measured = facts.steps[1].performance
    assert measured is not None
    few = {
        name: replace(item, violated=False, limit=None, unjudged="40 rows, needs 100")
        for name, item in measured.metrics.items()
        if name in ("roc_auc", "calibration_ratio")
    }
    measured = replace(measured, metrics={**measured.metrics, **few})
    return replace(facts, steps=(facts.steps[0], replace(facts.steps[1], drift=drifted, performance=measured)))


@pytest.mark.usefixtures("painted")
def test_what_was_not_judged_is_neither_green_nor_red_and_says_why():
    states = {tile.label: (tile.value, tile.note, tile.state) for tile in summary.tiles(unjudged())}
    assert states["Columns drifted"] == ("not judged", f"{FEW}, at 2007-01-01", "unjudged")
    assert states["Realised roc_auc"][2] == states["Observed / predicted"][2] == "unjudged"
    page = Page(render(unjudged(), NOW))
    assert page.attributes("class").count("tile unjudged") == 3
    assert "Not judged: measured on too few rows" in page.text, "the legend"
    assert f"was not judged: {FEW}. Its largest drift, which may be chance, is in state (index 1.750)" in page.text
    assert f"not judged ({FEW})" in page.text, "the timeline"
    assert "Not judged: measured on too few rows" not in full_page().text


def test_a_map_of_windows_that_were_not_judged_has_a_look_of_its_own_and_a_legend():
    plot = plots_detail.drift(unjudged())
    assert "Not judged: too few rows" in plot.svg
    assert "stroke-dasharray" in plot.svg
    assert "var(--blue)" not in plot.svg, "no colour says how well it is"
    assert "var(--heat)" not in plot.svg
    assert "1 of 1 window not judged" in plot.caption
    assert f"the window was not judged ({FEW})" in plot.caption
    assert "Not judged" not in plots_detail.drift(full()).svg


def test_windows_that_are_never_judged_are_counted():
    facts = unjudged()
    earlier = replace(facts.steps[1], as_of=FIRST)
    facts = replace(facts, steps=(earlier, facts.steps[1]))
    assert facts.unjudged_windows == 2
    assert "None of the newest 2 windows was judged" in " ".join(summary.sentences(facts))
    assert full().unjudged_windows == 0


def beside(**changes: Any) -> Facts:
    facts = full()
    measured = facts.steps[1].performance
    assert measured is not None
    gain = Realised(0.05, 0.0, violated=False, low=0.01, high=0.09)
    metrics = {**measured.metrics, "baseline_roc_auc": Realised(0.5, None, violated=False)}
    metrics["gain_over_baseline"] = replace(gain, **changes)
    measured = replace(measured, metrics=metrics)
    return replace(facts, steps=(facts.steps[0], replace(facts.steps[1], performance=measured)))


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "good"),
        ({"low": -0.01}, "watch"),
        ({"value": -0.05, "low": -0.09, "high": -0.01, "violated": True}, "bad"),
        ({"limit": None, "unjudged": "7 events, needs 20"}, "unjudged"),
    ],
)
def test_the_trivial_baseline_has_a_tile_a_line_and_a_sentence(changes: dict[str, Any], state: str):
    facts = beside(**changes)
    (tile,) = (tile for tile in summary.tiles(facts) if tile.label == "Gain over the trivial baseline")
    assert tile.state == state
    assert "Trivial baseline" in plots.performance(facts).svg
    assert "the trivial baseline, which knows the training labels only, has 0.5" in " ".join(summary.sentences(facts))
    assert ("surely worse" in " ".join(summary.sentences(facts))) == (state == "bad")


def test_the_summary_tells_when_the_newest_run_failed():
    failed = stage("train", status="failed", message="LabelError: too few labels")
    facts = replace(full(), newest_run=(stage("ingest"), failed))
    assert "The newest run failed in train: LabelError: too few labels" in summary.sentences(facts)
    assert ("Newest run", "failed in train", "bad") in [(t.label, t.value, t.state) for t in summary.tiles(facts)]


def test_a_champion_that_was_promoted_after_the_last_scoring_is_said_not_to_have_scored():
    facts = replace(full(), champions=(ChampionFacts(1, FIRST, NOW, None), ChampionFacts(3, SECOND, NOW, 1)))
    assert "Version 3 is champion since 2007-01-01, in place of version 1. It has not scored any row yet." in (
        summary.sentences(facts)
    )


def test_values_that_are_not_finite_are_named_and_not_drawn_as_numbers():
    scored = (ScoredStep(FIRST, 10, float("nan"), (1,)),)
    page = Page(render(empty(steps=(StepFacts(FIRST, scored[0], 1),), outcomes=Outcomes(scored)), NOW))
    assert "not finite" in page.text


@pytest.mark.usefixtures("painted")
@pytest.mark.parametrize(
    ("known", "says"), [(None, "5,150 labelled rows"), (5150, "5,150 labelled rows"), (52000, "a sample of 52,000")]
)
def test_a_decision_says_when_its_rows_are_a_sample(known: int | None, says: str):
    page = render(empty(decisions=(decision(known_rows=known),)), NOW)
    assert says in page
    assert ("a sample of" in page) == (known == 52000)


@pytest.mark.parametrize(
    "far", every(2, ["9999-12-31T23:59:59.999999", "9999-12-31", "2262-04-12", "1677-01-01", "0001-01-01"])
)
def test_a_time_at_an_end_of_the_calendar_costs_no_report(far: str):
    """As a version that took any `--as-of` left it on record."""
    moment = parse_as_of(far)
    scored = ScoredStep(moment, 3019, 0.0174, (1,), 3019, 0.0623)
    facts = full()
    step = replace(facts.steps[0], as_of=moment, scored=scored)
    steps = tuple(sorted((*facts.steps, step), key=lambda item: item.as_of))
    champions = (*facts.champions, ChampionFacts(2, moment, NOW, 1))
    outcomes = replace(facts.outcomes, scored=(scored, *facts.outcomes.scored))
    for told in (
        replace(facts, steps=steps, champions=champions, outcomes=outcomes),
        empty(steps=(step,), outcomes=Outcomes((scored,)), decisions=(decision(as_of=moment),)),
    ):
        page = Page(render(told, NOW))
        assert f"{moment:%Y-%m-%d}" in page.text
        assert page.all("svg")


def test_importing_the_report_loads_no_plotting_library():
    code = (
        "import sys, mlplatform.reporting.report\n"
        "heavy = ('matplotlib', 'pandas', 'jinja2', 'mlflow', 'pyspark', 'sklearn')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("painted")
def test_what_features_are_worth_is_told_with_those_that_are_no_better_than_noise():
    features = FeatureWorth(
        3, (Importance("amount", 0.08, 0.05, 0.1), Importance("<b>colour</b>", 0.001, -0.002, 0.004))
    )
    page = Page(render(full(features=features), NOW))
    assert "What each feature is worth to version 3: how much worse its roc_auc is" in page.text
    assert "No better than noise: <b>colour</b>." in page.text
    assert features.noise == ("<b>colour</b>",)
    assert re.search(r"0\.050* to 0\.10*\b", page.text)
    many = FeatureWorth(3, tuple(Importance(f"x{number}", 0.1, 0.05, 0.2) for number in range(50)))
    text = Page(render(full(features=many), NOW)).text
    assert "The 40 most important features of 50 are shown" in text
    assert "No better than noise" not in text
    assert "What each feature is worth" not in full_page().text
