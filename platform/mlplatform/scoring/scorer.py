"""Whom to score."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, ClassVar

from mlplatform.code_digest import code_digest
from mlplatform.errors import PlatformError, StageError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.frames import Frame, Frames


class BatchScorer:
    """Base class of a use case's batch scoring; the default scores every spine row whose time has come.

    Terms are explained in docs/glossary.md.

    Attributes:
        chunk_rows: Rows that the model is given at once, at most, on the local workspace; on Databricks Spark decides.
        reason_codes: How many of the inputs that moved a prediction most are kept with it; 0: none. Costs one more
            prediction for each input of each row.

    Examples:
        >>> class LargeLoans(BatchScorer):
        ...     reason_codes = 3
        ...
        ...     def population(self, spine_rows):
        ...         return spine_rows.where("amount >= 1000")
    """

    chunk_rows: ClassVar[int] = 200_000
    reason_codes: ClassVar[int] = 0

    def population(self, spine_rows: DataFrame) -> DataFrame:
        """Return the rows to score, with all their columns.

        Args:
            spine_rows: The spine's rows whose prediction time lies in (previous as_of, as_of], and those that landed
                late, as a Spark DataFrame.
        """
        return spine_rows


def scores_all(scorer: BatchScorer) -> bool:
    """Tell whether a scorer scores every row: then its rows need no trip through Spark."""
    return type(scorer).population is BatchScorer.population


def population_code(scorer: BatchScorer) -> str:
    """Return the digest of the code that says whom to score; empty where all are."""
    return "" if scores_all(scorer) else code_digest(type(scorer))


@contextmanager
def population(scorer: BatchScorer, frames: Frames, rows: Frame) -> Iterator[Frame]:
    """Give the rows that a use case wants scored, computed once.

    Args:
        scorer: The use case's.
        frames: The workspace's.
        rows: The rows that are due.

    Raises:
        StageError: If the use case's code cannot choose among them.
    """
    if scores_all(scorer):
        yield rows
        return
    from pyspark.errors import PySparkException

    with ExitStack() as stack:
        try:
            chosen = scorer.population(frames.to_spark(rows))
            # Computed here already, not when it is written: then it is the use case's error.
            computed = stack.enter_context(frames.staged(frames.of(chosen)))
        except (AttributeError, TypeError, PySparkException, PlatformError) as error:
            reason = str(error).strip().splitlines()[0]
            raise StageError(
                f"{type(scorer).__name__}.population failed with {type(error).__name__}: {reason}",
                hint="It is given a Spark DataFrame and returns one, as in "
                'spine_rows.where("amount >= 1000"); in earlier releases both were pyarrow tables.',
            ) from error
        yield computed
