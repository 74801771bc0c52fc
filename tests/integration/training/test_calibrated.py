"""A calibrated model through the cycle: searched for side by side, stored without code, verified, gated, scored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import numpy as np
import pytest
import yaml

from mlplatform import coded
from mlplatform.as_of import parse_as_of
from mlplatform.features import artifacts
from mlplatform.pipeline import Pipeline
from mlplatform.task import TASKS
from mlplatform.training import challenger
from mlplatform.training.candidate import Candidate, TrainingData, train
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import every
from tests.support.tiny_gate import MODEL
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import NAME, Tiny, TinyTrainer, write_tiny_use_case

AS_OF = "2020-08-01"


# Sigmoid by day: the booster's, below; a search by processes: unit/training/test_trials.py.
@pytest.mark.parametrize(
    ("method", "search", "trials"),
    every(
        2,
        [
            ("isotonic", {"max_evals": 2, "workers": "threads"}, 2),
            ("sigmoid", {"max_evals": 4, "library": "optuna", "workers": "processes"}, 4),
        ],
    ),
)
def test_a_calibrated_model_goes_through_the_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, search: dict[str, object], trials: int
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    folder = write_tiny_use_case(tmp_path / "uc", training={"calibrate": method, "search": search})
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run_tiny(ws, folder.folder, AS_OF)
        runs = ws.tables.to_arrow("dev.ops.stage_runs", at_most=10**6).to_pylist()
        assert {run["status"] for run in runs} <= {"done", "skipped"}
        details = json.loads(next(run["details"] for run in runs if run["stage"] == "train"))
        version = ws.registry.get(MODEL, details["version"])
        assert version.version in ws.registry.aliases(MODEL).values()

        # Both states of the holdout are on record, and the trials beside them.
        recorded = ws.registry.run(version).metrics
        assert {f"holdout_uncalibrated_{name}" for name in TASKS["classification"].metrics} <= set(recorded)
        ws.registry.activate()
        nested = mlflow.search_runs(
            search_all_experiments=True,
            filter_string=f"tags.`mlflow.parentRunId` = '{version.run_id}'",
            output_format="list",
        )
        assert len(nested) == trials

        # No type but scikit-learn's own and NumPy's: nothing has to be trusted by name.
        model = ws.registry.download(version, tmp_path / "model")
        artifacts.verify(model, version.tags[artifacts.DIGEST_TAG])

        predictions = ws.tables.to_arrow("dev.tiny.gold_predictions", at_most=10**6)
        scores = predictions.column("prediction").to_numpy()
        assert scores.size > 100
        assert ((scores >= 0) & (scores <= 1)).all()


class Boosted(TinyTrainer):
    """A booster that stops early, on codes of the text."""

    default_params: ClassVar[Mapping[str, Any]] = {}
    categorical_columns = ("region",)

    def search_space(self) -> dict[str, Any]:
        """Nothing is searched."""
        return {}


class WithLightGBM(Boosted):
    """LightGBM."""

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Return the pipeline."""
        from lightgbm import LGBMClassifier

        return coded(LGBMClassifier(n_estimators=200, early_stopping_rounds=10, random_state=1), ["region"])


class WithXGBoost(Boosted):
    """XGBoost."""

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Return the pipeline."""
        from xgboost import XGBClassifier

        return coded(XGBClassifier(n_estimators=200, early_stopping_rounds=10, random_state=1), ["region"])


class WithCatBoost(Boosted):
    """CatBoost, which takes the text as it is."""

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Return the estimator."""
        from catboost import CatBoostClassifier

        return CatBoostClassifier(iterations=200, early_stopping_rounds=10, random_seed=1)


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        pytest.param(WithLightGBM, "lightgbm", id="lightgbm"),
        pytest.param(WithXGBoost, "xgboost-cpu", id="xgboost", marks=pytest.mark.slow),
        pytest.param(WithCatBoost, "catboost", id="catboost", marks=pytest.mark.slow),
    ],
)
def test_calibrated_boosters_are_scored_as_they_were_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Boosted], package: str
) -> None:
    judged: list[tuple[TrainingData, Candidate]] = []

    def noted(trainer: Any, data: TrainingData, *given: Any, **more: Any) -> Candidate:
        judged.append((data, train(trainer, data, *given, **more)))
        return judged[-1][1]

    monkeypatch.setattr(challenger, "train", noted)
    folder = write_tiny_use_case(tmp_path / "uc", months=9, training={"calibrate": "sigmoid"})
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        use_case = type("Tiny", (Tiny,), {"trainer": kind, "__module__": Tiny.__module__}).open(NAME, folder.folder, ws)
        Pipeline(ws, use_case, parse_as_of(AS_OF)).run()
        ((data, candidate),) = judged
        assert candidate.rounds is not None
        version = ws.registry.get(use_case.model, 1)
        assert ws.registry.aliases(use_case.model)["champion"] == 1
        spine = ws.tables.to_arrow(use_case.namespace.gold("spine"), at_most=10**6)
        scored = ws.fe.score_batch_arrow(model_uri=version.uri, df=spine, trusted_types=()).sort_by(
            use_case.label_spine().order
        )
        holdout = scored["prediction"].to_numpy()[: data.labels.size][candidate.split.holdout]
        np.testing.assert_allclose(holdout, candidate.holdout_predictions, rtol=1e-9, atol=1e-9)
        raw = ws.registry.download(version, tmp_path / "model") / "data" / "feature_store" / "raw_model"
        assert set(yaml.safe_load((raw / "MLmodel").read_text())["flavors"]) == {"sklearn", "python_function"}
        needed = (raw / "requirements.txt").read_text().splitlines()
        assert f"{package}=={metadata.version(package)}" in needed
