"""Declaring a table's columns: name, Spark type, comment."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyarrow as pa

from mlplatform.errors import ConfigError, FeatureStoreError, TableError, did_you_mean
from mlplatform.naming import check_expression
from mlplatform.types import declared_type

NotFinite = Literal["quarantined", "null"]
_NOT_FINITE: tuple[str, ...] = get_args(NotFinite)


@dataclass(frozen=True)
class Column:
    """One column of a declared table.

    See the glossary: docs/glossary.md

    Attributes:
        name: Its name.
        type: Spark's name of a type: string, boolean, smallint, int, bigint, float, double, decimal(p,s), date
            or timestamp (UTC, microseconds).
        comment: What it means, with its unit; ends up as the column's comment in the catalog.
        nullable: False where a null is an error.
        sql: Of a silver table's column: how it is read from the landed text, in Spark's SQL. None: the landed column of
            the same name, null where it cannot be read as the type.
        not_finite: Of a silver table's column: what becomes of NaN and the infinities, which are no values. A row with
            one is `quarantined`; or the cell is read as `null`.

    Examples:
        >>> amount = Column("amount", "decimal(12,2)", "Approved, in dollars", nullable=False)
        >>> amount.field().type, amount.field().nullable
        (Decimal128Type(decimal128(12, 2)), False)
    """

    name: str
    type: str
    comment: str
    nullable: bool = True
    sql: str | None = None
    not_finite: NotFinite = "quarantined"

    def __post_init__(self) -> None:
        """Refuse what `not_finite` cannot be, and SQL that no engine can be given.

        Raises:
            ConfigError: If `not_finite` is neither `quarantined` nor `null`, or the SQL is too long or too deep.
        """
        if self.not_finite not in _NOT_FINITE:
            raise ConfigError(
                f"Column {self.name}: not_finite is {self.not_finite!r}.",
                hint=did_you_mean(str(self.not_finite), _NOT_FINITE),
            )
        if self.sql:
            check_expression(self.sql, of=f"The sql of the column {self.name}")

    def field(self) -> pa.Field[Any]:
        """Return the column as an Arrow field.

        Raises:
            TableError: If the type is none of those above.

        Examples:
            >>> Column("loan_id", "string", "Number of the loan").field().type
            DataType(string)
        """
        try:
            kind = declared_type(self.type)
        except FeatureStoreError as error:
            raise TableError(f"Column {self.name}: {error.message}", hint=error.hint) from None
        return pa.field(self.name, kind, nullable=self.nullable, metadata={"comment": self.comment})


class Described:
    """Base of declared parts: described by the first line of the class's docstring, unless it sets `description`.

    Attributes stand in the class's body, or in its brackets: `class Loans(SilverTable, keys=("loan_id",))`.
    """

    def __init_subclass__(cls, **declared: Any) -> None:
        """Take over what is declared in the brackets.

        Raises:
            ConfigError: If there is no such attribute.
        """
        super().__init_subclass__()
        attributes = {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}
        for name, value in declared.items():
            if name not in attributes:
                raise ConfigError(
                    f"{cls.__name__} declares {name}, which is unknown.", hint=did_you_mean(name, attributes)
                )
            setattr(cls, name, value)

    @property
    def description(self) -> str:
        """The table's comment in the catalog."""
        text = inspect.cleandoc(type(self).__doc__ or "")
        return text.partition("\n")[0].removesuffix(".")


def refuse_names(owner: str, names: Iterable[str], taken: Collection[str] = ()) -> None:
    """Refuse names of columns that the platform uses beside them; case does not count.

    Args:
        owner: What declares the columns, for the message.
        names: The names.
        taken: Those that it uses. It uses none but these and names that begin with two underscores.

    Raises:
        ConfigError: Naming the column.
    """
    for name in names:
        if name.startswith("__") or name.lower() in taken:
            raise ConfigError(
                f"{owner}: a column cannot be called {name!r}, which the platform uses itself.",
                hint="Give it another name: none that begins with two underscores"
                + (f", nor {', '.join(sorted(taken))}." if taken else "."),
            )


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return declared columns as an Arrow schema."""
    return pa.schema([column.field() for column in columns])
