"""Functions, secrets, jobs, data profiling and grants through the real SDK, on a stand-in that fails as it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mlplatform.errors import ConfigError, DeploymentError, FeatureStoreError, PlatformError
from mlplatform.protocols.functions import Functions
from mlplatform.protocols.operations import Access, InferenceProfile, Jobs, Monitors
from mlplatform.protocols.workspace import Secrets
from mlplatform.workspace.databricks.jobs import DatabricksJobs
from tests.parity.databricks_workspace import open_on
from tests.standin.environment import environment
from tests.standin.identity import USER, Identity
from tests.standin.metastore import Column, FixedTables, TableInfo
from tests.standin.models import Model, Version
from tests.standin.server import StandIn
from use_cases.credit_risk.features import GUARANTEED_SHARE, SAME_STATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.standin.identity import Principal

MODEL = "dev.tiny.model"
PREDICTIONS = "dev.tiny.gold_predictions"
PROFILE = InferenceProfile(
    "prediction", "scored_for", "model_version", "classification", granularities=("1 day", "1 month")
)
DECLARED = {"parameters": [("x", "double"), ("y", "double")], "returns": "double"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with StandIn(tmp_path_factory.mktemp("standin")) as standin, environment(standin):
        yield standin


@pytest.fixture
def standin(running: StandIn) -> StandIn:
    running.calls.clear()
    running.faults.clear()
    running.unexpected.clear()
    running.metastore.functions.clear()
    running.data_quality.monitors.clear()
    running.data_quality.refreshes.clear()
    running.data_quality.off = False
    running.jobs.runs.clear()
    running.models.by_name.clear()
    running.identity.principals = Identity().principals
    columns = [Column("prediction", "double"), Column("scored_for", "timestamp"), Column("model_version", "int")]
    running.metastore.provider = FixedTables({PREDICTIONS: TableInfo(columns)})
    return running


@pytest.fixture
def ws(standin: StandIn) -> DatabricksWorkspace:
    return open_on(standin)


def ratio(x: float | None, y: float | None) -> float | None:
    """It's x by y."""
    return None if x is None or not y else x / y


def product(x: float | None, y: float | None) -> float | None:
    return None if x is None or y is None else x * y


def test_the_parts_keep_their_protocols(ws):
    assert isinstance(ws.functions, Functions)
    assert isinstance(ws.secrets, Secrets)
    assert isinstance(ws.jobs, Jobs)
    assert isinstance(ws.monitors, Monitors)
    assert isinstance(ws.access, Access)


# Functions


def test_a_function_is_made_from_its_source_and_not_made_again(ws, standin):
    ws.functions.register("dev.tiny.Ratio", ratio, **DECLARED)
    (statement,) = ws.sql.statements
    head, body = statement.split("AS $$\n")
    assert (
        head.splitlines()[0] == "CREATE OR REPLACE FUNCTION `dev`.`tiny`.`ratio`(`x` DOUBLE, `y` DOUBLE) RETURNS DOUBLE"
    )
    assert head.splitlines()[1] == "LANGUAGE PYTHON"
    assert head.splitlines()[2].startswith("COMMENT 'It\\'s x by y. [mlplatform ")
    assert body.splitlines() == [
        "def ratio(x, y):",
        "    return None if x is None or not y else x / y",
        "return ratio(x, y)",
        "$$",
    ]
    ws.functions.register("dev.tiny.ratio", ratio, **DECLARED)
    open_on(standin).functions.register("dev.tiny.ratio", ratio, **DECLARED)
    assert len(ws.sql.statements) == 1
    ws.functions.register("dev.tiny.ratio", product, **DECLARED)
    ws.functions.register("dev.tiny.ratio", product, parameters=DECLARED["parameters"], returns="float")
    assert len(ws.sql.statements) == 3


@pytest.mark.parametrize("spec", [GUARANTEED_SHARE, SAME_STATE], ids=lambda spec: spec.name)
def test_the_functions_of_the_use_cases_come_back_as_they_were(ws, standin, spec):
    name = f"dev.credit_risk.{spec.name}"
    ws.functions.register(name, spec.fn, parameters=spec.parameters, returns=spec.returns)
    assert ws.functions.get(name).fn is spec.fn
    found = open_on(standin).functions.get(name.upper())
    assert (found.name, found.parameters, found.returns) == (name, spec.parameters, spec.returns)
    for values in (
        ((None, None), ("CA", "CA"), ("CA", "VA")) if spec.name == "same_state" else ((75.0, 100.0), (1.0, 0))
    ):
        assert found.fn(*values) == spec.fn(*values)


