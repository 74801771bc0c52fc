"""Alerts: told once while they last, told when they are over, never closed by what could not be judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.errors import ConfigError
from mlplatform.monitoring.alerts import KINDS, Verdict, events, open_kinds
from mlplatform.monitoring.monitor import Monitor
from mlplatform.monitoring.retrain import decide
from mlplatform.ops.records import AlertRecord

START = parse_as_of("2024-01-01")
RUNBOOK = Path(__file__).resolve().parents[3] / "docs" / "runbook"


def moment(step: int) -> Any:
    return Duration.parse(f"{step} days").after(START)


def play(states: list[str], kind: str = "drift") -> list[AlertRecord]:
    """Let one kind go through states, a day each, and return what was told or noted."""
    alerts: list[AlertRecord] = []
    for step, state in enumerate(states):
        verdict = Verdict(kind, state, f"message {step}", 1)  # type: ignore[arg-type]
        opened = open_kinds(alerts, moment(step))
        alerts += events(
            [verdict],
            opened,
            {kind: "warning"},
            use_case="u",
            as_of=moment(step),
            runbook="r/",
            channels="log",
            raised_at=START,
        )
    return alerts


def test_raised_once_repeated_on_record_and_recovered():
    found = play(["ok", "violated", "violated", "unknown", "violated", "ok", "ok", "violated"])
    assert [alert.event for alert in found] == ["raised", "repeated", "repeated", "recovered", "raised"]
    assert found[0].runbook == "r/drift.md"
    assert "message 4" in found[3].message


def test_what_could_not_be_judged_closes_nothing():
    assert [alert.event for alert in play(["violated", "unknown", "unknown", "ok"])] == ["raised", "recovered"]


@given(st.lists(st.sampled_from(["ok", "violated", "unknown"]), max_size=30))
def test_raised_and_recovered_alternate(states: list[str]):
    told = [alert.event for alert in play(states) if alert.event != "repeated"]
    assert told == [("raised", "recovered")[place % 2] for place in range(len(told))]


def test_the_same_event_has_the_same_id_and_another_has_another():
    once, again = play(["violated", "violated", "ok", "violated"]), play(["violated", "violated", "ok", "violated"])
    assert [alert.alert_id for alert in once] == [alert.alert_id for alert in again]
    assert len({alert.alert_id for alert in once}) == 4


def test_a_run_again_sees_what_the_first_one_saw():
    (raised,) = play(["violated"])
    assert open_kinds([raised], START) == {}
    assert set(open_kinds([raised], moment(1))) == {"drift"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_page_in_the_runbook_and_a_severity(kind: str):
    page = (RUNBOOK / f"{kind}.md").read_text(encoding="utf-8")
    for part in ("## Symptom", "## Check", "## Mend", "## Escalate"):
        assert part in page
    assert Monitor(None).severity(kind) in ("warning", "critical")  # type: ignore[arg-type]


@pytest.mark.parametrize("secret", ["https://hooks.example.com/T0/B0", "alerts", "a/b/c", "/x"])
def test_a_url_in_place_of_a_secret_reference_is_refused_and_not_repeated(tmp_path: Path, secret: str):
    from mlplatform.config.settings import load_settings

    config = tmp_path / "config.yml"
    config.write_text(
        f"owner: x\nlabel: {{horizon: 1 day}}\ngate: {{floor: 0.5}}\n"
        f"monitoring: {{alerts: {{webhook: {{secret: '{secret}'}}}}}}\n"
    )
    with pytest.raises(ConfigError, match="is no secret reference") as caught:
        load_settings(config, "dev")
    assert "hooks.example.com" not in str(caught.value)


# k of n

LIMITS = MonitoringSettings(retrain_every="5 years", cooldown="1 day", violated_windows=2, of_windows=3)


def retrain(states: str, limits: MonitoringSettings = LIMITS, kind: str = "drift") -> bool:
    """Windows a day apart, `x` in violation; the decision is made at the last one."""
    windows = [(moment(step + 2), state == "x") for step, state in enumerate(states)]
    return decide(windows[-1][0], START, [], limits, windows={kind: windows}).due


@pytest.mark.parametrize(
    ("states", "due"),
    [("x", False), (".x", False), ("xx", True), ("x.x", True), ("xx.", False), ("x..x", False), (".xx", True),
     ("xx..", False)],
)  # fmt: skip
def test_two_of_the_last_three_and_the_newest_too(states: str, due: bool):
    assert retrain(states) is due


@given(st.text("x.", min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 3))
def test_k_of_n(states: str, k: int, more: int):
    limits = LIMITS.model_copy(update={"violated_windows": k, "of_windows": k + more})
    expected = states[-1] == "x" and states[-(k + more) :].count("x") >= k
    assert retrain(states, limits) is expected


def test_a_kind_that_is_not_to_retrain_does_not():
    assert not retrain("xxx", LIMITS.model_copy(update={"retrain_on": ("calibration",)}))
    assert not retrain("xxx", kind="window_shift")


def test_a_window_of_an_earlier_time_is_not_the_newest():
    windows = {"drift": [(moment(2), True), (moment(3), True)]}
    assert not decide(moment(4), START, [], LIMITS, windows=windows).due


def test_an_alarm_in_the_cool_down_says_until_when_it_is_held_back():
    windows = {"drift": [(moment(2), True), (moment(3), True)]}
    held = decide(moment(3), START, [], LIMITS.model_copy(update={"cooldown": "1 month"}), windows=windows)
    assert (held.due, held.held_until) == (False, parse_as_of("2024-02-01"))
    assert held.reasons[1].startswith("drift: 2 of the last 2 windows")


def test_a_champion_over_its_age_is_due():
    limits = LIMITS.model_copy(update={"max_model_age": "10 days"})
    assert not decide(moment(9), START, [], limits, champion_trained=START).due
    found = decide(moment(10), START, [], limits, champion_trained=START)
    assert (found.due, found.reasons[0][:4]) == (True, "age:")


def test_k_above_n_is_no_setting():
    with pytest.raises(ValueError, match="cannot be more than of_windows"):
        MonitoringSettings(violated_windows=4, of_windows=3)
