"""The resources file of a use case: its Unity Catalog objects, experiment, jobs, and who may do what in production."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlplatform.bundle.jobs import PINNED, ROLES, Jobs
from mlplatform.bundle.project import RESOURCES, Project
from mlplatform.config import CONFIG_FILE, UseCaseSettings, load_settings
from mlplatform.errors import ConfigError

HEADER = """\
# Generated: edit use_cases/{name}/config.yml (sections jobs, gate.approval) and run: mlplatform bundle generate {name}
# What all use cases share stands in shared.yml, what the targets share in ../databricks.yml.
"""
_MARK = "# Generated: edit use_cases/"
_PROTECTED = {"lifecycle": {"prevent_destroy": True}}


@dataclass(frozen=True)
class Resources:
    """The resources file of a use case, as it should be.

    Attributes:
        use_case: Its name.
        path: The file.
        text: What should stand in it; empty when there is no such use case, and the file should not be there.
    """

    use_case: str
    path: Path
    text: str

    def difference(self) -> str:
        """Return what would have to change in the file, as a unified diff; empty when nothing does."""
        there = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        where = f"{RESOURCES}/{self.path.name}"
        lines = difflib.unified_diff(
            there.splitlines(keepends=True), self.text.splitlines(keepends=True), f"{where} (there)", f"{where} (made)"
        )
        return "".join(lines)

    def write(self) -> bool:
        """Write the file, or remove it; return whether that changed anything."""
        if not self.difference():
            return False
        if self.text:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(self.text, encoding="utf-8")
        else:
            self.path.unlink()
        return True


def generate(project: Project, use_case: str, folder: Path) -> Resources:
    """Make the resources file of a use case from its settings.

    Args:
        project: The project that deploys it.
        use_case: Its name.
        folder: Its folder.

    Raises:
        ConfigError: If the settings are wrong, or ask for other jobs in one target than in another.
    """
    settings = _same_in_all_targets(project, use_case, folder)
    jobs = Jobs(use_case, settings, tuple(project.pins((*PINNED, *settings.jobs.packages))))
    resources = _resources(use_case, settings, jobs)
    made: dict[str, Any] = {"resources": resources}
    if project.production:
        production = _in_production(use_case, jobs)
        for kind in ("schemas", "volumes", "registered_models", "experiments"):
            for key, added in production[kind].items():
                # The bundle's schema wants their names wherever they stand.
                production[kind][key] = _names(resources[kind][key]) | added
        made["targets"] = {name: {"resources": production} for name in project.production}
    text = yaml.dump(made, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=160)
    return Resources(use_case, project.file(use_case), HEADER.format(name=use_case) + text)


def orphans(project: Project, known: Sequence[str]) -> list[Resources]:
    """Return the generated files of use cases that are no more."""
    files = sorted((project.root / RESOURCES).glob("*.yml"))
    return [
        Resources(path.stem, path, "")
        for path in files
        if path.stem not in known and path.read_text(encoding="utf-8").startswith(_MARK)
    ]


class _Dumper(yaml.SafeDumper):
    """Writes lists indented under their key, and no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _same_in_all_targets(project: Project, use_case: str, folder: Path) -> UseCaseSettings:
    """Read the settings of all targets; the jobs are one text for all, so that what makes them may not differ."""
    by_target = {name: load_settings(folder / CONFIG_FILE, name) for name in project.targets}
    first, *others = by_target
    for other in others:
        a, b = by_target[first], by_target[other]
        for key, differs in (("jobs", a.jobs != b.jobs), ("gate.approval", a.gate.approval != b.gate.approval)):
            if differs:
                raise ConfigError(
                    f"{use_case}: {key} differs between {first} and {other}, but one file makes the jobs of both.",
                    hint="Take it out of the section environments; what a target alone has stands in databricks.yml.",
                )
    return by_target[first]


def _resources(use_case: str, settings: UseCaseSettings, jobs: Jobs) -> dict[str, Any]:
    schema = f"${{resources.schemas.{use_case}.name}}"
    comment = settings.description or f"Use case {use_case}"
    return {
        "schemas": {use_case: {"catalog_name": "${var.env}", "name": use_case, "comment": comment}},
        "volumes": {
            f"{use_case}_landing": {
                "catalog_name": "${var.env}",
                "schema_name": schema,
                "name": "landing",
                "volume_type": "MANAGED",
                "comment": "Files as they land",
            }
        },
        "registered_models": {
            use_case: {"catalog_name": "${var.env}", "schema_name": schema, "name": "model", "comment": comment}
        },
        "experiments": {use_case: {"name": f"${{var.experiments}}/mlplatform-${{bundle.target}}-{use_case}"}},
        "jobs": jobs.all(),
    }


def _names(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: resource[name] for name in ("catalog_name", "schema_name", "name") if name in resource}


def _in_production(use_case: str, jobs: Jobs) -> dict[str, Any]:
    """Return what a target in production adds: grants, who runs what, and that nothing with data is destroyed.

    In development one person owns everything that is deployed, so that there is nothing to grant.
    """

    def grants(**privileges: list[str]) -> list[dict[str, Any]]:
        return [
            {"principal": f"${{var.{role}}}", "privileges": privileges[role]} for role in ROLES if role in privileges
        ]

    def permissions(**levels: str) -> list[dict[str, str]]:
        return [{"level": level, "service_principal_name": f"${{var.{role}}}"} for role, level in levels.items()]

    # Writing is granted table by table, by the setup job: a schema's MODIFY would be one on every table.
    reads = ["USE_SCHEMA", "SELECT", "EXECUTE"]
    split: dict[str, dict[str, Any]] = {
        key: {"run_as": {"service_principal_name": f"${{var.{role}}}"}} for key, role in jobs.run_as().items()
    }
    # The retrain decision starts the training job.
    split[f"{use_case}_train"] |= {"permissions": permissions(trainer="CAN_MANAGE_RUN")}
    return {
        "schemas": {use_case: {"grants": grants(trainer=reads, promoter=reads, scorer=reads), **_PROTECTED}},
        "volumes": {f"{use_case}_landing": {"grants": grants(trainer=["READ_VOLUME"]), **_PROTECTED}},
        "registered_models": {use_case: {"owner": "${var.model_owners}", **_PROTECTED}},
        "experiments": {
            use_case: {
                "permissions": permissions(trainer="CAN_EDIT", promoter="CAN_EDIT", scorer="CAN_READ"),
                **_PROTECTED,
            }
        },
        "jobs": split,
    }