def test_a_function_that_was_changed_elsewhere_is_neither_called_nor_kept(ws, standin):
    ws.functions.register("dev.tiny.ratio", ratio, **DECLARED)
    known = standin.metastore.functions["dev.tiny.ratio"]
    standin.metastore.functions["dev.tiny.ratio"] = replace(known, source="import os\nreturn os.getpid()")
    with pytest.raises(FeatureStoreError, match="changed since"):
        open_on(standin).functions.get("dev.tiny.ratio")
    ws.functions.register("dev.tiny.ratio", ratio, **DECLARED)
    assert len(ws.sql.statements) == 2
    assert standin.metastore.functions["dev.tiny.ratio"].source == known.source


def test_a_missing_function_is_an_error_that_names_near_ones(ws):
    ws.functions.register("dev.tiny.ratio", ratio, **DECLARED)
    with pytest.raises(FeatureStoreError, match=r"rtio is not registered[\s\S]*Did you mean dev.tiny.ratio"):
        ws.functions.get("dev.tiny.rtio")


@pytest.mark.parametrize("kind", ["403", "500", "drop_before"])
def test_a_function_that_cannot_be_looked_at_is_not_made(ws, standin, kind):
    standin.faults.add(kind, path="/functions/", times=None)
    with pytest.raises(FeatureStoreError, match="cannot be read") as caught:
        ws.functions.register("dev.tiny.ratio", ratio, **DECLARED)
    assert standin.token not in str(caught.value)
    assert ws.sql.statements == []


def test_a_function_that_was_made_though_the_answer_was_lost_is_done(ws, monkeypatch):
    def lost(statement: str) -> None:
        type(ws.sql).execute(ws.sql, statement)
        raise ConnectionResetError

    monkeypatch.setattr(ws.sql, "execute", lost)
    ws.functions.register("dev.tiny.ratio", ratio, **DECLARED)
    monkeypatch.setattr(ws.sql, "execute", lambda _: (_ for _ in ()).throw(ConnectionResetError("gone")))
    with pytest.raises(FeatureStoreError, match="cannot be made: gone"):
        ws.functions.register("dev.tiny.ratio", product, **DECLARED)


# Secrets


def test_a_secret_comes_from_its_scope(ws, standin):
    standin.secrets.put("slack", "url", "https://hooks/ä")
    assert ws.secrets.get("slack", "url") == "https://hooks/ä"


@pytest.mark.parametrize(("scope", "key"), [("slack", "absent"), ("absent", "url"), ("slack", "empty")])
def test_a_missing_secret_names_scope_key_place_and_command(ws, standin, scope, key):
    standin.secrets.put("slack", "url", "https://hooks")
    standin.secrets.put("slack", "empty", "")
    with pytest.raises(ConfigError) as caught:
        ws.secrets.get(scope, key)
    assert f"{scope}/{key} is not set" in caught.value.message
    assert standin.url in caught.value.message
    assert caught.value.hint == f"Set it by: databricks secrets put-secret {scope} {key}"


@pytest.mark.parametrize("kind", ["403", "500", "drop_before"])
def test_a_secret_that_cannot_be_read_is_not_called_missing(ws, standin, kind):
    standin.secrets.put("slack", "url", "s3cr3t-value")
    standin.faults.add(kind, path="/secrets/get", times=None)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        ws.secrets.get("slack", "url")
    assert "s3cr3t-value" not in str(caught.value)
    if kind == "403":
        assert "put-acl slack PRINCIPAL READ" in caught.value.hint


def test_bytes_that_are_no_text_are_an_error_without_them(ws, standin):
    standin.secrets.put("slack", "url", b"\xff\xfesecret")
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        ws.secrets.get("slack", "url")
    assert "secret'" not in str(caught.value)
    assert caught.value.__suppress_context__


# Jobs


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(ws, clock) -> DatabricksJobs:
    return DatabricksJobs(ws.client, sleep=clock.sleep, clock=lambda: clock.now)


PARAMETERS = {"as_of": "2020-01-01", "env": "dev"}


