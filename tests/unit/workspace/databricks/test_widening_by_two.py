"""Two runs that widen the same table at the same time, on Databricks: what is left is done, and nothing twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from mlplatform.naming import ObjectName
from mlplatform.protocols.tables import TableInfo, Widening
from mlplatform.protocols.widening import widening
from mlplatform.workspace.databricks.tables import _lost_key
from mlplatform.workspace.databricks.widening import widen

NAME = ObjectName("dev", "risk", "t")
HELD = pa.schema([("id", pa.int64())])
DECLARED = pa.schema([("id", pa.int64()), ("a", pa.string()), ("b", pa.string())])


def info(*added: str) -> TableInfo:
    return TableInfo(str(NAME), 0, pa.schema([*HELD, *(pa.field(name, pa.string()) for name in added)]))


def widened(refusals: int, then: TableInfo) -> tuple[Widening, list[str]]:
    """Widen while the first statements are refused; return what was lacking, and the statements."""
    statements: list[str] = []

    def sql(statement: str) -> None:
        statements.append(statement.partition("ADD COLUMNS ")[2])
        if len(statements) <= refusals:
            raise TableError("the column exists")

    unity = cast("Any", SimpleNamespace(spark=SimpleNamespace(sql=sql)))
    change = widen(unity, NAME, info(), lambda table: widening(table, DECLARED, (), None), again=lambda: then)
    return change, statements


@pytest.mark.parametrize(("meanwhile", "count"), [(("a", "b"), 1), (("a",), 2)], ids=["all", "a part"])
def test_what_another_run_added_meanwhile_is_not_added_again(meanwhile: tuple[str, ...], count: int) -> None:
    change, statements = widened(1, info(*meanwhile))
    assert [field.name for field in change.added] == ["a", "b"]
    assert len(statements) == count
    assert all("`a`" not in statement and "`b`" in statement for statement in statements[1:])


def test_what_is_refused_while_nobody_else_widens_is_an_error() -> None:
    with pytest.raises(TableError, match="the column exists"):
        widened(9, info())


def test_a_key_that_was_lost_is_missed_beside_columns_that_are_left_out() -> None:
    assert _lost_key(info("a", "b", "left_out"), DECLARED, ("id",))
    assert not _lost_key(info("a"), DECLARED, ("id",))
    assert not _lost_key(info("a", "b"), DECLARED, ())
    assert not _lost_key(TableInfo(str(NAME), 0, DECLARED, ("id",)), DECLARED, ("id",))
