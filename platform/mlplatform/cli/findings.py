"""What `mlplatform doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: What was looked at.
        well: Whether it is as it should be.
        found: What was there.
        mend: What to do about it.
    """

    what: str
    well: bool
    found: str
    mend: str = ""
