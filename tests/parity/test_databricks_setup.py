"""Setup on the Databricks workspace: the real clients against the stand-in, JVM Spark with Delta."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.stages import setup
from mlplatform.stages.context import StageContext

if TYPE_CHECKING:
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

PROJECT = Path(__file__).resolve().parents[2]
ROLES = {"trainer": "trainers", "promoter": "promoters", "scorer": "scorers"}


@pytest.fixture
def context(features: DatabricksWorkspace) -> StageContext:
    found = discovery.get("credit_risk", PROJECT / "use_cases")
    cls = discovery.load(found)
    use_case = cls.open("credit_risk", discovery.folder_of(found, cls), features)
    return StageContext(features, use_case, parse_as_of("2026-01-01"), run_id="setup")


def test_setup_makes_all_of_it_and_again_changes_nothing(context: Any, standin: Any) -> None:
    ws, namespace = context.ws, context.namespace
    first = setup.run(context, setup.Request(**ROLES, expect_schema="credit_risk"))
    assert ws.tables.describe(namespace.features("lender")).timeseries_column
    assert ws.tables.describe(namespace.gold("predictions")).tags["use_case"] == "credit_risk"
    assert first[-1].endswith("created")
    granted = [item for item in ws.sql.statements if item.startswith("GRANT")]
    (version,) = [item for item in granted if item.startswith("GRANT CREATE MODEL VERSION ON FUNCTION ")]
    assert version.endswith("`dev`.`credit_risk`.`model` TO `trainers`")
    for own in ("transactions", "leases"):
        for role in ROLES.values():
            assert f"GRANT MODIFY ON TABLE `dev`.`ops`.`{own}` TO `{role}`" in granted
    tables = ws.tables.list("dev", "credit_risk")
    versions = {name: ws.tables.version(namespace.table(name)) for name in tables}
    count = len(ws.sql.statements)
    again = setup.run(context, setup.Request(**ROLES))
    assert {name: ws.tables.version(namespace.table(name)) for name in ws.tables.list("dev", "credit_risk")} == versions
    assert any(line.endswith("0 changed") for line in again)
    assert again[-1].endswith("exists")
    assert all(item.startswith("GRANT") for item in ws.sql.statements[count:])
