"""How fast models grow stale, as the report and the command line tell it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.monitoring.staleness import Staleness
from mlplatform.reporting import ageing
from mlplatform.reporting.facts import Facts
from mlplatform.reporting.report import render
from mlplatform.statistics.staleness import ScoredWindow, curve
from mlplatform.task import TASKS

NOW = parse_as_of("2026-11-23T04:05:06")
FACTS = Facts(
    use_case="loans",
    description="",
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


def staleness(seen: Sequence[ScoredWindow], *, limit: float = 0.025, **changes: Any) -> Staleness:
    found = curve(seen, greater_is_better=True, limit=limit, confidence=0.9, draws=100, seed=0)
    facts: dict[str, Any] = {
        "metric": "roc_auc",
        "greater_is_better": True,
        "every": "quarter",
        "as_of": parse_as_of("2012-01-01"),
        "champions": (1, 3),
        "windows": len({item.window for item in seen}),
        "rows": 1000,
        "waiting": 0,
        "without_label": 0,
        "left_out": (),
    }
    return Staleness(**{**facts, **changes}, curve=found)


def agreed(windows: int) -> list[ScoredWindow]:
    """A loss of 0.01 a quarter in each of so many windows."""
    return [
        ScoredWindow(number, age, 100, 0.7 - 0.01 * age, then=0.7 if age else None, loss_error=0.01)
        for number in range(windows)
        for age in range(5)
    ]


def test_a_recommendation_says_the_age_its_interval_and_what_it_rests_on():
    told = ageing.sentences(staleness(agreed(8), waiting=2, without_label=1, left_out=("version 2: it is gone",)))
    assert told == [
        (
            "Recommended: retrain at the latest every 9 months (90% interval 9 months to 9 months): from that age on "
            "models lose more than 0.025 roc_auc against the champion of then, surely from 9 months on."
        ),
        "8 windows with 1,000 labelled rows were scored, by versions 1, 3; labels as known by 2012-01-01.",
        "Of 2 later windows the labels were not known yet.",
        "1 window had no row with a label.",
        "Left out: version 2: it is gone",
    ]


def test_none_within_the_ages_seen_is_an_answer():
    (told, *_) = ageing.sentences(staleness(agreed(8), limit=0.05))
    assert told.startswith("Recommended retraining interval: none within the ages seen. Up to an age of 12 months")


def test_ages_that_are_judged_together_are_named():
    seen = [ScoredWindow(number, 4 + number, 100, 0.6, then=0.7) for number in range(6)]
    assert ageing.sentences(staleness(seen))[1:3] == [
        "No model younger than 12 months was compared: what is said begins there.",
        (
            "Ages of too few windows are judged together with their neighbours. 12 months to 27 months: loss 0.1000 "
            "(0.1000 to 0.1000) in 6 windows."
        ),
    ]


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (
            agreed(4),
            "too few windows: older models were compared with the champion of then in 4, and fewer than 5 tell",
        ),
        ([ScoredWindow(0, 0, 100, 0.7)], "no window was predicted by an older model beside a younger champion"),
        ([], "no window was predicted by an older model beside a younger champion"),
    ],
)
def test_too_little_to_tell_is_said(seen: list[ScoredWindow], says: str):
    (told, *_) = ageing.sentences(staleness(seen))
    assert told.startswith("Recommended retraining interval: not known")
    assert says in told


def test_the_table_has_a_row_for_each_age_and_says_over_what_an_interval_is():
    rows = ageing.rows(staleness(agreed(4)))
    assert [row[0] for row in rows] == ["0", "3 months", "6 months", "9 months", "12 months"]
    assert rows[0] == ("0", "4", "400", "0.7000", "0", *["\N{EN DASH}"] * 4)
    assert rows[1] == (
        "3 months",
        "4",
        "400",
        "0.6900",
        "4",
        "0.6900",
        "0.7000",
        "0.0100",
        "0.0018 to 0.0182 (rows only)",
    )
    assert "rows only" not in ageing.rows(staleness(agreed(8)))[1][-1]
    assert len(ageing.headings(staleness(agreed(4)))) == len(rows[0])


def test_the_report_has_a_section_of_it_only_where_it_was_measured():
    page, without = render(FACTS, NOW, staleness(agreed(8))), render(FACTS, NOW)
    assert "Recommended: retrain at the latest every 9 months" in page
    assert 'href="#staleness"' in page
    assert 'id="plot-staleness"' in page
    assert 'id="plot-staleness-loss"' in page
    assert "0.6900" in page
    assert "staleness" not in without


def test_its_plots_take_the_pages_colours_light_and_dark():
    metrics, losses = ageing.plots(staleness(agreed(8)))
    for drawn, colours in ((metrics, {"var(--blue)", "var(--orange)"}), (losses, {"var(--blue)", "var(--red)"})):
        root = ET.fromstring(drawn.svg)
        assert root.tag == "svg"
        assert colours <= set(re.findall(r"var\(--\w+\)", drawn.svg))
        assert not re.search(r"#0[0-9]0[0-9]0[0-9]", drawn.svg)
        # Beside each other where there is room, and below each other on a phone: neither is cut off.
        assert not drawn.wide
    assert "0.7000 at age 0, 0.6600 at age 12 months" in metrics.caption
    assert "accepted, 0.025." in losses.caption
    assert "The largest is 0.0400, at age 12 months." in losses.caption
    assert [plot.svg for plot in ageing.plots(staleness(agreed(8)))] == [metrics.svg, losses.svg]


def test_captions_speak_of_what_is_drawn():
    _, losses = ageing.plots(staleness(agreed(4)))
    assert "Blue" not in losses.caption
    assert "Blue" in ageing.plots(staleness(agreed(8)))[1].caption
    metrics, nothing = ageing.plots(staleness([ScoredWindow(0, 0, 100, 0.7)]))
    assert "Dashed" not in metrics.caption
    assert nothing.missing


def test_a_plot_of_nothing_says_what_is_missing():
    (drawn,) = ageing.plots(staleness([]))
    assert drawn.missing
    assert not drawn.svg


def test_plain_data_gives_ages_as_durations_too():
    plain = staleness(agreed(8)).to_dict()
    assert plain["recommended"]["age"] == 3
    assert plain["recommended"]["age_duration"] == "9 months"
    assert [at["duration"] for at in plain["ages"]][:2] == ["0", "3 months"]
    assert plain["ages"][1]["loss_interval"]["over"] == "windows"
    assert plain["champions"] == [1, 3]
