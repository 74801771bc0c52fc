"""Secrets of the local workspace: environment variables, then the `.env` file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mlplatform.errors import ConfigError


class LocalSecrets:
    """Secret values from `MLPLATFORM_SECRET_<SCOPE>_<KEY>`; see `mlplatform.protocols.workspace.Secrets`."""

    def __init__(self, env_file: Path) -> None:
        """Remember where the `.env` file is; it is read when a secret is asked for."""
        self._env_file = env_file

    def get(self, scope: str, key: str) -> str:
        """Return the secret's value."""
        variable = re.sub(r"[^A-Z0-9]", "_", f"MLPLATFORM_SECRET_{scope}_{key}".upper())
        value = os.environ.get(variable) or _read_env_file(self._env_file).get(variable)
        if value:
            return value
        raise ConfigError(
            f"Secret {scope}/{key} is not set. Searched, in order: environment variable {variable}; {self._env_file}.",
            hint=f"Set {variable} in one of them.",
        )


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        # Nothing of the content is told, and no error that holds it is the cause.
        kind = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise ConfigError(f"{path} {kind}.", hint="Save it as UTF-8, readable by you alone.") from None
    values = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.lstrip().startswith("#"):
            values[name.strip()] = value.strip().strip("'\"")
    return values
