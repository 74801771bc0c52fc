"""All settings of a use case (`config.yml`), and how they are read and checked: an unknown key is an error."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from mlplatform.config import task_rules
from mlplatform.config.base import Settings
from mlplatform.config.environments import ENVIRONMENTS, read_config
from mlplatform.config.gate import GateSettings
from mlplatform.config.jobs import JobSettings
from mlplatform.config.label import LabelSettings
from mlplatform.config.maintenance import MaintenanceSettings
from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.config.problems import problems
from mlplatform.config.recalibration import RecalibrationSettings
from mlplatform.config.renamed import under_new_names, warn_of_old_names
from mlplatform.config.scoring import ScoringSettings
from mlplatform.config.simulation import SimulationSettings
from mlplatform.config.training import TrainingSettings
from mlplatform.config.yaml_file import Place
from mlplatform.errors import ConfigError, UsageError
from mlplatform.naming import check_part
from mlplatform.task import Task, TaskName, task_of

CONFIG_FILE = "config.yml"
FOLLOWS: Mapping[Place, Place] = {("monitoring", "performance_floor"): ("gate", "floor")}
"""Settings that take another one's value where they are not set."""


def _catalog(name: str) -> str:
    try:
        return check_part(name, of=name)
    except UsageError as error:
        raise ValueError(f"{error.message} {error.hint}") from None


class UseCaseSettings(Settings):
    """Everything a use case's `config.yml` may say."""

    owner: str = Field(min_length=1, description="Who is asked when it breaks; tagged on runs and model versions.")
    description: str = ""
    task: TaskName = "classification"
    catalog: Annotated[str, AfterValidator(_catalog)] | None = Field(
        default=None,
        description="Catalog of all the use case's objects, where the environment's name is not the catalog's; may "
        "differ by environment.",
    )
    landing: str = Field(
        default="data", description="Where files land: relative to the use case's folder, or absolute."
    )
    changes: Literal["auto", "ask"] = Field(
        default="auto",
        description="What a run does where an edit gives tables other values that no model in use reads: compute them "
        "anew by itself, or leave that to `mlplatform apply`. What is breaking always is.",
    )
    label: LabelSettings
    training: TrainingSettings = TrainingSettings()
    scoring: ScoringSettings = ScoringSettings()
    gate: GateSettings
    monitoring: MonitoringSettings = MonitoringSettings()
    recalibration: RecalibrationSettings = RecalibrationSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    simulation: SimulationSettings | None = None
    jobs: JobSettings = JobSettings()

    @property
    def kind_of_task(self) -> Task:
        """What is predicted, and what follows from it."""
        return replace(task_of(self.task), level=self.label.quantile, classes=self.label.classes)

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that the jobs need beside the wheel: those declared, and the search's library."""
        library = self.training.search.library
        # hyperopt is a dependency of the wheel itself.
        searched = () if library == "hyperopt" else (library,)
        return tuple(dict.fromkeys([*self.jobs.packages, *searched]))

    @model_validator(mode="after")
    def _floor_of_the_gate(self) -> Self:
        if "performance_floor" not in self.monitoring.model_fields_set:
            followed = self.monitoring.model_copy(update={"performance_floor": self.gate.floor})
            object.__setattr__(self, "monitoring", followed)
        return self

    @model_validator(mode="after")
    def _enough_fits(self) -> Self:
        """Let the bounds that are not set hold the least that is needed; those that are set must."""
        for name in ("training", "gate"):
            options: TrainingSettings | GateSettings = getattr(self, name)
            if options.max_rows >= options.min_rows:
                continue
            if "max_rows" in options.model_fields_set:
                so = "there would be no training" if name == "training" else "nothing would ever be decided"
                raise ValueError(f"{name}.max_rows is below {name}.min_rows: {so}")
            object.__setattr__(self, name, options.model_copy(update={"max_rows": options.min_rows}))
        return self

    @model_validator(mode="after")
    def _one_limit_of_nulls(self) -> Self:
        """Let monitor and gate go by one limit, whichever of its two names was used."""
        limit = self.gate.features.max_null_increase
        if "max_null_increase" in self.monitoring.model_fields_set:
            # Written twice, the gate must not become laxer than either says.
            written = [it for it in (limit, self.monitoring.max_null_increase) if it is not None]
            limits = self.gate.features.model_copy(update={"max_null_increase": min(written, default=None)})
            object.__setattr__(self, "gate", self.gate.model_copy(update={"features": limits}))
        elif limit is not None:
            object.__setattr__(self, "monitoring", self.monitoring.model_copy(update={"max_null_increase": limit}))
        return self

    @model_validator(mode="after")
    def _goes_with_the_task(self) -> Self:
        task_rules.check(self)
        return self


def load_settings(path: Path, env: str) -> UseCaseSettings:
    """Read a use case's settings for one environment.

    The section `environments.<env>` of the file, if it has one, is laid over the rest.

    Args:
        path: The `config.yml`.
        env: Name of the environment: `dev`, `staging`, `prod`, or one that the file declares.

    Raises:
        ConfigError: If the file is missing, is not YAML, or holds unknown keys or wrong values; all are listed at once.
        UsageError: If the environment does not exist.
    """
    written = read_config(path)
    merged = _merge(under_new_names(written.settings), under_new_names(written.section(env)))
    warn_of_old_names(path, written.lines, (ENVIRONMENTS, env))
    try:
        return UseCaseSettings.model_validate(merged)
    except ValidationError as error:
        wrong = problems(error, UseCaseSettings, written.lines, env)
        raise ConfigError(
            "\n".join([f"{path} has {error.error_count()} wrong setting(s):", *wrong]),
            hint="`mlplatform config schema` prints every setting there is, with its meaning.",
        ) from None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged
