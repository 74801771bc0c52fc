"""A calibrated model through the cycle: searched for side by side, stored without code, verified, gated, scored."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest

from mlplatform.features import artifacts
from mlplatform.task import TASKS
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_gate import MODEL
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import write_tiny_use_case

AS_OF = "2020-08-01"


@pytest.mark.parametrize(
    ("method", "search", "trials"),
    [
        ("sigmoid", {"max_evals": 4, "library": "optuna", "workers": "processes"}, 4),
        ("isotonic", {"max_evals": 2, "workers": "threads"}, 2),
    ],
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
