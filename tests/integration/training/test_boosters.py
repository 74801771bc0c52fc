"""A booster through the whole cycle: trained, gated, scored with reasons, monitored, trained again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import numpy as np
import pytest
import yaml

from mlplatform import BatchScorer, coded
from mlplatform.as_of import parse_as_of
from mlplatform.errors import ConfigError
from mlplatform.features.model_frame import model_frame
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.pipeline import Pipeline
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.fitting import fit, predict
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_use_case import NAME, Tiny, TinyFolder, TinyTrainer, write_tiny_use_case

AS_OF, LATER = "2020-08-01", "2020-09-01"
NUMBERS = ("price", "seats", "price_a_seat", "region_cancellations")


class WithoutSearch(TinyTrainer):
    """The tiny use case's columns, for another estimator."""

    default_params: ClassVar[Mapping[str, Any]] = {}

    def search_space(self) -> dict[str, Any]:
        """Nothing is searched."""
        return {}


class Alone(WithoutSearch):
    """LightGBM on numbers alone, which stops early; seats count as weights, and are no input."""

    exclude_columns = ("region",)
    weight_column = "seats"
    group_column = "account"

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Return the booster."""
        from lightgbm import LGBMClassifier

        return LGBMClassifier(
            n_estimators=300, min_child_samples=10, early_stopping_rounds=10, random_state=1, deterministic=True
        )

    def fit(self, estimator: Any, rows: FitRows) -> Any:
        """Take note of what it is given, and leave the groups, which LightGBM's classifier does not take."""
        GIVEN.append(rows)
        return super().fit(estimator, FitRows(rows.inputs, rows.labels, rows.weights, None, rows.categorical,
                                              rows.validation, rows.rounds))  # fmt: skip


class Coded(WithoutSearch):
    """XGBoost with a category."""

    categorical_columns = ("region",)

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Return the pipeline."""
        from xgboost import XGBClassifier

        return coded(XGBClassifier(n_estimators=30, max_depth=3, random_state=1), ["region"], NUMBERS)


class WithText(WithoutSearch):
    """CatBoost, which codes the category itself."""

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Return the pipeline."""
        from catboost import CatBoostClassifier

        return coded(CatBoostClassifier(iterations=30, depth=3, random_seed=1), ["region"], NUMBERS)


class Reasoned(BatchScorer):
    """Two reasons for each prediction."""

    reason_codes = 2


GIVEN: list[FitRows] = []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("uc"), months=9)


# XGBoost by day: what is fitted and stored of it, in unit/training; of a coded booster in the cycle, CatBoost.
@pytest.fixture(
    scope="module",
    params=[Alone, pytest.param(Coded, marks=pytest.mark.slow), WithText],
    ids=["lightgbm", "xgboost, coded", "catboost, coded"],
)
def cycled(
    request: pytest.FixtureRequest, written: TinyFolder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LocalWorkspace, Any]]:
    """A workspace with a champion of that kind; of the first kind it was trained again, and judged by itself."""
    GIVEN.clear()
    use_case = type("Tiny", (Tiny,), {"trainer": request.param, "scorer": Reasoned, "__module__": Tiny.__module__})
    with LocalWorkspace.open(root=tmp_path_factory.mktemp("home")) as ws:
        opened = use_case.open(NAME, written.folder, ws)
        Pipeline(ws, opened, parse_as_of(AS_OF)).run()
        if request.param is Alone:
            Pipeline(ws, opened, parse_as_of(LATER)).run()
        yield ws, opened


def details(ws: LocalWorkspace, stage: str) -> dict[str, Any]:
    rows = ws.tables.to_arrow("dev.ops.stage_runs", at_most=10**6, filters=[("stage", "=", stage)]).to_pylist()
    first: dict[str, Any] = json.loads(min(rows, key=lambda row: row["started_at"])["details"])
    return first


