"""What a workspace offers for operating use cases: jobs, data profiling, and who may do what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mlplatform.naming import ObjectName

JobState = Literal["running", "succeeded", "failed"]
SecurableKind = Literal["catalog", "schema", "table", "volume", "function", "model"]


@dataclass(frozen=True)
class JobRun:
    """One run of a job.

    Attributes:
        run_id: Identifies it.
        job: The job, as it was named when the run was started.
        state: `running`, `succeeded` or `failed`.
        url: Where a person looks at it; empty where there is no such page.
        message: Why it failed; empty otherwise.
    """

    run_id: str
    job: str
    state: JobState
    url: str = ""
    message: str = ""


@runtime_checkable
class Jobs(Protocol):
    """Jobs that can be started from elsewhere: on Databricks the Jobs API, locally functions of this process."""

    def run_now(self, job: str, *, parameters: Mapping[str, str], token: str) -> JobRun:
        """Start a job; the same token again returns the run that it started before.

        Args:
            job: On Databricks a job's id or its name; locally the name under which it was registered.
            parameters: Job parameters.
            token: Makes the start idempotent; any text, shortened to a digest where the service has a limit.

        Raises:
            DeploymentError: If there is no such job, or it cannot be started; similar names are suggested.
        """
        ...

    def wait(self, run: JobRun, *, timeout_seconds: float) -> JobRun:
        """Return the run when it has ended, or as it is when the time is up.

        Raises:
            DeploymentError: If the run cannot be read.
        """
        ...


@dataclass(frozen=True)
class Upload:
    """What an upload did.

    Attributes:
        landing: The folder that holds the files now.
        uploaded: Files sent.
        skipped: Files that existed already with the same size.
        size: Bytes sent.
    """

    landing: str
    uploaded: int
    skipped: int
    size: int


@dataclass(frozen=True)
class InferenceProfile:
    """What data profiling looks at in a table of predictions.

    Attributes:
        prediction: Column of the predictions.
        timestamp: Column of the prediction time.
        model_version: Column of the model's version.
        task: `classification` or `regression`.
        label: Column of the label, if the table has one.
        baseline: Table of the same columns to hold every window against.
        schedule: When it is refreshed by itself, as Quartz cron; None: never.
        timezone: Of the schedule.
        granularities: Lengths of windows, such as `1 day` or `1 month`.
        slicing: Columns to profile by.
    """

    prediction: str
    timestamp: str
    model_version: str
    task: Literal["classification", "regression"]
    label: str | None = None
    baseline: ObjectName | str | None = None
    schedule: str | None = None
    timezone: str = "UTC"
    granularities: Sequence[str] = ("1 month",)
    slicing: Sequence[str] = ()


@runtime_checkable
class Monitors(Protocol):
    """Data profiling on tables: Databricks' own there; locally the platform's metrics tables are all there is.

    Attributes:
        offered: Whether there is any here; where it is only switched off, `ensure` says so.
    """

    offered: bool

    def ensure(self, table: ObjectName | str, profile: InferenceProfile) -> str:
        """Make sure that the table is profiled in exactly this way; a second call changes nothing.

        Returns:
            The state now, in a word: `created`, `changed`, `exists`, `no table yet`, `switched off here` (which is
            logged with its reason) or `not available here`.

        Raises:
            DeploymentError: If it cannot be made.
        """
        ...

    def refresh(self, table: ObjectName | str) -> str:
        """Start to recompute the table's metrics; they are ready some time later.

        Returns:
            `started`, `under way` (it was), `no profile`, `no table yet`, `switched off here` or `not available here`.

        Raises:
            DeploymentError: If it cannot be started.
        """
        ...


@runtime_checkable
class Access(Protocol):
    """Grants on Unity Catalog objects; locally there is no access control, and what is asked is only checked."""

    def grant(self, privileges: Sequence[str], kind: SecurableKind, name: str | ObjectName, principal: str) -> None:
        """Grant privileges on an object to a principal; a second call changes nothing.

        Args:
            privileges: Such as `SELECT` or `CREATE MODEL VERSION`.
            kind: What kind of object it is.
            name: Its name, of as many levels as its kind has.
            principal: A group, user or service principal (its application id).

        Raises:
            DeploymentError: If a privilege is unknown, or the workspace refuses.
        """
        ...

    def own_model(self, model: ObjectName | str, owner: str) -> str:
        """Make a principal the owner of a registered model, and read it back; a second call changes nothing.

        Args:
            model: The model.
            owner: A group, user or service principal (its application id).

        Returns:
            The state now, in a word: `set`, `is already` or `not available here`.

        Raises:
            DeploymentError: If the workspace refuses, or says afterwards that somebody else is the owner.
        """
        ...

    def probe_alias_right(self, model: ObjectName | str, principal: str) -> str:
        """Find out whether a principal may move aliases of a registered model, and change nothing that lasts.

        Args:
            model: The model.
            principal: Who; empty: whoever asks.

        Returns:
            What was looked at, and what it showed.

        Raises:
            DeploymentError: If the principal may not.
        """
        ...
