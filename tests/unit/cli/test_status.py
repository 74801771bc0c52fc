"""`mlplatform status`: a word for each use case, a table that a glance takes in, and the details of one."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from mlplatform.cli import output, status

WIDE = "realised calibration_ratio of version 4: 6.698 on 3694 labels, limit 1.5"


def fact(**changes: Any) -> dict[str, Any]:
    base = {
        "use_case": "loans", "champion": 11, "champion_since": "2012-01-01T00:00:00+00:00", "recalibrated_from": None,
        "canary": None, "as_of": "2012-01-01T00:00:00+00:00", "stages": {"score": "skipped", "ingest": "done"},
        "failed": [], "alerts": "", "collected": {}, "notes": [], "mostly_quarantined": [],
        "monitoring": {
            "as_of": "2012-01-01T00:00:00+00:00", "judged": ["calibration"],
            "not_judged": {"drift": "no rows", "window_shift": "no rows"}, "unjudged_windows": 1,
        },
    }  # fmt: skip
    return {**base, **changes}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "well"),
        ({"as_of": None, "champion": None, "monitoring": None}, "never run"),
        ({"failed": ["it broke"], "alerts": "critical: x", "champion": None}, "failed"),
        ({"champion": None, "alerts": "warning: x"}, "no champion"),
        ({"alerts": "critical: x\nwarning: y"}, "critical"),
        ({"alerts": "warning: critical: is only a word here"}, "warning"),
        ({"monitoring": {"unjudged_windows": 2, "judged": ["calibration"]}}, "not judged"),
        ({"monitoring": {"unjudged_windows": 0, "judged": []}}, "not judged"),
        ({"mostly_quarantined": ["quarantine_loans"]}, "warning"),
        ({"monitoring": None}, "well"),
    ],
)
def test_the_state_is_the_gravest_that_is_true(changes: dict[str, Any], state: str) -> None:
    assert status._state(fact(**changes)) == state
    assert state in status._STYLES


def test_alerts_and_checks_are_counted_in_the_table_and_told_below() -> None:
    told = fact(alerts=f"critical: {WIDE}\ncritical: {WIDE}\nwarning: {WIDE}")
    assert status._counted(told["alerts"].splitlines()) == "2 critical, 1 warning"
    assert status._counted([]) == "none"
    assert status._judged(told["monitoring"]) == "1 judged, 2 not"
    lines = list(status._details(told))
    assert lines[0] == "Alerts at 2012-01-01:"
    assert lines.count(f"  critical: {WIDE}") == 2
    assert "  not judged: drift, window_shift: no rows" in lines


def test_a_cell_may_be_coloured_and_is_plain_where_no_terminal_is() -> None:
    shown = output.table("Use cases", ("use case", "state"), [("loans", Text("critical", style="bold red"))])
    plain, coloured = io.StringIO(), io.StringIO()
    Console(file=plain, width=60).print(shown)
    Console(file=coloured, width=60, force_terminal=True, color_system="standard").print(shown)
    assert "│ loans    │ critical │" in plain.getvalue()
    assert "\x1b[1;31mcritical" in coloured.getvalue()
