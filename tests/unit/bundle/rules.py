"""What the Databricks CLI (1.13) and the jobs API refuse, or warn of, in a bundle: restated here as a list of our own.

Under `--strict`, which deployments use, a warning is a refusal. Each rule takes a bundle as one target sees it and
yields what breaks it.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from tests.unit.bundle.support import Bundle, matched, strings

Rule = Callable[[Bundle], Iterator[str]]
RULES: list[Rule] = []

REQUIRED = {
    "jobs": ("name",),
    "schemas": ("name", "catalog_name"),
    "volumes": ("name", "catalog_name", "schema_name", "volume_type"),
    "registered_models": ("name", "catalog_name", "schema_name"),
    "experiments": ("name",),
}
REQUIRED_OF_A_JOB = {
    "parameters": ("name", "default"),
    "environments": ("environment_key", "spec"),
    "tasks": ("task_key",),
    "permissions": ("level",),
}
# Nothing else of the bundle's surroundings is used; a slip in a name is found.
SURROUNDINGS = {
    "bundle.name",
    "bundle.target",
    "workspace.current_user.short_name",
    "workspace.current_user.userName",
}
ON_COMPUTE = ("python_wheel_task", "spark_python_task", "spark_jar_task", "dbt_task")
COMPUTE = ("environment_key", "job_cluster_key", "existing_cluster_id", "new_cluster")
# A bundle's permissions become those of its resources: which kinds take which level.
TAKES = {"jobs": {"CAN_MANAGE", "CAN_VIEW", "CAN_RUN"}, "experiments": {"CAN_MANAGE", "CAN_VIEW"}}
PRINCIPALS = ("user_name", "group_name", "service_principal_name")


def rule(check: Rule) -> Rule:
    RULES.append(check)
    return check


def broken(bundle: Bundle) -> list[str]:
    return [f"{check.__name__}: {found}" for check in RULES for found in check(bundle)]


@rule
def keys_are_unique(bundle: Bundle) -> Iterator[str]:
    """A key stands once over all kinds of resources and scripts, and in one file, apart from what targets add."""
    found = defaultdict(list)
    for name, content in bundle.files.items():
        for kind, items in (content.get("resources") or {}).items():
            for key in items or {}:
                found[key].append(f"{name}: {kind}")
        for key in content.get("scripts") or {}:
            found[key].append(f"{name}: scripts")
    yield from (f"{key} in {places}" for key, places in found.items() if len(places) > 1)
    kinds = defaultdict(set)
    for kind, items in bundle.resources.items():
        for key in items or {}:
            kinds[key].add(kind)
    yield from (f"{key} is of {sorted(of)}" for key, of in kinds.items() if len(of) > 1)


@rule
def nothing_is_null(bundle: Bundle) -> Iterator[str]:
    for kind, items in bundle.resources.items():
        if items is None:
            yield kind
        yield from (f"{kind}.{key}" for key, item in (items or {}).items() if item is None)


@rule
def what_is_required_is_there(bundle: Bundle) -> Iterator[str]:
    for kind, key, item in bundle.each():
        yield from (f"{kind}.{key}: {name}" for name in REQUIRED.get(kind, ()) if not item.get(name))
        for part, names in REQUIRED_OF_A_JOB.items() if kind == "jobs" else ():
            for entry in item.get(part) or []:
                yield from (f"jobs.{key}.{part}: {name}" for name in names if entry.get(name) is None)
        for grant in item.get("grants") or []:
            if not grant.get("principal") or not grant.get("privileges"):
                yield f"{kind}.{key}: a grant of {grant}"
    if not bundle.main.get("bundle", {}).get("name"):
        yield "bundle: name"


@rule
def sync_patterns_match_files(bundle: Bundle) -> Iterator[str]:
    """Files of the repository: what .gitignore names is not there on a clean checkout, and would not be synced."""
    for part in ("include", "exclude"):
        for pattern in bundle.merged.get("sync", {}).get(part) or []:
            if not matched(pattern, bundle.tracked):
                yield f"sync.{part}: {pattern}"


@rule
def files_that_are_named_are_synced(bundle: Bundle) -> Iterator[str]:
    """Requirements are read in the workspace, where a file is that exists and that no pattern keeps out."""
    excluded = {
        path
        for pattern in bundle.merged.get("sync", {}).get("exclude") or []
        for path in matched(pattern, bundle.tracked)
    }
    for _, key, job in bundle.each("jobs"):
        for environment in job.get("environments") or []:
            for text in environment["spec"]["dependencies"]:
                if text.startswith("-r "):
                    path = posixpath.normpath(posixpath.join("resources", text.removeprefix("-r ").strip()))
                    if path not in bundle.tracked or path in excluded:
                        yield f"jobs.{key}: {path}"


@rule
def not_everybody_may_write_what_runs(bundle: Bundle) -> Iterator[str]:
    workspace = bundle.merged.get("workspace") or {}
    for name, path in workspace.items():
        if name.endswith("_path"):
            clean = posixpath.normpath("/" + str(path).lstrip("/")).removeprefix("/Workspace")
            if clean == "/Shared" or clean.startswith("/Shared/"):
                yield f"workspace.{name}: {path} is writable by all users of the workspace"
    if bundle.mode == "production" and not bundle.target_part.get("workspace", {}).get("root_path"):
        yield "workspace.root_path: a target in production mode has to say it"
    if bundle.mode == "production":
        folder = bundle.value("experiments")
        if folder == "/Shared" or folder.startswith(("/Shared/", "/Workspace/Shared")):
            yield f"experiments: what lies below {folder} all users may read and change"
    for permission in bundle.merged.get("permissions") or []:
        if permission.get("group_name") in ("users", "account users"):
            yield f"permissions: {permission['level']} on jobs and experiments for all users"


@rule
def permissions_name_each_once(bundle: Bundle) -> Iterator[str]:
    """The bundle's permissions are those of each job and experiment as well: who has some there is warned of."""
    own = bundle.merged.get("permissions") or []
    for permission in own:
        if permission.get("level") not in {"CAN_MANAGE", "CAN_VIEW", "CAN_RUN"}:
            yield f"permissions: {permission}"
        if sum(name in permission for name in PRINCIPALS) != 1:
            yield f"permissions: {permission} has to name one principal"
    for kind, key, item in bundle.each():
        for permission in item.get("permissions") or []:
            for other in own:
                same = any(permission.get(name) and permission.get(name) == other.get(name) for name in PRINCIPALS)
                if same and other["level"] in TAKES.get(kind, ()):
                    yield f"{kind}.{key}: {permission} and {other}"


