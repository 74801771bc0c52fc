"""What the generator reads of the project around it: the bundle's targets, and what stands in it by hand."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlplatform.bundle.files import MARK
from mlplatform.config.folders import FOLDER, UseCaseLocation, in_folder, warn_of
from mlplatform.config.yaml_file import read_yaml
from mlplatform.errors import ConfigError

BUNDLE_FILE, PROJECT_FILE = "databricks.yml", "pyproject.toml"
RESOURCES = "resources"
REQUIREMENTS = "requirements"


@dataclass(frozen=True)
class Project:
    """A project that deploys a bundle.

    Attributes:
        root: Its folder.
        targets: The bundle's targets; each is an environment of the same name.
        production: Those in production mode.
        taken: Where each resource key, and each script, stands that is written by hand.
        variables: Where each variable of the bundle stands that is written by hand.
        catalogs: The catalog of each target that names one.
    """

    root: Path
    targets: tuple[str, ...]
    production: tuple[str, ...]
    taken: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    catalogs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Project:
        """Read `databricks.yml`, and what stands by hand beside it.

        Raises:
            ConfigError: If it does not exist, cannot be read, or names no targets.
        """
        path = root / BUNDLE_FILE
        if not path.is_file():
            raise ConfigError(
                f"{path} does not exist.", hint="Run this in the folder of a bundle, or name it with --project."
            )
        bundle = _load(path)
        targets = bundle.get("targets")
        if not isinstance(targets, dict) or not targets:
            raise ConfigError(f"{path} has no targets.", hint="Write targets: {dev: {mode: development}, ...}.")
        for name, target in targets.items():
            if not isinstance(target, dict | None):
                raise ConfigError(f"{path}: targets.{name} is not a mapping.", hint="Indent its settings under it.")
        modes = {str(name): _mapping(target).get("mode") for name, target in targets.items()}
        catalogs = {
            str(name): str(catalog)
            for name, target in targets.items()
            if (catalog := _mapping(_mapping(target).get("variables")).get("catalog")) is not None
        }
        taken: dict[str, str] = {}
        variables: dict[str, str] = {}
        for name, content in _by_hand(root, bundle):
            taken |= dict.fromkeys(_keys(content), name)
            variables |= dict.fromkeys(_mapping(content.get("variables")), name)
        production = tuple(name for name, mode in modes.items() if mode == "production")
        return cls(root, tuple(modes), production, taken, variables, catalogs)

    def use_cases(self) -> dict[str, Path]:
        """Return the folders of the project's use cases by name; what stands among them and is none gets a warning."""
        found: dict[str, Path] = {}
        for item in in_folder(self.root / FOLDER):
            if isinstance(item, UseCaseLocation) and item.folder is not None:
                found[item.name] = item.folder
            elif isinstance(item, tuple):
                warn_of(item[1])
        return found

    def file(self, use_case: str) -> Path:
        """Return where a use case's resources stand."""
        return self.root / RESOURCES / f"{use_case}.yml"

    def entry_points(self) -> set[str]:
        """Return the use cases that the project's wheel names: a job finds no others."""
        path = self.root / PROJECT_FILE
        if not path.is_file():
            return set()
        project: dict[str, Any] = toml(path).get("project", {})
        return set(project.get("entry-points", {}).get("mlplatform.use_cases", {}))


def _load(path: Path) -> dict[str, Any]:
    return read_yaml(path, what="bundle", expected="bundle, targets and resources").content


def toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: If it is none.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint="Mend the place named above.") from None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _by_hand(root: Path, bundle: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the files of the bundle that are not made by the generator."""
    yield BUNDLE_FILE, bundle
    included = bundle.get("include")
    patterns = [str(item) for item in included] if isinstance(included, list) else []
    for path in sorted({path for pattern in (*patterns, f"{RESOURCES}/*.yml") for path in root.glob(pattern)}):
        if path.is_file() and not path.read_text(encoding="utf-8").startswith(MARK):
            yield path.relative_to(root).as_posix(), _load(path)


def _keys(content: dict[str, Any]) -> Iterator[str]:
    yield from _mapping(content.get("scripts"))
    for part in (content, *_mapping(content.get("targets")).values()):
        for kind in _mapping(_mapping(part).get("resources")).values():
            yield from _mapping(kind)
