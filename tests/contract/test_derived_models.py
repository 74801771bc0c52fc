"""log_derived_model: a version made of another one is scored with the same features, and is what was checked."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import mlflow.sklearn
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from mlplatform import FeatureLookup
from mlplatform.errors import RegistryError
from mlplatform.features import artifacts
from mlplatform.statistics.recalibration import IsotonicMove, Move, OddsMove
from mlplatform.training import recalibrated_flavor

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)
SPINE = pa.table(
    {
        "id": [1, 2, 3, 1],
        "ts": pa.array([DAY] * 4, TIME),
        "due": [2.0, 4.0, 8.0, 0.0],
        "y": [0.0, 1.0, 1.0, 0.0],
    }
)
FEATURES = pa.table({"k": [1, 2], "t": pa.array([DAY] * 2, TIME), "paid": [1.0, 3.0]})
TABLE, MODEL = "dev.derived.f", "dev.derived.model"


@dataclass(frozen=True)
class Bank:
    """A classifier with a lookup, registered once for the module."""

    ws: Workspace
    version: int

    @property
    def uri(self) -> str:
        return f"models:/{MODEL}/{self.version}"

    def moved(self, move: Move, of: str = "") -> str:
        """Make a version whose probabilities are moved, and return its URI."""
        self.ws.fe.log_derived_model(
            model_uri=of or self.uri,
            artifact_path="model",
            registered_model_name=MODEL,
            change=lambda folder: recalibrated_flavor.wrap(folder, move),
        )
        return f"models:/{MODEL}/{tagged(self.ws, self.ws.registry.versions(MODEL)[-1].version)}"

    def score(self, uri: str, **arguments: Any) -> list[Any]:
        scored = self.ws.fe.score_batch_arrow(model_uri=uri, df=SPINE.drop_columns(["y"]), **arguments)
        return scored.sort_by([("id", "ascending"), ("due", "ascending")]).column("prediction").to_pylist()


@pytest.fixture(scope="module")
def bank(ws: Workspace) -> Bank:
    ws.fe.create_table(name=TABLE, primary_keys=["k", "t"], df=FEATURES, timeseries_column="t")
    training_set = ws.fe.create_training_set(
        df=SPINE,
        feature_lookups=[FeatureLookup(TABLE, "id", timestamp_lookup_key="ts", default_values={"paid": 0.5})],
        label="y",
        exclude_columns=["id", "ts"],
    )
    frame = training_set.to_pandas()
    model = LogisticRegression().fit(frame.drop(columns="y"), frame["y"])
    ws.registry.ensure_model(MODEL)
    info = ws.fe.log_model(
        model=model,
        artifact_path="model",
        flavor=mlflow.sklearn,
        training_set=training_set,
        registered_model_name=MODEL,
        serialization_format="skops",
        pyfunc_predict_fn="predict_proba",
    )
    return Bank(ws, tagged(ws, int(info.registered_model_version)))


def tagged(ws: Workspace, number: int) -> int:
    """Give a version the tag by which its files are known, as whoever registers one does."""
    with TemporaryDirectory() as folder:
        digest = artifacts.digest(ws.registry.download(ws.registry.get(MODEL, number), Path(folder)))
    ws.registry.set_tags(MODEL, number, {artifacts.DIGEST_TAG: digest})
    return number


def test_it_is_scored_with_the_same_features_and_moved(bank: Bank) -> None:
    before = np.array(bank.score(bank.uri))
    assert len(set(before)) == 4
    made = bank.moved(OddsMove(1.0, 0.5))
    assert np.array(bank.score(made)) == pytest.approx(OddsMove(1.0, 0.5)(before), abs=1e-12)
    both = np.array(bank.score(made, result_type="array<double>"))
    assert both.shape == (4, 2)
    assert both.sum(axis=1) == pytest.approx(np.ones(4))
    curve = IsotonicMove((0.0, 1.0), (0.2, 0.8))
    again = bank.moved(curve, of=made)
    assert np.array(bank.score(again)) == pytest.approx(curve(OddsMove(1.0, 0.5)(before)), abs=1e-12)


def test_signature_and_lineage_are_those_of_the_model_that_it_was_made_of(bank: Bank) -> None:
    registry = bank.ws.registry
    made = bank.moved(OddsMove(0.3))
    number = int(made.rpartition("/")[2])
    assert registry.signature(registry.get(MODEL, number)) == registry.signature(registry.get(MODEL, bank.version))
    assert bank.ws.fe.lineage(made).tables == bank.ws.fe.lineage(bank.uri).tables


def test_what_would_not_be_loaded_is_not_registered(bank: Bank) -> None:
    before = len(bank.ws.registry.versions(MODEL))

    def plant(folder: Path) -> None:
        (folder / "code.py").write_text("print('hello')", encoding="utf-8")

    with pytest.raises(RegistryError, match="may be pickled or code"):
        bank.ws.fe.log_derived_model(
            model_uri=bank.uri, artifact_path="model", registered_model_name=MODEL, change=plant
        )
    assert len(bank.ws.registry.versions(MODEL)) == before
