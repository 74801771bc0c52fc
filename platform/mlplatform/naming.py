"""Three-level names, validated and quoted in one place: every name that becomes SQL or a path passes here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mlplatform.errors import ConfigError, UsageError, shortened

SqlDialect = Literal["spark", "duckdb"]

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}")
_USE_CASE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_QUOTES: dict[SqlDialect, str] = {"spark": "`", "duckdb": '"'}

LEVELS = 3
DEEPEST_SQL, LONGEST_SQL = 200, 100_000
OPS_SCHEMA = "ops"
CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS_CHAMPION = "previous_champion"


def check_part(part: str, *, of: str) -> str:
    """Return one level of a name if it is valid.

    Args:
        part: A catalog, schema, table, model or function name.
        of: The whole name, for the message.

    Raises:
        UsageError: If the part is empty, too long, or holds other characters than letters, digits, `_`, `-`.
    """
    if not isinstance(part, str) or not _PART.fullmatch(part):
        raise UsageError(
            f"{shortened(part)} in the name {shortened(of)} is not a valid catalog, schema or object name.",
            hint="Use letters, digits, '_' and '-', at most 255 characters, as in 'dev.credit_risk.silver_loans'.",
        )
    return part


def check_use_case_name(name: str) -> str:
    """Return the name if it can name a use case: its folder, its schema and its Python package.

    Raises:
        UsageError: If it is not lower-case letters, digits and underscores, starting with a letter.

    Examples:
        >>> check_use_case_name("credit_risk")
        'credit_risk'
    """
    if not _USE_CASE.fullmatch(name):
        raise UsageError(
            f"{shortened(name)} is not a valid use-case name.",
            hint="Use lower-case letters, digits and underscores, starting with a letter, as in 'credit_risk'.",
        )
    return name


def check_expression(sql: str, *, of: str) -> str:
    """Return an expression in SQL if an engine can be given it: its parser goes down with each bracket, and could fall.

    Whether it is right SQL is for the engine to say.

    Args:
        sql: The expression.
        of: Whose it is, for the message.

    Raises:
        ConfigError: If it is empty, holds a NUL, or is nested or long beyond all use.

    Examples:
        >>> check_expression("price > 0", of="the expectation price_is_positive")
        'price > 0'
    """
    if not isinstance(sql, str) or not sql.strip() or "\0" in sql:
        raise ConfigError(
            f"{of} is {shortened(sql)}, which is no SQL.", hint="Write a condition or a value, as in 'price > 0'."
        )
    depth = deepest = 0
    for sign in sql:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    if deepest > DEEPEST_SQL or len(sql) > LONGEST_SQL:
        raise ConfigError(
            f"{of} has {deepest:,} brackets in one another and {len(sql):,} characters; at most {DEEPEST_SQL} and "
            f"{LONGEST_SQL:,} are given to an engine.",
            hint="Compute parts of it in columns of their own.",
        )
    return sql


def quote(identifier: str, dialect: SqlDialect = "spark") -> str:
    """Quote one identifier (a column, mostly) for SQL.

    Args:
        identifier: The bare name; any text without control characters.
        dialect: Whose quoting rules: backticks for Spark, double quotes for DuckDB.

    Raises:
        UsageError: If the identifier is empty or holds control characters.

    Examples:
        >>> quote("a`b"), quote('a"b', "duckdb")
        ('`a``b`', '"a""b"')
    """
    if not identifier or _CONTROL.search(identifier):
        raise UsageError(
            f"{shortened(identifier)} cannot be used as a column name in SQL.",
            hint="A column name is not empty and holds no control characters.",
        )
    mark = _QUOTES[dialect]
    return f"{mark}{identifier.replace(mark, mark * 2)}{mark}"


@dataclass(frozen=True, order=True)
class ObjectName:
    """A three-level Unity Catalog name: of a table, a model or a function.

    Examples:
        >>> name = ObjectName.parse("dev.credit_risk.silver_loans")
        >>> name.schema, str(name), name.sql
        ('credit_risk', 'dev.credit_risk.silver_loans', '`dev`.`credit_risk`.`silver_loans`')
    """

    catalog: str
    schema: str
    name: str

    def __post_init__(self) -> None:
        """Validate all three parts."""
        whole = f"{self.catalog}.{self.schema}.{self.name}"
        for part in (self.catalog, self.schema, self.name):
            check_part(part, of=whole)

    @classmethod
    def parse(cls, text: str | ObjectName) -> ObjectName:
        """Read `catalog.schema.name`.

        Raises:
            UsageError: If there are not exactly three valid parts.
        """
        if isinstance(text, ObjectName):
            return text
        parts = text.split(".") if isinstance(text, str) else []
        if len(parts) != LEVELS:
            raise UsageError(
                f"{shortened(text)} is not a three-level name.",
                hint="Write catalog.schema.name, as in 'dev.credit_risk.features_lender'.",
            )
        return cls(*(part.strip("`") for part in parts))

    @property
    def sql(self) -> str:
        """The name quoted for Spark SQL."""
        return ".".join(quote(part) for part in (self.catalog, self.schema, self.name))

    def __str__(self) -> str:
        """Return the bare dotted name."""
        return f"{self.catalog}.{self.schema}.{self.name}"


def ops_table(catalog: str, name: str, prefix: str = "") -> ObjectName:
    """Name one of the platform's own tables of an environment."""
    return ObjectName(catalog, f"{prefix}{OPS_SCHEMA}", name)


