"""What `mlplatform doctor --workspace databricks` looks at: packages, the workspace, what was deployed, Spark."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mlplatform.cli.findings import Finding
from mlplatform.cli.options import Options

if TYPE_CHECKING:
    from mlplatform.workspace.protocols import Workspace

_PACKAGES = (("databricks-sdk",), ("databricks-feature-engineering",), ("mlflow", "mlflow-skinny"), ("scikit-learn",))


def databricks_findings(options: Options) -> Iterator[Finding]:
    """Look at the packages, then at the workspace; what cannot be reached is a finding, not an error."""
    from mlplatform.errors import PlatformError

    yield from _packages()
    try:
        for catalog, names in options.all_by_catalog().items():
            with replace(options, catalog=catalog).open() as ws:
                yield from _deployed(ws, names)
        with options.open() as ws:
            yield _asked("the workspace answers", lambda: f"as {ws.user}")
            yield _asked("feature models are registered", lambda: _registration(ws))
            yield _asked("Spark answers", lambda: f"version {ws.spark.version}, {ws.spark.range(1).count()} row")
    except PlatformError as error:
        yield Finding("the workspace answers", well=False, found=error.message, mend=error.hint)


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


def _deployed(ws: Workspace, names: list[str]) -> Iterator[Finding]:
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


def _registration(ws: Workspace) -> str:
    refusal = ws.registry.feature_model_refusal()
    return f"without the feature client: {refusal}" if refusal else "as the feature client packages them"


def _asked(what: str, ask: Callable[[], str], mend: str = "") -> Finding:
    from mlplatform.errors import PlatformError

    try:
        return Finding(what, well=True, found=ask())
    except PlatformError as error:
        return Finding(what, well=False, found=error.message, mend=error.hint)
    except LookupError as error:
        return Finding(what, well=False, found=str(error), mend=mend)
