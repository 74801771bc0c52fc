"""Maintenance on Databricks: what is left to predictive optimization."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

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
