"""What `mlplatform doctor --workspace databricks` looks at: packages, tools, the workspace, principals, tables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlplatform.cli.diagnosis import Diagnosis, installed
from mlplatform.cli.options import Options
from mlplatform.errors import MissingDependencyError, PlatformError

if TYPE_CHECKING:
    from mlplatform.workspace.databricks.principals import Principals
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

_PACKAGES = (("databricks-sdk",), ("databricks-feature-engineering",), ("mlflow", "mlflow-skinny"), ("scikit-learn",))
_CLI_VERSION = (1, 13)
_TOOL_SECONDS = 20
BUNDLE_FILE = "databricks.yml"
# The bundle's variables that name principals, and which of them have to belong to which group, and why.
_ROLES = ("deployer", "trainer", "promoter", "scorer")
_GROUPS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "model_owners": (("deployer", "promoter"), "only an owner moves the aliases of a model"),
    "readers": (("trainer", "promoter", "scorer"), "their tasks install the wheel"),
}


def databricks_diagnoses(options: Options) -> Iterator[Diagnosis]:
    """Look at the packages and tools, then at the workspace; what cannot be reached is a diagnosis, not an error."""
    from mlplatform.workspace import RUNTIME
    from mlplatform.workspace.databricks.principals import Principals

    yield from _packages()
    if not os.environ.get(RUNTIME):  # on Databricks itself nothing is deployed from
        yield from _tools()
    try:
        for catalog, names in options.all_by_catalog().items():
            with replace(options, catalog=catalog).open() as ws:
                yield from _workspace(_databricks(ws), names)
        with options.open() as ws:
            yield from _principals(Principals(_databricks(ws).client), options.env)
            yield _asked("feature models are registered", lambda: _registration(_databricks(ws)))
            yield _spark(_databricks(ws))
    except PlatformError as error:
        yield Diagnosis("the workspace answers", well=False, found=error.message, mend=error.hint)


def _databricks(ws: object) -> DatabricksWorkspace:
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

    assert isinstance(ws, DatabricksWorkspace)
    return ws


def _packages() -> Iterator[Diagnosis]:
    for names in _PACKAGES:
        versions = [version for name in names if (version := installed(name))]
        yield Diagnosis(
            names[0], bool(versions), (versions or ["not installed"])[0], "pip install 'mlplatform[databricks]'"
        )


def _tools() -> Iterator[Diagnosis]:
    """Look for what deploys: the command line, and uv, which builds the wheel."""
    least = ".".join(map(str, _CLI_VERSION))
    mend = f"install Databricks CLI {least} or newer: https://docs.databricks.com/dev-tools/cli/install"
    said = _version_said("databricks")
    # The older one, of PyPI, says "Version 0.18.0", and deploys no bundles.
    number = re.search(r"v(\d+)\.(\d+)", said)
    new = number is not None and (int(number[1]), int(number[2])) >= _CLI_VERSION
    yield Diagnosis("Databricks CLI", new, said or "not on the path", mend)
    said = _version_said("uv")
    yield Diagnosis("uv", bool(said), said or "not on the path", "pip install uv")


def _version_said(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        return ""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip().partition("\n")[0] if done.returncode == 0 else ""


def _workspace(ws: DatabricksWorkspace, names: list[str]) -> Iterator[Diagnosis]:
    yield _asked("the workspace answers", lambda: f"as {ws.user}")
    catalog = _catalog(ws)
    yield catalog
    if catalog.well:
        yield from _deployed(ws, names)


def _catalog(ws: DatabricksWorkspace) -> Diagnosis:
    from mlplatform.workspace.databricks.catalogs import owner_of_catalog

    def look() -> str:
        owner = owner_of_catalog(ws.client, ws.catalog)
        if owner is None:
            raise LookupError(f"there is no catalog {ws.catalog}, or {ws.user} may not see it")
        return f"owned by {owner}"

    return _asked(
        f"catalog {ws.catalog}",
        look,
        f"let an administrator create it and grant USE CATALOG, or name another: `catalog` of config.yml for {ws.env}, "
        "or --catalog",
    )


def _deployed(ws: DatabricksWorkspace, names: list[str]) -> Iterator[Diagnosis]:
    from mlplatform.naming import CHAMPION, Namespace

    for name in names:
        namespace = Namespace(ws.catalog, name, ws.prefix)
        schema = namespace.table("x").schema

        def tables(schema: str = schema) -> str:
            count = len(ws.tables.list(ws.catalog, schema))
            if not count:
                raise LookupError(f"no table in {ws.catalog}.{schema}")
            return f"{count} tables in {ws.catalog}.{schema}"

        def champion(namespace: Namespace = namespace) -> str:
            version = ws.registry.aliases(namespace.model).get(CHAMPION)
            return f"version {version}" if version is not None else "none yet"

        yield _asked(f"{name}: tables", tables, f"databricks bundle run {name}_setup, or mlplatform setup {name}")
        yield _asked(f"{name}: champion", champion)


def _registration(ws: DatabricksWorkspace) -> str:
    refusal = ws.registry.feature_model_refusal()
    return f"without the feature client: {refusal}" if refusal else "as the feature client packages them"


def _spark(ws: DatabricksWorkspace) -> Diagnosis:
    """Look for Spark; where it is not installed nothing is missing, for some commands need none."""
    try:
        return Diagnosis(
            "Spark answers", well=True, found=f"version {ws.spark.version}, {ws.spark.range(1).count()} row"
        )
    except MissingDependencyError as error:
        return Diagnosis(
            "Spark",
            well=True,
            found=f"none here, which upload-samples, deployment approval, config and doctor do without. {error.hint}",
        )
    except PlatformError as error:
        return Diagnosis("Spark answers", well=False, found=error.message, mend=error.hint)


def _asked(what: str, ask: Callable[[], str], mend: str = "") -> Diagnosis:
    try:
        return Diagnosis(what, well=True, found=ask())
    except PlatformError as error:
        return Diagnosis(what, well=False, found=error.message, mend=error.hint)
    except LookupError as error:
        return Diagnosis(what, well=False, found=str(error), mend=mend)


def _principals(principals: Principals, env: str) -> Iterator[Diagnosis]:
    """Look for what the target of an environment names, in the bundle of the current folder."""
    path = Path(BUNDLE_FILE)
    if not path.is_file():
        yield Diagnosis("principals", well=True, found=f"not looked at: there is no {BUNDLE_FILE} here")
        return
    try:
        named = _variables(yaml.safe_load(path.read_text(encoding="utf-8")), env)
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, AttributeError) as error:
        yield Diagnosis("principals", well=False, found=f"{path} cannot be read: {error}", mend="mend the file")
        return
    if named is None:
        yield Diagnosis(
            "principals", well=True, found=f"not looked at: {BUNDLE_FILE} has no target for the environment {env}"
        )
        return
    ids: dict[str, str] = {}
    for role in _ROLES:
        yield from _role(principals, role, named.get(role), ids)
    for variable, (members, why) in _GROUPS.items():
        if group := named.get(variable):
            yield from _group(principals, str(group), {role: ids[role] for role in members if role in ids}, why)
    if not any(named.get(name) for name in (*_ROLES, *_GROUPS)):
        yield Diagnosis("principals", well=True, found=f"the target for {env} names none: who deploys does it all")


def _variables(bundle: Any, env: str) -> dict[str, Any] | None:
    """Return a target's variables, defaults included; None: there is no such target."""
    targets = bundle.get("targets") or {}
    given = {name: dict((target or {}).get("variables") or {}) for name, target in targets.items()}
    name = next((name for name, variables in given.items() if variables.get("env", name) == env), None)
    if name is None:
        return None
    defaults = {key: (item or {}).get("default") for key, item in (bundle.get("variables") or {}).items()}
    return defaults | given[name]


