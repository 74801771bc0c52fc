"""The folder of a local workspace: which one it is, whether one can be there, and making it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mlplatform.errors import ConfigError

ROOT_SETTING = "MLPLATFORM_HOME"
DEFAULT_ROOT = ".mlplatform"
# delta-rs makes an address of the folder's real path, and takes these apart again, however they are quoted and
# whatever link leads there. All other characters it reads as they are; the other engines are given them quoted.
_MISREAD = re.compile(r"[\\\[\]|^\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")
_LOG = "_delta_log"
_ELSEWHERE = f"Choose another folder: set {ROOT_SETTING}, or give --home (root)."
_PRIVATE = 0o700


def workspace_root(root: str | Path | None = None) -> Path:
    """Return the folder of the local workspace: the argument, else `MLPLATFORM_HOME`, else `.mlplatform`.

    Raises:
        ConfigError: If no folder can have that path.
    """
    named = Path(root or os.environ.get(ROOT_SETTING) or DEFAULT_ROOT)
    try:
        return named.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a ~user that does not exist, a link to itself, a null
        raise ConfigError(f"The workspace cannot be kept in {str(named)!r}: {error}", hint=_ELSEWHERE) from None


def check_path(folder: Path) -> None:
    """Refuse a path that the engines cannot read.

    Raises:
        ConfigError: With what in it they misread.
    """
    text = str(folder)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"The workspace cannot be kept in {text!r}: the path is not UTF-8.", hint=_ELSEWHERE
        ) from None
    misread = _MISREAD.search(text)
    if misread or _LOG in folder.parts:
        found = repr(misread[0]) if misread else f"a folder called {_LOG}"
        raise ConfigError(
            f"The workspace cannot be kept in {text!r}: delta-rs misreads {found} in a path.",
            hint=f"{_ELSEWHERE} A link to the folder does not help; a name without \\ [ ] | ^, control characters "
            "and % before two hexadecimal digits does.",
        )


def make(folder: Path) -> None:
    """Make the folder, private to the user, where it does not exist, and check that it can be written to.

    Raises:
        ConfigError: If a file is in its place, or it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o777 != _PRIVATE:
            folder.chmod(_PRIVATE)
    except OSError as error:
        raise _refused(folder, error) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        # The reading commands do not come here: a workspace that nobody may write to can be looked at.
        raise ConfigError(f"The workspace {folder} cannot be written to: {_why_not(folder)}.", hint=_ELSEWHERE)


def check_readable(folder: Path) -> None:
    """Check that a folder can be read, if it exists; nothing is made.

    Raises:
        ConfigError: If a file is in its place, or it may not be read.
    """
    try:
        list(os.scandir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(folder, error) from None


def _refused(folder: Path, error: OSError) -> ConfigError:
    places = (folder, *folder.parents)
    # Not by `lexists` alone: what may not be asked is no reason to say so.
    blocking = next((place for place in places if os.path.lexists(place) and not place.is_dir()), None)
    reason = (error.strerror or str(error)) if blocking is None else f"{blocking} is no folder"
    return ConfigError(f"The workspace cannot be kept in {folder}: {reason}.", hint=_ELSEWHERE)


def _why_not(folder: Path) -> str:
    read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    return "its file system is read-only" if read_only else "you may not write there"
