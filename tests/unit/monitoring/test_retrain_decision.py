"""When to retrain: by schedule, on alarm after a cool-down, and never twice at one time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.config.recalibration import RecalibrationSettings
from mlplatform.monitoring.retrain import Recalibrations, decide

LIMITS = MonitoringSettings(retrain_every="12 months", cooldown="6 months")
TRAINED = parse_as_of("2006-01-01")
ALARM = ["realised roc_auc 0.550 on 900 labels, limit 0.58"]


@pytest.mark.parametrize(
    ("as_of", "alarms", "due", "reason"),
    [
        ("2006-01-01", [], False, "trained at this time"),
        ("2006-01-01", ALARM, False, "trained at this time"),
        ("2006-06-30", [], False, "no alarm"),
        ("2006-06-30", ALARM, False, "cool-down: 6 months since the training at 2006-01-01"),
        ("2006-07-01", ALARM, True, ALARM[0]),
        ("2006-12-31", [], False, "no alarm"),
        ("2007-01-01", [], True, "schedule: 12 months since the training at 2006-01-01"),
        ("2007-01-01", ALARM, True, "schedule: 12 months since the training at 2006-01-01"),
        ("2010-01-01", [], True, "schedule"),
    ],
)
def test_what_is_due_when(as_of, alarms, due, reason):
    decision = decide(parse_as_of(as_of), TRAINED, alarms, LIMITS)
    assert decision.due is due
    assert decision.reasons[0].startswith(reason)


def test_without_a_trained_model_it_is_always_due():
    assert decide(TRAINED, None, [], LIMITS).due


def test_a_schedule_with_an_alarm_names_both_and_a_cool_down_keeps_the_alarm_on_record():
    assert ALARM[0] in decide(parse_as_of("2007-01-01"), TRAINED, ALARM, LIMITS).reasons
    assert ALARM[0] in decide(parse_as_of("2006-02-01"), TRAINED, ALARM, LIMITS).reasons


def test_the_last_day_of_a_month_is_a_month_later_on_the_last_day_of_a_shorter_one():
    limits = MonitoringSettings(retrain_every="1 month", cooldown="1 day")
    assert not decide(parse_as_of("2006-02-27"), parse_as_of("2006-01-31"), [], limits).due
    assert decide(parse_as_of("2006-02-28"), parse_as_of("2006-01-31"), [], limits).due


@given(st.integers(1, 2000), st.booleans())
def test_waiting_longer_never_makes_it_less_due_and_an_alarm_never_later(days, alarmed):
    alarms = ALARM if alarmed else []
    now = TRAINED + timedelta(days=days)
    decision = decide(now, TRAINED, alarms, LIMITS)
    if decision.due:
        assert decide(now + timedelta(days=1), TRAINED, alarms, LIMITS).due
        assert decide(now, TRAINED, ALARM, LIMITS).due
    assert decision.due == (Duration.parse("6 months" if alarmed else "12 months").after(TRAINED) <= now)
    assert decision.reasons


MOVING = RecalibrationSettings(when="on_alarm", cooldown="3 months")
OFF = {"calibration": [(parse_as_of("2006-09-01"), True)] * 3}


def cured(as_of, recalibrations, alarms=(), windows=OFF):
    moment = parse_as_of(as_of)
    return decide(
        moment,
        TRAINED,
        list(alarms),
        LIMITS,
        windows={kind: [(moment, violated) for _, violated in found] for kind, found in windows.items()},
        recalibrations=recalibrations,
    )


def test_an_alarm_of_calibration_alone_recalibrates_where_the_settings_say_so():
    assert cured("2006-09-01", Recalibrations(MOVING)).cure == "recalibrate"
    assert cured("2006-09-01", Recalibrations(MOVING)).due
    # Whatever the training's cool-down: a young model may be off as well.
    assert cured("2006-02-01", Recalibrations(MOVING)).due
    # By hand, and in settings that do not know of it, it trains as ever.
    assert cured("2006-09-01", Recalibrations(RecalibrationSettings())).cure == "train"
    assert cured("2006-09-01", None).cure == "train"
    # Anything else beside it asks for a training; so does the schedule.
    assert cured("2006-09-01", Recalibrations(MOVING), alarms=["performance: low"]).cure == "train"
    assert cured("2007-01-01", Recalibrations(MOVING)).cure == "train"


@pytest.mark.parametrize(
    ("as_of", "took", "due", "cure"),
    [
        ("2006-09-01", True, False, "recalibrate"),  # at the very time
        ("2006-09-01", False, False, "recalibrate"),
        ("2006-11-01", True, False, "recalibrate"),  # the cool-down holds it
        ("2006-11-01", False, True, "train"),  # it did not help
        ("2006-12-01", True, True, "recalibrate"),
        ("2006-12-01", False, True, "recalibrate"),
    ],
)
def test_after_a_recalibration(as_of, took, due, cure):
    decision = cured(as_of, Recalibrations(MOVING, parse_as_of("2006-09-01"), took))
    assert (decision.due, decision.cure) == (due, cure)
    assert decision.reasons
