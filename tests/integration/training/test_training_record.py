"""What is on record of a training in which trials failed and a column had no value; what one that cannot fit says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mlflow
import pytest

from mlplatform.errors import StageError
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import TinyTrainer, write_tiny_use_case

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = "2020-08-01"


def test_failed_trials_and_empty_columns_are_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hyperopt import hp

    folder = write_tiny_use_case(tmp_path / "uc", training={"search": {"max_evals": 4}})
    for drop in (folder.data / "signups").glob("*.csv"):
        head, *lines = drop.read_text().splitlines()
        # Nobody counted seats: the price a seat cannot be computed either.
        drop.write_text("\n".join([head, *(line.rpartition(",")[0] + "," for line in lines)]) + "\n")
    monkeypatch.setattr(TinyTrainer, "search_space", lambda self: {"C": hp.choice("C", [1.0, -1.0])})
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run_tiny(ws, folder.folder, AS_OF, ["ingest", "refine", "features", "train"])
        runs = ws.tables.to_arrow("dev.ops.stage_runs", at_most=10**6, filters=[("stage", "=", "train")]).to_pylist()
        details: dict[str, Any] = json.loads(runs[-1]["details"])
        assert details["columns_without_values"] == {
            "fitted": ["seats", "price_a_seat"],
            "holdout": ["seats", "price_a_seat"],
        }
        assert details["params"] == {"C": 1.0}
        failed = details["failed_trials"]
        assert details["failed_trial_count"] == len(failed) > 0
        assert all(trial["params"] == {"C": -1.0} and "InvalidParameterError" in trial["cause"] for trial in failed)
        ws.registry.activate()
        nested = mlflow.search_runs(
            search_all_experiments=True, filter_string="status = 'FAILED'", output_format="list"
        )
        assert {run.data.tags["mlflow.runName"] for run in nested} == {f"trial {trial['number']}" for trial in failed}
        assert all("InvalidParameterError" in run.data.tags["failure"] for run in nested)

        monkeypatch.setattr(TinyTrainer, "search_space", lambda self: {"C": hp.choice("C", [-1.0, -2.0])})
        monkeypatch.setattr(TinyTrainer, "default_params", {"C": 2.0})
        with pytest.raises(StageError, match=r"None of 4 sets.*InvalidParameterError") as caught:
            run_tiny(ws, folder.folder, "2020-11-01", ["ingest", "refine", "features", "train"])
        assert caught.value.hint
        assert mlflow.active_run() is None
