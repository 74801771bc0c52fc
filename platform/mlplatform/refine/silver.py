"""A silver table: one source's rows, cleaned and typed; each row passes every expectation or is quarantined."""

from __future__ import annotations

import json
import warnings
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from mlplatform.code_digest import code_digest
from mlplatform.columns import Column, Described, arrow_schema, refuse_names
from mlplatform.derived_attributes import derived, named_after_class
from mlplatform.errors import ConfigError, did_you_mean
from mlplatform.ingest import provenance
from mlplatform.ingest.dialect import ISO, Dialect
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW
from mlplatform.ingest.source import Source
from mlplatform.naming import quote
from mlplatform.refine.dates import iso_sql
from mlplatform.refine.expectations import REASONS, Expectation
from mlplatform.refine.numbers import digits_sql
from mlplatform.types import is_number, spark_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column as SparkColumn

BATCH = "_batch"
CORRECTED_AT = "_corrected_at"
NEWEST = "newest"
DELIVERY = (AVAILABLE_AT, FILE, ROW)
"""What tells deliveries of a record apart; in this order, the last of them is the newest."""
_CORRECTED_AT = pa.field(
    CORRECTED_AT,
    pa.timestamp("us", tz="UTC"),
    metadata={"comment": "When this correction of earlier rows of its key could be known; null: it is the first"},
)
_PROVENANCE = tuple(field.name for field in provenance.FIELDS)
_OURS = frozenset({*_PROVENANCE, BATCH, CORRECTED_AT, REASONS})


def _sql(column: Column, dialect: Dialect) -> str:
    """Return the SQL that reads a column: its own, or the landed column of its name, cast."""
    return _as_declared(column) if column.sql is not None else _as_it_stands(column, dialect)


def _as_it_stands(column: Column, dialect: Dialect) -> str:
    """Return the SQL that reads the landed column of a column's name, written as the source's dialect says."""
    kind, landed = column.field().type, quote(column.name)
    if is_number(kind) and not dialect.has_plain_numbers:
        return _read(digits_sql(landed, dialect), kind)
    if (pa.types.is_timestamp(kind) or pa.types.is_date(kind)) and dialect.date_format != ISO:
        return _read(iso_sql(landed, dialect.date_format, with_time=pa.types.is_timestamp(kind)), kind)
    return _read(landed, kind)


def as_read(name: str, kind: pa.DataType) -> str:
    """Return the SQL that reads a column of text as a type, null where it says no such value.

    Args:
        name: The column, which holds numbers and times as a program writes them.
        kind: The type.
    """
    return _read(quote(name), kind)


def _read(landed: str, kind: pa.DataType) -> str:
    read = f"try_cast({landed} AS {spark_type(kind)})"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # A time alone would be read as one of today: another value on another day.
        return f"CASE WHEN {landed} RLIKE '^[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}' THEN {read} END"
    if pa.types.is_decimal(kind):
        # A cast rounds what has more decimals, and engines differ about exponents: neither is this number.
        decimals = f"[.][0-9]{{0,{kind.scale}}}0*" if kind.scale else "[.]0*"
        point_first = f"|[.][0-9]{{1,{kind.scale}}}0*" if kind.scale else ""
        return f"CASE WHEN trim({landed}) RLIKE '^[+-]?([0-9]+({decimals})?{point_first})$' THEN {read} END"
    return read


def _as_declared(column: Column) -> str:
    """Return a column's own SQL, null where its value is beyond a narrow type: one such row must not stop the table."""
    kind = column.field().type
    fitting = f"try_cast(({column.sql}) AS {spark_type(kind)})"
    if pa.types.is_decimal(kind):
        return fitting
    if pa.types.is_int16(kind):
        # A cast would cut decimals off.
        return f"CASE WHEN try_cast(({column.sql}) AS double) = {fitting} THEN {fitting} END"
    return str(column.sql)


