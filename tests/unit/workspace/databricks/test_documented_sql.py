"""The grammar that the tests hold our statements against, and what it refuses; then every statement we make."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform.protocols.functions import FunctionInfo
from mlplatform.workspace.databricks import functions, table_metadata
from mlplatform.workspace.shared.grants import PRIVILEGES, grant_statement
from tests.standin.documented_sql import SqlRefusedError, check

if TYPE_CHECKING:
    from collections.abc import Iterator

# From the examples of the pages themselves.
DOCUMENTED = (
    "GRANT ALL PRIVILEGES ON TABLE forecasts TO finance",
    "GRANT SELECT ON TABLE sample_data TO `alf@melmak.et`;",
    "GRANT EXECUTE ON FUNCTION prod.ml_team.iris_model TO `ml-team-acme`",
    "REVOKE ALL PRIVILEGES ON SCHEMA my_schema FROM `alf@melmak.et`",
    "GRANT USE CATALOG ON CATALOG main TO ai_team",
    "GRANT CREATE CATALOG ON METASTORE TO engineering",
    "ALTER TABLE test SET TAGS ('tag1' = 'val1', 'tag2' = 'val2', 'tag3' = 'val3')",
    "ALTER TABLE test UNSET TAGS ('tag1', 'tag2', 'tag3')",
    "ALTER TABLE persons ADD CONSTRAINT persons_pk PRIMARY KEY(first_name, last_name)",
    "ALTER TABLE t ADD CONSTRAINT pk PRIMARY KEY (id, at TIMESERIES) NOT ENFORCED RELY",
    "CREATE FUNCTION main.default.greet(s STRING) RETURNS STRING LANGUAGE PYTHON AS $$ return f'Hello, {s}' $$",
    (
        "CREATE OR REPLACE FUNCTION f(a MAP<STRING, ARRAY<INT>>, b DECIMAL(10, 2)) RETURNS STRUCT<x: INT, y: DATE> "
        "COMMENT 'what it''s for' LANGUAGE PYTHON AS $body$ return None $body$"
    ),
    (
        "CREATE TABLE IF NOT EXISTS student (id INT NOT NULL COMMENT 'this is a comment', name STRING) USING DELTA "
        "CLUSTER BY (id) COMMENT 'x' TBLPROPERTIES ('foo' = 'bar')"
    ),
    "CREATE SCHEMA IF NOT EXISTS customer_sc COMMENT 'This is customer schema'",
    "DESCRIBE HISTORY table_name LIMIT 1",
)
UNDOCUMENTED = (
    "GRANT EXECUTE ON MODEL prod.ml_team.iris_model TO `ml-team-acme`",
    "GRANT CREATE MODEL VERSION ON REGISTERED MODEL a.b.c TO x",
    "GRANT CREATE_MODEL_VERSION ON FUNCTION a.b.c TO x",
    "GRANT EXECUTE ON FUNCTION a.b.c.d TO x",
    "GRANT EXECUTE ON FUNCTION a.b.c TO x, y",
    "GRANT EXECUTE ON FUNCTION a.b.c FROM x",
    "REVOKE EXECUTE ON FUNCTION a.b.c TO x",
    "GRANT EXECUTE FUNCTION a.b.c TO x",
    "GRANT ON FUNCTION a.b.c TO x",
    "GRANT SELECT ON FUNCTION a.b.c TO x",
    "GRANT MODIFY ON VOLUME a.b.c TO x",
    "GRANT EXECUTE ON TABLE a.b.c TO x",
    "GRANT USE CATALOG ON SCHEMA a.b TO x",
    "ALTER TABLE t SET TAG ('a' = 'b')",
    "ALTER TABLE t SET TAGS (a = b)",
    "ALTER TABLE t SET TAGS ('a': 'b')",
    "ALTER TABLE t UNSET TAGS ('a' = 'b')",
    "ALTER MODEL a.b.c SET TAGS ('a' = 'b')",
    "ALTER TABLE t ADD PRIMARY KEY pk (a)",
    "ALTER TABLE t ADD CONSTRAINT pk PRIMARY KEY (TIMESERIES a b)",
    "ALTER TABLE t ADD CONSTRAINT pk PRIMARY KEY (a TIMESERIES, b TIMESERIES)",
    "ALTER TABLE t ADD CONSTRAINT pk PRIMARY KEY ()",
    "CREATE FUNCTION f(x DOUBLE) RETURNS DOUBLE LANGUAGE PYTHON AS 'return x'",
    "CREATE FUNCTION f(x FLOAT64) RETURNS DOUBLE LANGUAGE PYTHON AS $$ return x $$",
    "CREATE FUNCTION f(x DOUBLE) LANGUAGE PYTHON RETURNS DOUBLE AS $$ return x $$",
    "CREATE FUNCTION f(x DOUBLE) RETURNS DOUBLE LANGUAGE PYTHON COMMENT it AS $$ return x $$",
    "CREATE TABLE t (a INT) CLUSTER BY a",
    "CREATE TABLE t (a INT NULLABLE) USING DELTA",
    "CREATE TABLE t (a INT) USING DELTA CLUSTER BY (a, b, c, d, e)",
    "CREATE TABLE t (a INT) USING DELTA PROPERTIES ('a' = 'b')",
    "CREATE MODEL a.b.c",
    "DESCRIBE HISTORY t LIMIT",
)


@pytest.mark.parametrize("statement", DOCUMENTED)
def test_what_the_documentation_shows_is_taken(statement):
    check(statement)


@pytest.mark.parametrize("statement", UNDOCUMENTED)
def test_what_it_does_not_have_is_refused(statement):
    with pytest.raises(SqlRefusedError):
        check(statement)


def missing() -> Exception:
    """Return what Spark says of a table that there is not."""
    from pyspark.errors import AnalysisException

    return AnalysisException("[TABLE_OR_VIEW_NOT_FOUND] not there", errorClass="TABLE_OR_VIEW_NOT_FOUND")


class Session:
    """Notes what a Spark session would be asked to run; there is no schema and no table yet."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.catalog = self

    def sql(self, statement: str) -> Session:
        self.statements.append(statement)
        return self

    execute = sql

    def databaseExists(self, _: str) -> bool:  # noqa: N802  (Spark's name)
        return False

    def getTable(self, _: str) -> None:  # noqa: N802
        raise missing()


