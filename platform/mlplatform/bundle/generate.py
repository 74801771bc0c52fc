"""The resources of a use case: its Unity Catalog objects, experiment, jobs, and who may do what in production."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mlplatform.bundle import names
from mlplatform.bundle.files import MARK, GeneratedFile
from mlplatform.bundle.jobs import ROLES, UseCaseJobs, over_all
from mlplatform.bundle.project import REQUIREMENTS, RESOURCES, Project
from mlplatform.bundle.requirements import LOCK_FILE, export
from mlplatform.config.settings import CONFIG_FILE, UseCaseSettings, load_settings
from mlplatform.errors import ConfigError

HEADER = (
    MARK
    + """: edit use_cases/{name}/config.yml (sections jobs, gate.approval) and run: mlplatform bundle generate {name}
# What all use cases share stands in shared.yml, what the targets share in ../databricks.yml.
"""
)
REQUIREMENTS_HEADER = (
    MARK
    + """ from {lock}: what the jobs of {name} install, beside the wheel. To make it anew: mlplatform bundle generate
# Spark, its clients and IPython are not here: those of the runtime are used.
"""
)
MAIN_HEADER = MARK + ": the main pipelines of all use cases in one job. Run: mlplatform bundle generate\n"
_PROTECTED = {"lifecycle": {"prevent_destroy": True}}


def generate(project: Project, use_case: str, folder: Path) -> list[GeneratedFile]:
    """Generate the files of a use case from its settings: its resources first, then what its jobs install.

    Args:
        project: The project that deploys it.
        use_case: Its name.
        folder: Its folder.

    Raises:
        ConfigError: If the settings are wrong, ask for other jobs in one target than in another, or if the use case's
            name makes the same resource keys as something else in the bundle.
    """
    names.check_names({*project.use_cases(), use_case}, project.taken, project.variables)
    settings = _same_in_all_targets(project, use_case, folder)
    jobs = UseCaseJobs(use_case, settings)
    resources = _resources(use_case, settings, jobs)
    notify = names.notify_variable(use_case)
    content: dict[str, Any] = {
        "variables": {
            notify: {
                "description": f"E-mail addresses told of failures and of long runs of {use_case}.",
                "type": "complex",
                "default": list(settings.jobs.notify),
            }
        },
        "resources": resources,
    }
    # In development one person looks at what they run.
    targets: dict[str, Any] = {
        name: {"variables": {notify: []}} for name in project.targets if name not in project.production
    }
    if project.production:
        production = _in_production(use_case, jobs)
        for kind in ("schemas", "volumes", "registered_models", "experiments"):
            for key, added in production[kind].items():
                # The bundle's schema wants their names wherever they stand.
                production[kind][key] = _names(resources[kind][key]) | added
        targets |= {name: {"resources": production} for name in project.production}
    content["targets"] = targets
    requirements = REQUIREMENTS_HEADER.format(name=use_case, lock=LOCK_FILE) + export(project.root, settings.packages)
    return [
        _yaml(project, f"{use_case}.yml", HEADER.format(name=use_case), content, use_case),
        GeneratedFile(project.root, f"{RESOURCES}/{REQUIREMENTS}/{use_case}.txt", requirements, use_case),
    ]


def generate_shared(project: Project) -> list[GeneratedFile]:
    """Generate what belongs to no use case alone: the job over all of them.

    Files of use cases that no longer exist are among them, without content, and so removed.
    """
    use_cases = project.use_cases()
    names.check_names(use_cases, project.taken, project.variables)
    settings = {name: load_settings(folder / CONFIG_FILE, project.targets[0]) for name, folder in use_cases.items()}
    name = f"{names.MAIN_PIPELINE}.yml"
    if settings:
        content = {"resources": {"jobs": {names.MAIN_PIPELINE: over_all(settings)}}}
        main = _yaml(project, name, MAIN_HEADER, content)
    else:
        main = GeneratedFile(project.root, f"{RESOURCES}/{name}", "")
    return [main, *_orphans(project, {*use_cases, names.MAIN_PIPELINE})]


def _orphans(project: Project, existing: set[str]) -> list[GeneratedFile]:
    """Return the generated files of use cases that no longer exist."""
    folder = project.root / RESOURCES
    files = sorted([*folder.glob("*.yml"), *(folder / REQUIREMENTS).glob("*.txt")])
    return [
        GeneratedFile(project.root, path.relative_to(project.root).as_posix(), "", path.stem)
        for path in files
        if path.stem not in existing and path.read_text(encoding="utf-8").startswith(MARK)
    ]


def _yaml(project: Project, name: str, header: str, content: dict[str, Any], use_case: str = "") -> GeneratedFile:
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=160)
    return GeneratedFile(project.root, f"{RESOURCES}/{name}", header + text, use_case)


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
    for target, settings in by_target.items():
        deployed = project.catalogs.get(target, settings.catalog)
        if settings.catalog is not None and deployed != settings.catalog:
            raise ConfigError(
                f"{use_case}: its config.yml puts it into the catalog {settings.catalog} in {target}, but the variable "
                f"catalog of that target, in databricks.yml, is {deployed}.",
                hint="A target deploys into one catalog: say the same in both, or take it out of config.yml.",
            )
    return by_target[first]


def _resources(use_case: str, settings: UseCaseSettings, jobs: UseCaseJobs) -> dict[str, Any]:
    schema = f"${{resources.schemas.{names.key(use_case, names.SCHEMA)}.name}}"
    catalog = "${var.catalog}"
    comment = settings.description or f"Use case {use_case}"
    return {
        "schemas": {names.key(use_case, names.SCHEMA): {"catalog_name": catalog, "name": use_case, "comment": comment}},
        "volumes": {
            names.key(use_case, names.LANDING): {
                "catalog_name": catalog,
                "schema_name": schema,
                "name": "landing",
                "volume_type": "MANAGED",
                "comment": "Files as they land",
            }
        },
        "registered_models": {
            names.key(use_case, names.MODEL): {
                "catalog_name": catalog,
                "schema_name": schema,
                "name": "model",
                "comment": comment,
            }
        },
        "experiments": {
            names.key(use_case, names.EXPERIMENT): {
                "name": f"${{var.experiments}}/mlplatform-${{bundle.target}}-{use_case}"
            }
        },
        "jobs": jobs.all(),
    }


def _names(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: resource[name] for name in ("catalog_name", "schema_name", "name") if name in resource}


def _in_production(use_case: str, jobs: UseCaseJobs) -> dict[str, Any]:
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
    # The retrain decision, which runs as the trainer, starts these.
    for job in (names.TRAIN, names.RECALIBRATE):
        if (key := names.key(use_case, job)) in split:
            split[key] |= {"permissions": permissions(trainer="CAN_MANAGE_RUN")}
    return {
        "schemas": {
            names.key(use_case, names.SCHEMA): {
                "grants": grants(trainer=reads, promoter=reads, scorer=reads),
                **_PROTECTED,
            }
        },
        "volumes": {names.key(use_case, names.LANDING): {"grants": grants(trainer=["READ_VOLUME"]), **_PROTECTED}},
        "registered_models": {names.key(use_case, names.MODEL): dict(_PROTECTED)},
        "experiments": {
            names.key(use_case, names.EXPERIMENT): {
                "permissions": permissions(trainer="CAN_EDIT", promoter="CAN_EDIT", scorer="CAN_READ"),
                **_PROTECTED,
            }
        },
        "jobs": split,
    }
