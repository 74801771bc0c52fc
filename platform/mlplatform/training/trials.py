"""Running the trials of a search side by side: on the cores of this machine, or on those of a cluster.

What the trials give depends on nothing here: which ones are tried is settled before they run, and they are told in the
order of their numbers. The data is there once: threads share it, processes map one file of it into their memory.
"""

from __future__ import annotations

import pickle
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np

from mlplatform.errors import PlatformError, StageError, in_one_line
from mlplatform.training import memory

Note = Callable[[str], None]

# What a process has beside the data: Python, and the libraries of models.
_PROCESS_BYTES = 300 * 1024**2
# An estimator holds about so many copies of its data while it is fitted: encoded, as floats, and binned or ordered.
_COPIES = 3
# Processes need seconds to start: they have to save at least so many.
_SECONDS_SAVED = 10.0
_WRAPPED = "_ExceptionWithTraceback"
_BLAS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Attempt:
    """A set of parameters to try.

    Attributes:
        number: Of the trial.
        params: Its parameters.
        share: The share of the fitted rows that it is fitted on.
        threads: How many threads the library may use; None: as many as it likes.
    """

    number: int
    params: dict[str, Any]
    share: float = 1.0
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What an attempt gave.

    Attributes:
        score: On the validation rows; NaN where there is none.
        cause: Why there is none; empty where there is one.
        error: What was raised.
        is_lost: The process in which it ran ended.
    """

    score: float
    cause: str = ""
    error: Exception | None = None
    is_lost: bool = False

    @classmethod
    def lost(cls, who: str, error: Exception) -> Outcome:
        """Return what there is of an attempt whose process or worker ended."""
        text = _said_of_cluster(error)
        cause = f"its {who} ended, out of memory perhaps, or by a fault of the library: {text}"
        return cls(float("nan"), cause, StageError(cause), is_lost=True)


Score = Callable[[Any, Attempt], float]
"""Takes the data and an attempt, and returns the score."""
Outcomes = Generator[Outcome, None, None]
Run = Callable[[Sequence[Attempt]], Outcomes]
"""Runs attempts, and gives their outcomes in their order."""


def attempted(score: Score, data: Any, attempt: Attempt) -> Outcome:
    """Return the outcome of one attempt; whatever an estimator raises ends it, and is told."""
    try:
        value = float(score(data, attempt))
    except Exception as error:  # noqa: BLE001  (estimators raise what they like)
        return Outcome(float("nan"), error.message if isinstance(error, PlatformError) else in_one_line(error), error)
    return Outcome(value, "" if np.isfinite(value) else f"the score is {value}")


def in_turn(score: Callable[[Attempt], float]) -> Run:
    """Return what runs attempts one after another in this process.

    Examples:
        >>> run = in_turn(lambda attempt: attempt.params["depth"] / 2)
        >>> [outcome.score for outcome in run([Attempt(0, {"depth": 3}), Attempt(1, {"depth": 4})])]
        [1.5, 2.0]
    """
    return lambda attempts: (attempted(lambda _, attempt: score(attempt), None, attempt) for attempt in attempts)


@dataclass
class TrialRunner:
    """Runs attempts side by side; use it as a context, and its method `run`.

    Attributes:
        score: Scores an attempt.
        data: What it is fitted and scored on.
        data_bytes: How much memory that takes.
        at_once: How many attempts are given at a time.
        total: How many there will be in all.
        workers: `threads`, `processes`, or `auto`: a cluster as soon as it would save time; without one, threads if the
            estimator's library releases Python's lock, else processes as soon as they would save time.
        releases_lock: Whether it does.
        cluster: Name of the joblib backend that reaches a cluster; None: there is none.
        note: Is told how they run.
    """

    score: Score
    data: Any
    data_bytes: int
    at_once: int
    total: int
    workers: str = "auto"
    releases_lock: bool = False
    cluster: str | None = None
    note: Note = lambda _: None
    _run: Run | None = field(default=None, init=False)
    _open: ExitStack = field(default_factory=ExitStack, init=False)
    _cores: int = field(default=1, init=False)

    def __enter__(self) -> Self:
        """Choose how attempts run, as far as that can be said before the first one."""
        import joblib

        self._cores = joblib.cpu_count()
        if self.workers == "threads" or (self.workers == "auto" and self.releases_lock and not self._has_cluster):
            self._start_threads()
        elif self.workers == "processes":
            self._start_processes()
        return self

    def __exit__(self, *_: object) -> None:
        """End what was started; nothing is left in the temporary folder."""
        self._open.close()

    def run(self, attempts: Sequence[Attempt]) -> Outcomes:
        """Run attempts, and give their outcomes in their order.

        Whoever stops asking, stops those that have not begun.
        """
        waiting = list(attempts)
        while self._run is None and waiting:
            # How long the first one takes that gives a score says whether processes, or a cluster, are worth it.
            begun, first = time.monotonic(), waiting.pop(0)
            outcome = attempted(self.score, self.data, first)
            seconds = time.monotonic() - begun
            yield outcome
            if not outcome.cause:
                self._settle(seconds / first.share)
        if waiting:
            assert self._run is not None
            yield from self._run(waiting)

    @property
    def _has_cluster(self) -> bool:
        return self.cluster is not None and self.workers == "auto" and self.at_once > 1

    def _settle(self, seconds: float) -> None:
        count = self.at_once if self._has_cluster else self._count(_PROCESS_BYTES + self.data_bytes)
        saves_time = seconds * (self.total - 1) * (1 - 1 / count) > _SECONDS_SAVED
        if saves_time and self._has_cluster:
            self.note(f"trials: {count} at a time, on the cluster")
            self._run = self._on_cluster
        elif self.releases_lock:
            self._start_threads()
        elif saves_time:
            self._start_processes()
        else:
            self._run = self._in_turn

    def _count(self, more_bytes: int) -> int:
        return memory.side_by_side(min(self.at_once, self._cores), _COPIES * self.data_bytes + more_bytes)

    def _in_turn(self, attempts: Sequence[Attempt]) -> Outcomes:
        return (attempted(self.score, self.data, attempt) for attempt in attempts)

    def _start_threads(self) -> None:
        count = self._count(0)
        if count == 1:
            self._run = self._in_turn
            return
        # Threads change Python's list of warnings under each other's feet: it is put back when all have ended.
        self._open.enter_context(warnings.catch_warnings())
        pool = self._open.enter_context(_threads(count))
        threads = max(1, self._cores // count)
        self._run = lambda attempts: _outcomes(
            [pool.submit(_in_thread, self.score, self.data, attempt, threads) for attempt in attempts]
        )
        self.note(f"trials: {count} at a time, in threads")

    def _start_processes(self) -> None:
        count = self._count(_PROCESS_BYTES + self.data_bytes)
        if count == 1:
            self._run = self._in_turn
            return
        folder = Path(self._open.enter_context(TemporaryDirectory(prefix="mlplatform-trials-")))
        processes = _Processes(count, threads=max(1, self._cores // count))
        self._open.callback(processes.stop)
        refusal = processes.start(self.score, self.data, folder)
        if refusal:
            self.note(f"trials run one after another, for processes cannot: {refusal}")
            self._run = self._in_turn
        else:
            self.note(f"trials: {count} at a time, in processes")
            self._run = processes.run

    def _on_cluster(self, attempts: Sequence[Attempt]) -> Outcomes:
        # A task has one core, unless the cluster's settings say otherwise.
        sent = [replace(attempt, threads=1) for attempt in attempts]
        outcomes: list[Outcome]
        try:
            outcomes = self._sent(_on_worker, sent)
        except Exception:  # noqa: BLE001  (of the cluster: what an attempt raises is in its outcome)
            # One that ends its worker takes all that were sent with it, so each is sent by itself. Here it would end
            # the driver: that runs them only where the cluster cannot even take score and data.
            refusal = self._refusal_of_cluster()
            if refusal:
                self.note(f"trials run on the driver, for the cluster cannot: {refusal}")
                self._run = self._in_turn
                yield from self._in_turn(attempts)
                return
            outcomes = [self._sent_alone(attempt) for attempt in sent]
        yield from outcomes

    def _sent(self, call: Callable[[Score, Any, Attempt], Any], attempts: Sequence[Attempt]) -> list[Any]:
        import joblib

        with warnings.catch_warnings():
            # It warns of how Spark is set up, and of fewer cores than there are attempts: nobody need mend either.
            warnings.simplefilter("ignore", UserWarning)
            # With n_jobs=1 joblib would run them here.
            sent: list[Any] = joblib.Parallel(n_jobs=max(2, self.at_once), backend=self.cluster)(
                joblib.delayed(call)(self.score, self.data, attempt) for attempt in attempts
            )
        if len(sent) != len(attempts):
            raise StageError(f"{len(sent)} of {len(attempts)} came back from the cluster.", hint="Are workers lost?")
        return sent

    def _sent_alone(self, attempt: Attempt) -> Outcome:
        try:
            (outcome,) = self._sent(_on_worker, [attempt])
        except Exception as error:  # noqa: BLE001  (of the cluster, as above)
            return Outcome.lost("worker", error)
        return outcome  # type: ignore[no-any-return]

    def _refusal_of_cluster(self) -> str:
        """Return why the cluster cannot take score and data; empty if it can."""
        try:
            self._sent(_arrived, [Attempt(0, {})])
        except Exception as error:  # noqa: BLE001  (whatever it is, the driver can)
            return _said_of_cluster(error)
        return ""


def _said_of_cluster(error: Exception) -> str:
    # What joblibspark hands over where a task failed is taken for its result by newer versions of joblib.
    return "a task failed, and the log of the cluster says why" if _WRAPPED in str(error) else in_one_line(error)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(count, thread_name_prefix="trial")
    try:
        yield pool
    finally:
        # A fit that has begun cannot be ended from outside; those that wait are.
        pool.shutdown(wait=True, cancel_futures=True)


def _outcomes(futures: list[Future[Outcome]]) -> Outcomes:
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _in_thread(score: Score, data: Any, attempt: Attempt, threads: int) -> Outcome:
    from threadpoolctl import threadpool_limits

    # OpenMP counts for each thread of Python; together they shall not be more than there are cores.
    with threadpool_limits(limits=threads, user_api="openmp"):
        return attempted(score, data, replace(attempt, threads=threads))


class _Processes:
    """Processes of their own, started anew (never forked: engines and OpenMP do not survive that)."""

    def __init__(self, count: int, threads: int) -> None:
        self._count, self._threads = count, threads
        self._file, self._score = Path(), b""
        self._pool: Any = None  # joblib's executor has no types

    def start(self, score: Score, data: Any, folder: Path) -> str:
        """Start them; return why they cannot work, empty if they can."""
        import cloudpickle
        import joblib

        self._file = folder / "data.joblib"
        try:
            joblib.dump(data, self._file)
            # By value, where a class stands in a notebook; read by nobody but the children of this process.
            self._score = cloudpickle.dumps(score)
            refusal = self._executor().submit(_refusal).result()
        except Exception as error:  # noqa: BLE001  (whatever cannot be sent says so in its own way)
            return in_one_line(error)
        return str(refusal)

    def stop(self) -> None:
        """End them, whatever they are doing."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None

    def run(self, attempts: Sequence[Attempt]) -> Outcomes:
        """Run attempts; of those that were lost with a process that ended, each once more by itself."""
        pool = self._executor()
        attempts = [replace(attempt, threads=self._threads) for attempt in attempts]
        futures = [pool.submit(_in_process, attempt) for attempt in attempts]
        try:
            for attempt, future in zip(attempts, futures, strict=True):
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    outcome = self._alone(attempt, pool)
                yield outcome
        finally:
            for future in futures:
                future.cancel()

    def _alone(self, attempt: Attempt, broken: Any) -> Outcome:
        if self._pool is broken:
            self.stop()
        try:
            outcome: Outcome = self._executor().submit(_in_process, attempt).result()
        except BrokenProcessPool as error:
            self.stop()
            return Outcome.lost("process", error)
        return outcome

    def _executor(self) -> Any:
        if self._pool is None:
            from joblib.externals.loky import ProcessPoolExecutor
            from joblib.externals.loky.backend import get_context

            self._pool = ProcessPoolExecutor(
                self._count,
                context=get_context("loky"),
                initializer=_receive,
                initargs=(str(self._file), self._score),
                env=dict.fromkeys(_BLAS, str(self._threads)),
            )
        return self._pool


