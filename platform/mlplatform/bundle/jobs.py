"""The jobs of a use case: who runs them, when, with what, and the tasks of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlplatform.bundle import names
from mlplatform.bundle.project import REQUIREMENTS
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.promotion import APPROVAL_TAG

# The command for tasks of jobs: they run inside a shell of the runtime, where an exit, even with 0, is a failure.
PACKAGE, ENTRY_POINT = "mlplatform", "mlplatform-job"
ENVIRONMENT = "default"
# A path relative to the folder of the resources file.
WHEEL = "../dist/*.whl"
ROLES = ("trainer", "promoter", "scorer")
_CYCLE = (names.SETUP, names.FEATURES, names.TRAIN, names.SCORE, names.MONITOR)
_AS_OF, _ENV = "{{job.parameters.as_of}}", "{{job.parameters.env}}"
_PARAMETERS: tuple[dict[str, str], ...] = (
    {"name": "env", "default": "${var.env}"},
    {"name": "as_of", "default": "{{job.start_time.iso_date}}"},
)


@dataclass(frozen=True)
class UseCaseJobs:
    """Makes the jobs of one use case, as a bundle declares them.

    Attributes:
        use_case: Its name.
        settings: Its settings.
    """

    use_case: str
    settings: UseCaseSettings

    @property
    def manual(self) -> bool:
        """Whether a person approves promotions, so that there is a deployment job."""
        return self.settings.gate.approval == "manual"

    @property
    def recalibrates(self) -> bool:
        """Whether the retrain decision recalibrates, so that there is a job that does it."""
        return self.settings.recalibration.when == "on_alarm"

    def all(self) -> dict[str, dict[str, Any]]:
        """Return the jobs by their keys, in the order in which they run."""
        jobs = {
            names.SETUP: self._setup(),
            names.FEATURES: self._stages(names.FEATURES, "Ingest, refine, features", ("ingest", "refine", "features")),
            names.TRAIN: self._train(),
            names.SCORE: self._stages(names.SCORE, "Batch scoring with the champion", ("score",)),
            names.MONITOR: self._monitor(),
            names.MAINTENANCE: self._maintenance(),
            names.MAIN_PIPELINE: self._main_pipeline(),
        }
        if self.recalibrates:
            jobs[names.RECALIBRATE] = self._recalibrate()
        if self.manual:
            jobs[names.DEPLOYMENT] = self._deployment()
        return {names.key(self.use_case, name): job for name, job in jobs.items()}

    def run_as(self) -> dict[str, str]:
        """Return the role that runs each job where they are split; jobs that are not named run as the target says.

        Only an owner of a model may set an alias, and the promoter is one: what sets aliases runs as the promoter.
        Setup and maintenance are not named: they need all tables, whoever writes to them.
        """
        roles = {
            names.FEATURES: "trainer",
            names.TRAIN: "trainer" if self.manual else "promoter",
            names.SCORE: "scorer",
            names.MONITOR: "trainer",
        }
        if self.recalibrates:
            roles[names.RECALIBRATE] = roles[names.TRAIN]
        if self.manual:
            roles[names.DEPLOYMENT] = "promoter"
        return {names.key(self.use_case, name): role for name, role in roles.items()}

    def _setup(self) -> dict[str, Any]:
        options = [f"--expect-schema={self._reference('schemas', names.SCHEMA)}"]
        options += [f"--{role}=${{var.{role}}}" for role in ROLES]
        # An owner in the bundle would be sent once, when the model is created, and never again.
        options.append("--model-owner=${var.model_owners}")
        if self.manual:
            options.append(f"--deployment-job={self._job_id(names.DEPLOYMENT)}")
        task = self._task("setup", ["setup", self.use_case, *self._where(), *options])
        return self._job(
            names.SETUP, "Tables, model, tags, grants: what the bundle cannot declare", [task], as_of=False
        )

    def _train(self) -> dict[str, Any]:
        if self.manual:
            return self._stages(names.TRAIN, "Trains and registers; the deployment job goes on", ("train",))
        return self._stages(names.TRAIN, "Trains a challenger and puts it to the gate", ("train", "gate"))

    def _monitor(self) -> dict[str, Any]:
        job = self._stages(names.MONITOR, "Drift, performance, alerts, the retrain decision", ("monitor",))
        start = f"--start-job={self._job_id(names.TRAIN)}"
        jobs = [start]
        if self.recalibrates:
            jobs.append(f"--recalibrate-job={self._job_id(names.RECALIBRATE)}")
        retrain = self._task("retrain", ["retrain", self.use_case, *self._at(), *jobs])
        job["tasks"].append(retrain | {"depends_on": [{"task_key": "monitor"}]})
        return job

    def _recalibrate(self) -> dict[str, Any]:
        if self.manual:
            task = self._task("recalibrate", ["recalibrate", self.use_case, *self._at(), "--register-only"])
            return self._job(names.RECALIBRATE, "Recalibrates the champion; the deployment job goes on", [task])
        task = self._task("recalibrate", ["recalibrate", self.use_case, *self._at(), "--no-gate"])
        gate = self._task("gate", ["run", self.use_case, "--stage=gate", *self._at(), *self._flags("gate")])
        tasks = [task, gate | {"depends_on": [{"task_key": "recalibrate"}]}]
        return self._job(names.RECALIBRATE, "Recalibrates the champion and puts it to the gate", tasks)

    def _maintenance(self) -> dict[str, Any]:
        task = self._task(names.MAINTENANCE, ["maintain", self.use_case, *self._at()])
        return self._job(names.MAINTENANCE, "Compaction and retention, where predictive optimization is off", [task])

    def _stages(self, name: str, description: str, stages: tuple[str, ...]) -> dict[str, Any]:
        tasks: list[dict[str, Any]] = []
        for stage in stages:
            task = self._task(stage, ["run", self.use_case, f"--stage={stage}", *self._at(), *self._flags(stage)])
            if tasks:
                task["depends_on"] = [{"task_key": tasks[-1]["task_key"]}]
            tasks.append(task)
        return self._job(name, description, tasks)

    def _flags(self, stage: str) -> list[str]:
        if stage == "gate":
            return ["--due"]  # the same training again leaves nothing to decide
        if stage == "train" and self.manual:
            return ["--register-only"]
        return []

    def _main_pipeline(self) -> dict[str, Any]:
        tasks: list[dict[str, Any]] = []
        for name in _CYCLE:
            parameters = {"env": _ENV} | ({"as_of": _AS_OF} if name != names.SETUP else {})
            task = _run_job(name, self._job_id(name), parameters)
            if tasks:
                task["depends_on"] = [{"task_key": tasks[-1]["task_key"]}]
            tasks.append(task)
        job = self._job(names.MAIN_PIPELINE, "The whole cycle in order", tasks)
        for of_compute in ("environments", "performance_target", "budget_policy_id"):
            del job[of_compute]
        # It waits for all of them.
        job["timeout_seconds"] *= len(_CYCLE)
        job["health"]["rules"][0]["value"] *= len(_CYCLE)
        return job

    def _deployment(self) -> dict[str, Any]:
        tasks: list[dict[str, Any]] = []
        for key, command in (("Evaluation", "evaluate"), (APPROVAL_TAG, "approval"), ("Deployment", "deploy")):
            model = ["--model-name={{job.parameters.model_name}}", "--model-version={{job.parameters.model_version}}"]
            task = self._task(key, ["deployment", command, *model, *self._where("${var.env}")], retries=0)
            # Serverless compute tries again by itself, which would ask for an approval that is not there yet.
            task["disable_auto_optimization"] = True
            if tasks:
                task["depends_on"] = [{"task_key": tasks[-1]["task_key"]}]
            tasks.append(task)
        job = self._job(names.DEPLOYMENT, "Gate, approval, promotion of one model version", tasks)
        model_name = ".".join(
            (
                "${var.catalog}",
                self._reference("schemas", names.SCHEMA),
                self._reference("registered_models", names.MODEL),
            )
        )
        # Exactly these two: Databricks starts the job for each new version of the model, and fills them in.
        job["parameters"] = [{"name": "model_name", "default": model_name}, {"name": "model_version", "default": "1"}]
        return job

    def _job(self, name: str, description: str, tasks: list[dict[str, Any]], *, as_of: bool = True) -> dict[str, Any]:
        options = self.settings.jobs
        job: dict[str, Any] = {
            "name": names.key(self.use_case, name),
            "description": description,
            "tags": {"use_case": self.use_case},
            "max_concurrent_runs": 1,
            "queue": {"enabled": True},
            "timeout_seconds": options.timeout_minutes * 60,
            "health": {
                "rules": [
                    {"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": options.warn_after_minutes * 60}
                ]
            },
        }
        told = f"${{var.{names.notify_variable(self.use_case)}}}"
        job["email_notifications"] = {
            "on_failure": told,
            "on_duration_warning_threshold_exceeded": told,
            "no_alert_for_skipped_runs": True,
        }
        cron = getattr(options.schedules, name, None)
        if cron:
            job["schedule"] = {"quartz_cron_expression": cron, "timezone_id": options.timezone}
        # An empty one is left out by the CLI.
        job["performance_target"] = options.performance_target or "${var.performance_target}"
        job["budget_policy_id"] = options.budget_policy_id or "${var.budget_policy_id}"
        job["parameters"] = list(_PARAMETERS if as_of else _PARAMETERS[:1])
        dependencies = [
            "--index-url ${var.package_index}",
            f"-r {REQUIREMENTS}/{self.use_case}.txt",
            WHEEL,
        ]
        spec = {"environment_version": "${var.environment_version}", "dependencies": dependencies}
        job["environments"] = [{"environment_key": ENVIRONMENT, "spec": spec}]
        job["tasks"] = tasks
        return job

    def _task(self, key: str, arguments: list[str], *, retries: int | None = None) -> dict[str, Any]:
        options = self.settings.jobs
        tries = options.retries if retries is None else retries
        task: dict[str, Any] = {"task_key": key, "environment_key": ENVIRONMENT, "max_retries": tries}
        if tries:
            task["min_retry_interval_millis"] = options.retry_after_minutes * 60_000
        wheel = {"package_name": PACKAGE, "entry_point": ENTRY_POINT, "parameters": arguments}
        return task | {"python_wheel_task": wheel}

    def _at(self) -> list[str]:
        return [*self._where(), f"--as-of={_AS_OF}"]

    def _where(self, env: str = _ENV) -> list[str]:
        # With "=", so that an empty prefix is an argument, too.
        experiment = f"--experiment={self._reference('experiments', names.EXPERIMENT)}"
        catalog = "--catalog=${var.catalog}"
        return ["--workspace=databricks", f"--env={env}", catalog, "--prefix=${var.prefix}", experiment]

    def _reference(self, kind: str, part: str) -> str:
        return f"${{resources.{kind}.{names.key(self.use_case, part)}.name}}"

    def _job_id(self, part: str) -> str:
        return f"${{resources.jobs.{names.key(self.use_case, part)}.id}}"


def over_all(settings: dict[str, UseCaseSettings]) -> dict[str, Any]:
    """Return the job that runs the main pipelines of all use cases, side by side: none waits for another.

    Args:
        settings: The settings of each use case.
    """
    parameters = {"env": _ENV, "as_of": _AS_OF}
    tasks = [
        _run_job(name, f"${{resources.jobs.{names.key(name, names.MAIN_PIPELINE)}.id}}", parameters)
        for name in sorted(settings)
    ]
    # Each use case's jobs tell of their own failures, and stop by their own limits.
    longest = max(item.jobs.timeout_minutes for item in settings.values())
    return {
        "name": names.MAIN_PIPELINE,
        "description": "The whole cycle of every use case",
        "max_concurrent_runs": 1,
        "queue": {"enabled": True},
        "timeout_seconds": longest * 60 * len(_CYCLE),
        "parameters": list(_PARAMETERS),
        "tasks": tasks,
    }


def _run_job(task_key: str, job_id: str, parameters: dict[str, str]) -> dict[str, Any]:
    return {"task_key": task_key, "run_job_task": {"job_id": job_id, "job_parameters": parameters}}
