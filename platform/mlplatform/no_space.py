"""A disk that is full: how each engine says it, and what is told instead."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from mlplatform.errors import PlatformError, StageError

_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Engines give texts, of the operating system's and of their own: SQLite's, and DuckDB's when it may spill no more.
_TEXTS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "database or disk is full",
    "max_temp_directory_size",
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MOST = 400
_SAID = "There is no space left on the disk"
_HINT = (
    "Free some space, or move the workspace to a larger disk. Then run the same command again: it goes on from there; "
    "nothing that was written is lost or written twice."
)


def lacks_space(error: BaseException) -> bool:
    """Tell whether an error, or one that it was made of, says that a disk is full.

    Examples:
        >>> lacks_space(OSError(errno.ENOSPC, "No space left on device"))
        True
        >>> lacks_space(ValueError("no such column"))
        False
    """
    return _saying(error) is not None


def told(error: BaseException, doing: str, where: str = "") -> StageError | None:
    """Return the error that says what was being done when a disk was full, and where.

    None: the error is another one, or says so already.

    Args:
        error: What was raised.
        doing: What was being done.
        where: Where the workspace is; not every engine names the file.
    """
    saying = _saying(error)
    if saying is None or str(error).startswith(_SAID):
        return None
    message = saying.message if isinstance(saying, PlatformError) else str(saying)
    # Of an engine's story, which it may tell in colours, the lines that name the file come before the one that says it.
    lines = [line.strip(" \t↳") for line in _COLOURS.sub("", message).splitlines()]
    story = " ".join(line for line in lines if line)
    if len(story) > _MOST:
        at = max(story.find(text) for text in _TEXTS)
        story = f"... {story[max(at - _MOST, 0) : at + _MOST // 2]}"
    return StageError(f"{_SAID}{f' of {where}' if where else ''}: {doing} stopped. {story}", hint=_HINT)


@contextmanager
def saying(doing: str, where: str) -> Iterator[None]:
    """Raise what says that a disk is full as an error of ours.

    Args:
        doing: What is done within the context.
        where: Where the workspace is.

    Raises:
        StageError: With what was being done, where, and what helps.
    """
    try:
        yield
    except Exception as error:
        full = told(error, doing, where)
        if full is None:
            raise
        raise full from error


def _saying(error: BaseException) -> BaseException | None:
    """Return the error of a chain that says it; of several the first cause, which names the file."""
    found = [
        item
        for item in _chain(error)
        if (isinstance(item, OSError) and item.errno in _NUMBERS) or any(text in str(item) for text in _TEXTS)
    ]
    return found[-1] if found else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    item: BaseException | None = error
    while item is not None and id(item) not in seen:
        seen.add(id(item))
        yield item
        item = item.__cause__ or item.__context__