@rule
def the_deployer_is_named(bundle: Bundle) -> Iterator[str]:
    if bundle.mode == "production":
        manages = {"level": "CAN_MANAGE"} | (bundle.merged.get("run_as") or {})
        if manages not in (bundle.merged.get("permissions") or []):
            yield f"permissions: no {manages}"


@rule
def references_resolve(bundle: Bundle) -> Iterator[str]:
    parts = {name: bundle.merged.get(name) for name in ("workspace", "permissions", "run_as", "artifacts", "presets")}
    texts = [*strings(bundle.resources), *strings(parts), *strings(bundle.variables)]
    for reference in sorted({text for item in texts for text in re.findall(r"\$\{([^}]*)\}", item)}):
        kind, *rest = reference.split(".")
        if kind == "var":
            if len(rest) != 1 or rest[0] not in bundle.variables:
                yield f"{reference} is no variable"
            elif not bundle.has_value(rest[0]):
                yield f"{reference} has no value in {bundle.target}"
        elif kind == "resources":
            item = ((bundle.resources.get(rest[0]) or {}).get(rest[1]) or {}) if len(rest) == 3 else {}
            if not item or (rest[2] != "id" and rest[2] not in item):
                yield f"{reference} leads nowhere"
        elif reference not in SURROUNDINGS:
            yield f"{reference} is unknown"
    for kind, key, _ in bundle.each():
        if "${" in key:
            yield f"{kind}.{key}: a key holds a reference"
    if "${" in str(bundle.main["bundle"].get("name")):
        yield "bundle.name holds a reference"


