"""Trials side by side: in threads, in processes, on a cluster; what one of them does ends only that one."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib._parallel_backends import ThreadingBackend

from mlplatform.errors import StageError
from mlplatform.training import memory, trials
from mlplatform.training.trials import Attempt, Outcome, TrialRunner
from tests.support.trial_scores import Unreadable, dies, named, process_id, total

DATA = pd.DataFrame({"load": np.arange(200_000, dtype=np.float64), "kind": ["a", "b"] * 100_000})
SMALL = {"load": np.arange(10.0)}
PARAMS = [{"x": float(x)} for x in range(6)]


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)


def run(score: Any, data: Any = DATA, notes: list[str] | None = None, **options: Any) -> list[Outcome]:
    told: list[str] = [] if notes is None else notes
    with TrialRunner(score, data, data_bytes=10**6, at_once=6, total=6, note=told.append, **options) as runner:
        return list(runner.run(attempts()))


def attempts(**more: Any) -> list[Attempt]:
    return [Attempt(number, params | more) for number, params in enumerate(PARAMS)]


def scores(outcomes: Iterable[Outcome]) -> list[float | None]:
    return [None if outcome.cause else outcome.score for outcome in outcomes]


EXPECTED = scores(trials.attempted(total, DATA, attempt) for attempt in attempts())
EXPECTED_SMALL = scores(trials.attempted(total, SMALL, attempt) for attempt in attempts())


@pytest.fixture(scope="module")
def processes() -> Iterator[TrialRunner]:
    """Two processes, which do what the parameters name: each start takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joblib, "cpu_count", lambda: 2)
        with TrialRunner(named, DATA, data_bytes=10**6, at_once=6, total=6, workers="processes") as runner:
            yield runner


def check(outcomes: list[Outcome]) -> None:
    assert scores(outcomes) == EXPECTED
    assert EXPECTED[3] is None
    assert outcomes[3].cause == "ZeroDivisionError: three is too many"
    assert isinstance(outcomes[3].error, ZeroDivisionError)


@pytest.mark.parametrize("options", [{"workers": "threads"}, {}, {"releases_lock": True}])
def test_outcomes_come_in_their_order_and_one_that_raises_ends_only_itself(two_cores: None, options: Any) -> None:
    check(run(total, **options))


def test_so_they_do_from_processes(processes: TrialRunner) -> None:
    check(list(processes.run(attempts(do="total"))))


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


def test_processes_are_others_and_share_the_data(processes: TrialRunner) -> None:
    ids = set(scores(processes.run(attempts(do="id"))))
    assert len(ids) == 2
    assert float(os.getpid()) not in ids
    assert set(scores(processes.run(attempts(do="mapped")))) == {1.0}


