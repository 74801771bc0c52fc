"""Taking over what exists: a feature table's rows, and a model version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.change import adopt_model
from mlplatform.errors import FeatureStoreError, RegistryError, StageError, TableError, UsageError
from mlplatform.gate import decision_log
from mlplatform.naming import Namespace
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import clone, open_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD, NEW = Namespace("dev", "tiny"), Namespace("dev", "tiny", "new_")
AS_OF = "2020-08-01"
SOURCE = adopt_model.ExistingVersion(str(OLD.model), 1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A closed workspace in which one team's use case has a champion, and another's has its silver tables."""
    root = tmp_path_factory.mktemp("base") / "ws"
    with LocalWorkspace.open(root=root) as ws:
        pipeline = Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(AS_OF))
        pipeline.run(["ingest", "refine", "features", "train", "gate"])
        assert ws.registry.aliases(OLD.model) == {"champion": 1}
    with LocalWorkspace.open(root=root, prefix="new_") as ws:
        Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(AS_OF)).run(["ingest", "refine"])
    return root


@pytest.fixture
def ws(tmp_path: Path, base: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "ws"), prefix="new_") as opened:
        yield opened


def at(ws: LocalWorkspace, tiny: TinyFolder, as_of: str = AS_OF) -> Pipeline:
    return Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(as_of))


def rows_of(ws: LocalWorkspace, namespace: Namespace) -> list[dict[str, object]]:
    return (
        ws.tables.to_arrow(namespace.features("region"), at_most=10**6)
        .sort_by([("region", "ascending"), ("known_at", "ascending")])
        .to_pylist()
    )


