"""`mlplatform doctor --workspace databricks` through the real SDK: catalog, principals, groups, tools, and no Spark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.errors import MissingDependencyError, UnavailableError
from mlplatform.workspace.databricks import workspace
from tests.standin.environment import environment
from tests.standin.identity import USER, Identity
from tests.standin.server import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = ("deployer", "trainer", "promoter", "scorer")
BUNDLE = {
    "variables": {"model_owners": {"default": "owners"}, "readers": {"default": "readers"}, "deployer": {}},
    "targets": {
        "dev": {"variables": {"env": "dev", "model_owners": "", "readers": "", **dict.fromkeys(ROLES, "")}},
        "live": {
            "variables": {"env": "prod", **{role: {"lookup": {"service_principal": f"ml-{role}"}} for role in ROLES}}
        },
    },
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with StandIn(tmp_path_factory.mktemp("standin")) as standin, environment(standin):
        yield standin


@pytest.fixture
def standin(running: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A workspace with all that the bundle names, a folder with the bundle, the tools, and no Spark."""
    running.faults.clear()
    running.metastore.catalogs = {"dev", "prod"}
    running.identity.principals = Identity().principals
    made = {role: running.identity.add("ServicePrincipals", f"0000-{role}", display=f"ml-{role}") for role in ROLES}
    running.identity.add("Groups", "owners", made["deployer"], made["promoter"])
    running.identity.add("Groups", "readers", made["trainer"], made["promoter"], made["scorer"])
    (tmp_path / "databricks.yml").write_text(yaml.safe_dump(BUNDLE))
    tool(tmp_path, "databricks", "Databricks CLI v1.13.0")
    tool(tmp_path, "uv", "uv 0.9.9")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    # Only what is in the folder: the project of these tests installs use cases of its own.
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    no_spark(monkeypatch, MissingDependencyError("There is no pyspark here.", hint="pip install databricks-connect"))
    return running


def tool(folder: Path, name: str, says: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


def no_spark(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(workspace, "open_session", fail)


def doctor(*more: str) -> tuple[dict[str, dict[str, Any]], int]:
    done = CliRunner().invoke(cli, ["doctor", "--workspace", "databricks", "--json", *more])
    return {item["what"]: item for item in json.loads(done.stdout)}, done.exit_code


def missing(found: dict[str, dict[str, Any]]) -> set[str]:
    return {what for what, item in found.items() if not item["well"]}


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_with_all_that_is_needed_nothing_is_missing_though_there_is_no_spark(standin, env):
    found, code = doctor("--env", env)
    assert (missing(found), code) == (set(), 0)
    assert found["the workspace answers"]["found"] == f"as {USER}"
    assert found[f"catalog {env}"]["well"]
    assert "upload-samples" in found["Spark"]["found"]
    if env == "prod":
        assert found["promoter ml-promoter"]["found"] == "0000-promoter"
        assert found["group owners"]["found"] == "with deployer, promoter"
    else:
        assert "names none" in found["principals"]["found"]


def test_a_catalog_that_is_not_there_is_named_with_the_way_out(standin):
    found, code = doctor("--env", "prod", "--catalog", "main")
    assert code != 0
    assert missing(found) == {"catalog main"}
    assert "--catalog" in found["catalog main"]["mend"]
    standin.metastore.catalogs.add("main")
    assert missing(doctor("--env", "prod", "--catalog", "main")[0]) == set()


def test_principals_and_groups_that_are_not_as_the_bundle_names_them_are_found(standin):
    people = standin.identity.principals
    (promoter,) = [item for item in people.values() if item.display == "ml-promoter"]
    (owners,) = [item for item in people.values() if item.name == "owners"]
    owners.members.remove(promoter.id)
    found, _ = doctor("--env", "prod")
    assert missing(found) == {"group owners"}
    assert found["group owners"]["found"] == "without promoter"
    assert "owner moves the aliases" in found["group owners"]["mend"]
    promoter.display = "somebody"
    owners.name = owners.display = "others"
    found, _ = doctor("--env", "prod")
    assert missing(found) == {"promoter ml-promoter", "group owners"}
    assert found["group owners"]["found"] == "the workspace has no such group"


def test_who_may_not_look_is_told_so(standin):
    standin.faults.add("403", path="/scim/v2/(Groups|ServicePrincipals)", times=None)
    found, _ = doctor("--env", "prod")
    assert {"promoter ml-promoter", "group owners"} <= missing(found)
    assert standin.token not in json.dumps(found)


@pytest.mark.parametrize("text", [None, "targets: [", "{}", "targets: {staging: }"])
def test_without_a_bundle_that_says_it_no_principal_is_looked_for(standin, text, tmp_path):
    path = tmp_path / "databricks.yml"
    path.unlink() if text is None else path.write_text(text)
    found, _ = doctor("--env", "prod")
    assert missing(found) == ({"principals"} if text == "targets: [" else set())


@pytest.mark.parametrize(
    ("says", "well"),
    [("Databricks CLI v1.13.0", True), ("Databricks CLI v2.0.1", True), ("Databricks CLI v1.12.9", False),
     ("Databricks CLI v0.299.1", False), ("Version 0.18.0", False)],
)  # fmt: skip
def test_the_command_line_has_to_be_new_enough(standin, says, well, tmp_path):
    tool(tmp_path, "databricks", says)
    found, _ = doctor()
    assert (found["Databricks CLI"]["well"], found["Databricks CLI"]["found"]) == (well, says)


def test_tools_that_are_not_there_are_missing_but_not_on_databricks_itself(standin, tmp_path, monkeypatch):
    for name in ("databricks", "uv"):
        (tmp_path / "bin" / name).unlink()
    assert missing(doctor()[0]) == {"Databricks CLI", "uv"}
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    assert "Databricks CLI" not in doctor()[0]


def test_spark_that_is_there_and_does_not_answer_is_missing(standin, monkeypatch):
    no_spark(monkeypatch, UnavailableError("Databricks Connect could not open a Spark session."))
    assert missing(doctor()[0]) == {"Spark answers"}
