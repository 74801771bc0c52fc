"""The numbers of migrations, and the marks that tell which of them a table went through."""

from __future__ import annotations

import pytest

from mlplatform.errors import TableError
from mlplatform.naming import Namespace
from mlplatform.ops.migrations.migration import Migration, newest_of, waiting
from mlplatform.ops.migrations.registry import MIGRATIONS
from mlplatform.ops.records import ALERTS, TABLES
from mlplatform.ops.schema_mark import SchemaMark, check_not_newer

NAME = ALERTS.full_name(Namespace("dev", "one"))


def numbered(*numbers: int, table: str = "alerts") -> tuple[Migration, ...]:
    return tuple(Migration(number, table, f"change {number}", lambda ws, name: None) for number in numbers)


def test_the_registry_is_in_order_names_tables_that_exist_and_gives_no_number_twice():
    numbers = [migration.number for migration in MIGRATIONS]
    assert numbers == sorted(set(numbers))
    assert all(number > 0 for number in numbers)
    assert {migration.table for migration in MIGRATIONS} <= {table.name for table in TABLES}


def test_those_that_wait_are_those_of_the_table_in_order():
    migrations = (*numbered(5, 2, 3), *numbered(4, 7, table="stage_runs"))
    assert [item.number for item in waiting(migrations, "alerts", 2)] == [3, 5]
    assert waiting(migrations, "alerts", 5) == waiting(migrations, "drift_metrics", 0) == []
    assert [newest_of(migrations, name) for name in ("alerts", "stage_runs", "drift_metrics")] == [5, 7, 0]


def test_a_mark_follows_the_columns_and_not_the_version_that_wrote_it():
    ours = SchemaMark.of(ALERTS, numbered(3))
    assert SchemaMark.parse(str(ours)) == ours
    assert SchemaMark(3, ours.digest, "0.0.1").has(ours)
    assert not SchemaMark(2, ours.digest, ours.platform_version).has(ours)
    assert not SchemaMark().has(SchemaMark.of(ALERTS, ()))
    assert len({SchemaMark.of(table, ()).digest for table in TABLES}) == len(TABLES)


@pytest.mark.parametrize("text", ["4:0f:9.9.9", "written in another way"])
def test_a_newer_mark_is_refused_with_what_to_install(text):
    with pytest.raises(TableError, match=r"dev\.ops\.alerts was written by a newer version of the platform") as refused:
        check_not_newer(NAME, text, SchemaMark.of(ALERTS, numbered(3)))
    assert "Install that version" in refused.value.hint
    assert ("9.9.9" in refused.value.message) == ("9.9.9" in text)


def test_an_older_mark_and_none_are_read():
    ours = SchemaMark.of(ALERTS, numbered(3))
    assert check_not_newer(NAME, "", ours) == SchemaMark()
    assert check_not_newer(NAME, "1:ab:0.1.0", ours) == SchemaMark(1, "ab", "0.1.0")
