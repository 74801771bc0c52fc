"""Where the time went: what a function's time counts for, and what is shown of it."""

from __future__ import annotations

import time

import pytest

from mlplatform.cli import profiling
from mlplatform.cli.profiling import Profile, kind_of

PACKAGES = "/home/me/duckdb-things/.venv/lib/python3.12/site-packages/"
STAGE = ("/x/platform/mlplatform/refine/stage.py", 54, "run")
WAITS, CALL = ("~", 0, "<method 'acquire' of '_thread.lock' objects>"), (f"{PACKAGES}grpc/_channel.py", 7, "next")
HELPER, OWN = ("/usr/lib/python3.12/threading.py", 1, "wait"), ("/x/use_cases/tiny/features.py", 3, "compute")


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ((f"{PACKAGES}pandas/core/frame.py", 1, "merge"), "arrays"),
        ((f"{PACKAGES}mlplatform/gate/stage.py", 1, "run"), "the platform and the use case"),
        (("C:\\x\\use_cases\\tiny\\model.py", 1, "fit"), "the platform and the use case"),
        (("~", 0, "<method 'merge_execute' of 'deltalake._internal.RawDeltaTable' objects>"), "writing tables"),
        (("~", 0, "<method 'get_add_actions' of 'deltalake._internal.RawDeltaTable' objects>"), "reading tables"),
        (("/x/platform/mlplatform/workspace/local/session.py", 1, "start"), "starting the engine"),
        (("/usr/lib/python3.12/json/decoder.py", 1, "decode"), None),
    ],
)
def test_a_function_counts_for_its_library(function: profiling.Function, kind: str | None) -> None:
    assert kind_of(function) == kind


def test_what_waits_counts_for_whoever_waits() -> None:
    """A lock taken for nine seconds below gRPC, through a helper of Python's, and for one below a use case's code."""
    profile = Profile(
        seconds=12.0,
        entries={
            STAGE: (1, 1, 0.5, 12.0, {}),
            CALL: (1, 1, 0.5, 9.5, {STAGE: (1, 1, 0.5, 9.5)}),
            OWN: (1, 1, 1.0, 2.0, {STAGE: (1, 1, 1.0, 2.0)}),
            HELPER: (2, 2, 0.0, 10.0, {CALL: (1, 1, 0.0, 9.0), OWN: (1, 1, 0.0, 1.0)}),
            WAITS: (2, 2, 10.0, 10.0, {HELPER: (2, 2, 10.0, 10.0)}),
        },
    )
    assert profile.by_stage == {"refine": 12.0}
    assert profile.by_kind == pytest.approx({"queries by Sail or Spark": 9.5, "the platform and the use case": 2.5})


def test_helpers_that_call_each_other_come_to_an_end() -> None:
    one, other = ("/usr/lib/a.py", 1, "one"), ("/usr/lib/a.py", 2, "other")
    entries = {one: (1, 1, 1.0, 2.0, {other: (1, 1, 1.0, 2.0)}), other: (1, 1, 1.0, 2.0, {one: (1, 1, 1.0, 2.0)})}
    assert Profile(2.0, entries).by_kind == pytest.approx({"Python": 2.0})


def test_it_sees_all_of_the_time_and_nothing_where_nobody_asks(capsys: pytest.CaptureFixture[str]) -> None:
    with profiling.watched(wanted=True) as seen:
        time.sleep(0.05)
    profile = seen()
    assert profile is not None
    assert sum(profile.by_kind.values()) == pytest.approx(profile.seconds, rel=0.2)
    assert profiling.as_json(profile)["profile"]["seconds"] >= 0.05
    profiling.show(profile)
    assert "in Python" in capsys.readouterr().out
    with profiling.watched(wanted=False) as seen:
        pass
    assert seen() is None
    assert profiling.as_json(None) == {}
