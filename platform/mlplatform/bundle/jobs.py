"""The jobs of a use case: who runs them, when, with what, and the tasks of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlplatform.config import UseCaseSettings
from mlplatform.models.promotion import APPROVAL_TAG

PACKAGE = ENTRY_POINT = "mlplatform"
ENVIRONMENT = "default"
# A path relative to the folder of the resources file.
WHEEL = "../dist/*.whl"
PINNED = ("mlflow", "scikit-learn", "databricks-feature-engineering")
ROLES = ("trainer", "promoter", "scorer")
_AS_OF, _ENV = "{{job.parameters.as_of}}", "{{job.parameters.env}}"
_START_DATE = "{{job.start_time.iso_date}}"


@dataclass(frozen=True)
class Jobs:
    """Makes the jobs of one use case.

    Attributes:
        use_case: Its name.
        settings: Its settings.
        pins: `package==version` of what the jobs install beside the wheel.
    """

    use_case: str
    settings: UseCaseSettings
    pins: tuple[str, ...]

    @property
    def manual(self) -> bool:
        """Whether a person approves promotions, so that a deployment job is there."""
        return self.settings.gate.approval == "manual"

    def all(self) -> dict[str, dict[str, Any]]:
        """Return the jobs by their keys, in the order in which they run."""
        made = {
            "setup": self._setup(),
            "features": self._stages("features", "Ingest, refine, features", ("ingest", "refine", "features")),
            "train": self._train(),
            "score": self._stages("score", "Batch scoring with the champion", ("score",)),
            "monitor": self._monitor(),
            "main_pipeline": self._main_pipeline(),
        }
        if self.manual:
            made["deployment"] = self._deployment()
        return {f"{self.use_case}_{name}": job for name, job in made.items()}

    def run_as(self) -> dict[str, str]:
        """Return the role that runs each job where they are split; jobs that are not named run as the target says.

        Only an owner of a model may set an alias, and the promoter is one: what sets aliases runs as the promoter.
        """
        roles = {
            "features": "trainer",
            "train": "trainer" if self.manual else "promoter",
            "score": "scorer",
            "monitor": "trainer",
        }
        if self.manual:
            roles["deployment"] = "promoter"
        return {f"{self.use_case}_{name}": role for name, role in roles.items()}

    def _setup(self) -> dict[str, Any]:
        options = [f"--expect-schema={self._reference('schemas', 'name')}"]
        options += [f"--{role}=${{var.{role}}}" for role in ROLES]
        if self.manual:
            options.append(f"--deployment-job=${{resources.jobs.{self.use_case}_deployment.id}}")
        task = self._task("setup", ["setup", self.use_case, *self._where(), *options])
        return self._job("setup", "Tables, model, tags, grants: what the bundle cannot declare", [task], as_of=False)

    def _train(self) -> dict[str, Any]:
        if self.manual:
            return self._stages("train", "Trains and registers; the deployment job goes on", ("train",))
        return self._stages("train", "Trains a challenger and puts it to the gate", ("train", "gate"))

    def _monitor(self) -> dict[str, Any]:
        job = self._stages("monitor", "Drift, performance, alerts, the retrain decision", ("monitor",))
        start = f"--start-job=${{resources.jobs.{self.use_case}_train.id}}"
        retrain = self._task("retrain", ["retrain", self.use_case, *self._at(), start])
        job["tasks"].append(retrain | {"depends_on": [{"task_key": "monitor"}]})
        return job

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
        for name in ("setup", "features", "train", "score", "monitor"):
            parameters = {"env": _ENV} | ({"as_of": _AS_OF} if name != "setup" else {})
            job_id = f"${{resources.jobs.{self.use_case}_{name}.id}}"
            task: dict[str, Any] = {"task_key": name, "run_job_task": {"job_id": job_id, "job_parameters": parameters}}
            if tasks:
                task["depends_on"] = [{"task_key": tasks[-1]["task_key"]}]
            tasks.append(task)
        job = self._job("main_pipeline", "The whole cycle in order", tasks)
        del job["environments"]
        # It waits for five others.
        job["timeout_seconds"] *= len(tasks)
        job["health"]["rules"][0]["value"] *= len(tasks)
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
        job = self._job("deployment", "Gate, approval, promotion of one model version", tasks)
        model_name = ".".join(
            ("${var.env}", *(self._reference(kind, "name") for kind in ("schemas", "registered_models")))
        )
        # Exactly these two: Databricks starts the job for each new version of the model, and fills them in.
        job["parameters"] = [{"name": "model_name", "default": model_name}, {"name": "model_version", "default": "1"}]
        return job

    def _job(self, name: str, description: str, tasks: list[dict[str, Any]], *, as_of: bool = True) -> dict[str, Any]:
        options = self.settings.jobs
        job: dict[str, Any] = {
            "name": f"{self.use_case}_{name}",
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
        if options.notify:
            told = list(options.notify)
            job["email_notifications"] = {
                "on_failure": told,
                "on_duration_warning_threshold_exceeded": list(told),
                "no_alert_for_skipped_runs": True,
            }
        cron = getattr(options.schedules, name, None)
        if cron:
            job["schedule"] = {"quartz_cron_expression": cron, "timezone_id": options.timezone}
        job["parameters"] = [{"name": "env", "default": "${var.env}"}]
        if as_of:
            job["parameters"].append({"name": "as_of", "default": _START_DATE})
        spec = {"environment_version": "${var.environment_version}", "dependencies": [WHEEL, *self.pins]}
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
        experiment = f"--experiment={self._reference('experiments', 'name')}"
        return ["--workspace=databricks", f"--env={env}", "--prefix=${var.prefix}", experiment]

    def _reference(self, kind: str, attribute: str) -> str:
        return f"${{resources.{kind}.{self.use_case}.{attribute}}}"
