"""Setup on the Databricks workspace: the real clients against the stand-in, JVM Spark with Delta."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.monitoring import profiling
from mlplatform.ops.context import StageContext
from mlplatform.stages import setup_of
from tests.standin import documented_sql

if TYPE_CHECKING:
    from mlplatform.naming import ObjectName
    from mlplatform.use_case import UseCase
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

PROJECT = Path(__file__).resolve().parents[2]
ROLES = {"trainer": "trainers", "promoter": "promoters", "scorer": "scorers"}


@pytest.fixture
def use_case(features: DatabricksWorkspace) -> UseCase:
    found = discovery.get("credit_risk", PROJECT / "use_cases")
    cls = discovery.load(found)
    return cls.open("credit_risk", discovery.folder_of(found, cls), features)


@pytest.fixture
def context(use_case: UseCase, features: DatabricksWorkspace) -> StageContext:
    return use_case.context(features, parse_as_of("2026-01-01"), run_id="setup")


@pytest.fixture
def sent(features: DatabricksWorkspace, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that the session was asked to run, but for the stand-in's own."""
    statements: list[str] = []
    kind = type(features.spark)
    run = kind.sql

    def sql(self: Any, statement: str, *arguments: Any, **more: Any) -> Any:
        if "process_request" not in threading.current_thread().name:  # the stand-in looks its tables up in Spark, too
            statements.append(statement)
        return run(self, statement, *arguments, **more)

    monkeypatch.setattr(kind, "sql", sql)
    return statements


def test_setup_makes_all_of_it_and_again_changes_nothing(
    context: Any, use_case: UseCase, standin: Any, sent: list[str]
) -> None:
    ws, namespace = context.ws, context.namespace
    promoters = standin.identity.add("Groups", "promoters")
    standin.identity.add("Groups", "owners", promoters, standin.identity.me)
    asked = setup_of(use_case, **ROLES, model_owner="owners")
    first = replace(asked, expect_schema="credit_risk").run(context).details.steps
    assert standin.models.by_name[str(namespace.model)].owner == "owners"
    (probed,) = [line for line in first if "move aliases" in line]
    assert probed.endswith("is owned by owners, of which promoters is a member")
    assert any(statement.startswith("CREATE TABLE") for statement in sent)
    for statement in sent:
        documented_sql.check(statement)  # those that go to the seam were checked when they came
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
    again = asked.run(context).details.steps
    assert {name: ws.tables.version(namespace.table(name)) for name in ws.tables.list("dev", "credit_risk")} == versions
    assert any(line.endswith("0 changed") for line in again)
    assert again[-1].endswith("exists")
    assert all(item.startswith("GRANT") for item in ws.sql.statements[count:])


def test_a_monitoring_completes_what_is_profiled_and_refreshes_it(
    context: Any, use_case: UseCase, standin: Any
) -> None:
    ws, namespace = context.ws, context.namespace
    standin.models.by_name.clear()
    standin.data_quality.refreshes.clear()
    setup_of(use_case).run(context)
    made, known = parse_as_of("2022-06-01"), parse_as_of("2025-06-01")

    def updated() -> tuple[int, str | None]:
        done = profiling.update(context, use_case.label_spine(), ())
        assert done is not None
        return done.rows, done.refresh

    def put(name: ObjectName, *rows: dict[str, Any]) -> None:
        schema = ws.tables.describe(name).schema
        ws.tables.append(name, pa.Table.from_pylist([dict.fromkeys(schema.names) | row for row in rows], schema=schema))

    keys = [{"loan_id": loan, "approved_at": made} for loan in ("a", "b", "c")]
    scored = {"model_version": 1, "alias": "champion", "as_of": made, "scored_at": made, "run_id": "r"}
    predictions = [key | scored | {"prediction": 0.25} for key in keys]
    put(namespace.gold("predictions"), *predictions, predictions[0] | {"alias": "challenger", "model_version": 2})
    assert updated() == (3, "started")
    put(namespace.gold("labels"), keys[0] | {"charged_off": 1.0, "label_known_at": known})
    assert updated() == (1, "started")
    assert updated() == (0, "started")
    profiled = namespace.gold("labelled_predictions")
    rows = sorted(ws.tables.to_arrow(profiled, at_most=10**6).to_pylist(), key=lambda row: row["loan_id"])
    assert [(row["loan_id"], row["model_version"], row["prediction"], row["label"]) for row in rows] == [
        ("a", 1, 0.25, 1.0),
        ("b", 1, 0.25, None),
        ("c", 1, 0.25, None),
    ]
    table_id = ws.client.tables.get(str(profiled)).table_id
    assert standin.data_quality.refreshes == [("table", table_id)] * 3
    config = standin.data_quality.monitors["table", table_id]["data_profiling_config"]
    assert config["inference_log"]["label_column"] == "label"
    assert config["schedule"]["quartz_cron_expression"]
