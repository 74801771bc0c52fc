"""Options that every command takes, and opening what they name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mlplatform.use_case import UseCase
    from mlplatform.workspace.protocols import Workspace


@dataclass(frozen=True)
class Options:
    """Where to work.

    Attributes:
        home: Folder of the local workspace; None: the setting `MLPLATFORM_HOME`, else `.mlplatform`.
        use_cases: Folder of use cases, searched first.
        workspace: `local` or `databricks`.
        env: The environment.
        prefix: Put before the names of schemas and models.
        experiment: Databricks: path of the MLflow experiment; None: by the use case's name.
    """

    home: Path | None
    use_cases: Path | None
    workspace: str
    env: str
    prefix: str = ""
    experiment: str | None = None

    @contextmanager
    def open(self) -> Iterator[Workspace]:
        """Open the workspace; it is closed at the end, also after Ctrl-C."""
        from mlplatform.workspace import open_workspace

        with open_workspace(
            self.workspace, env=self.env, root=self.home, prefix=self.prefix, experiment=self.experiment
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
        with self.open() as ws:
            yield ws, [opener(ws) for opener in openers]


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that every command takes, handed over as `options`."""

    @click.option(
        "--home", type=click.Path(path_type=Path), help="Folder of the local workspace.  [default: .mlplatform]"
    )
    @click.option("--use-cases", type=click.Path(path_type=Path), help="Folder of use cases, searched first.")
    @click.option(
        "--workspace", default="local", show_default=True, help="Where to run.", envvar="MLPLATFORM_WORKSPACE"
    )
    @click.option(
        "--env", default="dev", show_default=True, help="Environment; names the catalog.", envvar="MLPLATFORM_ENV"
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
        where = {field.name: given.pop(field.name) for field in fields(Options)}
        return command(*arguments, options=Options(**where), **given)

    return wrapped
