"""Values as literals of Spark's SQL, for statements that take no parameters; names are quoted by `naming.quote`."""

from __future__ import annotations

from datetime import UTC, datetime


def literal(text: str) -> str:
    r"""Return a text as a literal.

    Examples:
        >>> print(literal("Somebody's"))
        'Somebody\'s'
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def time_literal(moment: datetime) -> str:
    """Return a moment as a literal, in UTC whatever the session's zone is."""
    return f"TIMESTAMP '{moment.astimezone(UTC).isoformat(sep=' ', timespec='microseconds')}'"
