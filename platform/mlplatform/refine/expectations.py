"""Expectations: what must hold for each row of a silver table; a row that fails is quarantined with its reasons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlplatform.naming import check_expression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

REASONS = "_reasons"
# Texts and quoted names are passed over; a name after a point belongs to another one.
_PARTS = re.compile(
    r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|(?<![\w.`])(raw|`raw`)(?=\s*\.)|`(?:[^`]|``)*`""", re.IGNORECASE
)


@dataclass(frozen=True)
class Expectation:
    """A condition on one row.

    See the glossary: docs/glossary.md

    Attributes:
        name: Shown as the reason in the quarantine.
        condition: A Spark SQL expression over the table's columns, and over the landed text as `raw.<column>`. A row
            passes where it is true; false and null fail.

    Examples:
        >>> from mlplatform.refine.numbers import readable_sql
        >>> positive = Expectation("amount_is_positive", "amount > 0")
        >>> readable = Expectation("amount_is_readable", readable_sql("amount", "`Amount`"))
        >>> [expectation.name for expectation in (positive, readable)]
        ['amount_is_positive', 'amount_is_readable']
    """

    name: str
    condition: str

    def __post_init__(self) -> None:
        """Refuse a condition that no engine can be given."""
        check_expression(self.condition, of=f"The expectation {self.name}")


def over_landed(expectation: Expectation, name: str) -> Expectation:
    """Return an expectation that reads the landed text, which it calls `raw`, from a column of another name.

    So a table may have a column called `raw`, too: `raw.amount` is landed text, and `raw` is that column.

    Args:
        expectation: The expectation.
        name: The column that holds the landed text.

    Examples:
        >>> over_landed(Expectation("paid", "raw IS NOT NULL AND raw.`Amount` <> 'raw.x'"), "__raw").condition
        "raw IS NOT NULL AND __raw.`Amount` <> 'raw.x'"
    """
    condition = _PARTS.sub(lambda match: name if match[1] else match[0], expectation.condition)
    return Expectation(expectation.name, condition)


def with_reasons(frame: DataFrame, expectations: Sequence[Expectation]) -> DataFrame:
    """Add the column `_reasons`: the names of the expectations a row fails, empty where it passes all.

    Args:
        frame: The rows.
        expectations: What must hold.
    """
    from pyspark.sql import functions as F  # noqa: N812  (the name every PySpark reader knows)

    failed = [
        F.when(F.coalesce(F.expr(expectation.condition), F.lit(False)), F.lit(None)).otherwise(F.lit(expectation.name))
        for expectation in expectations
    ]
    reasons = F.filter(F.array(*failed), lambda reason: reason.isNotNull())
    return frame.withColumn(REASONS, F.array_join(reasons, ", "))


def one_of_sql(column: str, values: Sequence[str]) -> str:
    r"""Return the condition that a column of text has one of some values, in Spark's SQL.

    Args:
        column: The column, quoted where it has to be.
        values: The values.

    Examples:
        >>> one_of_sql("`grade`", ["A", "it's"])
        "`grade` IN ('A', 'it\\'s')"
    """
    texts = ["'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values]
    return f"{column} IN ({', '.join(texts)})"