def test_a_job_is_started_by_name_or_id_once_a_token(jobs, standin):
    number = standin.jobs.add("by_name_train", states=("RUNNING",), parameters=dict.fromkeys(PARAMETERS, ""))
    first = jobs.run_now("by_name_train", parameters=PARAMETERS, token="tiny 2020")
    assert (first.job, first.state, first.message) == ("by_name_train", "running", "")
    assert first.url.endswith(f"/jobs/{number}/runs/{first.run_id}")
    again = jobs.run_now(str(number), parameters=PARAMETERS, token="tiny 2020")
    assert again.run_id == first.run_id
    assert jobs.run_now(str(number), parameters=PARAMETERS, token="tiny 2021").run_id != first.run_id
    assert standin.jobs.runs[int(first.run_id)].parameters == PARAMETERS


def test_a_long_token_is_shortened_and_stays_one(jobs, standin):
    standin.jobs.add("long")
    tokens = ["x" * 200, "x" * 200, "x" * 199]
    runs = [jobs.run_now("long", parameters={}, token=token).run_id for token in tokens]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("kind", ["429", "503", "500", "drop_before", "drop_after"])
def test_a_passing_fault_starts_no_second_run(jobs, standin, kind):
    standin.jobs.add(f"train {kind}")
    fault = standin.faults.add(kind, path="/jobs/run-now", times=1, retry_after=1)
    jobs.run_now(f"train {kind}", parameters={}, token="t")
    assert fault.hits == 1
    assert len(standin.jobs.runs) == 1


@pytest.mark.parametrize("kind", ["403", "500", "drop_after"])
def test_a_start_that_fails_for_good_is_an_error_and_again_finds_the_run(jobs, standin, kind):
    standin.jobs.add(f"failing {kind}")
    standin.faults.add(kind, path="/jobs/run-now", times=None)
    with pytest.raises(DeploymentError, match="Starting job") as caught:
        jobs.run_now(f"failing {kind}", parameters={}, token="t")
    assert standin.token not in str(caught.value)
    started = set(standin.jobs.runs)
    assert len(started) == (kind == "drop_after")
    standin.faults.clear()
    run = jobs.run_now(f"failing {kind}", parameters={}, token="t")
    assert set(standin.jobs.runs) == started | {int(run.run_id)}
    assert len(standin.jobs.runs) == 1


def test_unknown_and_ambiguous_jobs_are_named(jobs, standin):
    standin.jobs.add("credit_risk_train")
    with pytest.raises(DeploymentError, match="Did you mean credit_risk_train"):
        jobs.run_now("credit_risk_trian", parameters={}, token="t")
    ids = {standin.jobs.add("twice") for _ in range(2)}
    with pytest.raises(DeploymentError, match="There are 2 jobs named twice") as caught:
        jobs.run_now("twice", parameters={}, token="t")
    assert all(str(number) in caught.value.hint for number in ids)
    with pytest.raises(DeploymentError, match="Job 99999 does not exist"):
        jobs.run_now("99999", parameters={}, token="t")
    assert standin.jobs.runs == {}


@pytest.mark.parametrize(
    ("result", "state", "message"),
    [
        ("SUCCESS", "succeeded", ""),
        ("FAILED", "failed", "RUN_EXECUTION_ERROR: it broke"),
        ("TIMEDOUT", "failed", "RUN_EXECUTION_ERROR: it broke"),
        ("CANCELED", "failed", "USER_CANCELED: it broke"),
    ],
)
def test_waiting_ends_with_the_run(jobs, standin, clock, result, state, message):
    standin.jobs.add(f"to {result}", states=("PENDING", "RUNNING", "RUNNING", "RUNNING", result), message="it broke")
    run = jobs.run_now(f"to {result}", parameters={}, token="t")
    assert run.state == "running"
    ended = jobs.wait(run, timeout_seconds=600)
    assert (ended.run_id, ended.state, ended.message) == (run.run_id, state, message)
    assert clock.pauses == [1.0, 2.0, 4.0]


def test_waiting_ends_with_the_time(jobs, standin, clock):
    standin.jobs.add("endless", states=("RUNNING",))
    run = jobs.run_now("endless", parameters={}, token="t")
    assert jobs.wait(run, timeout_seconds=100).state == "running"
    assert clock.now == 100
    assert max(clock.pauses) == 30


# Data profiling