@rule
def variables_are_declared(bundle: Bundle) -> Iterator[str]:
    for name, value in bundle.target_variables.items():
        if name not in bundle.variables:
            yield f"{bundle.target} sets {name}, which is none"
        elif isinstance(value, list) != (bundle.variables[name].get("type") == "complex"):
            yield f"{bundle.target} sets {name} to {value!r}"


@rule
def tasks_have_compute(bundle: Bundle) -> Iterator[str]:
    for _, key, job in bundle.each("jobs"):
        environments = {item.get("environment_key") for item in job.get("environments") or []}
        for task in job.get("tasks") or []:
            name = f"jobs.{key}.{task.get('task_key')}"
            types = [item for item in task if item.endswith("_task")]
            if len(types) != 1:
                yield f"{name} is of {types or 'no type'}"
            if any(item in task for item in ON_COMPUTE) and not any(item in task for item in COMPUTE):
                yield f"{name} has no environment and no cluster"
            if "environment_key" in task and task["environment_key"] not in environments:
                yield f"{name}: its job has no environment {task['environment_key']}"


@rule
def tasks_depend_on_tasks_of_their_job(bundle: Bundle) -> Iterator[str]:
    for _, key, job in bundle.each("jobs"):
        names = [task.get("task_key") for task in job.get("tasks") or []]
        yield from (f"jobs.{key}: {name} twice" for name in {item for item in names if names.count(item) > 1})
        for task in job.get("tasks") or []:
            for other in task.get("depends_on") or []:
                if other["task_key"] not in names or other["task_key"] == task["task_key"]:
                    yield f"jobs.{key}.{task['task_key']} depends on {other['task_key']}"


@rule
def jobs_that_are_run_exist_and_take_the_parameters(bundle: Bundle) -> Iterator[str]:
    found = bundle.resources.get("jobs") or {}
    for _, key, job in bundle.each("jobs"):
        for task in job.get("tasks") or []:
            if "run_job_task" in task:
                called = re.fullmatch(r"\$\{resources\.jobs\.(\w+)\.id\}", str(task["run_job_task"].get("job_id")))
                if not called or called[1] not in found or called[1] == key:
                    yield f"jobs.{key}.{task['task_key']}: {task['run_job_task'].get('job_id')}"
                    continue
                takes = {item["name"] for item in found[called[1]].get("parameters") or []}
                given = set(task["run_job_task"].get("job_parameters") or {})
                yield from (f"jobs.{key}.{task['task_key']}: {name}" for name in sorted(given - takes))


@rule
def development_is_one_persons(bundle: Bundle) -> Iterator[str]:
    if bundle.mode == "development":
        if (bundle.merged.get("presets") or {}).get("trigger_pause_status") == "UNPAUSED":
            yield "presets.trigger_pause_status"
        for name, path in (bundle.merged.get("workspace") or {}).items():
            if name.endswith("_path") and "${workspace.current_user." not in path and not path.startswith("~/"):
                yield f"workspace.{name}: {path} is not of one user"
        for kind, key, item in bundle.each():
            for trigger in ("schedule", "trigger", "continuous"):
                if (item.get(trigger) or {}).get("pause_status") == "UNPAUSED":
                    yield f"{kind}.{key}: {trigger}"
    elif bundle.mode != "production":
        yield f"mode {bundle.mode!r}"


@rule
def nothing_is_sent_once_and_planned_for_ever(bundle: Bundle) -> Iterator[str]:
    """A model's owner goes to Unity Catalog when the model is created, and is a change in every plan afterwards."""
    yield from (
        f"registered_models.{key}: owner" for _, key, item in bundle.each("registered_models") if "owner" in item
    )
