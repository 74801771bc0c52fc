"""The first sentence of a report, and the index of use cases: what they say of hand-made facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlplatform.reporting import index_page
from mlplatform.reporting.facts import Facts, StepFacts
from mlplatform.reporting.observations import DriftFacts, Performance, Realised
from mlplatform.reporting.outcomes import Outcomes
from mlplatform.reporting.report import render
from mlplatform.reporting.verdict import verdict
from mlplatform.statistics.baseline import GAIN
from tests.unit.reporting.test_reporting import EVIL, FIRST, NOW, SECOND, Page, decision, empty, full, stage

GOOD = {
    "roc_auc": Realised(0.71, 0.58, violated=False),
    "calibration_ratio": Realised(1.1, 1.5, violated=False),
    GAIN: Realised(0.2, 0.0, violated=False, low=0.1, high=0.3),
}


def judged(**changes: Realised) -> Facts:
    """Return facts of a champion with outcomes within all limits, but for those given."""
    performance = Performance(SECOND, FIRST, 500, 1.0, {**GOOD, **changes})
    drifted = (DriftFacts(SECOND, "amount", 0.05, 0.25, violated=False),)
    step = StepFacts(SECOND, performance=performance, drift=drifted)
    return replace(full(), steps=(step,), alerts=())


def test_a_champion_within_all_limits_may_be_used():
    said = verdict(judged())
    assert (said.answer, said.sentence[:25]) == ("yes", "Version 1 may be used: it")


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (empty(), "nothing has been run yet"),
        (replace(judged(), champions=()), "none has passed the gate"),
        (
            judged(roc_auc=Realised(0.55, 0.58, violated=True)),
            "roc_auc of what came true is 0.5500 at 2007-01-01, below",
        ),
        (judged(**{GAIN: Realised(-0.1, 0.0, violated=True)}), "surely worse than the trivial baseline"),
    ],
)
def test_without_a_model_that_holds_its_floor_the_answer_is_no(facts: Facts, says: str):
    said = verdict(facts)
    assert said.answer == "no"
    assert says in said.sentence


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"newest_run": (stage("score", status="failed"),)}, "the newest run failed in score"),
        ({"steps": (StepFacts(SECOND),)}, "no outcome of its predictions is known yet"),
    ],
)
def test_doubts_are_named(changes: dict[str, Any], says: str):
    said = verdict(replace(judged(), **changes))
    assert said.answer == "with care"
    assert says in said.sentence


def test_predictions_that_are_off_are_a_doubt_with_its_size():
    said = verdict(judged(calibration_ratio=Realised(3.58, 1.5, violated=True)))
    assert said.answer == "with care"
    assert "3.58 times what was predicted" in said.sentence


def test_of_several_classes_the_one_that_is_off_is_named():
    off = {"calibration_ratio[it's [c]]": Realised(1.9, 1.5, violated=True)}
    within = {"calibration_ratio[a]": Realised(0.1, None, violated=False)}
    without = {name: it for name, it in GOOD.items() if name != "calibration_ratio"}
    performance = Performance(SECOND, FIRST, 500, 1.0, {**without, **within, **off})
    said = verdict(replace(judged(), steps=(StepFacts(SECOND, performance=performance),)))
    assert said.answer == "with care"
    assert "it's [c] came 1.90 times as often as was predicted" in said.sentence


def test_what_could_not_be_judged_is_no_clean_bill():
    said = verdict(judged(roc_auc=Realised(0.7, 0.58, violated=False, unjudged="12 rows, 200 are needed")))
    assert said.answer == "with care"
    assert "12 rows, 200 are needed" in said.sentence


def test_the_report_begins_with_the_verdict():
    page = Page(render(full(), NOW))
    (first,) = [it for it in page.all("p") if str(it.get("class", "")).startswith("verdict")]
    assert first["class"] == "verdict is-no"
    assert verdict(full()).sentence in page.text


def test_the_index_links_each_report_and_says_what_is_next():
    failed = replace(judged(), use_case="late", newest_run=(stage("score", status="failed"),))
    entries = [index_page.entry(judged(), "loans.html"), index_page.entry(failed, "late.html")]
    page = Page(index_page.render(entries, env="dev", home="local", generated_at=NOW))
    assert page.attributes("href") == ["loans.html", "late.html"]
    assert "2 use cases. Of their models 1 may be used, 1 with care, 0 not" in page.text
    assert "mlplatform run late --as-of 2007-01-01" in page.text
    assert "366 days old" in page.text or "365 days old" in page.text


def test_a_challenger_that_waits_is_the_next_step():
    waiting = decision(outcome="pending", challenger=7)
    assert (
        index_page.next_step(replace(judged(), decisions=(waiting,))) == "version 7 waits for mlplatform promote loans"
    )


def test_the_trend_needs_two_values_and_stays_in_its_box():
    first = StepFacts(FIRST, performance=Performance(FIRST, FIRST, 10, 1.0, GOOD))
    facts = judged(roc_auc=Realised(0.6, 0.58, violated=False))
    entry = index_page.entry(replace(facts, steps=(first, *facts.steps)), "loans.html")
    points = [tuple(map(float, point.split(","))) for point in entry.trend.split()]
    assert len(points) == 2
    assert all(0 <= x <= 120 and 0 <= y <= 28 for x, y in points)
    assert index_page.entry(facts, "loans.html").trend == ""


def test_hostile_text_stays_text_in_the_index():
    facts = replace(judged(), owner=EVIL, description=EVIL, outcomes=Outcomes())
    page = Page(index_page.render([index_page.entry(facts, "a b.html")], env="dev", home="local", generated_at=NOW))
    assert not page.all("script")
    assert page.attributes("href") == ["a%20b.html"]
    assert "alert('1')" in page.text


def test_an_index_without_use_cases_says_how_to_begin():
    assert "new-use-case" in Page(index_page.render([], env="dev", home="local", generated_at=NOW)).text
