"""What `mlplatform doctor` finds, here and on Databricks."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
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


def installed(package: str) -> str:
    """Return the version of a package that is installed; empty: it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
