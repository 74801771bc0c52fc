"""Environments: which there are, and the catalog of each. The name of an environment is not the name of a catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlplatform.errors import ConfigError, InvalidNameError, UsageError, did_you_mean
from mlplatform.naming import check_part

ENVIRONMENTS = "environments"
"""The section of a `config.yml` with what differs by environment; naming one there is declaring it."""
STANDARD = ("dev", "staging", "prod")
"""Environments that need not be declared."""
CATALOG = "catalog"


@dataclass(frozen=True)
class ConfigText:
    """A `config.yml` as it is written: its settings, and its environments' own.

    Attributes:
        path: The file.
        settings: What holds in every environment.
        sections: Environment -> its own settings, laid over the rest.
    """

    path: Path
    settings: dict[str, Any]
    sections: Mapping[str, dict[str, Any]]

    def section(self, env: str) -> dict[str, Any]:
        """Return an environment's own settings.

        Raises:
            UsageError: If the file declares no such environment, and it is none of those that need no declaring.
        """
        check_known(env, self.sections, where=f"known to {self.path}")
        return self.sections.get(env, {})

    def catalog(self, env: str) -> str | None:
        """Return the catalog that the file names for an environment; None: it is called as the environment is.

        Raises:
            ConfigError: If it is no name.
            UsageError: If there is no such environment.
        """
        named = self.section(env).get(CATALOG, self.settings.get(CATALOG))
        if named is None:
            return None
        try:
            return check_part(named, of=named)
        except InvalidNameError as error:
            raise ConfigError(f"{self.path}: {CATALOG}: {error.message}", hint=error.hint) from None


def read_config(path: Path) -> ConfigText:
    """Read a `config.yml` without checking its settings.

    Raises:
        ConfigError: If the file is missing, is no YAML mapping, or its section `environments` is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.", hint=f"A use case keeps its settings in {path.name}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}", hint="Save it as UTF-8.") from None
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the latter for what looks like a date and is none
        raise ConfigError(f"{path} is not valid YAML: {error}", hint="Mend the line named above.") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no settings.", hint="It is a mapping with at least owner, label and gate.")
    sections = raw.pop(ENVIRONMENTS, None) or {}
    if not isinstance(sections, dict):
        raise ConfigError(f"{path}: {ENVIRONMENTS} is not a mapping.", hint="Write environments: {prod: {...}}.")
    for name, section in sections.items():
        if not isinstance(section, dict | None):
            raise ConfigError(f"{path}: {ENVIRONMENTS}.{name} is not a mapping.", hint="Indent its settings under it.")
    return ConfigText(path, raw, {str(name): section or {} for name, section in sections.items()})


def check_known(env: str, declared: Iterable[str], *, where: str) -> None:
    """Refuse an environment that nobody declared: a typo must not become a place of its own.

    Args:
        env: Its name.
        declared: What is declared, beside those that need no declaring.
        where: Ends the sentence "There is no environment ... ".

    Raises:
        UsageError: If it is not known; those that are known are listed.
    """
    known = list(dict.fromkeys([*STANDARD, *declared]))
    if env not in known:
        raise UsageError(
            f"There is no environment {env!r} {where}. Known: {', '.join(known)}.",
            hint=f"{did_you_mean(env, known)} Another one is declared under {ENVIRONMENTS} in config.yml, "
            f"if by nothing but its name: {ENVIRONMENTS}: {{{env or 'test'}: {{}}}}.",
        )
