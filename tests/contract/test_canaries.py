"""A challenger decides for a share of the entities: the same ones in both homes, on record, and judged by outcomes."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import mlflow.sklearn
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from mlplatform import BatchScorer, Column, FeatureLookup, LabelSpine
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import UsageError
from mlplatform.features import artifacts
from mlplatform.gate import canary, decision_log, promotion
from mlplatform.gate.checks.base import CheckResult
from mlplatform.gate.decision import Decision
from mlplatform.gate.details import GateDetails
from mlplatform.monitoring import canary as outcomes
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace
from mlplatform.ops import records
from mlplatform.ops.context import StageContext
from mlplatform.ops.run_record import Recorder, RunSummary
from mlplatform.scoring.stage import Score

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.workspace import Workspace

NAMESPACE = Namespace("dev", "canaries")
TIME = pa.timestamp("us", "UTC")
START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
ENTITIES, SHARE = 240, 0.3
SETTINGS = UseCaseSettings.model_validate(
    {
        "owner": "me",
        "task": "regression",
        "label": {"horizon": "5 days"},
        "training": {"metric": "mae", "min_rows": 1},
        "scoring": {"every": "30 days", "canary": SHARE},
        "gate": {"floor": 100.0, "draws": 200},
        "monitoring": {"min_rows": 10},
    }
)
PREDICTIONS = str(NAMESPACE.gold("predictions"))


class Amounts(LabelSpine):
    """Customers by number, four each day; what they will pay is known five days later."""

    entity_keys = ("customer",)
    prediction_time = "asked_at"
    key_columns = (Column("customer", "string", "Number"), Column("asked_at", "timestamp", "When"))
    columns = (Column("due", "double", "Dollars"),)
    label = "paid"
    inputs = ()

    def spine(self, ws: Any) -> DataFrame:
        raise AssertionError("nothing here computes it")

    def labels(self, ws: Any) -> DataFrame:
        raise AssertionError("nothing here computes it")


SPINE = Amounts(SETTINGS)


def day(number: float) -> dt.datetime:
    return START + dt.timedelta(days=number)


def at(ws: Workspace, number: float) -> StageContext:
    return StageContext(ws, NAMESPACE, SETTINGS, day(number), f"run{number:g}")


def in_share(version: int) -> set[str]:
    """Return the customers whose MD5 with the salt lies in the lowest part of its range, by hashlib."""

    def digest(customer: str) -> int:
        text = f"canary:canaries:{version}|{customer}"
        return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8], 16)

    return {name for name in (f"C{number:03d}" for number in range(ENTITIES)) if digest(name) < SHARE * 2**32}


def facts() -> pa.Table:
    names = [f"C{number:03d}" for number in range(ENTITIES)]
    times = pa.array([day(number / 4 + 0.1) for number in range(ENTITIES)], TIME)
    return pa.table({"customer": names, "asked_at": times, "due": [float(n % 17) for n in range(ENTITIES)]})


def register(ws: Workspace, off: float) -> int:
    """Register a model whose predictions are off by so much; return its version."""
    seen = facts().append_column("paid", pa.array([2.0 * value for value in facts()["due"].to_pylist()]))
    training_set = ws.fe.create_training_set(
        df=seen,
        feature_lookups=[FeatureLookup(str(NAMESPACE.features("bonus")), "customer")],
        label="paid",
        exclude_columns=["customer", "asked_at"],
    )
    frame = training_set.to_pandas()
    model = LinearRegression().fit(frame.drop(columns="paid"), frame["paid"] + off)
    info = ws.fe.log_model(
        model=model,
        artifact_path="model",
        flavor=mlflow.sklearn,
        training_set=training_set,
        registered_model_name=str(NAMESPACE.model),
        serialization_format="skops",
    )
    version = ws.registry.get(NAMESPACE.model, int(info.registered_model_version))
    with TemporaryDirectory() as folder:
        digest = artifacts.digest(ws.registry.download(version, Path(folder)))
    tags = {"trained_as_of": START.isoformat(), artifacts.DIGEST_TAG: digest}
    ws.registry.set_tags(NAMESPACE.model, version.version, tags)
    return version.version


def decided(ws: Workspace, version: int, outcome: Any, champion: int | None, **other: Any) -> None:
    made = Decision(
        decision_id=f"{version} {outcome} {champion} {len(decision_log.events(ws, NAMESPACE))}",
        outcome=outcome,
        reason="made up",
        challenger_version=version,
        champion_version=champion,
        as_of=other.pop("as_of"),
        evaluation={},
        checks=[
            CheckResult("finite_predictions", "pass", ""),
            CheckResult("probabilities", "skipped", ""),
            CheckResult("beats_champion", "fail", "", numbers={"gain": 0.0, "low": -0.1, "high": 0.1}),
        ],
    )
    decision_log.record(ws, NAMESPACE, made, "decided")
    if outcome == "promoted":
        assert promotion.apply(ws, NAMESPACE, made) == "applied"


def look(ws: Workspace, number: float) -> list[str]:
    """Do what the gate does about the canary when it has looked; return what it says."""
    context = at(ws, number)
    todo = canary.following(context, ws.registry.aliases(NAMESPACE.model), GateDetails())
    for action in todo:
        action.act()
    return [action.text for action in todo]


def score(ws: Workspace, number: float) -> Any:
    context = at(ws, number)
    stage = Score(BatchScorer(), SPINE)
    return Recorder(context, RunSummary(context.run_id, context.name, context.as_of)).run(stage).details


def predictions(ws: Workspace, number: float) -> dict[str, dict[str, bool]]:
    """Return alias -> customer -> whether the prediction made at a time is acted on."""
    rows = ws.tables.to_arrow(PREDICTIONS, at_most=10**4, filters=[("as_of", "=", day(number))]).to_pylist()
    found: dict[str, dict[str, bool]] = {}
    for row in rows:
        assert row["customer"] not in found.get(row["alias"], {})
        found.setdefault(row["alias"], {})[row["customer"]] = row["decided"]
    return found


@pytest.fixture(scope="module")
def scored(ws: Workspace) -> Workspace:
    """Version 1 is champion from day 0 on, version 2 a canary from day 20 to 50; scored on days 20, 40 and 60."""
    records.ensure(ws, NAMESPACE)
    keys = {"primary_keys": SPINE.primary_keys, "timeseries_column": "asked_at"}
    ws.tables.create(NAMESPACE.gold("spine"), SPINE.spine_schema(), **keys)
    ws.tables.append(NAMESPACE.gold("spine"), facts())
    labels = facts().drop_columns(["due"])
    labels = labels.append_column("paid", pa.array([2.0 * value for value in facts()["due"].to_pylist()]))
    known = pa.array([day(number / 4 + 5.1) for number in range(ENTITIES)], TIME)
    ws.tables.create(NAMESPACE.gold("labels"), SPINE.label_schema(), **keys)
    ws.tables.append(NAMESPACE.gold("labels"), labels.append_column("label_known_at", known))
    ws.fe.create_table(
        name=str(NAMESPACE.features("bonus")),
        primary_keys=["customer"],
        df=facts().select(["customer"]).append_column("bonus", pa.array([float(n % 5) for n in range(ENTITIES)])),
    )
    ws.registry.ensure_model(NAMESPACE.model)
    for off in (0.0, 3.0):
        register(ws, off)
    decided(ws, 1, "promoted", None, as_of=day(0))
    ws.registry.set_alias(NAMESPACE.model, CHALLENGER, 2)
    assert look(ws, 10) == []  # nothing has been decided about it
    score(ws, 20)
    decided(ws, 2, "rejected", 1, as_of=day(20))
    assert [text.partition(", deciding")[0] for text in look(ws, 20)] == ["record that the canary of version 2 begins"]
    assert look(ws, 20) == []
    score(ws, 40)
    assert canary.EndCanary("complaints").run(at(ws, 50)).details.outcome == "canary ended"
    assert look(ws, 50) == []  # what was ended by hand does not begin by itself
    score(ws, 60)
    return ws


def test_before_and_after_it_the_champion_decides_for_all(scored):
    for number in (20, 60):
        found = predictions(scored, number)
        assert set(found[CHAMPION].values()) == {True}
        assert set(found[CHALLENGER].values()) == {False}  # its shadow


def test_during_it_the_challenger_decides_for_its_share_and_the_champion_for_all_others(scored):
    found = predictions(scored, 40)
    due = {f"C{number:03d}" for number in range(ENTITIES) if 20 < number / 4 + 0.1 <= 40}
    assert set(found[CHAMPION]) == set(found[CHALLENGER]) == due
    mine = due & in_share(2)
    assert 0 < len(mine) < len(due)
    assert {name for name, acted_on in found[CHALLENGER].items() if acted_on} == mine
    assert {name for name, acted_on in found[CHAMPION].items() if acted_on} == due - mine


def test_the_view_of_the_latest_shows_what_was_decided(scored):
    rows = scored.tables.to_arrow(NAMESPACE.gold("latest_predictions"), at_most=10**4).to_pylist()
    assert len(rows) == len({row["customer"] for row in rows}) == ENTITIES
    by_challenger = {row["customer"] for row in rows if row["model_version"] == 2}
    assert by_challenger == {name for name in in_share(2) if 80 <= int(name[1:]) < 160}


def test_scored_again_nothing_changes(scored):
    before = scored.tables.to_arrow(PREDICTIONS, at_most=10**4).num_rows
    for number in (20, 40, 60):
        found = predictions(scored, number)
        score(scored, number)
        assert predictions(scored, number) == found
    assert scored.tables.to_arrow(PREDICTIONS, at_most=10**4).num_rows == before


def test_who_was_canary_is_read_as_of_a_time(scored):
    events = decision_log.events(scored, NAMESPACE)
    found = {number: canary.open_at(events, day(number)) for number in (10, 20, 49, 50)}
    assert [None if it is None else it.version for it in found.values()] == [None, 2, 2, None]
    (told,) = canary.all_of(events)
    assert (told.champion, told.share, told.since, told.until) == (1, SHARE, day(20), day(50))
    assert told.why == "complaints"
    with pytest.raises(UsageError, match="has no canary"):
        canary.EndCanary("once more").run(at(scored, 60))


def test_its_outcomes_are_held_against_the_champions(scored):
    found = outcomes.check(at(scored, 60), SPINE)
    assert found is not None
    outcome, verdict = found
    mine = [name for name in in_share(2) if 80 <= int(name[1:]) < 160]
    assert (outcome.decided, outcome.labels, outcome.labels_of_champion) == (len(mine), len(mine), 80 - len(mine))
    # The challenger is off by three dollars, the champion by nothing.
    assert outcome.gain == pytest.approx(-3.0, abs=1e-6)
    assert (outcome.worse, verdict.kind, verdict.state) == (True, "canary", "ok")  # ended by then
    recorded = canary.outcome(at(scored, 60), 2)
    assert recorded is not None
    assert (recorded.violated, recorded.limit, recorded.rows) == (True, 0.0, len(mine))
    assert outcomes.check(at(scored, 15), SPINE) is None
    early = outcomes.check(replace(at(scored, 42), run_id="early"), SPINE)
    assert early is not None
    assert early[1].state == "violated"
    assert "mlplatform rollback canaries --end-canary" in early[1].message
