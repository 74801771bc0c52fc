"""Numbers that are none: NaN and the infinities are quarantined, or null; they never go on as values."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import narwhals as nw

from mlplatform.naming import quote
from mlplatform.protocols.frames import Frame, Frames
from mlplatform.refine.expectations import Expectation

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_FLOATS = ("float", "double")
# The largest double. NaN is neither less nor greater to one engine, and the greatest of all to another.
_LARGEST = "CAST('1.7976931348623157E308' AS DOUBLE)"


def is_finite_sql(column: str) -> str:
    """Return the condition that a column of floats holds a finite number, or nothing.

    Args:
        column: The column's name.

    Examples:
        >>> is_finite_sql("price")
        "coalesce(abs(`price`) <= CAST('1.7976931348623157E308' AS DOUBLE), true)"
    """
    return f"coalesce(abs({quote(column)}) <= {_LARGEST}, true)"


def expect_finite(frame: DataFrame) -> tuple[Expectation, ...]:
    """Return the expectations that the columns of floats hold finite numbers."""
    return tuple(Expectation(f"{name}_is_not_finite", is_finite_sql(name)) for name in _floats(frame))


def with_nulls(frame: DataFrame, *, only: Collection[str] | None = None) -> DataFrame:
    """Make numbers that are not finite null.

    Args:
        frame: The rows.
        only: In these columns; None: in all.
    """
    from pyspark.sql import functions as F  # noqa: N812

    floats = [] if only is not None and not only else _floats(frame)
    if only is not None:
        floats = [name for name in floats if name in only]
    if not floats:
        return frame
    finite = {name: F.when(F.expr(is_finite_sql(name)), F.col(quote(name))).alias(name) for name in floats}
    return frame.select(*(finite.get(name, F.col(quote(name))) for name in frame.columns))


@contextmanager
def counted(frames: Frames, frame: DataFrame) -> Iterator[tuple[Frame, int, dict[str, int]]]:
    """Compute rows once, with null where a number is not finite.

    Args:
        frames: The workspace's.
        frame: As computed.

    Yields:
        The rows, how many there are, and of each column with numbers that were not finite, in how many rows.
    """
    floats = _floats(frame)
    with frames.staged(frame) as rows:
        counts = [(~nw.col(name).is_finite()).cast(nw.Int64).sum().alias(f"__{at}") for at, name in enumerate(floats)]
        what = "counts of numbers that are not finite"
        (found,) = frames.collect(rows.select(nw.len().alias("__rows"), *counts), at_most=1, what=what).to_pylist()
        columns = {name: found[f"__{at}"] for at, name in enumerate(floats) if found[f"__{at}"]}
        finite = [nw.when(nw.col(name).is_finite()).then(nw.col(name)).alias(name) for name in columns]
        # Without any it is the staged frame, whose files need not be written again.
        yield rows.with_columns(*finite) if finite else rows, found["__rows"], columns


def said(table: str, columns: dict[str, int]) -> str:
    """Return the sentence about numbers that were made null; empty without any."""
    if not columns:
        return ""
    listed = ", ".join(f"{name} ({count} row(s))" for name, count in sorted(columns.items()))
    return f"{table}: numbers that are not finite were computed, and written as null: {listed}."


def _floats(frame: DataFrame) -> list[str]:
    """Return the columns of floats; none where they cannot be told: the write says why."""
    from pyspark.errors import PySparkException

    try:
        names = [name.lower() for name in frame.columns]
        kinds = frame.dtypes if len(set(names)) == len(names) else []
    except PySparkException:
        return []
    return [name for name, kind in kinds if kind in _FLOATS]
