"""Maintenance on Databricks: what is left to predictive optimization, and how long it is told to keep files."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

pytest.importorskip("databricks.sdk")
from databricks.sdk.service.catalog import TableInfo

from mlplatform.workspace.databricks.maintenance import DatabricksMaintenance


def left_to(**known: Any) -> str:
    asked = []

    def get(name: str) -> TableInfo:
        asked.append(name)
        return TableInfo.from_dict({"name": "t", "table_type": "MANAGED"} | known)

    unity: Any = SimpleNamespace(client=SimpleNamespace(tables=SimpleNamespace(get=get)))
    found = DatabricksMaintenance(unity).left_to("dev.x.t")
    assert asked == ["dev.x.t"]
    return found


@pytest.mark.parametrize("inherited", [{}, {"inherited_from_type": "CATALOG", "inherited_from_name": "dev"}])
def test_a_managed_table_with_predictive_optimization_is_left_to_it(inherited: dict[str, str]) -> None:
    flag = {"value": "ENABLE"} | inherited
    assert left_to(effective_predictive_optimization_flag=flag) == "predictive optimization"


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"effective_predictive_optimization_flag": {"value": "DISABLE"}},
        {"effective_predictive_optimization_flag": {"value": "ENABLE"}, "table_type": "EXTERNAL"},
    ],
    ids=["unknown", "off", "not managed"],
)
def test_other_tables_are_ours_to_look_after(known: dict[str, Any]) -> None:
    assert left_to(**known) == ""


FILES, LOG = "delta.deletedFileRetentionDuration", "delta.logRetentionDuration"


class Table:
    """Stands in for a session with one table: its properties, and how many days ago each version was written."""

    def __init__(self, ages: dict[int, float], properties: dict[str, str]) -> None:
        self.ages, self.properties, self.changes = ages, properties, 0

    def sql(self, text: str) -> Any:
        if text.startswith("SHOW TBLPROPERTIES"):
            return SimpleNamespace(collect=lambda: list(self.properties.items()))
        if text.startswith("DESCRIBE HISTORY"):
            now = datetime.now(UTC)
            times = {version: now - timedelta(days=age) for version, age in self.ages.items()}
            rows = pa.table({"version": list(times), "timestamp": list(times.values())})
            return SimpleNamespace(select=lambda *_: SimpleNamespace(toArrow=lambda: rows))
        assert text.startswith("ALTER TABLE")
        self.properties |= dict(re.findall(r"'([^']+)' = '([^']+)'", text))
        self.changes += 1
        return None

    def keep(self, *versions: int, days: int = 30) -> tuple[str | None, str | None]:
        unity: Any = SimpleNamespace(spark=self)
        DatabricksMaintenance(unity).keep("dev.x.t", versions=versions, days=days)
        return self.properties.get(FILES), self.properties.get(LOG)


def test_a_kept_version_stays_readable_for_keep_days_after_the_maintenance() -> None:
    table = Table({3: 200, 4: 99.5, 5: 1}, {})
    for value in table.keep(3):
        assert value is not None
        # Its files left the table 99.5 days ago, and VACUUM may run at any time until the next maintenance.
        assert int(value.split()[1]) >= 99.5 + 30


def test_the_margin_does_not_shrink_from_one_maintenance_to_the_next() -> None:
    table, lengths = Table({3: 20, 4: 10}, {}), []
    for _ in range(3):
        lengths.append(int(str(table.keep(3)[0]).split()[1]))
        table.ages = {version: age + 25 for version, age in table.ages.items()}
    assert [later - earlier for earlier, later in pairwise(lengths)] == [25, 25]


def test_once_no_version_is_kept_the_own_retention_is_lowered() -> None:
    table = Table({3: 200, 4: 99.5}, {})
    table.keep(3)
    assert table.keep() == ("interval 30 days", "interval 30 days")
    changes = table.changes
    table.keep()
    assert table.changes == changes


@pytest.mark.parametrize("others", ["interval 365 days", "365 days", "INTERVAL 52 WEEKS 1 day", "interval 1 aeon"])
def test_a_longer_retention_of_somebody_else_is_left_alone(others: str) -> None:
    table = Table({3: 200, 4: 99.5}, {FILES: others, LOG: others})
    assert table.keep(3) == (others, others)
    assert table.keep() == (others, others)
    assert table.changes == 0


def test_a_retention_of_somebody_else_is_stretched_and_then_put_back() -> None:
    table = Table({3: 200, 4: 99.5}, {FILES: "interval 90 days"})
    assert int(str(table.keep(3)[0]).split()[1]) > 120
    assert table.keep() == ("interval 90 days", "interval 30 days")
    assert table.keep(days=7) == ("interval 90 days", "interval 7 days")


def test_what_somebody_sets_later_counts_as_theirs() -> None:
    table = Table({3: 200, 4: 99.5}, {})
    table.keep(3)
    table.properties[FILES] = "interval 400 days"
    assert table.keep() == ("interval 400 days", "interval 30 days")


def test_what_a_table_was_created_with_is_our_own() -> None:
    from mlplatform.workspace.databricks.table_metadata import _RETENTION

    assert Table({1: 1}, dict(_RETENTION)).keep(days=7) == ("interval 7 days", "interval 7 days")