def test_it_becomes_champion_and_is_loaded_from_what_carries_no_code(cycled: Any, tmp_path: Path) -> None:
    ws, use_case = cycled
    again = use_case.trainer is Alone
    assert ws.registry.aliases(use_case.model) == ({CHAMPION: 1, CHALLENGER: 2} if again else {CHAMPION: 1})
    decisions = ws.tables.to_arrow("dev.ops.gate_decisions", at_most=100).to_pylist()
    judged = {(row["challenger_version"], row["champion_version"]) for row in decisions}
    assert judged == ({(1, None), (2, 1)} if again else {(1, None)})
    folder = ws.registry.download(ws.registry.get(use_case.model, 1), tmp_path)
    raw = folder / "data" / "feature_store" / "raw_model"
    flavors = set(yaml.safe_load((raw / "MLmodel").read_text())["flavors"]) - {"python_function"}
    assert flavors == ({"lightgbm"} if issubclass(use_case.trainer, Alone) else {"sklearn"})
    package = {Alone: "lightgbm", Coded: "xgboost-cpu", WithText: "catboost"}[use_case.trainer]
    for place in (raw, folder):
        assert f"{package}=={version(package)}" in (place / "requirements.txt").read_text().splitlines()


def test_predictions_are_the_probabilities_that_training_saw(cycled: Any) -> None:
    ws, use_case = cycled
    rows = ws.tables.to_arrow(use_case.namespace.gold("predictions"), at_most=10**6)
    scores = rows["prediction"].to_numpy()
    assert scores.size > 200
    assert ((scores > 0) & (scores < 1)).all()
    spine = ws.tables.to_arrow(use_case.namespace.gold("spine"), at_most=10**6)
    spine = spine.join(rows.select(["account"]), keys="account", join_type="left semi")
    uri = f"models:/{use_case.model}@{CHAMPION}"
    again = ws.fe.score_batch_arrow(model_uri=uri, df=spine, trusted_types=()).sort_by("account")
    np.testing.assert_allclose(
        again["prediction"].to_numpy(), rows.sort_by("account")["prediction"].to_numpy(), rtol=1e-9, atol=1e-9
    )
    # The estimator itself, fitted once more on the same rows, without any file between.
    if use_case.trainer is Alone:
        last = GIVEN[1]
        fitted = fit(use_case.model_trainer(), {}, last)
        direct = predict(fitted, model_frame(again.select(list(last.inputs.columns))), "classification")
        np.testing.assert_allclose(again["prediction"].to_numpy(), direct, rtol=1e-9, atol=1e-9)


def test_reasons_and_drift_are_of_its_inputs(cycled: Any) -> None:
    ws, use_case = cycled
    rows = ws.tables.to_arrow(use_case.namespace.gold("predictions"), at_most=10**6).to_pylist()
    named = {reason["feature"] for row in rows for reason in row["reason_codes"]}
    assert "price" in named
    assert named <= {*NUMBERS, "region"}
    assert ("seats" in named) <= (use_case.trainer is not Alone)
    drift = ws.tables.to_arrow("dev.ops.drift_metrics", at_most=10**6).to_pylist()
    assert {"price", "region_cancellations"} <= {row["column"] for row in drift}


def test_weights_groups_and_validation_rows_reach_the_fit(cycled: Any) -> None:
    ws, use_case = cycled
    if use_case.trainer is not Alone:
        assert details(ws, "train")["rounds"] is None
        return
    counting, last = GIVEN[:2]
    assert "seats" not in last.inputs.columns
    assert last.weights is not None
    assert set(last.weights) == set(map(float, range(1, 21)))
    assert last.groups is not None
    assert len(set(last.groups)) == len(last)
    assert counting.validation is not None
    # What is stopped by is newer, and fitted on in the end; the holdout never is.
    assert len(counting) + len(counting.validation) == len(last)
    assert (counting.rounds, last.validation) == (None, None)
    told = details(ws, "train")
    assert last.rounds == told["rounds"] is not None
    ws.registry.activate()
    run = mlflow.MlflowClient().get_run(told["run_id"])
    assert run.data.params["rounds_until_it_stopped_early"] == str(last.rounds)


def test_wrong_weights_are_said(written: TinyFolder, cycled: Any) -> None:
    ws, _ = cycled
    for column, says in {"region": "which is string", "sets": "no such column", "cancelled": "no such column"}.items():
        trainer = type("Wrong", (Alone,), {"weight_column": column, "exclude_columns": ()})
        use_case = type("Tiny", (Tiny,), {"trainer": trainer}).open(NAME, written.folder, ws)
        with pytest.raises(ConfigError, match=says) as caught:
            Pipeline(ws, use_case, parse_as_of(LATER)).run(["train"])
        assert caught.value.hint
