"""What a file system says of a file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple


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
