"""Grants: only privileges that exist, on names that are quoted, and the statement as it is sent."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlplatform.errors import DeploymentError, UsageError
from mlplatform.naming import Namespace
from mlplatform.workspace.databricks.access import DatabricksAccess
from mlplatform.workspace.local.access import LocalAccess


class Recorder:
    """Keeps statements; can be told to refuse."""

    def __init__(self, error: Exception | None = None) -> None:
        self.statements: list[str] = []
        self.error = error

    def execute(self, statement: str) -> None:
        self.statements.append(statement)
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("privileges", "kind", "name", "says"),
    [
        (["EXECUTE"], "model", Namespace("dev", "tiny").model, "EXECUTE ON FUNCTION `dev`.`tiny`.`model`"),
        (
            ["CREATE MODEL VERSION", "EXECUTE"],
            "model",
            "dev.credit_risk.model",
            "CREATE MODEL VERSION, EXECUTE ON FUNCTION `dev`.`credit_risk`.`model`",
        ),
        (["USE CATALOG"], "catalog", "dev", "USE CATALOG ON CATALOG `dev`"),
        (["USE SCHEMA", "SELECT"], "schema", "dev.ops", "USE SCHEMA, SELECT ON SCHEMA `dev`.`ops`"),
        (["READ VOLUME"], "volume", "dev.tiny.landing", "READ VOLUME ON VOLUME `dev`.`tiny`.`landing`"),
    ],
)
def test_a_grant_is_one_statement_with_everything_quoted(privileges, kind, name, says):
    sql = Recorder()
    DatabricksAccess(SimpleNamespace(sql=sql), None).grant(privileges, kind, name, "ml scorers`; DROP")
    assert sql.statements == [f"GRANT {says} TO `ml scorers``; DROP`"]


@pytest.mark.parametrize(
    ("privileges", "kind", "name", "principal", "error", "says"),
    [
        (["SELEKT"], "table", "dev.a.b", "us", DeploymentError, "Did you mean SELECT"),
        (["SELECT; DROP TABLE x"], "table", "dev.a.b", "us", DeploymentError, "no privilege"),
        (["CREATE MODEL VERSION"], "table", "dev.a.b", "us", DeploymentError, "no privilege"),
        ([], "table", "dev.a.b", "us", DeploymentError, "No privilege"),
        (["SELECT"], "cluster", "dev.a.b", "us", DeploymentError, "kind 'cluster'"),
        (["SELECT"], "table", "dev.a.b", "", DeploymentError, "no principal"),
        (["SELECT"], "table", "dev.a", "us", UsageError, "3 level"),
        (["USE SCHEMA"], "schema", "dev.a.b", "us", UsageError, "2 level"),
        (["SELECT"], "table", "dev.a.b` TO `x", "us", UsageError, "not a valid"),
    ],
)
@pytest.mark.parametrize("home", ["local", "databricks"])
def test_what_cannot_be_granted_is_refused_on_both_sides(home, privileges, kind, name, principal, error, says):
    sql = Recorder()
    access = LocalAccess() if home == "local" else DatabricksAccess(SimpleNamespace(sql=sql), None)
    with pytest.raises(error, match=says):
        access.grant(privileges, kind, name, principal)
    assert sql.statements == []


def test_a_refusal_says_what_was_asked_and_no_credential():
    refusing = Recorder(RuntimeError("PERMISSION_DENIED for dapi0123456789abcdef"))
    with pytest.raises(DeploymentError) as caught:
        DatabricksAccess(SimpleNamespace(sql=refusing), None).grant(["SELECT"], "table", "dev.a.b", "readers")
    assert "GRANT SELECT ON TABLE `dev`.`a`.`b` TO `readers`" in str(caught.value)
    assert "dapi0123456789abcdef" not in str(caught.value)
    assert "MANAGE" in caught.value.hint
