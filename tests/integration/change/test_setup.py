"""Setup on a real workspace: makes what a deployment cannot declare, once; the stages find it as they would make it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.errors import DeploymentError, UsageError
from mlplatform.ops import records
from mlplatform.stages import setup_of
from mlplatform.workspace.local.registry import LocalRegistry
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_gate import FIRST, MODEL, NAMESPACE, context
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLES = [
    "bronze_cancellations",
    "bronze_signups",
    "features_region",
    "gold_labelled_predictions",
    "gold_labels",
    "gold_predictions",
    "gold_profile_baseline",
    "gold_spine",
    "gold_unscored",
    "quarantine_cancellations",
    "quarantine_signups",
    "silver_cancellations",
    "silver_signups",
]
SCORED = ("gold_predictions", "gold_unscored")
PROFILED = ("gold_labelled_predictions", "gold_profile_baseline")
ROLES = {"trainer": "trainers", "promoter": "promoters", "scorer": "scorers"}


class Recorder:
    """Records what is asked of grants, data profiling and the registered model."""

    def __init__(self) -> None:
        self.grants: list[tuple[str, str, str, str]] = []
        self.profiles: list[tuple[str, Any]] = []
        self.models: list[tuple[str, str]] = []
        self.deployment_jobs: list[str | None] = []
        self.owners: list[tuple[str, str]] = []
        self.probed: list[tuple[str, str]] = []

    def grant(self, privileges: Any, kind: str, name: Any, principal: str) -> None:
        self.grants.extend((principal, privilege, kind, str(name)) for privilege in privileges)

    def own_model(self, model: Any, owner: str) -> str:
        self.owners.append((str(model), owner))
        return "set"

    def probe_alias_right(self, model: Any, principal: str) -> str:
        self.probed.append((str(model), principal))
        return "it may"

    offered = True

    def refresh(self, table: Any) -> str:
        raise AssertionError(f"setup has nothing to refresh: {table}")

    def ensure(self, table: Any, profile: Any) -> str:
        self.profiles.append((str(table), profile))
        return "created"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(LocalWorkspace, "access", recorder)
    monkeypatch.setattr(LocalWorkspace, "monitors", recorder)

    make, link = LocalRegistry.ensure_model, LocalRegistry.set_deployment_job

    def ensure_model(self: LocalRegistry, model: Any, *, description: str = "") -> None:
        recorder.models.append((str(model), description))
        make(self, model, description=description)

    def set_deployment_job(self: LocalRegistry, model: Any, job_id: str | None) -> None:
        recorder.deployment_jobs.append(job_id)
        link(self, model, job_id)

    monkeypatch.setattr(LocalRegistry, "ensure_model", ensure_model)
    monkeypatch.setattr(LocalRegistry, "set_deployment_job", set_deployment_job)
    return recorder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        yield ws


def run(ws: LocalWorkspace, tiny: TinyFolder, **request: Any) -> list[str]:
    given = context(ws, tiny)
    return setup_of(tiny.open(ws), **request).run(given).details.steps


def versions(ws: LocalWorkspace) -> dict[str, int]:
    names = [NAMESPACE.table(name) for name in ws.tables.list("dev", "tiny")]
    names += [NAMESPACE.ops(name) for name in ws.tables.list("dev", "ops")]
    return {str(name): ws.tables.version(name) for name in names}


def test_it_makes_every_table_tagged_and_again_changes_nothing(home, tiny, asked):
    first = run(home, tiny)
    assert home.tables.list("dev", "tiny") == TABLES
    assert home.tables.list("dev", "ops") == sorted(table.name for table in records.TABLES)
    for name in TABLES:
        tags = home.tables.describe(NAMESPACE.table(name)).tags
        assert (tags["owner"], tags["use_case"]) == ("tiny@example.com", "tiny")
    assert home.tables.describe(NAMESPACE.features("region")).timeseries_column
    before = versions(home)
    again = run(home, tiny)
    assert versions(home) == before
    assert any("26 changed" in line for line in first)
    assert any("0 changed" in line for line in again)


def test_the_stages_find_the_tables_as_they_would_make_them(home, tiny, asked):
    run(home, tiny)
    run_tiny(home, tiny.folder, FIRST, ["ingest", "refine", "features", "train", "gate", "score"])
    assert home.tables.to_arrow(NAMESPACE.gold("predictions"), at_most=10**6).num_rows


def test_the_model_is_made_and_its_deployment_job_unlinked_when_nobody_must_approve(home, tiny, asked):
    run(home, tiny)
    assert asked.models == [(str(MODEL), tiny.open(home).settings.description)]
    assert asked.deployment_jobs == [None]


def test_the_deployment_job_is_linked_when_somebody_must_approve(home, tmp_path, asked):
    manual = write_tiny_use_case(tmp_path, months=1, rows_a_month=1, gate={"approval": "manual"})
    run(home, manual, deployment_job="4711")
    assert asked.deployment_jobs == ["4711"]
    run(home, manual)
    assert asked.deployment_jobs == ["4711"], "not named: left as it is"


def test_the_model_gets_its_owner_and_the_promoters_right_is_looked_at(home, tiny, asked):
    run(home, tiny)
    assert (asked.owners, asked.probed) == ([], [(str(MODEL), "")])
    done = run(home, tiny, model_owner="owners", promoter="promoters")
    assert asked.owners == [(str(MODEL), "owners")]
    assert asked.probed[1:] == [(str(MODEL), "promoters")]
    place = done.index(f"make owners the owner of {MODEL}: set")
    assert done[place + 1] == f"look whether the promoter promoters may move aliases of {MODEL}: it may"
    done = run(home, tiny, **ROLES, model_owner="owners")
    granted = [place for place, line in enumerate(done) if line.startswith("grant ")]
    assert max(granted) < next(place for place, line in enumerate(done) if "the owner of" in line)


def test_an_owner_that_cannot_be_a_name_is_refused(home, tiny):
    with pytest.raises(DeploymentError, match="no principal"):
        run(home, tiny, model_owner="a\nb")


def test_a_deployment_job_where_nobody_approves_is_wrong_use(home, tiny, asked):
    with pytest.raises(UsageError, match="auto"):
        run(home, tiny, deployment_job="4711")
    assert not asked.models


def test_each_principal_may_write_its_tables_and_no_others(home, tiny, asked):
    run(home, tiny, **ROLES)
    may: dict[str, set[str]] = {role: set() for role in ROLES.values()}
    for who, privilege, _, name in asked.grants:
        if privilege == "MODIFY":
            may[who].add(name.removeprefix("dev."))
    assert may["scorers"] == {"tiny.gold_predictions", "tiny.gold_unscored", "ops.stage_runs"}
    assert may["promoters"] == {"ops.gate_decisions", "ops.stage_runs"}
    assert may["trainers"] == {f"tiny.{name}" for name in TABLES if name not in SCORED} | {
        f"ops.{name}" for name in (table.name for table in records.TABLES) if name != "gate_decisions"
    }
    others = [grant for grant in asked.grants if grant[1] != "MODIFY"]
    assert others == [
        ("trainers", "CREATE MODEL VERSION", "model", str(MODEL)),
        ("trainers", "MANAGE", "table", "dev.tiny.gold_labelled_predictions"),
    ]


@pytest.mark.parametrize("table", ["transactions", "leases"])
def test_all_write_to_the_tables_that_the_workspace_keeps_for_itself_where_it_does(home, tiny, asked, table):
    home.tables.create(NAMESPACE.ops(table), records.STAGE_RUNS.schema)
    run(home, tiny, **ROLES)
    who = {grant[0] for grant in asked.grants if grant[3] == f"dev.ops.{table}"}
    assert who == set(ROLES.values())


def test_without_access_control_or_profiling_it_goes_through_all_the_same(home, tiny):
    done = run(home, tiny, **ROLES)
    assert done[-1].endswith("not available here")
    assert run(home, tiny, **ROLES)[2:] == done[2:]


def test_who_is_not_named_is_granted_nothing(home, tiny, asked):
    run(home, tiny, scorer="scorers")
    assert {grant[0] for grant in asked.grants} == {"scorers"}


def test_the_predictions_are_profiled(home, tiny, asked):
    run(home, tiny)
    ((table, profile),) = asked.profiles
    assert table == "dev.tiny.gold_labelled_predictions"
    schema = home.tables.describe(table).schema
    assert {profile.prediction, profile.timestamp, profile.model_version, profile.label} <= set(schema.names)
    assert home.tables.describe("dev.tiny.gold_profile_baseline").schema.names == schema.names
    assert (profile.schedule, profile.timezone) == ("0 0 4 ? * SUN", "UTC")
    assert profile.baseline is None, "there is no champion yet"


def test_where_there_is_no_profiling_there_are_no_tables_for_it(home, tiny):
    done = run(home, tiny, **ROLES)
    assert home.tables.list("dev", "tiny") == [name for name in TABLES if name not in PROFILED]
    assert not any("MANAGE" in line for line in done)


def test_another_name_of_the_schema_fails_with_both_names_before_anything_is_made(home, tiny, asked):
    with pytest.raises(DeploymentError, match=r"'dev_jo_tiny'.*'tiny'"):
        run(home, tiny, expect_schema="dev_jo_tiny")
    assert home.tables.list("dev", "ops") == []
    run(home, tiny, expect_schema="tiny")


def test_a_prefix_goes_before_the_schemas(tmp_path, tiny, asked):
    with LocalWorkspace.open(root=tmp_path / "home", prefix="dev_jo_") as ws:
        run(ws, tiny, expect_schema="dev_jo_tiny")
        assert ws.tables.list("dev", "dev_jo_tiny") == TABLES
        assert asked.models[0][0] == "dev.dev_jo_tiny.dev_jo_model"


def test_a_dry_run_of_the_command_says_the_same_steps_and_changes_nothing(home, tiny, asked):
    def command(*more: str) -> Any:
        where = ["--home", str(home.root), "--use-cases", str(tiny.use_cases)]
        return CliRunner().invoke(cli, ["setup", "tiny", "--scorer", "scorers", *where, *more], catch_exceptions=False)

    dry = command("--dry-run")
    assert "nothing was changed" in dry.output
    assert home.tables.list("dev", "ops") == []
    assert (asked.grants, asked.models, asked.profiles) == ([], [], [])
    real = json.loads(command("--json").stdout)
    assert [line.partition(": ")[0] for line in real["steps"]] == [
        line.removeprefix("  - ") for line in dry.output.splitlines() if line.startswith("  - ")
    ]
    assert home.tables.list("dev", "tiny") == TABLES
