"""What `mlplatform doctor --workspace databricks` looks at: packages, tools, the workspace, principals, tables."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mlplatform.cli.doctor_principals import principals
from mlplatform.cli.findings import Finding
from mlplatform.cli.options import Options
from mlplatform.errors import MissingDependencyError, PlatformError

if TYPE_CHECKING:
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

_PACKAGES = (("databricks-sdk",), ("databricks-feature-engineering",), ("mlflow", "mlflow-skinny"), ("scikit-learn",))
_CLI_VERSION = (1, 13)
_TOOL_SECONDS = 20


def databricks_findings(options: Options) -> Iterator[Finding]:
    """Look at the packages and tools, then at the workspace; what cannot be reached is a finding, not an error."""
    from mlplatform.workspace import RUNTIME

    yield from _packages()
    if not os.environ.get(RUNTIME):  # on Databricks itself nothing is deployed from
        yield from _tools()
    try:
        for catalog, names in options.all_by_catalog().items():
            with replace(options, catalog=catalog).open() as ws:
                yield from _workspace(_databricks(ws), names)
        with options.open() as ws:
            yield from principals(_databricks(ws).client, options.env)
            yield _asked("feature models are registered", lambda: _registration(_databricks(ws)))
            yield _spark(_databricks(ws))
    except PlatformError as error:
        yield Finding("the workspace answers", well=False, found=error.message, mend=error.hint)


def _databricks(ws: object) -> DatabricksWorkspace:
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

    assert isinstance(ws, DatabricksWorkspace)
    return ws


def _packages() -> Iterator[Finding]:
    for names in _PACKAGES:
        versions = [found for name in names if (found := _installed(name))]
        yield Finding(
            names[0], bool(versions), (versions or ["not installed"])[0], "pip install 'mlplatform[databricks]'"
        )


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _tools() -> Iterator[Finding]:
    """Look for what deploys: the command line, and uv, which builds the wheel."""
    least = ".".join(map(str, _CLI_VERSION))
    mend = f"install Databricks CLI {least} or newer: https://docs.databricks.com/dev-tools/cli/install"
    said = _version_said("databricks")
    # The older one, of PyPI, says "Version 0.18.0", and deploys no bundles.
    number = re.search(r"v(\d+)\.(\d+)", said)
    new = number is not None and (int(number[1]), int(number[2])) >= _CLI_VERSION
    yield Finding("Databricks CLI", new, said or "not on the path", mend)
    said = _version_said("uv")
    yield Finding("uv", bool(said), said or "not on the path", "pip install uv")


def _version_said(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        return ""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip().partition("\n")[0] if done.returncode == 0 else ""


def _workspace(ws: DatabricksWorkspace, names: list[str]) -> Iterator[Finding]:
    yield _asked("the workspace answers", lambda: f"as {ws.user}")
    catalog = _catalog(ws)
    yield catalog
    if catalog.well:
        yield from _deployed(ws, names)


def _catalog(ws: DatabricksWorkspace) -> Finding:
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


def _deployed(ws: DatabricksWorkspace, names: list[str]) -> Iterator[Finding]:
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


def _spark(ws: DatabricksWorkspace) -> Finding:
    """Look for Spark; where it is not installed nothing is missing, for some commands need none."""
    try:
        return Finding("Spark answers", well=True, found=f"version {ws.spark.version}, {ws.spark.range(1).count()} row")
    except MissingDependencyError as error:
        return Finding(
            "Spark",
            well=True,
            found=f"none here, which upload-samples, deployment approval, config and doctor do without. {error.hint}",
        )
    except PlatformError as error:
        return Finding("Spark answers", well=False, found=error.message, mend=error.hint)


def _asked(what: str, ask: Callable[[], str], mend: str = "") -> Finding:
    try:
        return Finding(what, well=True, found=ask())
    except PlatformError as error:
        return Finding(what, well=False, found=error.message, mend=error.hint)
    except LookupError as error:
        return Finding(what, well=False, found=str(error), mend=mend)
