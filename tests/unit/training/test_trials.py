"""Trials side by side: in threads, in processes, on a cluster; what one of them does ends only that one."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from mlplatform.errors import StageError
from mlplatform.training import memory, trials
from mlplatform.training.trials import Attempt, Outcome, TrialRunner

DATA = pd.DataFrame({"load": np.arange(200_000, dtype=np.float64), "kind": ["a", "b"] * 100_000})
PARAMS = [{"x": float(x)} for x in range(6)]


def total(data: pd.DataFrame, attempt: Attempt) -> float:
    if attempt.params["x"] == 3:
        raise ZeroDivisionError("three is too many")
    return float(data["load"].sum()) + attempt.params["x"]


def slow(data: pd.DataFrame, attempt: Attempt) -> float:
    time.sleep(0.2)
    return total(data, attempt)


def process_id(data: pd.DataFrame, attempt: Attempt) -> float:
    time.sleep(0.1)
    return float(os.getpid())


def dies(data: pd.DataFrame, attempt: Attempt) -> float:
    if attempt.params["x"] == 3:
        os._exit(1)
    return total(data, attempt)


class UnsendableError(Exception):
    def __init__(self) -> None:
        super().__init__("cannot be sent")
        self.lock = threading.Lock()


def unsendable(data: pd.DataFrame, attempt: Attempt) -> float:
    raise UnsendableError


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)


def run(score: Any, data: Any = DATA, notes: list[str] | None = None, **options: Any) -> list[Outcome]:
    told: list[str] = [] if notes is None else notes
    with TrialRunner(score, data, data_bytes=10**6, at_once=6, total=6, note=told.append, **options) as runner:
        return list(runner.run([Attempt(number, params) for number, params in enumerate(PARAMS)]))


def scores(outcomes: list[Outcome]) -> list[float | None]:
    return [None if outcome.cause else outcome.score for outcome in outcomes]


EXPECTED = scores([trials.attempted(total, DATA, Attempt(number, params)) for number, params in enumerate(PARAMS)])


@pytest.mark.parametrize("options", [{"workers": "threads"}, {"workers": "processes"}, {}, {"releases_lock": True}])
def test_outcomes_come_in_their_order_and_one_that_raises_ends_only_itself(two_cores: None, options: Any) -> None:
    outcomes = run(total, **options)
    assert scores(outcomes) == EXPECTED
    assert EXPECTED[3] is None
    assert outcomes[3].cause == "ZeroDivisionError: three is too many"
    assert isinstance(outcomes[3].error, ZeroDivisionError)


def test_threads_run_side_by_side(two_cores: None) -> None:
    active: list[int] = []
    most = 0

    def counted(data: Any, attempt: Attempt) -> float:
        nonlocal most
        active.append(attempt.number)
        most = max(most, len(active))
        time.sleep(0.1)
        active.remove(attempt.number)
        assert attempt.threads == 1
        return 0.5

    notes: list[str] = []
    assert scores(run(counted, workers="threads", notes=notes)) == [0.5] * 6
    assert most == 2
    assert notes == ["trials: 2 at a time, in threads"]


def test_processes_are_others_and_share_the_data(two_cores: None) -> None:
    ids = set(scores(run(process_id, workers="processes")))
    assert len(ids) == 2
    assert float(os.getpid()) not in ids
    kinds = {outcome.score for outcome in run(_is_mapped, workers="processes")}
    assert kinds == {1.0}


def _is_mapped(data: pd.DataFrame, attempt: Attempt) -> float:
    """Tell whether the numbers are pages of a file; that they can be written to; and that nobody was forked."""
    array: Any = data["load"].to_numpy()
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    data.iloc[0, 0] = -1.0
    return float(array is not None and multiprocessing.parent_process() is not None)


def test_processes_are_started_only_where_they_save_time(two_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(scores(run(process_id))) == {float(os.getpid())}
    monkeypatch.setattr(trials, "_SECONDS_SAVED", 0.1)
    first, *others = scores(run(process_id))
    assert first == float(os.getpid())
    assert first not in others


def test_a_process_that_ends_takes_only_its_own_trial_with_it(two_cores: None) -> None:
    outcomes = run(dies, workers="processes")
    assert scores(outcomes) == EXPECTED
    assert "its process ended" in outcomes[3].cause


def test_what_cannot_be_sent_back_is_told_with_its_trace(two_cores: None) -> None:
    outcomes = run(unsendable, workers="processes")
    assert all(outcome.cause == "UnsendableError: cannot be sent" for outcome in outcomes)
    error = outcomes[0].error
    assert isinstance(error, StageError)
    assert "in unsendable" in error.__notes__[0]


class Unreadable:
    """Data that another process cannot take."""

    def __reduce__(self) -> Any:
        return _only_here, (os.getpid(),)


def _only_here(process: int) -> Unreadable:
    if os.getpid() != process:
        raise RuntimeError("not here")
    return Unreadable()


def test_where_processes_cannot_work_trials_run_one_after_another(two_cores: None) -> None:
    notes: list[str] = []
    outcomes = run(lambda data, attempt: attempt.params["x"], Unreadable(), workers="processes", notes=notes)
    assert scores(outcomes) == [0, 1, 2, 3, 4, 5]
    assert notes == ["trials run one after another, for processes cannot: RuntimeError: not here"]


def test_little_memory_means_fewer_at_a_time(two_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 5 * 10**6)
    notes: list[str] = []
    assert scores(run(total, workers="threads", notes=notes)) == EXPECTED
    assert notes == []
    assert set(scores(run(process_id, workers="processes"))) == {float(os.getpid())}


def test_whoever_stops_asking_stops_what_has_not_begun(two_cores: None) -> None:
    begun: list[int] = []

    def noted(data: Any, attempt: Attempt) -> float:
        begun.append(attempt.number)
        time.sleep(0.1)
        return 0.5

    with TrialRunner(noted, None, data_bytes=1, at_once=6, total=6, workers="threads") as runner:
        outcomes = runner.run([Attempt(number, {}) for number in range(6)])
        next(outcomes)
        outcomes.close()
    assert len(begun) < 6


def test_nothing_is_left_behind(two_cores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = {child.pid for child in multiprocessing.active_children()}
    run(total, workers="processes")
    assert list(tmp_path.glob("mlplatform-trials-*")) == []
    assert {child.pid for child in multiprocessing.active_children()} <= before


def test_a_cluster_runs_them_by_its_joblib_backend(two_cores: None) -> None:
    from joblib._parallel_backends import SequentialBackend

    used: list[int] = []

    class Cluster(SequentialBackend):
        def configure(self, n_jobs: int = 1, **options: Any) -> int:
            used.append(n_jobs)
            return int(super().configure(n_jobs=n_jobs, **options))

        def effective_n_jobs(self, n_jobs: int) -> int:
            return 1

    joblib.register_parallel_backend("test-cluster", Cluster)
    assert scores(run(total, cluster="test-cluster")) == EXPECTED
    assert used[0] == 6
    used.clear()
    assert scores(run(total, cluster="test-cluster", workers="threads")) == EXPECTED
    assert used == []


def test_where_the_cluster_fails_the_driver_runs_them(two_cores: None) -> None:
    from joblib._parallel_backends import SequentialBackend

    class Gone(SequentialBackend):
        def configure(self, n_jobs: int = 1, **options: Any) -> int:
            raise ConnectionError("the cluster was stopped")

    joblib.register_parallel_backend("test-gone", Gone)
    notes: list[str] = []
    assert scores(run(total, cluster="test-gone", notes=notes)) == EXPECTED
    assert notes == ["trials run on the driver, for the cluster cannot: ConnectionError: the cluster was stopped"]


MEMINFO = "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8_000_000 * 1024),
        ({"memory.max": "max\n", "memory.current": "5\n"}, 8_000_000 * 1024),
        ({"memory.max": "3000000000\n", "memory.current": "1000000000\n"}, 2_000_000_000),
        ({"memory.max": "3000000000\n", "memory.current": "4000000000\n"}, 0),
        (
            {"memory/memory.limit_in_bytes": "2000000000\n", "memory/memory.usage_in_bytes": "500000000\n"},
            1_500_000_000,
        ),
    ],
    ids=["machine", "no limit", "limit", "over the limit", "older form"],
)
def test_the_memory_that_is_free_is_the_machines_or_the_containers(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory.available(tmp_path, tmp_path) == expected


def test_where_nothing_is_told_half_of_the_machine_is_taken(tmp_path: Path) -> None:
    assert memory.available(tmp_path / "none", tmp_path) > 10**8