def test_a_table_of_predictions_is_profiled_once(ws, standin):
    assert ws.monitors.ensure(PREDICTIONS, PROFILE) == "created"
    assert ws.monitors.ensure(PREDICTIONS, PROFILE) == "exists"
    ((key, monitor),) = standin.data_quality.monitors.items()
    assert key == ("table", ws.client.tables.get(PREDICTIONS).table_id)
    config = monitor["data_profiling_config"]
    assert config["output_schema_id"] == ws.client.schemas.get("dev.tiny").schema_id
    assert config["assets_dir"] == "/Shared/mlplatform/dev/tiny/profiling"
    assert config["inference_log"] == {
        "problem_type": "INFERENCE_PROBLEM_TYPE_CLASSIFICATION",
        "timestamp_column": "scored_for",
        "granularities": ["AGGREGATION_GRANULARITY_1_DAY", "AGGREGATION_GRANULARITY_1_MONTH"],
        "prediction_column": "prediction",
        "model_id_column": "model_version",
    }


BASELINE = "dev.tiny.gold_profile_baseline"
FULL = replace(PROFILE, label="label", baseline=BASELINE, schedule="0 0 4 ? * SUN", timezone="Europe/Berlin")


def test_label_baseline_and_schedule_are_asked_for(ws, standin):
    standin.metastore.provider.tables[BASELINE] = TableInfo([Column("prediction", "double")])
    assert ws.monitors.ensure(PREDICTIONS, FULL) == "created"
    ((_, monitor),) = standin.data_quality.monitors.items()
    config = monitor["data_profiling_config"]
    assert config["inference_log"]["label_column"] == "label"
    assert config["baseline_table_name"] == BASELINE
    assert config["schedule"] == {"quartz_cron_expression": "0 0 4 ? * SUN", "timezone_id": "Europe/Berlin"}
    assert ws.monitors.ensure(PREDICTIONS, FULL) == "exists"


def test_a_profile_that_stands_is_changed_to_what_is_asked_now(ws, standin):
    standin.metastore.provider.tables[BASELINE] = TableInfo([Column("prediction", "double")])
    ws.monitors.ensure(PREDICTIONS, PROFILE)
    ((key, monitor),) = standin.data_quality.monitors.items()
    # What the service adds on its own, and what somebody set on the page, stays.
    monitor["data_profiling_config"] |= {"notification_settings": {"on_failure": {"email_addresses": ["a@b.c"]}}}
    assert ws.monitors.ensure(PREDICTIONS, FULL) == "changed"
    config = standin.data_quality.monitors[key]["data_profiling_config"]
    assert (config["baseline_table_name"], config["inference_log"]["label_column"]) == (BASELINE, "label")
    assert config["notification_settings"]
    assert config["assets_dir"] == "/Shared/mlplatform/dev/tiny/profiling"
    config["schedule"]["pause_status"] = "CRON_SCHEDULE_PAUSE_STATUS_PAUSED"
    assert ws.monitors.ensure(PREDICTIONS, FULL) == "exists"
    assert ws.monitors.ensure(PREDICTIONS, replace(FULL, schedule=None, baseline=None)) == "changed"
    config = standin.data_quality.monitors[key]["data_profiling_config"]
    assert "schedule" not in config
    assert config["baseline_table_name"] == BASELINE


def test_a_baseline_that_is_not_there_is_an_error(ws):
    with pytest.raises(DeploymentError, match=BASELINE):
        ws.monitors.ensure(PREDICTIONS, FULL)


@pytest.mark.parametrize("how", ["disabled", "no such API"])
def test_where_profiling_is_off_it_is_said_and_nothing_fails(ws, standin, caplog, how, monkeypatch):
    if how == "disabled":
        standin.data_quality.off = True
    else:
        monkeypatch.setattr(standin, "_routes", [it for it in standin._routes if "data-quality" not in it.pattern])
    assert ws.monitors.ensure(PREDICTIONS, PROFILE) == "switched off here"
    assert f"{PREDICTIONS} is not profiled" in caplog.text
    assert standin.token not in caplog.text
    if how == "no such API":
        assert ws.monitors.refresh(PREDICTIONS) == "switched off here"
    standin.unexpected.clear()


