"""Faults of each kind where HTTP does not pass: in what Spark commits; and a process that dies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from pyspark.errors import SparkRuntimeException

from mlplatform.ops.stage_runs import RunLog
from mlplatform.workspace.databricks import delta, locks

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

KINDS = ("latency", "429", "500", "403", "drop_before", "drop_after")
# What took effect although no answer came, or too late a one.
UNHEARD = ("latency", "drop_after")
CONFLICT = "io.delta.exceptions.ConcurrentAppendException: [DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Files were added."
_GRPC = "<_MultiThreadedRendezvous of RPC that terminated with: status = StatusCode."
_ERRORS = {
    "latency": f"{_GRPC}DEADLINE_EXCEEDED, authorization: Bearer TOKEN>",
    "429": f"{_GRPC}RESOURCE_EXHAUSTED, authorization: Bearer TOKEN>",
    "500": f"{_GRPC}INTERNAL, authorization: Bearer TOKEN>",
    "403": "[INSUFFICIENT_PERMISSIONS] Insufficient privileges: User does not have MODIFY on Table. SQLSTATE: 42501",
    "drop_before": f"{_GRPC}UNAVAILABLE, authorization: Bearer TOKEN>",
    "drop_after": f"{_GRPC}UNAVAILABLE, authorization: Bearer TOKEN>",
}


class Killed(BaseException):
    """The process dies here."""


def die(*_arguments: Any, **_named: Any) -> NoReturn:
    """Die."""
    raise Killed


@dataclass
class Commits:
    """Commits to Delta tables that fail, and those that were made.

    Attributes:
        doing: Commits hit have this in what they say that they do.
        error: Spark's text; None: the process dies.
        after: Whether they take effect all the same.
        skip: How many pass first.
        times: How many are hit; None: all.
        made: What was committed, in order.
    """

    doing: str
    error: str | None
    after: bool = False
    skip: int = 0
    times: int | None = None
    hits: int = 0
    made: list[str] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Commits:
        """Fail from now on."""
        whole = delta.retrying_conflicts

        def faulty(doing: str, commit: Callable[[], Any]) -> Any:
            return whole(doing, lambda: self._commit(doing, commit))

        monkeypatch.setattr(delta, "retrying_conflicts", faulty)
        return self

    def _commit(self, doing: str, commit: Callable[[], Any]) -> Any:
        if self.doing not in doing or self.hits == self.times:
            self.made.append(doing)
            return commit()
        if self.skip:
            self.skip -= 1
            return commit()
        self.hits += 1
        if self.after:
            commit()
        if self.error is None:
            raise Killed
        raise SparkRuntimeException(self.error)


def failing_commits(doing: str, kind: str, token: str, **options: Any) -> Commits:
    """Return commits that fail by one of `KINDS`."""
    return Commits(doing, _ERRORS[kind].replace("TOKEN", token), after=kind in UNHEARD, **options)


def leave_nothing_when_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Killed` be like a process that dies: no stage is recorded, and the lease is not given back but expires."""
    monkeypatch.setattr(RunLog, "record", die)
    monkeypatch.setattr(locks, "LEASE_SECONDS", 1)
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.5)
    monkeypatch.setattr(locks._Lease, "give_back", die)
