"""Weights of another silver table through the cycle: as known at each row's time, on record, and without a leak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from mlplatform import Column, SilverTable, Source, WeightColumn, end_of_period
from mlplatform.as_of import parse_as_of
from mlplatform.errors import ConfigError, ContractError
from mlplatform.pipeline import Pipeline
from mlplatform.testing import declarations, leak_check
from mlplatform.training.fit_arguments import fit_with_arguments
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.weights import LookedUpWeights
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_use_case import MONTHS, NAME, REGIONS, Tiny, TinyTrainer, write_drop, write_tiny_use_case

AS_OF, LATER = "2020-08-01", "2020-09-01"
MOMENTS = [parse_as_of(f"2020-0{month}-15") for month in (3, 5, 7)]


class Sizes(Source):
    """How many customers there are, by region."""

    files = "sizes/sizes_*.csv"
    columns = ("region", "counted", "customers")

    def available_at(self, path: Path) -> Any:
        """A drop is complete when its month is over."""
        return end_of_period(path)


class SilverSizes(SilverTable):
    """Customers of a region, counted now and then."""

    name = "sizes"
    source = Sizes
    keys = ("region",)
    timeseries = True
    known_at = "counted_at"
    columns = (
        Column("region", "string", "The region", nullable=False),
        Column(
            "counted_at", "timestamp", "Day of the count", nullable=False, sql="try_to_timestamp(counted, 'yyyy-MM-dd')"
        ),
        Column("customers", "int", "How many there were"),
    )


class Weighted(TinyTrainer):
    """Rows of large regions count for more."""

    weight_column = WeightColumn(SilverSizes, "customers")

    def search_space(self) -> dict[str, Any]:
        """Nothing is searched."""
        return {}

    def fit(self, estimator: Any, rows: FitRows) -> Any:
        """Take note of what it is given."""
        GIVEN.append(rows)
        return fit_with_arguments(estimator, rows)


class TinyWeighted(Tiny):
    """With one more source."""

    sources = (*Tiny.sources, Sizes)
    silver = (*Tiny.silver, SilverSizes)
    trainer = Weighted


GIVEN: list[FitRows] = []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The use case, with counts of each region in most months, the first before anybody signed up."""
    written = write_tiny_use_case(tmp_path_factory.mktemp("uc"), months=9)
    chance = np.random.default_rng(2)
    for month in range(1, MONTHS):
        rows = [
            [region, f"2020-{month:02}-{1 if month == 1 else chance.integers(1, 29):02}", str(chance.integers(1, 50))]
            for region in REGIONS
            if month == 1 or chance.random() < 0.7
        ]
        write_drop(written.data / "sizes" / f"sizes_2020-{month:02}.csv", Sizes.columns, rows)
    return written.folder


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalWorkspace, Any]]:
    with LocalWorkspace.open(root=tmp_path_factory.mktemp("home")) as ws:
        use_case = TinyWeighted.open(NAME, folder, ws)
        Pipeline(ws, use_case, parse_as_of(AS_OF)).run()
        yield ws, use_case


def counts(folder: Path) -> pd.DataFrame:
    frame = pd.concat([pd.read_csv(file) for file in sorted((folder / "data" / "sizes").glob("*.csv"))])
    return frame.assign(at=pd.to_datetime(frame["counted"], utc=True).astype("datetime64[us, UTC]")).sort_values("at")


def test_each_row_counts_as_was_known_when_it_was_predicted_for(trained: Any, folder: Path) -> None:
    """By pandas, from the landed files."""
    ws, use_case = trained
    rows = GIVEN[0]
    spine = ws.tables.to_arrow(use_case.namespace.gold("spine"), at_most=10**6).to_pandas()
    labels = ws.tables.to_arrow(use_case.namespace.gold("labels"), at_most=10**6).to_pandas()
    labelled = spine.merge(labels[["account"]], on="account").sort_values(["signed_up_at", "account"])
    labelled["signed_up_at"] = labelled["signed_up_at"].astype("datetime64[us, UTC]")
    known = counts(folder)
    expected = pd.merge_asof(labelled, known, left_on="signed_up_at", right_on="at", by="region")["customers"]
    assert rows.weights is not None
    assert rows.weights.tolist() == expected.to_numpy()[: len(rows)].tolist()
    assert len(set(rows.weights)) > 6
    # Those of the rows' own months, and not the newest ones.
    newest = labelled["region"].map(known[known["at"] < AS_OF].groupby("region")["customers"].last())
    assert (expected.to_numpy() != newest.to_numpy()).mean() > 0.3
    assert "customers" not in rows.inputs.columns


