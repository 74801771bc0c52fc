"""Jobs of the local workspace: functions of this process, run once per token."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlplatform import stopping
from mlplatform.errors import DeploymentError, PlatformError, did_you_mean
from mlplatform.protocols.operations import JobRun
from mlplatform.workspace.local import whole_file
from mlplatform.workspace.local.locks import file_lock

LOG = logging.getLogger(__name__)


class LocalJobs:
    """Runs registered functions; see `mlplatform.protocols.operations.Jobs`.

    A run is recorded when it has ended, so that the same token starts a killed one again.
    """

    def __init__(self, root: Path) -> None:
        """Keep the record `jobs.json` in a folder."""
        self._file = root / "jobs.json"
        self._locks = root / ".locks"
        self._jobs: dict[str, Callable[[Mapping[str, str]], Any]] = {}

    def register(self, name: str, fn: Callable[[Mapping[str, str]], Any]) -> None:
        """Make a function a job, for as long as this object lives.

        Args:
            name: The job's name; again under the same name replaces it.
            fn: Takes the job's parameters; what it raises makes the run a failed one.
        """
        self._jobs[name] = fn

    def run_now(self, job: str, *, parameters: Mapping[str, str], token: str) -> JobRun:
        """Run a job to its end; the same token again returns what it did before."""
        with file_lock(self._locks, f"job {token}"):
            recorded = self._read().get(token)
            if recorded is not None:
                return JobRun(**recorded)
            if job not in self._jobs:
                raise DeploymentError(
                    f"There is no job {job}.",
                    hint=f"{did_you_mean(job, self._jobs)} Register it with ws.jobs.register.",
                )
            run = self._run(job, parameters)
            self._record(token, run)
            return run

    def wait(self, run: JobRun, *, timeout_seconds: float) -> JobRun:
        """Return the run as it is on record: it ended before `run_now` returned."""
        del timeout_seconds
        for recorded in self._read().values():
            if recorded["run_id"] == run.run_id:
                return JobRun(**recorded)
        raise DeploymentError(
            f"Run {run.run_id} of job {run.job} is not on record.", hint=f"The record is {self._file}."
        )

    def _run(self, job: str, parameters: Mapping[str, str]) -> JobRun:
        run_id = uuid.uuid4().hex[:12]
        try:
            self._jobs[job](dict(parameters))
        except Exception as error:
            stopping.check()
            # As where a service runs it: a failed run is a state to look at, and whoever started it goes on.
            LOG.warning("Job %s failed.", job, exc_info=True)
            message = error.message if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"
            return JobRun(run_id=run_id, job=job, state="failed", message=message)
        return JobRun(run_id=run_id, job=job, state="succeeded")

    def _record(self, token: str, run: JobRun) -> None:
        with file_lock(self._locks, "jobs"):
            record = {**self._read(), token: asdict(run)}
            whole_file.write(self._file, json.dumps(record, indent=1, sort_keys=True))

    def _read(self) -> dict[str, Any]:
        if not self._file.exists():
            return {}
        try:
            record = json.loads(self._file.read_text(encoding="utf-8"))
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise DeploymentError(
                f"{self._file} does not hold the runs of jobs any more.",
                hint="Restore it, or delete it: jobs that ran before would then run again.",
            )
        return record