def _role(principals: Principals, role: str, named: Any, ids: dict[str, str]) -> Iterator[Diagnosis]:
    lookup = (named.get("lookup") or {}).get("service_principal") if isinstance(named, dict) else None
    name = lookup or (named if isinstance(named, str) else "")
    if not name:
        return
    try:
        principal = principals.service_principal(name) if lookup else (name if principals.kind(name) else None)
    except PlatformError as error:
        yield Diagnosis(f"{role} {name}", well=False, found=error.message, mend=error.hint)
        return
    if principal:
        ids[role] = principal
    yield Diagnosis(
        f"{role} {name}",
        well=bool(principal),
        found=principal or "the workspace has no such principal",
        mend=f"let an administrator create the service principal and assign it to the workspace, or change {role} in "
        f"{BUNDLE_FILE}",
    )


def _group(principals: Principals, group: str, members: Mapping[str, str], why: str) -> Iterator[Diagnosis]:
    try:
        outside = [role for role, name in members.items() if not principals.is_member(name, group)]
        exists = principals.kind(group) == "group"
    except PlatformError as error:
        yield Diagnosis(f"group {group}", well=False, found=error.message, mend=error.hint)
        return
    if not exists:
        yield Diagnosis(
            f"group {group}", well=False, found="the workspace has no such group", mend="let an administrator create it"
        )
        return
    membership = (
        f"without {', '.join(outside)}" if outside else f"with {', '.join(members) or 'nobody that is looked for'}"
    )
    yield Diagnosis(f"group {group}", not outside, membership, f"make them members of it: {why}")
