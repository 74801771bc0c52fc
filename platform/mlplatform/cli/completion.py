"""What a shell offers when Tab is pressed: use cases, stages, environments, feature tables. No engine is loaded."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from mlplatform.config.environments import STANDARD
from mlplatform.derived_attributes import snake_case

if TYPE_CHECKING:
    from mlplatform.discovery import UseCaseLocation

STAGES = ("ingest", "refine", "features", "train", "gate", "score", "monitor", "retrain")
"""As `mlplatform.stages.ORDER`, which would take a second to import."""
FEATURES_FILE = "features.py"
FEATURES_KIND = "Features"
"""The word of its kind, without which a feature table is named after its class."""


class Completed(click.types.StringParamType):
    """A text for which the shell is offered something."""

    def __init__(self, offered: Callable[[click.Context], Iterable[str]]) -> None:
        """Offer what a function returns for what stands on the command line so far."""
        self._offered = offered

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return what begins as the word does, and was not typed already."""
        values = ctx.params.get(param.name or "") or ()
        taken = set(values) if isinstance(values, tuple) else set()
        return [
            CompletionItem(item) for item in self._offered(ctx) if item.startswith(incomplete) and item not in taken
        ]


def attach(command: click.Command) -> None:
    """Let the parameters of a command, and of its commands, be completed by their names."""
    for param in command.params:
        offered = _BY_NAME.get(param.name or "")
        if offered is not None and isinstance(param.type, click.types.StringParamType):
            param.type = Completed(offered)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            attach(inner)


def _located(ctx: click.Context) -> dict[str, UseCaseLocation]:
    from mlplatform import discovery
    from mlplatform.errors import PlatformError

    folder = ctx.params.get("use_cases")
    try:
        return discovery.search(folder if isinstance(folder, str | Path) else None).use_cases
    except PlatformError:
        return {}  # the command itself says what is wrong; there is just nothing to offer


def _use_cases(ctx: click.Context) -> Iterable[str]:
    return _located(ctx)


def _stages(ctx: click.Context) -> Iterable[str]:
    del ctx
    return STAGES


def _environments(ctx: click.Context) -> Iterable[str]:
    from mlplatform.config.environments import read_config
    from mlplatform.errors import PlatformError

    declared: dict[str, None] = dict.fromkeys(STANDARD)
    for item in _named(ctx):
        if item.folder is None:
            continue
        try:
            declared |= dict.fromkeys(read_config(item.folder / "config.yml").sections)
        except PlatformError:
            continue  # see above
    return declared


def _named(ctx: click.Context) -> list[UseCaseLocation]:
    # Behind an option that still wants its value, what else stands on the line is left in `args`.
    use_cases = _located(ctx)
    named = [name for name in (ctx.params.get("use_case"), *ctx.args) if name in use_cases]
    return [use_cases[named[0]]] if named else list(use_cases.values())


def _feature_tables(ctx: click.Context) -> Iterable[str]:
    for item in _named(ctx):
        if item.folder is not None:
            yield from _names_in(item.folder / FEATURES_FILE)


def _names_in(file: Path) -> Iterable[str]:
    # Read, not imported: importing a use case loads Spark's client.
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return
    bases: set[str] = set()  # what is derived from a feature table so far, in the order of the file
    for cls in tree.body:
        if not isinstance(cls, ast.ClassDef):
            continue
        named = {ast.unparse(base).rpartition(".")[2] for base in cls.bases}
        if not (named & bases or any(base.endswith("FeatureTable") for base in named)):
            continue
        bases.add(cls.name)
        if not cls.name.startswith("_"):  # else it is only a base of others
            yield _declared_name(cls) or snake_case(cls.name.removesuffix(FEATURES_KIND) or cls.name)


def _declared_name(cls: ast.ClassDef) -> str | None:
    """Return the name that a class gives its table in its first line, or in its body."""
    for keyword in cls.keywords:
        match keyword:
            case ast.keyword(arg="name", value=ast.Constant(value=str(name))):
                return name
    for line in cls.body:
        match line:
            case ast.Assign(targets=[ast.Name(id="name")], value=ast.Constant(value=str(name))):
                return name
            case ast.AnnAssign(target=ast.Name(id="name"), value=ast.Constant(value=str(name))):
                return name
    return None


def _workspaces(ctx: click.Context) -> Iterable[str]:
    from mlplatform.workspace import WORKSPACES

    del ctx
    return WORKSPACES


def _steps(ctx: click.Context) -> Iterable[str]:
    from mlplatform.as_of import EVERY

    del ctx
    return EVERY


_BY_NAME: dict[str, Callable[[click.Context], Iterable[str]]] = {
    "use_case": _use_cases,
    "names": _use_cases,
    "use_cases": _use_cases,
    "stages": _stages,
    "env": _environments,
    "table": _feature_tables,
    "declared_as": _feature_tables,
    "workspace": _workspaces,
    "every": _steps,
}