class SilverTable(Described):
    """Base class of a use case's silver tables.

    See the glossary: docs/glossary.md

    A subclass declares how each landed row becomes typed columns; joins and histories belong to gold and to the feature
    tables. A column without SQL is read as the source's dialect says that numbers and days are written. What cannot be
    read becomes null (`try_cast`, `try_to_timestamp`), and an expectation says whether it may. So does a number beyond
    its type: a decimal with more digits before or after the point than declared. What a column's own SQL computes is
    rounded to a decimal's scale, as a cast does; where it is text and another type is declared, it is read as text that
    a program wrote.

    NaN and the infinities are no values: a row with one is quarantined as `<column>_is_not_finite`, whatever the
    expectations say, or the cell is null where its column says so.

    Attributes:
        name: Table `silver_<name>`, quarantine `quarantine_<name>`; unless declared, the class's name in snake case.
        source: The source it is made from.
        columns: Its columns, each with the SQL that reads it.
        where: Which landed rows are this table's, as a condition of Spark's SQL over the landed text; None: all. The
            others are counted as `left_out`: no rows of this table, and nothing wrong with them.
        keys: Columns that name what a row is about, without the time.
        timeseries: Whether a key has a row for each time, as an hourly observation has, instead of one row.
        primary_keys: What identifies a row: the keys, and `known_at` in a time series. A second row with the same
            primary keys is quarantined as `duplicate_key`; unless all but its `known_at` is the same, too: then the row
            exists already, and is counted as `repeated`.
        corrections: What a second row with the same primary keys and other values is. None: a fault, quarantined.
            `newest`: a correction, which holds from the time when it could be known (the source's `available`). The
            table keeps both; what reads it as of a time sees, of each key, the newest that was known by then.
        row_keys: What identifies a row of the table: the primary keys, and where it keeps corrections, which delivery
            of them it is.
        known_at: The timestamp column that says when a row's content was known.
        expectations: What must hold for each row, besides that keys and `known_at` are not null.

    Examples:
        >>> class LoansSource(Source):
        ...     files = "loans/loans_*.csv"
        ...     columns = ("id", "approved", "amount")
        >>> class Loans(SilverTable):
        ...     source = LoansSource
        ...     keys = ("loan_id",)
        ...     columns = (
        ...         Column("loan_id", "string", "Number of the loan", sql="id"),
        ...         Column("known_at", "timestamp", "When it was approved", sql="try_to_timestamp(approved)"),
        ...         Column("amount", "double", "In dollars"),
        ...     )
        ...     expectations = (Expectation("amount_is_positive", "amount > 0"),)
        >>> Loans.name, Loans.primary_keys
        ('loans', ('loan_id',))
        >>> [expectation.name for expectation in Loans().all_expectations()]
        ['loan_id_is_null', 'known_at_is_null', 'amount_is_positive']
    """

    name: ClassVar[str] = named_after_class()
    source: ClassVar[type[Source]]
    where: ClassVar[str | None] = None
    columns: ClassVar[tuple[Column, ...]]
    keys: ClassVar[tuple[str, ...]]
    timeseries: ClassVar[bool] = False
    corrections: ClassVar[str | None] = None
    known_at: ClassVar[str] = "known_at"
    expectations: ClassVar[tuple[Expectation, ...]] = ()
    primary_keys: ClassVar[tuple[str, ...]] = derived(
        lambda cls: tuple(dict.fromkeys((*cls.keys, cls.known_at) if cls.timeseries else cls.keys))
    )
    row_keys: ClassVar[tuple[str, ...]] = derived(
        lambda cls: (*cls.primary_keys, *DELIVERY) if cls.corrections else cls.primary_keys
    )

    def __init_subclass__(cls, **declared: Any) -> None:
        """Read keys that hold the time as what they are: those of a time series; check what is said of corrections.

        Raises:
            ConfigError: If `corrections` is none of its values, or nobody knows when the source's files were known; if
                a column has a name that the platform uses itself.
        """
        super().__init_subclass__(**declared)
        refuse_names(cls.__name__, (column.name for column in getattr(cls, "columns", ())), _OURS)
        if cls.corrections is not None:
            _check_corrections(cls)
        if "keys" in vars(cls) and cls.known_at in cls.keys and not cls.timeseries:
            keys = tuple(key for key in cls.keys if key != cls.known_at)
            warnings.warn(
                f"{cls.__name__}.keys holds its time, {cls.known_at}: keys are without it. Write keys = {keys} and "
                "timeseries = True, and read primary_keys where both are meant.",
                DeprecationWarning,
                stacklevel=2,
            )

    def select(self) -> dict[str, SparkColumn]:
        """Return one expression per column, over the landed text; override it for what SQL cannot say.

        Raises:
            ConfigError: If a column has no SQL and the source no column of its name.
        """
        from pyspark.sql import functions as F  # noqa: N812

        for column in self.columns:
            if column.sql is None and column.name not in (*self.source.columns, *_PROVENANCE):
                raise ConfigError(
                    f"silver_{self.name}: {column.name} has no SQL, and source {self.source.name} no such column.",
                    hint=f"Give the column its sql. {did_you_mean(column.name, self.source.columns)}",
                )
        return {column.name: F.expr(_sql(column, self.source.dialect)) for column in self.columns}

    def schema(self) -> pa.Schema:
        """Return the table's schema, with where each row came from."""
        return pa.schema(
            [
                *arrow_schema(self.columns),
                *provenance.FIELDS,
                pa.field(BATCH, pa.int64(), nullable=False, metadata={"comment": "Number of the refining batch"}),
                *([_CORRECTED_AT] if self.corrections else []),
            ]
        )

    def all_expectations(self) -> tuple[Expectation, ...]:
        """Return the declared expectations, after those every silver table has: keys and `known_at` are not null."""
        required = dict.fromkeys((*self.primary_keys, self.known_at))
        return (*(Expectation(f"{name}_is_null", f"`{name}` IS NOT NULL") for name in required), *self.expectations)

    def digest(self) -> str:
        """Return the digest of all that decides what a landed row becomes: the declaration, and code of its own.

        Comments and descriptions are no part of it. A table that only declares has no code: what else its module holds
        does not touch it.
        """
        declared = {
            "source": self.source.name,
            "where": self.where,
            "columns": sorted(
                (column.name, spark_type(column.field().type), _sql(column, self.source.dialect))
                for column in self.columns
            ),
            "keys": sorted(self.primary_keys),
            "known_at": self.known_at,
            "expectations": [(item.name, item.condition) for item in self.all_expectations()],
        }
        # The digests of tables without these stay what they were.
        if self.corrections:
            declared["corrections"] = self.corrections
        if nulls := sorted(column.name for column in self.columns if column.not_finite == "null"):
            declared["not_finite_is_null"] = nulls
        code = [type(self)] if _has_code(type(self)) else []
        return code_digest(*code, settings=json.dumps(declared))


