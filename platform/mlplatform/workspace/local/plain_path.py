"""A path of plain characters to a folder that has others: a link to it, where the system keeps temporary files.

Sail takes every path for a pattern and makes an address of it, and MLflow's database is named by an address: what a
folder's name means to them (`*`, `{}`, `#`, `?`, a space) is for nobody to remember. So they never see it.
"""

from __future__ import annotations

import atexit
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Lock

from mlplatform.errors import ConfigError

_PLAIN = re.compile(r"[A-Za-z0-9_.+=@,/-]*")
_ANYWHERE = ("/tmp", "/var/tmp", "/dev/shm")  # nosec B108  # noqa: S108  (a private folder is made there, by mkdtemp)
_LINK = "link"
_linking = Lock()
# Process, and folder with another name -> the link to it, removed when the process ends.
_links: dict[tuple[int, Path], Path] = {}


def plain_path(path: Path) -> Path:
    """Return a path of plain characters that leads to the same place: the path itself, if it is one.

    Args:
        path: An absolute path. What lies below the last folder with another name has to have plain names.

    Raises:
        ConfigError: If there is no place for the link.
    """
    if _PLAIN.fullmatch(str(path)):
        return path
    place = path
    while _PLAIN.fullmatch(place.name):
        place = place.parent
    key = (os.getpid(), place)
    with _linking:
        if key not in _links or not os.path.lexists(_links[key]):
            _links[key] = _linked(place)
    return _links[key] / path.relative_to(place)


def _linked(place: Path) -> Path:
    for parent in dict.fromkeys(map(os.path.realpath, (tempfile.gettempdir(), *_ANYWHERE))):
        if not _PLAIN.fullmatch(parent):
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix="mlplatform-", dir=parent))
        except OSError:
            continue
        atexit.register(_remove, folder, os.getpid())
        (folder / _LINK).symlink_to(place, target_is_directory=True)
        return folder / _LINK
    raise ConfigError(
        f"{place} can be read by way of a link only, and there is no place for one in {tempfile.gettempdir()}, "
        f"{', '.join(_ANYWHERE)}.",
        hint="Let TMPDIR name a folder of a plain name that can be written to, or use a workspace with such a name.",
    )


def _remove(folder: Path, of_process: int) -> None:
    if os.getpid() == of_process:  # a forked one has its own
        with suppress(OSError):
            (folder / _LINK).unlink(missing_ok=True)
            folder.rmdir()
