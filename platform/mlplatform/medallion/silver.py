"""A silver table: one source's rows, cleaned and typed; each row passes every expectation or is quarantined."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from mlplatform.medallion.schema import Column, arrow_schema
from mlplatform.medallion.source import Source
from mlplatform.quality import provenance
from mlplatform.quality.expectations import Expectation

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn

BATCH = "_batch"


class SilverTable(ABC):
    """Base class of a use case's silver tables.

    A subclass maps each landed row to typed columns; joins and histories belong to gold and to the feature tables.

    Attributes:
        name: Table `silver_<name>`, quarantine `quarantine_<name>`.
        source: The source it is made from.
        columns: Its columns.
        keys: Columns that identify a row. A second row with the same keys is quarantined as `duplicate_key`.
        known_at: The timestamp column that says when a row's content was known.
        expectations: What must hold for each row, beside keys and `known_at` being there.
        description: The table's comment.
    """

    name: ClassVar[str]
    source: ClassVar[type[Source]]
    columns: ClassVar[tuple[Column, ...]]
    keys: ClassVar[tuple[str, ...]]
    known_at: ClassVar[str]
    expectations: ClassVar[tuple[Expectation, ...]] = ()
    description: ClassVar[str] = ""

    @abstractmethod
    def select(self) -> dict[str, SparkColumn]:
        """Return one expression a column, over the landed text.

        What cannot be read becomes null (`try_cast`, `try_to_timestamp`), and an expectation says whether it may.
        """

    def schema(self) -> pa.Schema:
        """Return the table's schema, with where each row came from."""
        return pa.schema(
            [
                *arrow_schema(self.columns),
                *provenance.FIELDS,
                pa.field(BATCH, pa.int64(), nullable=False, metadata={"comment": "Number of the refining batch"}),
            ]
        )

    def all_expectations(self) -> tuple[Expectation, ...]:
        """Return the declared expectations, after those every silver table has: keys and `known_at` are not null."""
        required = dict.fromkeys((*self.keys, self.known_at))
        return (*(Expectation(f"{name}_is_null", f"`{name}` IS NOT NULL") for name in required), *self.expectations)