def test_an_adopted_table_is_the_history_that_later_rows_are_added_to(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    old = rows_of(ws, OLD)
    # A mark that computing anew would wipe out: the history of a team whose raw data are long gone.
    marked = pa.Table.from_pylist(
        [{**old[0], "region_cancellations": 4711}], schema=ws.tables.describe(OLD.features("region")).schema
    )
    ws.tables.merge(OLD.features("region"), marked)
    result = at(ws, tiny).adopt_table(str(OLD.features("region")))
    assert (result.rows_in, result.rows_out) == (len(old), len(old))
    assert rows_of(ws, NEW) == rows_of(ws, OLD)
    # Neither adopted nor what the code gives: everything after the adoption is computed anew.
    ghost = {**old[0], "known_at": parse_as_of("2020-08-15T12:00:00"), "region_cancellations": -1}
    ws.tables.merge(NEW.features("region"), pa.Table.from_pylist([ghost], schema=marked.schema))
    at(ws, tiny, "2020-10-01").run(["ingest", "refine", "features"])
    later = rows_of(ws, NEW)
    assert -1 not in [row["region_cancellations"] for row in later]
    assert [row for row in later if row["region_cancellations"] == 4711] == [{**old[0], "region_cancellations": 4711}]
    assert len(later) > len(old)
    assert ws.tables.describe(NEW.features("region")).tags["use_case"] == "tiny"


def test_adopting_a_table_again_changes_nothing(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    at(ws, tiny).adopt_table(str(OLD.features("region")), "region")
    before = rows_of(ws, NEW)
    at(ws, tiny).adopt_table(str(OLD.features("region")), "features_region")
    assert rows_of(ws, NEW) == before


def test_rows_known_later_than_as_of_are_left_out_and_counted(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    result = at(ws, tiny, "2020-04-01").adopt_table(str(OLD.features("region")))
    assert result.rows_in == result.rows_out + result.details.known_later
    assert result.details.known_later > 0
    assert max(row["known_at"] for row in rows_of(ws, NEW)) <= parse_as_of("2020-04-01")


def test_keys_that_stand_more_than_once_are_refused_in_place_too(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    at(ws, tiny).adopt_table(str(OLD.features("region")))
    name = NEW.features("region")
    ws.tables.append(name, ws.tables.to_arrow(name, at_most=10**6).slice(0, 2))
    with pytest.raises(TableError, match=r"2 key\(s\) of .* occur more than once"):
        at(ws, tiny).adopt_table(str(name), dry_run=True)


def test_a_dry_run_checks_and_writes_nothing(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    at(ws, tiny).adopt_table(str(OLD.features("region")), dry_run=True)
    assert not ws.tables.exists(NEW.features("region"))


def test_a_table_of_other_keys_and_types_is_refused_with_all_differences(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    schema = pa.schema(
        [("region", pa.string()), ("day", pa.timestamp("us", tz="UTC")), ("region_cancellations", pa.int32())]
    )
    ws.tables.create("dev.elsewhere.history", schema, primary_keys=("region", "day"), timeseries_column="day")
    with pytest.raises(TableError) as refused:
        at(ws, tiny).adopt_table("dev.elsewhere.history", "region")
    for part in (
        "primary keys are ['region', 'day']",
        "timeseries column is day",
        "lacks the column known_at",
        "is int32",
    ):
        assert part in str(refused.value)
    with pytest.raises(UsageError, match=r"fits none .*\n.*--as"):
        at(ws, tiny).adopt_table("dev.elsewhere.history")
    assert not ws.tables.exists(NEW.features("region"))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, base: Path, tiny: TinyFolder) -> dict[str, Path]:
    """Closed workspaces: with the adopted features, and with a champion of our own on them."""
    folder = tmp_path_factory.mktemp("bases")
    with LocalWorkspace.open(root=clone(base, folder / "champion"), prefix="new_") as ws:
        at(ws, tiny).adopt_table(str(OLD.features("region")))
        clone(ws.root, folder / "features")
        at(ws, tiny).run(["train", "gate"])
        assert ws.registry.aliases(NEW.model) == {"champion": 1}
    return {name: folder / name for name in ("features", "champion")}


@pytest.fixture
def with_features(tmp_path: Path, bases: dict[str, Path]) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(bases["features"], tmp_path / "ws"), prefix="new_") as opened:
        yield opened


@pytest.fixture
def with_champion(tmp_path: Path, bases: dict[str, Path]) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(bases["champion"], tmp_path / "ws"), prefix="new_") as opened:
        yield opened


def test_an_adopted_model_becomes_the_first_champion_on_record(with_features: LocalWorkspace, tiny: TinyFolder) -> None:
    ws = with_features
    result = at(ws, tiny).adopt_model(SOURCE)
    assert result.details.role == "champion"
    assert ws.registry.aliases(NEW.model) == {"champion": 1}
    told = [(row.event, row.kind, row.reason) for row in decision_log.events(ws, NEW)]
    assert told == [(event, "adoption", f"adopted from {OLD.model}/1") for event in ("decided", "applied")]
    # It scores, is monitored, and can be held against a challenger: all that a champion of our own can.
    summary = at(ws, tiny, "2020-11-01").run(["ingest", "refine", "features", "score", "monitor", "train", "gate"])
    assert {run.status for run in summary.stages} == {"done"}
    assert summary.details("gate")["champion"] == 1


def test_adopting_a_model_again_changes_nothing(with_features: LocalWorkspace, tiny: TinyFolder) -> None:
    ws = with_features
    for _ in range(2):
        at(ws, tiny).adopt_model(SOURCE)
    assert [version.version for version in ws.registry.versions(NEW.model)] == [1]
    assert len(decision_log.events(ws, NEW)) == 2


def test_beside_a_champion_it_becomes_challenger(with_champion: LocalWorkspace, tiny: TinyFolder) -> None:
    ws = with_champion
    assert at(ws, tiny).adopt_model(SOURCE).details.role == "challenger"
    assert ws.registry.aliases(NEW.model) == {"champion": 1, "challenger": 2}


def test_where_a_champion_is_lost_it_becomes_challenger(with_champion: LocalWorkspace, tiny: TinyFolder) -> None:
    """A champion that is gone is not "no champion": who follows it is decided by hand, or the models begin anew."""
    ws = with_champion
    ws.registry.delete_alias(NEW.model, "champion")
    assert at(ws, tiny).adopt_model(SOURCE).details.role == "challenger"
    at(ws, tiny).begin_anew(reason="it was deleted")
    assert at(ws, tiny).adopt_model(SOURCE).details.role == "champion"


def test_a_model_whose_features_are_not_there_is_refused(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    ws.tables.drop(OLD.features("region"))
    with pytest.raises(FeatureStoreError, match=r"table dev\.tiny\.features_region does not exist"):
        at(ws, tiny).adopt_model(SOURCE)
    assert ws.registry.aliases(NEW.model) == {}


def test_a_model_that_may_be_pickled_is_refused(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    import mlflow
    from sklearn.dummy import DummyClassifier

    ws.registry.activate()
    mlflow.set_experiment(experiment_id=ws.registry.experiment("/dev/strange"))
    ws.registry.ensure_model("dev.elsewhere.pickled")
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            DummyClassifier().fit([[0.0], [1.0]], [0, 1]),
            name="model",
            registered_model_name="dev.elsewhere.pickled",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
        )
    with pytest.raises(RegistryError, match="may be pickled"):
        at(ws, tiny).adopt_model(adopt_model.ExistingVersion("dev.elsewhere.pickled", 1, parse_as_of(AS_OF)))
    assert ws.registry.aliases(NEW.model) == {}


def test_what_it_was_trained_on_must_be_known(with_features: LocalWorkspace, tiny: TinyFolder) -> None:
    ws = with_features
    ws.registry.set_tags(OLD.model, 1, {"trained_through": ""})
    with pytest.raises(StageError, match="does not say what it was trained on"):
        at(ws, tiny).adopt_model(SOURCE)
    through = adopt_model.ExistingVersion(SOURCE.model, 1, parse_as_of("2020-05-01"))
    assert at(ws, tiny).adopt_model(through).details.role == "champion"
    assert ws.registry.get(NEW.model, 1).tags["trained_through"].startswith("2020-05-01")


def test_the_run_record_shows_an_adoption(with_features: LocalWorkspace) -> None:
    rows = with_features.tables.to_arrow(
        NEW.ops("stage_runs"), at_most=10**6, filters=[("stage", "=", "adopt")]
    ).to_pylist()
    assert [(row["status"], json.loads(row["details"])["from"]) for row in rows] == [
        ("done", str(OLD.features("region")))
    ]