def test_what_was_read_is_on_record(trained: Any) -> None:
    ws, use_case = trained
    table = str(use_case.namespace.silver("sizes"))
    version = ws.tables.version(table)
    (run,) = ws.tables.to_arrow("dev.ops.stage_runs", at_most=1000, filters=[("stage", "=", "train")]).to_pylist()
    assert json.loads(run["inputs"])[table] == version
    ws.registry.activate()
    logged = mlflow.MlflowClient().get_run(json.loads(run["details"])["run_id"])
    assert json.loads(logged.data.tags["delta_versions"])[table] == version
    roles = {
        item.dataset.name: {tag.key: tag.value for tag in item.tags}["role"] for item in logged.inputs.dataset_inputs
    }
    assert roles[table] == "weights"


def test_other_weights_are_another_training(trained: Any, folder: Path, tmp_path: Path) -> None:
    """And the same ones, looked up again, are the same."""
    ws, use_case = trained
    again = Pipeline(ws, use_case, parse_as_of(AS_OF)).run(["train"])
    assert again.stages[0].result.details.reused
    with_default = type("Default", (Weighted,), {"weight_column": WeightColumn(SilverSizes, "customers", default=2.0)})
    others = type("Tiny", (TinyWeighted,), {"trainer": with_default}).open(NAME, folder, ws)
    same_weights = Pipeline(ws, others, parse_as_of(AS_OF)).run(["train"]).stages[0].result.details
    assert same_weights.dataset_version == again.stages[0].result.details.dataset_version
    unweighted = type("Unweighted", (Weighted,), {"weight_column": None})
    alike = type("Tiny", (TinyWeighted,), {"trainer": unweighted}).open(NAME, folder, ws)
    details = Pipeline(ws, alike, parse_as_of(AS_OF)).run(["train"]).stages[0].result.details
    assert details.dataset_version != same_weights.dataset_version


def test_the_leak_check_looks_at_them(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ws, use_case = trained
    leak_check.check_weights(ws, use_case, MOMENTS)
    look_up = leak_check.look_up

    def by_now(*given: Any, **more: Any) -> LookedUpWeights:
        """Weights that are those of the run's time, and not of the row's."""
        ws, names, spine, declared, rows, as_of = given
        later = ws.frames.of(rows).with_columns(**{spine.prediction_time: _moment(as_of)})
        found = look_up(ws, names, spine, declared, later, as_of, **more)
        own = ws.frames.of(rows).select("account", spine.prediction_time)
        return LookedUpWeights(
            own.join(found.rows.drop(spine.prediction_time), on=["account"], how="inner"), found.read
        )

    monkeypatch.setattr(leak_check, "look_up", by_now)
    with pytest.raises(ContractError, match=r"The weights in silver_sizes\.customers leak: of those of rows up to"):
        leak_check.check_weights(ws, use_case, MOMENTS)


def _moment(as_of: Any) -> Any:
    import narwhals as nw

    return nw.lit(as_of, nw.Datetime("us", "UTC"))


def test_rows_without_a_weight_stop_the_training(folder: Path, trained: Any) -> None:
    ws, _ = trained
    keyed = type("Wrong", (Weighted,), {"weight_column": WeightColumn(SilverSizes, "customers", keys=("account",))})
    use_case = type("Tiny", (TinyWeighted,), {"trainer": keyed}).open(NAME, folder, ws)
    with pytest.raises(ConfigError, match=r"of \d+ labelled rows \d+ have none \(the first is account=") as caught:
        Pipeline(ws, use_case, parse_as_of(LATER)).run(["train"])
    assert "default=1.0" in caught.value.hint


def test_declarations_are_looked_at_without_running_anything(folder: Path, trained: Any) -> None:
    ws, use_case = trained
    assert list(declarations.problems(use_case)) == []
    without = type("Tiny", (TinyWeighted,), {"silver": Tiny.silver, "sources": Tiny.sources}).open(NAME, folder, ws)
    assert "names SilverSizes, which is not among the use case's silver tables" in "\n".join(
        declarations.problems(without)
    )
    keyed = type("Wrong", (Weighted,), {"weight_column": WeightColumn(SilverSizes, "customers", keys=("town",))})
    other = type("Tiny", (TinyWeighted,), {"trainer": keyed}).open(NAME, folder, ws)
    assert "looked up by town, which is no column of Subscriptions" in "\n".join(declarations.problems(other))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"column": "region"}, "which is string"),
        ({"column": "customer"}, "no such column"),
        ({"keys": ("region", "account")}, r"by 2 column\(s\), and its keys are region"),
        ({"default": -1.0}, "The default of the weights of SilverSizes is -1.0"),
        ({"default": float("nan")}, "is nan"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_where_it_is_made(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        WeightColumn(**({"table": SilverSizes, "column": "customers"} | more))
    assert caught.value.hint