def test_a_refresh_is_started_where_there_is_a_profile(ws, standin):
    assert ws.monitors.refresh(PREDICTIONS) == "no profile"
    ws.monitors.ensure(PREDICTIONS, PROFILE)
    assert ws.monitors.refresh(PREDICTIONS) == "started"
    assert standin.data_quality.refreshes == list(standin.data_quality.monitors)
    standin.faults.add("409", method="POST", path="/refreshes", times=1)
    assert ws.monitors.refresh(PREDICTIONS) == "under way"
    standin.metastore.provider = FixedTables({})
    assert ws.monitors.refresh(PREDICTIONS) == "no table yet"


@pytest.mark.parametrize("kind", ["403", "500"])
def test_a_refresh_that_cannot_be_started_is_an_error(ws, standin, kind):
    ws.monitors.ensure(PREDICTIONS, PROFILE)
    standin.faults.add(kind, path="/refreshes", times=None)
    with pytest.raises(DeploymentError, match="Refreshing the data profile") as caught:
        ws.monitors.refresh(PREDICTIONS)
    assert standin.token not in str(caught.value)


def test_without_the_table_there_is_nothing_to_profile(ws, standin):
    standin.metastore.provider = FixedTables({})
    assert ws.monitors.ensure(PREDICTIONS, PROFILE) == "no table yet"
    assert standin.data_quality.monitors == {}


def test_a_profile_that_somebody_else_makes_meanwhile_is_there(ws, standin):
    standin.faults.add("drop_after", method="POST", path="/data-quality/", times=1)
    assert ws.monitors.ensure(PREDICTIONS, PROFILE) in ("created", "exists")
    assert len(standin.data_quality.monitors) == 1


@pytest.mark.parametrize("path", ["/tables/", "/schemas/", "/data-quality/"])
@pytest.mark.parametrize("kind", ["403", "500"])
def test_a_profile_that_cannot_be_made_is_an_error(ws, standin, path, kind):
    standin.faults.add(kind, path=path, times=None)
    with pytest.raises(DeploymentError, match=PREDICTIONS) as caught:
        ws.monitors.ensure(PREDICTIONS, PROFILE)
    assert standin.token not in str(caught.value)
    assert standin.data_quality.monitors == {}


def test_windows_that_the_service_does_not_know_are_named(ws, standin):
    with pytest.raises(DeploymentError, match=r"'1 months'[\s\S]*1 month"):
        ws.monitors.ensure(PREDICTIONS, replace(PROFILE, granularities=("1 months",)))
    assert [call for call in standin.calls if call.path.startswith("/api/")] == []


# Grants


def test_grants_reach_the_metastore(ws, standin):
    ws.access.grant(["CREATE MODEL VERSION", "EXECUTE"], "model", "dev.tiny.model", "trainers")
    ws.access.grant(["CREATE MODEL VERSION", "EXECUTE"], "model", "dev.tiny.model", "trainers")
    granted = standin.metastore.grants["function", "dev.tiny.model"]["trainers"]
    assert granted == {"CREATE_MODEL_VERSION", "EXECUTE"}
    with pytest.raises(DeploymentError):
        ws.access.grant(["SELECT"], "model", "dev.tiny.model", "trainers")


def test_every_error_is_one_of_ours_and_nothing_unknown_was_asked(ws, standin):
    standin.faults.add("403", times=None)
    for ask in (
        lambda: ws.functions.get("dev.tiny.ratio"),
        lambda: ws.secrets.get("a", "b"),
        lambda: ws.jobs.run_now("a", parameters={}, token="t"),
        lambda: ws.monitors.ensure(PREDICTIONS, PROFILE),
    ):
        with pytest.raises(PlatformError):
            ask()
    assert standin.unexpected == []


# The owner of the model, and who may move its aliases


@pytest.fixture
def model(standin) -> str:
    """A registered model, owned by whoever asks; put there, for no MLflow is needed for it."""
    standin.models.by_name[MODEL] = Model(MODEL, 0)
    return MODEL


def test_the_owner_is_set_once_and_read_back(ws, standin, model):
    assert ws.access.own_model(model, "owners") == "set"
    assert standin.models.by_name[model].owner == "owners"
    assert ws.access.own_model(model, "owners") == "is already"
    changes = [call for call in standin.calls if call.method == "PATCH" and model in call.path]
    assert [call.body for call in changes] == [{"owner": "owners"}]


