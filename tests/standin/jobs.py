"""The Jobs API: jobs that are told beforehand how their runs go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.standin.wire import ApiError, Request, Route, invalid

_API = "/api/2.2/jobs"
_TOKEN_LIMIT = 64
_TERMINATIONS = {
    "SUCCESS": ("SUCCESS", "SUCCESS"),
    "FAILED": ("RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    "TIMEDOUT": ("RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    "CANCELED": ("USER_CANCELED", "CLIENT_ERROR"),
}


@dataclass
class Job:
    """A job.

    Attributes:
        job_id: Identifies it.
        name: Need not be unique.
        states: What each look at a run shows, the last for ever: `PENDING`, `RUNNING`, then a result: `SUCCESS`,
            `FAILED`, `TIMEDOUT` or `CANCELED`.
        message: What a run says at its end.
        parameters: Names of the job's parameters, with defaults.
    """

    job_id: int
    name: str
    states: Sequence[str]
    message: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass
class Run:
    """A run of a job, and how often it was looked at."""

    run_id: int
    job: Job
    parameters: dict[str, str]
    token: str
    looks: int = 0


class Jobs:
    """Jobs and runs.

    Attributes:
        runs: By id, in the order of their start.
    """

    def __init__(self, url: Callable[[], str]) -> None:
        """Take what gives the workspace's address."""
        self._url = url
        self._jobs: dict[int, Job] = {}
        self.runs: dict[int, Run] = {}

    def add(
        self,
        name: str,
        *,
        states: Sequence[str] = ("RUNNING", "SUCCESS"),
        message: str = "",
        parameters: dict[str, str] | None = None,
    ) -> int:
        """Make a job; the arguments are the attributes of `Job`.

        Returns:
            Its id.
        """
        job_id = 100 + len(self._jobs)
        self._jobs[job_id] = Job(job_id, name, states, message, dict(parameters or {}))
        return job_id

    def routes(self) -> list[Route]:
        """Return what it answers."""
        return [
            Route("GET", f"{_API}/list", self._list),
            Route("GET", f"{_API}/get", self._get),
            Route("POST", f"{_API}/run-now", self._run_now),
            Route("GET", f"{_API}/runs/get", self._get_run),
            Route("GET", f"{_API}/runs/list", self._list_runs),
        ]

    def _job(self, job_id: object) -> Job:
        job = self._jobs.get(int(str(job_id)))
        if job is None:
            # The service says so with this code, and the SDK makes ResourceDoesNotExist of it.
            raise invalid(f"Job {job_id} does not exist.")
        return job

    def _list(self, request: Request) -> dict[str, Any]:
        name = request.query.get("name")
        jobs = [job for job in self._jobs.values() if name is None or job.name.lower() == name.lower()]
        return {"jobs": [_job_answer(job) for job in jobs], "has_more": False}

    def _get(self, request: Request) -> dict[str, Any]:
        return _job_answer(self._job(request.argument("job_id")))

    def _run_now(self, request: Request) -> dict[str, Any]:
        job, token = self._job(request.argument("job_id")), request.body.get("idempotency_token", "")
        if len(token) > _TOKEN_LIMIT:
            raise invalid(f"The idempotency token can have at most {_TOKEN_LIMIT} characters.")
        parameters = dict(request.body.get("job_parameters", {}))
        if unknown := set(parameters) - set(job.parameters):
            raise invalid(f"Job {job.job_id} has no parameter {', '.join(sorted(unknown))}.")
        same = [run for run in self.runs.values() if token and run.token == token]
        run = same[0] if same else Run(5000 + len(self.runs), job, job.parameters | parameters, token)
        self.runs[run.run_id] = run
        return {"run_id": run.run_id, "number_in_job": run.run_id}

    def _get_run(self, request: Request) -> dict[str, Any]:
        run = self.runs.get(int(request.argument("run_id")))
        if run is None:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Run {request.argument('run_id')} does not exist.")
        run.looks += 1
        return self._run_answer(run)

    def _list_runs(self, request: Request) -> dict[str, Any]:
        job_id = request.query.get("job_id")
        runs = [run for run in self.runs.values() if job_id in (None, str(run.job.job_id))]
        return {"runs": [self._run_answer(run) for run in reversed(runs)], "has_more": False}

    def _run_answer(self, run: Run) -> dict[str, Any]:
        state = run.job.states[min(max(run.looks, 1), len(run.job.states)) - 1]
        answer: dict[str, Any] = {
            "run_id": run.run_id,
            "job_id": run.job.job_id,
            "run_name": run.job.name,
            "run_page_url": f"{self._url()}/jobs/{run.job.job_id}/runs/{run.run_id}",
            "job_parameters": [{"name": name, "value": value} for name, value in run.parameters.items()],
        }
        if state in _TERMINATIONS:
            code, kind = _TERMINATIONS[state]
            details = {"code": code, "type": kind, "message": run.job.message}
            answer["state"] = {
                "life_cycle_state": "TERMINATED",
                "result_state": state,
                "state_message": run.job.message,
            }
            answer["status"] = {"state": "TERMINATED", "termination_details": details}
        else:
            answer["state"] = {"life_cycle_state": state, "state_message": ""}
            answer["status"] = {"state": state}
        return answer


def _job_answer(job: Job) -> dict[str, Any]:
    parameters = [{"name": name, "default": value} for name, value in job.parameters.items()]
    return {"job_id": job.job_id, "settings": {"name": job.name, "parameters": parameters}}
