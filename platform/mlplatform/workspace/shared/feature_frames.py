"""Frames of the feature client: any kind in, normal Arrow inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from mlplatform.errors import FeatureStoreError, TableError
from mlplatform.protocols.table_checks import check_unique
from mlplatform.types import arrow_type, normal_schema, normal_table
from mlplatform.workspace.shared.frames import to_arrow


class Rows(Protocol):
    """Rows for a feature table, in whatever engine they are."""

    @property
    def schema(self) -> pa.Schema:
        """Their columns, in normal types."""
        ...

    @property
    def frame(self) -> Any:
        """What `Tables.merge` takes."""
        ...

    def any(self) -> bool:
        """Tell whether there is a row at all."""
        ...

    def check_keys(self, keys: Sequence[str], table: str) -> None:
        """Refuse null and repeated keys.

        Raises:
            TableError: With the columns concerned and the number of rows.
        """
        ...


@dataclass(frozen=True)
class ArrowRows:
    """Rows in memory, in normal types."""

    frame: pa.Table

    @property
    def schema(self) -> pa.Schema:
        """Their columns."""
        return self.frame.schema

    def any(self) -> bool:
        """Tell whether there is a row at all."""
        return bool(self.frame.num_rows)

    def check_keys(self, keys: Sequence[str], table: str) -> None:
        """Refuse null and repeated keys."""
        check_unique(self.frame, keys, table)


def frame_in(frame: Any, *, of: str) -> pa.Table:
    """Return a Spark, Arrow or pandas frame as Arrow in normal types.

    Args:
        frame: The frame.
        of: What it is, for messages.

    Raises:
        FeatureStoreError: If it is not a frame, repeats a column's name, or has a type that features cannot have.
    """
    if hasattr(frame, "toArrow"):
        frame_schema(frame, of=of)
    elif type(frame).__module__.startswith("pandas"):
        _refuse_repeated(frame, of)
    try:
        table = to_arrow(frame)
    except TableError as error:
        raise FeatureStoreError(f"{of}: {error.message}", hint=error.hint) from None
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise FeatureStoreError(f"{of} cannot be read: {error}", hint="Give each column one type.") from None
    return normal_table(table, of=of)


def frame_schema(frame: Any, *, of: str) -> pa.Schema:
    """Return the schema of a Spark DataFrame in normal types; no row is read.

    Args:
        frame: The DataFrame.
        of: What it is, for messages.

    Raises:
        FeatureStoreError: If it repeats a column's name, or has a type that features cannot have.
    """
    _refuse_repeated(frame, of)
    return normal_schema(spark_schema(frame.schema), of=of)


def spark_schema(schema: Any) -> pa.Schema:
    """Return the Arrow schema of a Spark one (a `StructType`).

    Raises:
        FeatureStoreError: If a column has a type that features cannot have; the column is named.
    """
    fields = []
    for field in schema.fields:
        name = field.dataType.simpleString()
        try:
            kind = pa.null() if name == "void" else arrow_type(name)
        except FeatureStoreError as error:
            raise FeatureStoreError(f"Column {field.name!r}: {error.message}", hint=error.hint) from None
        fields.append(pa.field(field.name, kind, field.nullable))
    return pa.schema(fields)


def _refuse_repeated(frame: Any, of: str) -> None:
    """Look before anything is read: Spark and pandas themselves fail on such frames, each in its own words."""
    columns = list(frame.columns)
    repeated = sorted({str(name) for name in columns if columns.count(name) > 1})
    if repeated:
        raise FeatureStoreError(
            f"{of} has more than one column named {', '.join(map(repr, repeated))}.", hint="Rename or drop them."
        )