@dataclass(frozen=True)
class Namespace:
    """Where a use case's objects live: `<catalog>.<use_case>`, with the platform's own tables in `<catalog>.ops`.

    A prefix goes before the names of the schemas and of the model, as a bundle's development mode names them.

    Examples:
        >>> ns = Namespace("dev", "credit_risk")
        >>> str(ns.table("silver_loans")), str(ns.model), str(ns.ops("stage_runs"))
        ('dev.credit_risk.silver_loans', 'dev.credit_risk.model', 'dev.ops.stage_runs')
        >>> str(Namespace("dev", "credit_risk", "dev_jo_").model)
        'dev.dev_jo_credit_risk.dev_jo_model'
        >>> str(Namespace("dev", "credit_risk").at({"features_lender": "features_lender__1f"}).features("lender"))
        'dev.credit_risk.features_lender__1f'

    Attributes:
        catalog: The environment's.
        use_case: The use case's name.
        prefix: Of a bundle's development mode; empty: none.
        versions: (declared name, version) of the tables and functions of which a version is written and looked up
            instead, because a model in use reads the one of that name as it was.
    """

    catalog: str
    use_case: str
    prefix: str = ""
    versions: tuple[tuple[str, str], ...] = ()

    def at(self, versions: Mapping[str, str]) -> Namespace:
        """Return the same with these versions of tables and functions.

        Args:
            versions: Declared name -> version; of names that are not in it, the one of that name.
        """
        return replace(self, versions=tuple(sorted(versions.items())))

    def table(self, name: str) -> ObjectName:
        """Name a table (or function) of the use case, in the version that is written."""
        return self.exactly(dict(self.versions).get(name, name))

    def exactly(self, name: str) -> ObjectName:
        """Name a table (or function) of the use case by the very name that it has in the catalog."""
        return ObjectName(self.catalog, f"{self.prefix}{self.use_case}", name)

    def bronze(self, source: str) -> ObjectName:
        """Name the bronze table of a source."""
        return self.table(f"bronze_{source}")

    def silver(self, name: str) -> ObjectName:
        """Name a silver table."""
        return self.table(f"silver_{name}")

    def quarantine(self, name: str) -> ObjectName:
        """Name the quarantine table of a source."""
        return self.table(f"quarantine_{name}")

    def silver_quarantine(self, name: str) -> ObjectName:
        """Name the quarantine of a silver table, which has the silver table's version."""
        version = self.silver(name).name.removeprefix(f"silver_{name}")
        return self.exactly(f"quarantine_{name}{version}")

    def gold(self, name: str) -> ObjectName:
        """Name a gold table."""
        return self.table(f"gold_{name}")

    def features(self, name: str) -> ObjectName:
        """Name a feature table."""
        return self.table(f"features_{name}")

    def ops(self, name: str) -> ObjectName:
        """Name one of the platform's own tables of this environment."""
        return ops_table(self.catalog, name, self.prefix)

    @property
    def model(self) -> ObjectName:
        """The registered model of the use case."""
        return self.exactly(f"{self.prefix}model")
