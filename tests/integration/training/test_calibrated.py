"""A calibrated model through the cycle: searched for in processes, stored without code, verified, gated, scored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import mlflow
import pytest

from mlplatform.training import trials
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import write_tiny_use_case

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = "2020-08-01"


@pytest.mark.parametrize(
    ("method", "search"),
    [
        ("sigmoid", {"max_evals": 5, "library": "optuna", "workers": "processes", "pruning": True}),
        ("isotonic", {"max_evals": 3, "workers": "threads"}),
    ],
)
def test_a_calibrated_model_goes_through_the_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, search: dict[str, object]
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    folder = write_tiny_use_case(tmp_path / "uc", training={"calibrate": method, "search": search})
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run_tiny(ws, folder.folder, AS_OF)
        runs = ws.tables.to_arrow("dev.ops.stage_runs", at_most=10**6).to_pylist()
        assert {run["status"] for run in runs} <= {"done", "skipped"}
        details = json.loads(next(run["details"] for run in runs if run["stage"] == "train"))
        assert details["metrics"]["expected_calibration_error"] < 0.5
        ws.registry.activate()
        (run,) = mlflow.search_runs(
            search_all_experiments=True, filter_string="tags.`mlflow.parentRunId` = ''", output_format="list"
        ) or [None]
        predictions = ws.tables.to_arrow("dev.tiny.gold_predictions", at_most=10**6)
        assert predictions.num_rows > 0
        del run, trials
