"""The Jobs API: start a job once per token, and wait for its run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mlplatform.errors import DeploymentError, did_you_mean
from mlplatform.protocols.operations import JobRun, JobState
from mlplatform.workspace.databricks.connection import retrying, translated
from mlplatform.workspace.databricks.registry_errors import redacted

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.jobs import Run

_LONGEST_TOKEN = 64
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_ENDED = frozenset({"TERMINATED", "SKIPPED", "INTERNAL_ERROR"})
_GOOD = frozenset({"SUCCESS", "SUCCESS_WITH_FAILURES"})


class DatabricksJobs:
    """Jobs of the workspace; see `mlplatform.protocols.operations.Jobs`."""

    def __init__(
        self,
        client: WorkspaceClient,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the SDK's client, and how to wait."""
        self._client = client
        self._sleep = sleep
        self._clock = clock

    def run_now(self, job: str, *, parameters: Mapping[str, str], token: str) -> JobRun:
        """Start a job; the same token again returns the run that it started before, in its state of now."""
        number = self._number(job)
        run_id = self._started(job, number, dict(parameters), short_token(token))
        return self._read(job, run_id)

    def wait(self, run: JobRun, *, timeout_seconds: float) -> JobRun:
        """Return the run when it has ended, or as it is when the time is up."""
        end = self._clock() + timeout_seconds
        pause = _FIRST_PAUSE
        while True:
            current = self._read(run.job, int(run.run_id))
            remaining = end - self._clock()
            if current.state != "running" or remaining <= 0:
                return current
            self._sleep(min(pause, remaining))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _started(self, job: str, number: int, parameters: dict[str, str], token: str) -> int:
        # The token makes asking again safe, even when the first request had its effect.
        with translated(f"Starting job {job}", DeploymentError):
            waiter = retrying(
                lambda: self._client.jobs.run_now(number, idempotency_token=token, job_parameters=parameters or None)
            )
        response: Any = waiter.response  # the SDK annotates it with the builtin `any`
        return int(response.run_id)

    def _number(self, job: str) -> int:
        if job.isdigit():
            return int(job)
        with translated(f"Looking up job {job}", DeploymentError):
            candidates = retrying(lambda: list(self._client.jobs.list(name=job)))
            ids = [item.job_id for item in candidates if _name(item) == job and item.job_id]
            if len(ids) == 1:
                return int(ids[0])
            names = [] if ids else [_name(item) for item in self._client.jobs.list()]
        if ids:
            raise DeploymentError(
                f"There are {len(ids)} jobs named {job}.", hint=f"Name one by its id: {', '.join(map(str, ids))}."
            )
        raise DeploymentError(f"There is no job {job}.", hint=did_you_mean(job, [name for name in names if name]))

    def _read(self, job: str, run_id: int) -> JobRun:
        with translated(f"Reading run {run_id} of job {job}", DeploymentError):
            run = retrying(lambda: self._client.jobs.get_run(run_id))
        state, message = _state(run)
        return JobRun(run_id=str(run_id), job=job, state=state, url=run.run_page_url or "", message=message)


def short_token(token: str) -> str:
    """Return a token that the Jobs API takes: as it is, or the digest of a longer one."""
    return token if len(token) <= _LONGEST_TOKEN else hashlib.sha256(token.encode()).hexdigest()


def _name(job: object) -> str:
    settings = getattr(job, "settings", None)
    return str(getattr(settings, "name", None) or "")


def _state(run: Run) -> tuple[JobState, str]:
    """Return our word for the run's state, and why it failed; older services report in `state` only."""
    life = code = message = ""
    if run.status is not None and run.status.state is not None:
        life, details = run.status.state.value, run.status.termination_details
        code = details.code.value if details is not None and details.code is not None else ""
        message = (details.message if details is not None else None) or ""
    if run.state is not None:
        life = life or (run.state.life_cycle_state.value if run.state.life_cycle_state else "")
        code = code or (run.state.result_state.value if run.state.result_state else "")
        message = message or run.state.state_message or ""
    if life not in _ENDED:
        return "running", ""
    if code in _GOOD:
        return "succeeded", ""
    return "failed", ": ".join(part for part in (code or life, redacted(message)) if part)
