"""What the common options say, and opening the workspace and the use cases that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mlplatform.cli.hints import Hints

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase


CATALOG_SETTING = "MLPLATFORM_CATALOG"


@dataclass(frozen=True)
class Options:
    """Where to work, and how to answer.

    Attributes:
        home: Folder of the local workspace; None: the setting `MLPLATFORM_HOME`, else `.mlplatform`.
        use_cases: Folder of use cases, searched first.
        workspace: `local` or `databricks`.
        env: The environment.
        catalog: First level of every name; None: by the use case's settings, else the environment's name.
        prefix: Put before the names of schemas and models.
        experiment: Databricks: path of the MLflow experiment; None: by the use case's name.
        as_json: Print the result as JSON.
        hints: Adds to the commands that a message names what of this was given on the command line.
    """

    home: Path | None
    use_cases: Path | None
    workspace: str
    env: str
    catalog: str | None = None
    prefix: str = ""
    experiment: str | None = None
    as_json: bool = False
    hints: Hints = field(default_factory=Hints)

    def catalog_of(self, use_case: str) -> str:
        """Return a use case's catalog: the one given, else by its settings, else the environment's name."""
        from mlplatform import discovery

        return self.catalog or discovery.catalog_of(use_case, self.env, self.use_cases)

    def by_catalog(self, use_cases: Iterable[str]) -> dict[str, list[str]]:
        """Return the use cases by the catalogs in which they are; without any the catalog is the environment's."""
        catalogs: dict[str, list[str]] = {}
        for name in use_cases:
            catalogs.setdefault(self.catalog_of(name), []).append(name)
        return catalogs or {self.catalog or self.env: []}

    def all_by_catalog(self) -> dict[str, list[str]]:
        """Return all use cases that know the environment, by the catalogs in which they are."""
        from mlplatform import discovery

        return self.by_catalog(discovery.in_environment(self.env, self.use_cases))

    @contextmanager
    def open(self, *use_cases: str, read_only: bool = False) -> Iterator[Workspace]:
        """Open the workspace, in the catalog of the use cases; it is closed at the end, also after Ctrl-C.

        Args:
            *use_cases: The use cases.
            read_only: The command only looks: nothing is written in the folder of a local workspace.

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
            read_only=read_only,
        ) as ws:
            yield ws

    @contextmanager
    def open_use_case(self, name: str, *, read_only: bool = False) -> Iterator[tuple[Workspace, UseCase]]:
        """Open the workspace and a use case in it."""
        with self.open_use_cases([name], read_only=read_only) as (ws, opened):
            yield ws, opened[0]

    @contextmanager
    def open_use_cases(
        self, names: Sequence[str], *, read_only: bool = False
    ) -> Iterator[tuple[Workspace, list[UseCase]]]:
        """Open the workspace and several use cases in it."""
        from mlplatform import discovery

        openers = [discovery.opener(name, self.use_cases) for name in names]
        with self.open(*names, read_only=read_only) as ws:
            yield ws, [opener(ws) for opener in openers]


def as_of_option(text: str | None) -> datetime:
    """Return the time given, else the wall clock: the command line is the only place that asks it."""
    from mlplatform.as_of import parse_as_of

    return parse_as_of(text) if text else datetime.now(UTC)


class CommonOption(click.Option):
    """An option that every command takes, and every group of commands before it."""


def common_options(*, hidden: bool = False) -> list[click.Option]:
    """Return the options that every command takes.

    Args:
        hidden: Leave those that name a workspace out of the help: they are taken, and mean nothing here.
    """

    def option(*names: str, **attributes: Any) -> click.Option:
        return CommonOption(names, callback=_before_or_after, **{"show_envvar": True, **attributes})

    return [
        option(
            "--home",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the local workspace.  [default: the setting MLPLATFORM_HOME, else .mlplatform]",
            hidden=hidden,
        ),
        option(
            "--use-cases",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of use cases, searched first.  [default: the setting MLPLATFORM_USE_CASES]",
            hidden=hidden,
        ),
        option(
            "--workspace",
            default="local",
            show_default=True,
            metavar="NAME",
            envvar="MLPLATFORM_WORKSPACE",
            help="Where to run: local or databricks.",
            hidden=hidden,
        ),
        option(
            "--env",
            default="dev",
            show_default=True,
            metavar="NAME",
            envvar="MLPLATFORM_ENV",
            help="Environment: dev, staging, prod, or one that config.yml declares.",
            hidden=hidden,
        ),
        option(
            "--catalog",
            metavar="NAME",
            envvar=CATALOG_SETTING,
            help="Catalog of tables and models.  [default: `catalog` of config.yml, else the name of --env]",
            hidden=hidden,
        ),
        option(
            "--prefix",
            default="",
            metavar="TEXT",
            envvar="MLPLATFORM_PREFIX",
            help="Put before the names of schemas and models, as a bundle's development mode does.",
            hidden=hidden,
        ),
        option(
            "--experiment",
            metavar="PATH",
            help="Databricks: the MLflow experiment.  [default: named after the use case]",
            hidden=hidden,
        ),
        option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        option("--debug", is_flag=True, help="Show the whole traceback of an error."),
    ]


def _before_or_after(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Remember what was given; where an option was not given here, take what stands before the command.

    Not by click's `default_map`: an environment variable would win over it, though it was not typed.
    """
    given, name = ctx.ensure_object(dict), str(param.name)
    if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        given[name] = value
    elif name in given:
        ctx.set_parameter_source(name, ParameterSource.COMMANDLINE)
        return given[name]
    return value
