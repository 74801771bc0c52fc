"""Feature functions that a new process can import again."""

from __future__ import annotations


def ratio(paid: float | None, due: float | None) -> float | None:
    """Return paid / due, or None where either is unknown."""
    return None if paid is None or not due else paid / due
