"""Which files nobody touched since a run looked at them: they need not be read to know that they are unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel

from mlplatform.ops.result import Moment

if TYPE_CHECKING:
    from mlplatform.ingest.delivery import DueFile

# The clock of the storage may differ from that of the machine that records runs.
_SKEW = timedelta(hours=1)
# A file that is written twice within a tick of the storage's clock has one time for both.
_TICK = timedelta(seconds=2)


class Seen(BaseModel):
    """What a run saw of a source's files: of a month's files together, so that a record stays short.

    Attributes:
        months: Month in which files became available -> digest of the names and stamps of those that hold what bronze
            took of them.
        before: Files that changed after this are not among them.
    """

    months: Mapping[str, str]
    before: Moment

    @classmethod
    def of(cls, files: Iterable[DueFile], before: datetime) -> Seen:
        """Sum up files.

        Args:
            files: Files that hold what bronze took of them.
            before: Those that changed later are left out.
        """
        lines: dict[str, list[str]] = {}
        for file in files:
            if file.stamp.is_before(before):
                lines.setdefault(_month(file), []).append(f"{file.name}\0{file.stamp}")
        return cls(
            months={
                month: hashlib.sha256("\n".join(sorted(of_month)).encode()).hexdigest()[:16]
                for month, of_month in lines.items()
            },
            before=before,
        )


def now_seen(moment: datetime) -> datetime:
    """Return before which a file must have changed last, for a run that looks at it now to know it again."""
    return moment - _TICK


def looked_at(
    files: Sequence[DueFile], *, as_of: datetime, started_at: datetime, changed: Sequence[str], seen: Seen | None
) -> Callable[[DueFile], bool]:
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
    if seen is None:
        # By their time alone, which needs a margin.
        names = {file.name for file in known if file.stamp.is_before(started_at - _SKEW)}
    else:
        # By what the file system says of them, not by comparing times: a clock that was set back would let a file that
        # changed pass for one that was looked at.
        now = Seen.of(known, seen.before).months
        same = {month for month, digest in now.items() if seen.months.get(month) == digest}
        names = {file.name for file in known if _month(file) in same and file.stamp.is_before(seen.before)}
    return lambda file: file.name in names


def _month(file: DueFile) -> str:
    return f"{file.available_at:%Y-%m}"