def test_an_owner_that_is_not_taken_is_an_error(ws, standin, model, monkeypatch):
    standin.models.by_name[model].owner = "somebody"
    deaf = [replace(it, handler=lambda *_, **__: {}) if it.method == "PATCH" else it for it in standin._routes]
    monkeypatch.setattr(standin, "_routes", deaf)
    with pytest.raises(DeploymentError, match=r"was made the owner.*reads 'somebody'"):
        ws.access.own_model(model, "owners")


@pytest.mark.parametrize("kind", ["403", "500", "drop_before"])
def test_an_owner_that_cannot_be_set_is_an_error(ws, standin, model, kind):
    standin.faults.add(kind, method="PATCH", path="/unity-catalog/models/", times=None)
    with pytest.raises(DeploymentError, match="owner of the model") as caught:
        ws.access.own_model(model, "owners")
    assert standin.token not in str(caught.value)
    standin.faults.clear()
    assert ws.access.own_model(model, "owners") == "set"


def test_an_owner_whose_answer_was_lost_is_set(ws, standin, model):
    standin.faults.add("drop_after", method="PATCH", path="/unity-catalog/models/", times=1)
    assert ws.access.own_model(model, "owners") == "set"


def owned_by_a_group(standin, model: str) -> Principal:
    """The promoter, in a group in the group that owns the model."""
    promoter = standin.identity.add("ServicePrincipals", "0000-promoter")
    inner = standin.identity.add("Groups", "promoters", promoter)
    standin.identity.add("Groups", "owners", inner)
    standin.models.by_name[model].owner = "owners"
    return promoter


def test_the_promoter_may_move_aliases_by_the_group_that_owns_the_model(ws, standin, model):
    owned_by_a_group(standin, model)
    said = ws.access.probe_alias_right(model, "0000-promoter")
    assert said == f"{model} is owned by owners, of which 0000-promoter is a member"
    assert "member" in ws.access.probe_alias_right(model, "promoters")
    assert ws.access.probe_alias_right(model, "owners") == f"{model} is owned by owners"


@pytest.mark.parametrize("who", ["0000-scorer", "nobody@example.com", "promoters-of-others"])
def test_a_promoter_outside_of_the_owning_group_is_an_error(ws, standin, model, who):
    owned_by_a_group(standin, model)
    standin.identity.add("ServicePrincipals", "0000-scorer")
    standin.identity.add("Groups", "promoters-of-others")
    with pytest.raises(DeploymentError, match=f"{who} may not move aliases") as caught:
        ws.access.probe_alias_right(model, who)
    assert "--model-owner" in caught.value.hint


def test_groups_in_each_other_come_to_an_end(ws, standin, model):
    first = standin.identity.add("Groups", "first")
    second = standin.identity.add("Groups", "second", first)
    first.members.append(second.id)
    standin.models.by_name[model].owner = "first"
    with pytest.raises(DeploymentError, match="may not move"):
        ws.access.probe_alias_right(model, "0000-scorer")


@pytest.mark.parametrize("kind", ["403", "500"])
def test_members_that_cannot_be_read_are_said_not_guessed(ws, standin, model, kind):
    owned_by_a_group(standin, model)
    standin.faults.add(kind, path="/scim/v2/Groups", times=None)
    assert "could not be read" in ws.access.probe_alias_right(model, "0000-promoter")


@pytest.mark.parametrize("who", ["", USER])
def test_whoever_asks_tries_with_an_alias_of_its_own_and_leaves_nothing(ws, standin, model, who):
    stood = standin.models.by_name[model]
    stood.versions[3], stood.aliases["champion"] = Version(3, {}, 0, status="READY"), 3
    said = ws.access.probe_alias_right(model, who)
    assert said == "the alias setup_probe was set to version 3 and taken away again"
    assert stood.aliases == {"champion": 3}
    stood.owner = "somebody"
    with pytest.raises(DeploymentError, match=r"setup_probe.*could not be set"):
        ws.access.probe_alias_right(model, who)
    assert stood.aliases == {"champion": 3}


def test_without_a_version_it_is_the_owner_that_counts(ws, standin, model):
    assert ws.access.probe_alias_right(model, "") == f"{model} is owned by {USER}"
    standin.models.by_name[model].owner = "somebody"
    with pytest.raises(DeploymentError, match=f"{USER} may not move"):
        ws.access.probe_alias_right(model, "")