def test_processes_are_started_only_where_they_save_time(two_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(scores(run(process_id, SMALL))) == {float(os.getpid())}
    monkeypatch.setattr(trials, "_SECONDS_SAVED", 0.1)
    first, *others = scores(run(process_id, SMALL))
    assert first == float(os.getpid())
    assert first not in others


def test_what_fails_at_once_does_not_say_how_long_trials_take(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[float] = []
    monkeypatch.setattr(TrialRunner, "_settle", lambda runner, seconds: settled.append(seconds))

    def score(data: Any, attempt: Attempt) -> float:
        if attempt.number < 2:
            raise ValueError("no such parameter")
        time.sleep(0.05)
        return 0.5

    with TrialRunner(score, None, data_bytes=1, at_once=6, total=6) as runner:
        outcomes = runner.run([Attempt(number, {}, share=1 / 3) for number in range(4)])
        assert [bool(next(outcomes).cause) for _ in range(3)] == [True, True, False]
        assert settled == []
        next(outcomes)
    # On a third of the rows: on all of them it would take three times as long.
    assert settled[0] >= 3 * 0.05


def test_a_process_that_ends_takes_only_its_own_trial_with_it_and_nothing_is_left_behind(
    two_cores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = {child.pid for child in multiprocessing.active_children()}
    with TrialRunner(dies, SMALL, data_bytes=10**6, at_once=6, total=6, workers="processes") as runner:
        # Each loss is a new start of the processes.
        outcomes = list(runner.run([attempts()[place] for place in (2, 3)]))
    assert scores(outcomes) == [EXPECTED_SMALL[2], None]
    assert "its process ended" in outcomes[1].cause
    assert outcomes[1].is_lost
    assert list(tmp_path.glob("mlplatform-trials-*")) == []
    assert {child.pid for child in multiprocessing.active_children()} <= before


def test_what_cannot_be_sent_back_is_told_with_its_trace(processes: TrialRunner) -> None:
    outcomes = list(processes.run(attempts(do="unsendable")))
    assert all(outcome.cause == "UnsendableError: cannot be sent" for outcome in outcomes)
    error = outcomes[0].error
    assert isinstance(error, StageError)
    assert "in unsendable" in error.__notes__[0]


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


class Cluster(ThreadingBackend):
    """A joblib backend of threads; where a trial would end its worker, its task is lost."""

    sent: ClassVar[list[int]] = []
    """How many attempts there were in each call."""
    is_gone: ClassVar[bool] = False

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        if self.is_gone:
            raise ConnectionError("the cluster was stopped")
        self.sent.append(0)
        return int(super().configure(n_jobs=n_jobs, parallel=parallel, **options))

    def submit(self, func: Any, callback: Any = None) -> Any:
        given = [arguments for _, arguments, _ in func.items]
        self.sent[-1] += len(given)
        ends = any(score is dies and attempt.params.get("x") == 3 for score, _, attempt in given)
        return super().submit(_lost if ends else func, callback)


def _lost() -> None:
    raise EOFError("Python worker exited unexpectedly")


@pytest.fixture
def cluster(two_cores: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Cluster]]:
    monkeypatch.setattr(trials, "_SECONDS_SAVED", -1.0)
    joblib.register_parallel_backend("test-cluster", Cluster)
    Cluster.sent, Cluster.is_gone = [], False
    yield Cluster
    joblib.parallel.BACKENDS.pop("test-cluster")


def test_a_cluster_runs_them_by_its_joblib_backend_after_the_first(cluster: type[Cluster]) -> None:
    notes: list[str] = []
    check(run(total, cluster="test-cluster", notes=notes))
    assert cluster.sent == [5]
    assert notes == ["trials: 6 at a time, on the cluster"]
    cluster.sent.clear()
    check(run(total, cluster="test-cluster", workers="threads"))
    assert cluster.sent == []


def test_a_cluster_is_not_asked_where_it_saves_no_time(cluster: type[Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_SECONDS_SAVED", 10.0)
    for releases_lock in (True, False):
        check(run(total, cluster="test-cluster", releases_lock=releases_lock))
    assert cluster.sent == []


def test_a_task_of_a_cluster_has_one_thread(cluster: type[Cluster]) -> None:
    def threads(data: Any, attempt: Attempt) -> float:
        return float(attempt.threads or 0)

    assert scores(run(threads, SMALL, cluster="test-cluster")) == [0, 1, 1, 1, 1, 1]


def test_a_trial_that_ends_its_worker_ends_neither_the_others_nor_the_driver(cluster: type[Cluster]) -> None:
    """Sent with others it takes them with it; by itself, only itself. Run on the driver, it would end that."""
    notes: list[str] = []
    outcomes = run(dies, SMALL, cluster="test-cluster", notes=notes)
    assert scores(outcomes) == EXPECTED_SMALL
    assert "its worker ended, out of memory perhaps" in outcomes[3].cause
    assert isinstance(outcomes[3].error, StageError)
    # All five together, whether the cluster takes anything at all, and each of them alone.
    assert cluster.sent[1:] == [1, 1, 1, 1, 1, 1]
    assert notes == ["trials: 6 at a time, on the cluster"]


def test_where_the_cluster_fails_the_driver_runs_them(cluster: type[Cluster]) -> None:
    cluster.is_gone = True
    notes: list[str] = []
    check(run(total, cluster="test-cluster", notes=notes))
    assert notes[1:] == ["trials run on the driver, for the cluster cannot: ConnectionError: the cluster was stopped"]


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
        (
            {
                "memory.max": "3000000000\n",
                "memory.current": "2900000000\n",
                "memory.stat": "anon 900000000\ninactive_file 1900000000\nactive_file 100000000\n",
            },
            2_000_000_000,
        ),
        (
            {
                "memory/memory.limit_in_bytes": "2000000000\n",
                "memory/memory.usage_in_bytes": "1900000000\n",
                "memory/memory.stat": "inactive_file 5\ntotal_inactive_file 900000000\n",
            },
            1_000_000_000,
        ),
    ],
    ids=[
        "machine",
        "no limit",
        "limit",
        "over the limit",
        "older form",
        "pages of files",
        "pages of files, older form",
    ],
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