def _on_worker(score: Score, data: Any, attempt: Attempt) -> Outcome:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=attempt.threads, user_api="openmp"):
        return _elsewhere(score, data, attempt)


def _arrived(score: Score, data: Any, attempt: Attempt) -> bool:
    """Tell that score and data could be sent."""
    del score, data, attempt
    return True


_received: dict[str, Any] = {}


def _receive(file: str, score: bytes) -> None:
    """Take score and data in a process that was started; what goes wrong is told when it is asked."""
    import joblib

    try:
        # Pages that are only read are shared with the other processes; what is written is this one's own.
        _received["data"] = joblib.load(file, mmap_mode="c")
        _received["score"] = pickle.loads(score)  # noqa: S301  (from the process that started this one)
    except Exception as error:  # noqa: BLE001  (an initializer that raises ends the process, and its cause with it)
        _received["refusal"] = in_one_line(error)


def _refusal() -> str:
    return str(_received.get("refusal", ""))


def _in_process(attempt: Attempt) -> Outcome:
    return _elsewhere(_received["score"], _received["data"], attempt)


def _elsewhere(score: Score, data: Any, attempt: Attempt) -> Outcome:
    """Return an outcome that can be sent back: with the trace as a note, for it does not travel itself."""
    outcome = attempted(score, data, attempt)
    if outcome.error is None:
        return outcome
    outcome.error.add_note("".join(traceback.format_exception(outcome.error)))
    try:
        pickle.loads(pickle.dumps(outcome))  # noqa: S301  (what was dumped in the same line)
    except Exception:  # noqa: BLE001  (errors of libraries may hold anything)
        error = StageError(outcome.cause)
        error.add_note("\n".join(outcome.error.__notes__))
        return replace(outcome, error=error)
    return outcome
