"""Options that every command takes, and opening what they name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli.hints import Hints, given_options
from mlplatform.config.environments import STANDARD
from mlplatform.errors import PlatformError

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase


CATALOG_SETTING = "MLPLATFORM_CATALOG"


@dataclass(frozen=True)
class Options:
    """Where to work.

    Attributes:
        home: Folder of the local workspace; None: the setting `MLPLATFORM_HOME`, else `.mlplatform`.
        use_cases: Folder of use cases, searched first.
        workspace: `local` or `databricks`.
        env: The environment.
        catalog: First level of every name; None: by the use case's settings, else the environment's name.
        prefix: Put before the names of schemas and models.
        experiment: Databricks: path of the MLflow experiment; None: by the use case's name.
        hints: Adds to the commands that are told what of this was given on the command line.
    """

    home: Path | None
    use_cases: Path | None
    workspace: str
    env: str
    catalog: str | None = None
    prefix: str = ""
    experiment: str | None = None
    hints: Hints = field(default_factory=Hints)

    def catalog_of(self, use_case: str) -> str:
        """Return a use case's catalog: what was said, else by its settings, else the environment's name."""
        from mlplatform import discovery

        return self.catalog or discovery.catalog_of(use_case, self.env, self.use_cases)

    def by_catalog(self, use_cases: Iterable[str]) -> dict[str, list[str]]:
        """Return the use cases by the catalogs in which they are; without any the catalog is the environment's."""
        found: dict[str, list[str]] = {}
        for name in use_cases:
            found.setdefault(self.catalog_of(name), []).append(name)
        return found or {self.catalog or self.env: []}

    def all_by_catalog(self) -> dict[str, list[str]]:
        """Return all use cases that know the environment, by the catalogs in which they are."""
        from mlplatform import discovery

        return self.by_catalog(discovery.in_environment(self.env, self.use_cases))

    @contextmanager
    def open(self, *use_cases: str) -> Iterator[Workspace]:
        """Open the workspace, in the catalog of the use cases; it is closed at the end, also after Ctrl-C.

        Raises:
            UsageError: If the use cases are in several catalogs: a workspace is in one.
        """
        from mlplatform.errors import UsageError
        from mlplatform.workspace import open_workspace

        catalogs = self.by_catalog(use_cases)
        if len(catalogs) > 1:
            where = "; ".join(f"{', '.join(names)} in {catalog}" for catalog, names in catalogs.items())
            raise UsageError(
                f"The use cases are in different catalogs in {self.env}: {where}.",
                hint="Run the command for each catalog's alone, or put all into one with --catalog.",
            )
        with open_workspace(
            self.workspace,
            env=self.env,
            root=self.home,
            catalog=next(iter(catalogs)),
            prefix=self.prefix,
            experiment=self.experiment,
            use_cases=self.use_cases,
        ) as ws:
            yield ws

    @contextmanager
    def open_use_case(self, name: str) -> Iterator[tuple[Workspace, UseCase]]:
        """Open the workspace and a use case in it."""
        with self.open_use_cases([name]) as (ws, opened):
            yield ws, opened[0]

    @contextmanager
    def open_use_cases(self, names: Sequence[str]) -> Iterator[tuple[Workspace, list[UseCase]]]:
        """Open the workspace and several use cases in it."""
        from mlplatform import discovery

        openers = [discovery.opener(name, self.use_cases) for name in names]
        with self.open(*names) as ws:
            yield ws, [opener(ws) for opener in openers]


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that every command takes, handed over as `options`."""

    @click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the local workspace.  [default: the setting MLPLATFORM_HOME, else .mlplatform]",
    )
    @click.option(
        "--use-cases",
        type=click.Path(path_type=Path),
        help="Folder of use cases, searched first.  [default: the setting MLPLATFORM_USE_CASES]",
    )
    @click.option(
        "--workspace", default="local", show_default=True, help="Where to run.", envvar="MLPLATFORM_WORKSPACE"
    )
    @click.option(
        "--env",
        default="dev",
        show_default=True,
        envvar="MLPLATFORM_ENV",
        help="Environment: dev, staging, prod, or one that config.yml declares.",
    )
    @click.option(
        "--catalog",
        metavar="NAME",
        envvar=CATALOG_SETTING,
        help="Catalog of tables and models.  [default: `catalog` of config.yml, else as --env]",
    )
    @click.option(
        "--prefix",
        default="",
        metavar="TEXT",
        envvar="MLPLATFORM_PREFIX",
        help="Before the names of schemas and models, as a bundle's development mode puts it.",
    )
    @click.option("--experiment", metavar="PATH", help="Databricks: the MLflow experiment.  [default: by the use case]")
    @functools.wraps(command)
    def wrapped(*arguments: Any, **given: Any) -> Any:
        names = [item.name for item in fields(Options) if item.name != "hints"]
        where = {name: given.pop(name) for name in names}
        hints = given_options(names)
        options = Options(**where | {"catalog": where["catalog"] or None}, hints=hints)
        try:
            if options.env not in STANDARD:  # what looks for more is imported when it is needed
                from mlplatform import discovery

                discovery.check_environment(options.env, options.use_cases)
            return command(*arguments, options=options, **given)
        except PlatformError as error:
            # A command that a hint names is to work as it stands.
            error.hint = hints.repeated(error.hint)
            raise

    return wrapped