def record_keys(row_keys: Sequence[str]) -> tuple[str, ...]:
    """Return what identifies a record, of the keys that a table has: all but those that tell deliveries of it apart.

    Examples:
        >>> record_keys(("loan_id", "_available_at", "_file", "_row"))
        ('loan_id',)
    """
    return tuple(key for key in row_keys if key not in DELIVERY)


def _check_corrections(table: type[SilverTable]) -> None:
    if table.corrections != NEWEST:
        raise ConfigError(
            f"{table.__name__}.corrections is {table.corrections!r}.",
            hint=f'Write corrections = "{NEWEST}": of rows with the same keys, the newest holds. Or leave it out: the '
            "first holds, and others are quarantined.",
        )
    source = getattr(table, "source", None)
    if source is not None and source.available == "always" and source.available_at is Source.available_at:
        raise ConfigError(
            f'{table.__name__}.corrections is "{NEWEST}", and nobody knows when a file of {source.__name__} could be '
            "known: a correction would hold from the beginning of time.",
            hint=f'Write {source.__name__}.available = "period_end" where the name of a file holds its period, or '
            "override available_at().",
        )


def _has_code(table: type[SilverTable]) -> bool:
    """Tell whether a table computes with functions of its own, besides what it declares."""
    own = [base for base in table.__mro__ if base not in SilverTable.__mro__]
    kinds = (FunctionType, staticmethod, classmethod, property)
    return any(isinstance(value, kinds) for base in own for value in vars(base).values())
