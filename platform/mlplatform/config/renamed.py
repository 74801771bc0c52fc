"""Settings that have another name now: the old one is still read, with a warning that says what to write instead."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from mlplatform.config.yaml_file import Place

RENAMED: Mapping[Place, Place] = {
    ("gate", "features", "max_null_increase"): ("monitoring", "max_null_increase"),
}
"""Old key -> the key to write instead."""


class RenamedSettingWarning(FutureWarning):
    """A `config.yml` says something under its old name."""


def old_name_of(key: Place) -> Place | None:
    """Return the old name of a setting.

    Examples:
        >>> old_name_of(("monitoring", "max_null_increase"))
        ('gate', 'features', 'max_null_increase')
    """
    return next((old for old, new in RENAMED.items() if new == key), None)


def warn_of_old_names(path: Path, lines: Mapping[Place, int], section: Place) -> None:
    """Warn of each old name that a file uses.

    Args:
        path: The `config.yml`.
        lines: Place of each key that it holds -> the line it stands on.
        section: The place of the environment's own settings, which are laid over the rest.
    """
    for old, new in RENAMED.items():
        new_line = lines.get((*section, *new)) or lines.get(new)
        for place in ((*section, *old), old):
            if place not in lines:
                continue
            message = (
                f"{path} line {lines[place]}: {'.'.join(place)} is called {'.'.join((*place[: -len(old)], *new))} now"
            )
            if new_line:
                message += f", which stands in line {new_line} and is what counts. Remove the old key."
            else:
                message += ". It is read under its old name for now: rename it."
            warnings.warn(message, RenamedSettingWarning, stacklevel=3)