def statements() -> Iterator[str]:
    """Every kind of statement that only Databricks knows, as the platform makes it, with names that need quoting."""
    names = {"catalog": "my-cat", "schema": "my-cat.dev_jo_tiny"}
    for kind, privileges in PRIVILEGES.items():
        for privilege in privileges:
            yield grant_statement([privilege], kind, names.get(kind, "my-cat.dev_jo_tiny.it"), "o'b`rien@example.com")
        yield grant_statement(list(privileges), kind, names.get(kind, "my-cat.dev_jo_tiny.it"), "a-b")
    session = Session()
    ws: Any = type("Workspace", (), {"spark": session, "sql": session})()
    name = table_metadata.ObjectName.parse("my-cat.tiny.gold_it")
    for value in ("plain", "it's; -- \\ $$", "", None):
        table_metadata.set_tag(ws, name, "owner's", value)
    table_metadata.add_primary_key(ws, name, ["id", "at"], "at")
    table_metadata.add_primary_key(ws, name, ["Account No"], None)
    moment, comment = pa.timestamp("us", tz="UTC"), {"comment": "it's \\ what"}
    columns = [
        pa.field("id", pa.int64(), nullable=False, metadata=comment),
        pa.field("at", moment, nullable=False),
        *(pa.field(f"k{number}", pa.string()) for number in range(4)),
        pa.field("share", pa.decimal128(10, 2), metadata=comment),
        pa.field("parts", pa.list_(pa.struct([pa.field("name", pa.string()), pa.field("x", pa.float64())]))),
        pa.field("Account No", pa.map_(pa.string(), pa.int32())),
    ]
    keys = [column.name for column in columns[:6]]
    table_metadata.create_table(ws, name, pa.schema(columns), keys, "Somebody's table; `quoted`", "at")
    table_metadata.create_table(ws, name, pa.schema(columns[:1]), [], "")
    yield from session.statements
    for parameters, returns in (((), "double"), ((("x", "double"), ("m", "map<string,array<int>>")), "string")):
        info = FunctionInfo(name="my-cat.tiny.f", parameters=parameters, returns=returns, fn=_described)
        yield functions.statement(info, "return None", "0123456789abcdef")


def _described() -> None:
    """It's what it's for."""


def test_every_statement_of_ours_is_documented():
    made = list(statements())
    for statement in made:
        check(statement)
    heads = {re.split(r" [`(]", statement)[0].split(" ON ")[0].split(" (")[0] for statement in made}
    assert {"ALTER TABLE", "CREATE TABLE IF NOT EXISTS", "CREATE SCHEMA IF NOT EXISTS"} <= heads
    assert any(statement.startswith("CREATE OR REPLACE FUNCTION") for statement in made)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (" ON FUNCTION ", " ON MODEL "),
        (" SET TAGS ", " SET TAG "),
        (" TIMESERIES)", ")TIMESERIES"),
        ("CLUSTER BY (", "CLUSTERED BY ("),
        (" TBLPROPERTIES ", " PROPERTIES "),
        ("LANGUAGE PYTHON", "LANGUAGE 'PYTHON'"),
        (" TO `", " TO '"),
        ("ADD CONSTRAINT", "ADD CONSTRAINTS"),
        ("CREATE SCHEMA IF NOT EXISTS", "CREATE SCHEMA IF NOT EXIST"),
        ("MODEL VERSION", "MODEL_VERSION"),
    ],
)
def test_a_statement_that_is_broken_is_found(wrong, right):
    broken = [statement.replace(wrong, right) for statement in statements() if wrong in statement]
    assert broken
    for statement in broken:
        with pytest.raises(SqlRefusedError):
            check(statement)
