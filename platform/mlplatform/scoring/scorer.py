"""Whom to score."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa


class BatchScorer:
    """Base class of a use case's batch scoring; the default scores every spine row whose time has come.

    Terms are explained in docs/glossary.md.

    Attributes:
        chunk_rows: Rows scored at a time; bounds memory.
        reason_codes: How many of the inputs that moved a prediction most are kept with it; 0: none. Costs one more
            prediction for each input of each row.

    Examples:
        >>> import pyarrow as pa
        >>> import pyarrow.compute as pc
        >>> class LargeLoans(BatchScorer):
        ...     reason_codes = 3
        ...
        ...     def population(self, spine_rows):
        ...         return spine_rows.filter(pc.greater_equal(spine_rows.column("amount"), 1000))
        >>> LargeLoans().population(pa.table({"loan_id": [1, 2], "amount": [400, 2500]})).to_pylist()
        [{'loan_id': 2, 'amount': 2500}]
    """

    chunk_rows: ClassVar[int] = 200_000
    reason_codes: ClassVar[int] = 0

    def population(self, spine_rows: pa.Table) -> pa.Table:
        """Return the rows to score.

        Args:
            spine_rows: The spine's rows whose prediction time lies in (previous as_of, as_of].
        """
        return spine_rows
