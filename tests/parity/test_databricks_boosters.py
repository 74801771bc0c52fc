"""Boosters in both homes: logged by each home's own client, loaded from the files, and the same to 1e-9."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pyarrow as pa
import pytest

from mlplatform import FeatureLookup, coded
from mlplatform.features.artifacts import DIGEST_TAG, digest
from mlplatform.features.model_frame import model_frame
from mlplatform.training.fit_arguments import fit_with_arguments
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.fitting import predict
from mlplatform.training.stored_form import stored_form

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

_CUSTOMERS = "dev.boosted.customers"
_START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_TOLERANCE = 1e-9
_ROWS = 120


def _lightgbm() -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=20, min_child_samples=5)


def _lightgbm_coded() -> Any:
    return coded(_lightgbm(), ["plan"])


def _xgboost() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=20, max_depth=3)


def _catboost_coded() -> Any:
    from catboost import CatBoostClassifier

    return coded(CatBoostClassifier(iterations=20, depth=3, allow_writing_files=False), ["plan"])


_MODELS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "lightgbm": (_lightgbm, ("plan",)),
    "xgboost": (_xgboost, ("plan",)),
    "lightgbm_coded": (_lightgbm_coded, ()),
    "catboost_coded": (_catboost_coded, ()),
}


def _make_table(ws: Any) -> None:
    """Numbers and text with nulls among them."""
    customers = pa.table(
        {
            "id": pa.array(range(_ROWS), pa.int64()),
            "segment": pa.array([n % 7 if n % 5 else None for n in range(_ROWS)], pa.int32()),
            "spend": pa.array([n * 1.25 % 17 if n % 9 else None for n in range(_ROWS)], pa.float64()),
            "plan": pa.array([["free", "team", "firm"][n % 3] if n % 8 else None for n in range(_ROWS)]),
        }
    )
    ws.fe.create_table(name=_CUSTOMERS, primary_keys="id", df=customers)


def _spine(rows: int = _ROWS) -> pa.Table:
    """Keys, some of which no table has."""
    return pa.table(
        {
            "id": pa.array([n if n % 10 else n + 1000 for n in range(rows)], pa.int64()),
            "at": pa.array([_START + dt.timedelta(hours=n) for n in range(rows)], pa.timestamp("us", tz="UTC")),
            "amount": pa.array([n * 10 % 37 if n % 6 else None for n in range(rows)], pa.int32()),
        }
    )


def _logged(ws: Any, name: str) -> tuple[str, Any, Any]:
    """Fit a model and log it as a training does; return its URI, the model, and the inputs in the order of the keys."""
    make, excluded = _MODELS[name]
    labels = pa.array([float((n * 7 % 11 > 5) ^ (n % 3 == 0)) for n in range(_ROWS)])
    training_set = ws.fe.create_training_set(
        df=_spine().append_column("y", labels),
        feature_lookups=[FeatureLookup(_CUSTOMERS, "id", feature_names=["segment", "spend", "plan"])],
        label="y",
        exclude_columns=["at", *excluded],
    )
    rows = training_set.to_arrow().sort_by("id")
    inputs = model_frame(rows.drop_columns(["y"]))
    model = fit_with_arguments(make(), FitRows(inputs, rows["y"].to_numpy()))
    trainer: Any = SimpleNamespace(flavor="", requirements=(), trusted_types=())
    form = stored_form(model, "classification", trainer, inputs)
    registered = f"dev.boosted.{name}"
    registry = ws.registry
    registry.activate()
    registry.ensure_model(registered)
    with mlflow.start_run(experiment_id=registry.experiment("dev/boosted")):
        info = ws.fe.log_model(
            model=form.model,
            artifact_path="model",
            flavor=form.flavor,
            training_set=training_set,
            registered_model_name=registered,
            signature=mlflow.models.infer_signature(inputs.head(5), np.array([0.5])),
            pip_requirements=form.requirements,
            **form.arguments,
        )
    number = int(info.registered_model_version)
    uri = f"models:/{registered}/{number}"
    registry.set_tags(registered, number, {DIGEST_TAG: digest(Path(mlflow.artifacts.download_artifacts(uri)))})
    return uri, model, inputs


@pytest.fixture(scope="module")
def both(databricks: DatabricksWorkspace, ws: Workspace) -> tuple[Any, Any]:
    """Both homes with the same table."""
    _make_table(databricks)
    _make_table(ws)
    return databricks, ws


@pytest.mark.parametrize("name", _MODELS)
def test_both_homes_score_what_was_judged(both: tuple[Any, Any], name: str) -> None:
    scores = []
    for home in both:
        uri, model, inputs = _logged(home, name)
        # With trusted types, so that the files are looked into before they are loaded.
        scored = home.fe.score_batch_arrow(model_uri=uri, df=_spine(), trusted_types=()).sort_by("id")
        predictions = scored["prediction"].to_numpy()
        np.testing.assert_allclose(
            predictions, predict(model, inputs, "classification"), rtol=_TOLERANCE, atol=_TOLERANCE
        )
        scores.append(predictions)
    np.testing.assert_allclose(*scores, rtol=_TOLERANCE, atol=_TOLERANCE)
    assert len(set(scores[0].tolist())) > 10, "a constant model would prove nothing"
