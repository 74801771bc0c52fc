"""Settings that have another name now: the old one is still read, with a warning that says what to write instead."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlplatform.config.yaml_file import Place

RENAMED: Mapping[Place, Place] = {
    ("gate", "features", "max_null_increase"): ("monitoring", "max_null_increase"),
}
"""Old key -> the key to write instead."""
_BOTH = "The new one counts, and the gate goes by the stricter of both."


class RenamedSettingWarning(FutureWarning):
    """A `config.yml` says something under its old name."""


def old_name_of(key: Place) -> Place | None:
    """Return the old name of a setting.

    Examples:
        >>> old_name_of(("monitoring", "max_null_increase"))
        ('gate', 'features', 'max_null_increase')
    """
    return next((old for old, new in RENAMED.items() if new == key), None)


def under_new_names(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with what has an old name under its new one; where both are written, both stay.

    Args:
        layer: The settings of a file, or of one of its environments: each is renamed before it is laid over another.

    Examples:
        >>> under_new_names({"gate": {"floor": 0.6, "features": {"max_null_increase": 0.3}}})
        {'gate': {'floor': 0.6, 'features': {}}, 'monitoring': {'max_null_increase': 0.3}}
    """
    renamed = copy.deepcopy(dict(layer))
    for old, new in RENAMED.items():
        section = _section(renamed, old[:-1])
        if section is None or old[-1] not in section:
            continue
        if renamed.get(new[0]) is None:
            renamed[new[0]] = {}  # a section without content is null in YAML
        target = _section(renamed, new[:-1])
        # What is no section at all is refused later, by its own name.
        if target is not None and new[-1] not in target:
            target[new[-1]] = section.pop(old[-1])
    return renamed


def _section(settings: dict[str, Any], place: Place) -> dict[str, Any] | None:
    section: Any = settings
    for key in place:
        section = section.get(key) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else None


def warn_of_old_names(path: Path, lines: Mapping[Place, int], section: Place) -> None:
    """Warn of each old name that a file uses.

    Args:
        path: The `config.yml`.
        lines: Place of each key that it holds -> the line it stands on.
        section: The place of the environment's own settings, which are laid over the rest.
    """
    for old, new in RENAMED.items():
        for place in ((*section, *old), old):
            if place not in lines:
                continue
            new_line = lines.get((*place[: -len(old)], *new))
            message = (
                f"{path} line {lines[place]}: {'.'.join(place)} is called {'.'.join((*place[: -len(old)], *new))} now"
            )
            if new_line:
                message += f", which stands in line {new_line}. {_BOTH} Remove the old key."
            else:
                message += ". It is read under its old name for now: rename it."
            warnings.warn(message, RenamedSettingWarning, stacklevel=3)
