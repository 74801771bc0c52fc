"""Which files nobody touched since a run looked at them: they need not be read to know that they are unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

from pydantic import BaseModel

from mlplatform.ops.result import Moment

# The clock of the storage may differ from that of the machine that records runs.
_SKEW = timedelta(hours=1)
# A file that is written twice within a tick of the storage's clock has one time for both.
_TICK = timedelta(seconds=2)


class Stamp(NamedTuple):
    """What a file system says of a file; whoever writes to it changes that.

    Attributes:
        size: Bytes.
        modified: When its content changed last, in nanoseconds; can be set to any time.
        changed: When its inode did; cannot.
    """

    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Return a file's stamp."""
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def is_before(self, moment: datetime) -> bool:
        """Tell whether the file changed last before a time."""
        return self.changed < moment.timestamp() * 1e9


UNKNOWN = Stamp(0, 0, 0)


class LandedOne(Protocol):
    """A landed file, as `delivery.DueFile` describes it."""

    @property
    def name(self) -> str:
        """Its name below the landing folder."""
        ...

    @property
    def available_at(self) -> datetime:
        """When it could be known."""
        ...

    @property
    def ingested(self) -> bool:
        """Whether bronze has taken it."""
        ...

    @property
    def stamp(self) -> Stamp:
        """What the file system says of it."""
        ...


class Seen(BaseModel):
    """What a run saw of a source's files: of all together, so that a record stays short.

    Attributes:
        digest: Of the names and stamps of the files that hold what bronze took of them.
        before: Files that changed after this are not among them.
    """

    digest: str
    before: Moment

    @classmethod
    def of(cls, files: Iterable[LandedOne], before: datetime) -> Seen:
        """Sum up files.

        Args:
            files: Files that hold what bronze took of them.
            before: Those that changed later are left out.
        """
        lines = sorted(f"{file.name}\0{file.stamp}" for file in files if file.stamp.is_before(before))
        return cls(digest=hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16], before=before)


def now_seen(moment: datetime) -> datetime:
    """Return before which a file must have changed last, for a run that looks at it now to know it again."""
    return moment - _TICK


def looked_at(
    files: Sequence[LandedOne], *, as_of: datetime, started_at: datetime, changed: Sequence[str], seen: Seen | None
) -> Callable[[LandedOne], bool]:
    """Return what tells whether a run saw a file as it is now, and found that it holds what bronze took.

    Args:
        files: All files that could be known by the time of this run.
        as_of: The time of that run.
        started_at: When it began.
        changed: Files that it found to be other ones.
        seen: What it recorded of the others; None in records of early versions.
    """
    others = set(changed)
    known = [file for file in files if file.ingested and file.available_at <= as_of and file.name not in others]
    # By their time alone, which needs a margin.
    names = {file.name for file in known if file.stamp.is_before(started_at - _SKEW)}
    if seen is not None and Seen.of(known, seen.before).digest == seen.digest:
        names.update(file.name for file in known if file.stamp.is_before(seen.before))
    return lambda file: file.name in names
