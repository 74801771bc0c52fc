"""Finding use cases: in `--use-cases PATH`, in `use_cases/` of the project, or installed under an entry point."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.config.environments import STANDARD, read_config
from mlplatform.config.folders import (
    FOLDER,
    SETTING,
    BrokenUseCaseWarning,
    UseCaseLocation,
    check_environment,
    find_use_cases,
    search,
    warn_of,
    why_not,
)
from mlplatform.config.settings import CONFIG_FILE
from mlplatform.errors import ConfigError, PlatformError, UsageError, did_you_mean, shortened
from mlplatform.use_case_parts import modules_of

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase

_LONGEST_MESSAGE = 2000

__all__ = [
    "FOLDER",
    "SETTING",
    "BrokenUseCaseWarning",
    "UseCaseLocation",
    "catalog_of",
    "check_environment",
    "config_file",
    "find_use_cases",
    "folder_of",
    "get",
    "in_environment",
    "load",
    "open_use_case",
    "opener",
    "search",
    "warn_of",
]


def get(name: str, path: str | Path | None = None) -> UseCaseLocation:
    """Return one use case.

    Raises:
        UsageError: If there is none of that name; the message gives similar names.
        ConfigError: If what has that name cannot be read.
    """
    found = search(path)
    for broken, problem in found.broken.items():
        if broken == name and name not in found.use_cases:
            raise problem
        warn_of(problem)
    if name not in found.use_cases:
        hint = why_not(name, path) or did_you_mean(name, found.use_cases)
        raise UsageError(f"There is no use case {shortened(name)}.", hint=hint)
    return found.use_cases[name]


def load(location: UseCaseLocation) -> type[UseCase]:
    """Import a use case and return its class.

    Raises:
        ConfigError: If its package cannot be imported, or holds no `UseCase` or several.
    """
    try:
        if location.entry_point:
            module_name, _, attribute = location.entry_point.partition(":")
            candidate = getattr(importlib.import_module(module_name), attribute)
            classes = [candidate] if _is_use_case(candidate) else []
        else:
            module = _import_folder(location)
            classes = list(dict.fromkeys(filter(_is_use_case, vars(module).values())))
        for item in classes:
            modules_of(item)  # what is wrong with one of them shows now, and not when a part is first asked for
    except PlatformError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"Use case {location.name} ({location.folder or location.entry_point}) cannot be imported: "
            f"{type(error).__name__}: {_in_short(error)}",
            hint="Import it in Python to see the whole trace.",
        ) from error
    if len(classes) != 1:
        names = ", ".join(item.__name__ for item in classes) or "none"
        raise ConfigError(
            f"{location.entry_point or location.folder} must hold exactly one UseCase; it holds {names}.",
            hint="class MyUseCase(UseCase): ...",
        )
    cls: type[UseCase] = classes[0]
    return cls


def opener(name: str, path: str | Path | None = None) -> Callable[[Workspace], UseCase]:
    """Import a use case, and return what opens it in a workspace: what is wrong with it shows before one is opened.

    Args:
        name: Its name.
        path: A folder of use cases, searched first.

    Raises:
        UsageError: If there is none of that name.
        ConfigError: If it cannot be imported.
    """
    location = get(name, path)
    cls = load(location)
    return lambda ws: cls.open(location.name, folder_of(location, cls), ws)


def open_use_case(ws: Workspace, name: str, path: str | Path | None = None) -> UseCase:
    """Find a use case by its name, and open it in a workspace, as a notebook does.

    Args:
        ws: The workspace.
        name: Its name.
        path: A folder of use cases, searched first; default the setting `MLPLATFORM_USE_CASES`.

    Raises:
        UsageError: If there is none of that name.
        ConfigError: If it cannot be imported, or its settings are wrong.
    """
    return opener(name, path)(ws)


def folder_of(location: UseCaseLocation, cls: type[UseCase]) -> Path:
    """Return the folder of a loaded use case."""
    if location.folder is not None:
        return location.folder
    module_file = sys.modules[cls.__module__].__file__
    assert module_file is not None
    return Path(module_file).parent


def config_file(location: UseCaseLocation) -> Path:
    """Return where a use case's settings stand; it is imported only if nothing else tells."""
    return (location.folder or folder_of(location, load(location))) / CONFIG_FILE


def in_environment(env: str, path: str | Path | None = None) -> list[str]:
    """Return the names of all use cases that know an environment: any knows the standard ones.

    Args:
        env: Its name.
        path: A folder of use cases, searched first.
    """
    locations = find_use_cases(path)
    if env in STANDARD:
        return list(locations)
    known = []
    for name, item in locations.items():
        try:
            if env in read_config(config_file(item)).sections:
                known.append(name)
        except ConfigError as error:
            warn_of(error)
    return known


def catalog_of(name: str, env: str, path: str | Path | None = None) -> str:
    """Return the catalog of a use case by its settings, without opening a workspace or checking the other settings.

    Args:
        name: The use case.
        env: The environment.
        path: A folder of use cases, searched first.

    Raises:
        UsageError: If there is no such use case, or no such environment.
        ConfigError: If its `config.yml` cannot be read.
    """
    return read_config(config_file(get(name, path))).catalog(env) or env


def _in_short(error: BaseException) -> str:
    text = str(error)
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


def _is_use_case(item: object) -> bool:
    from mlplatform.use_case import UseCase

    return isinstance(item, type) and issubclass(item, UseCase) and item is not UseCase


def _import_folder(location: UseCaseLocation) -> object:
    # Under the namespace `use_cases`, whatever the folder's parent is called: so that `use_cases.<name>.<module>` reads
    # alike in every home, also where it is pickled by reference.
    assert location.folder is not None
    name = f"{FOLDER}.{location.name}"
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(location.folder / "__init__.py"):
        return loaded
    for stale in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        del sys.modules[stale]
    spec = importlib.util.spec_from_file_location(
        name, location.folder / "__init__.py", submodule_search_locations=[str(location.folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
