"""What the generator reads of the project around it: the bundle's targets, and the versions that are locked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplatform.errors import ConfigError
from mlplatform.yaml_file import read_yaml

BUNDLE_FILE, LOCK_FILE, PROJECT_FILE = "databricks.yml", "uv.lock", "pyproject.toml"
RESOURCES = "resources"


@dataclass(frozen=True)
class Project:
    """A project that deploys a bundle.

    Attributes:
        root: Its folder.
        targets: The bundle's targets; each is an environment of the same name.
        production: Those in production mode.
    """

    root: Path
    targets: tuple[str, ...]
    production: tuple[str, ...]

    @classmethod
    def read(cls, root: Path) -> Project:
        """Read `databricks.yml`.

        Raises:
            ConfigError: If it is not there, or names no targets.
        """
        path = root / BUNDLE_FILE
        try:
            bundle = read_yaml(path, what="bundle", expected="bundle, targets and resources").content
        except FileNotFoundError:
            raise ConfigError(
                f"{path} does not exist.", hint="Run this in the folder of a bundle, or name it with --project."
            ) from None
        targets = bundle.get("targets")
        if not isinstance(targets, dict) or not targets:
            raise ConfigError(f"{path} has no targets.", hint="Write targets: {dev: {mode: development}, ...}.")
        for name, target in targets.items():
            if not isinstance(target, dict | None):
                raise ConfigError(f"{path}: targets.{name} is not a mapping.", hint="Indent its settings under it.")
        modes = {str(name): (target or {}).get("mode") for name, target in targets.items()}
        return cls(root, tuple(modes), tuple(name for name, mode in modes.items() if mode == "production"))

    def file(self, use_case: str) -> Path:
        """Return where a use case's resources stand."""
        return self.root / RESOURCES / f"{use_case}.yml"

    def entry_points(self) -> set[str]:
        """Return the use cases that the project's wheel names: a job finds no others."""
        path = self.root / PROJECT_FILE
        if not path.is_file():
            return set()
        project: dict[str, Any] = _toml(path).get("project", {})
        return set(project.get("entry-points", {}).get("mlplatform.use_cases", {}))

    def pins(self, packages: tuple[str, ...]) -> list[str]:
        """Return `package==version` for each package, with the version that `uv.lock` holds.

        Raises:
            ConfigError: If there is no lock file, or it does not hold exactly one version of a package.
        """
        path = self.root / LOCK_FILE
        if not path.is_file():
            raise ConfigError(f"{path} does not exist.", hint="Make it: uv lock. The jobs install what it says.")
        locked: dict[str, set[str]] = {}
        for item in _toml(path).get("package", []):
            locked.setdefault(item["name"], set()).add(item.get("version", ""))
        made = []
        for package in packages:
            found = locked.get(package.lower().replace("_", "-").replace(".", "-"), set())
            if len(found) != 1:
                raise ConfigError(
                    f"{path} holds {len(found) or 'no'} versions of {package}; the jobs need exactly one.",
                    hint="Name the package in pyproject.toml with one version for all Pythons, then: uv lock",
                )
            made.append(f"{package}=={found.pop()}")
        return made


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint="Mend the place named above.") from None
