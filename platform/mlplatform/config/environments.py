"""Environments: which exist, and the catalog of each. The name of an environment is not the name of a catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplatform.config.yaml_file import Place, read_yaml
from mlplatform.errors import ConfigError, UsageError, did_you_mean
from mlplatform.naming import check_part

ENVIRONMENTS = "environments"
"""The section of a `config.yml` with what differs by environment; naming one there is declaring it."""
STANDARD = ("dev", "staging", "prod")
"""Environments that exist without being declared."""
CATALOG = "catalog"


@dataclass(frozen=True)
class ConfigText:
    """A `config.yml` as it is written: its settings, and its environments' own.

    Attributes:
        path: The file.
        settings: What holds in every environment.
        sections: Environment -> its own settings, laid over the rest.
        lines: Place of each key -> the line it stands on.
    """

    path: Path
    settings: dict[str, Any]
    sections: Mapping[str, dict[str, Any]]
    lines: Mapping[Place, int]

    def section(self, env: str) -> dict[str, Any]:
        """Return an environment's own settings.

        Raises:
            UsageError: If the file does not declare this environment, and it is not one of the standard ones.
        """
        check_known(env, self.sections, where=f"known to {self.path}")
        return self.sections.get(env, {})

    def catalog(self, env: str) -> str | None:
        """Return the catalog that the file names for an environment; None: its name is the environment's.

        Raises:
            ConfigError: If it is not a valid name.
            UsageError: If there is no such environment.
        """
        named = self.section(env).get(CATALOG, self.settings.get(CATALOG))
        if named is None:
            return None
        try:
            return check_part(named, of=named)
        except UsageError as error:
            raise ConfigError(f"{self.path}: {CATALOG}: {error.message}", hint=error.hint) from None


def read_config(path: Path) -> ConfigText:
    """Read a `config.yml` without checking its settings.

    Raises:
        ConfigError: If the file is missing, is not a YAML mapping or
    """
    try:
        file = read_yaml(path, expected="at least owner, label and gate")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.", hint=f"A use case keeps its settings in {path.name}.") from None
    settings = dict(file.content)
    sections = settings.pop(ENVIRONMENTS, None)
    if not isinstance(sections, dict | None):
        raise ConfigError(
            f"{path} line {file.lines[ENVIRONMENTS,]}: {ENVIRONMENTS} is not a mapping.",
            hint="Write environments: {prod: {...}}.",
        )
    for name, section in (sections or {}).items():
        line = file.lines.get((ENVIRONMENTS, str(name)), file.lines[ENVIRONMENTS,])
        if not isinstance(name, str):
            raise ConfigError(
                f"{path} line {line}: {ENVIRONMENTS}.{name} is no name: YAML reads it as {name!r}.",
                hint="Put the name into quotes.",
            )
        if not isinstance(section, dict | None):
            raise ConfigError(
                f"{path} line {line}: {ENVIRONMENTS}.{name} is not a mapping.", hint="Indent its settings under it."
            )
    return ConfigText(path, settings, {name: section or {} for name, section in (sections or {}).items()}, file.lines)


def check_known(env: str, declared: Iterable[str], *, where: str) -> None:
    """Refuse an environment that nobody declared: a typo must not become a place of its own.

    Args:
        env: Its name.
        declared: The environments that are declared, beside the standard ones.
        where: Ends the sentence "There is no environment ... ".

    Raises:
        UsageError: If it does not exist; the message lists those that do.
    """
    environments = list(dict.fromkeys([*STANDARD, *declared]))
    if env not in environments:
        raise UsageError(
            f"There is no environment {env!r} {where}. Known: {', '.join(environments)}.",
            hint=f"{did_you_mean(env, environments)} Another one is declared under {ENVIRONMENTS} in config.yml, "
            f"if by nothing but its name: {ENVIRONMENTS}: {{{env or 'test'}: {{}}}}.",
        )
