"""score_batch_arrow against bare `model.predict` on the same Arrow batches: throughput and peak memory.

    python tests/benchmarks/score_batch.py --rows 5000000

A gradient boosting of 250 trees over 20 columns that are all in the frame, so that nothing is looked up. Target: at
least 0.9 of the bare throughput. Both take turns, so that other work on the machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# Before scikit-learn loads OpenMP, as the workspace does: threads that spin while they wait would be measured, too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import mlflow.sklearn
import numpy as np
import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingRegressor

from mlplatform import FeatureLookup, open_workspace
from mlplatform.workspace.local.duck import BATCH_ROWS
from tests.benchmarks import table

COLUMNS = 20
TREES = 250
LEAST_THROUGHPUT = 0.9
TRUSTED = [
    "numpy.dtype",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--json", help="Write the figures there.")
    arguments = parser.parse_args()
    frame = _frame(arguments.rows, seed=0)
    base_mb = _peak_mb()
    with tempfile.TemporaryDirectory() as root, open_workspace(root=root) as ws:
        uri, model, order = _log(ws)

        def ours() -> np.ndarray[Any, Any]:
            result: np.ndarray[Any, Any] = (
                ws.fe.score_batch_arrow(model_uri=uri, df=frame).column("prediction").to_numpy()
            )
            return result

        def bare() -> np.ndarray[Any, Any]:
            batches = frame.select(order).to_batches(max_chunksize=BATCH_ROWS)
            return np.concatenate([model.predict(batch.to_pandas()) for batch in batches])

        seconds: dict[str, list[float]] = {"bare": [], "ours": []}
        cpu: dict[str, list[float]] = {"bare": [], "ours": []}
        results = {}
        for _ in range(arguments.repeat):
            for name, score in (("bare", bare), ("ours", ours)):
                busy = time.process_time()
                taken, results[name] = _timed(score)
                seconds[name].append(taken)
                cpu[name].append(time.process_time() - busy)
                print(
                    f"{name}: {taken:.1f} s, {arguments.rows / taken:,.0f} rows/s, CPU {cpu[name][-1]:.1f} s",
                    flush=True,
                )
    assert np.array_equal(results["bare"], results["ours"])
    ratio, work = (min(measure["bare"]) / min(measure["ours"]) for measure in (seconds, cpu))
    print(f"throughput of score_batch_arrow: {ratio:.2f} of bare predict ({work:.2f} by processor time)")
    print(f"peak RSS {_peak_mb():.0f} MB")
    rates = {name: arguments.rows / min(measured) / 1000 for name, measured in seconds.items()}
    line = table.Line(
        f"scoring {arguments.rows:,} rows",
        rates["ours"],
        "thousand rows/s",
        against="bare `predict`",
        other=rates["bare"],
        limit=LEAST_THROUGHPUT,
        at_least=True,
        peak_mb=_peak_mb(),
    )
    table.write(arguments.json, [line])
    print(f"(the frame and the imports alone: {base_mb:.0f} MB)")


def _timed(score: Callable[[], np.ndarray[Any, Any]]) -> tuple[float, np.ndarray[Any, Any]]:
    started = time.perf_counter()
    result = score()
    return time.perf_counter() - started, result


def _frame(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    columns = {f"f{number}": random.random(rows) for number in range(COLUMNS)}
    return pa.table({"id": random.integers(0, 1000, rows), **columns})


def _log(ws: Any) -> tuple[str, Any, list[str]]:
    training = _frame(20_000, seed=1)
    label = sum(training.column(f"f{number}").to_numpy() * number for number in range(COLUMNS))
    ws.fe.create_table(
        name="dev.bench.features", primary_keys="id", df=training.slice(0, 1).select(["id", "f0"]), description="unused"
    )
    spine = training.drop_columns(["f0"]).append_column("y", pa.array(label))
    lookup = FeatureLookup("dev.bench.features", "id")
    training_set = ws.fe.create_training_set(df=spine, feature_lookups=[lookup], label="y", exclude_columns=["id"])
    order = training_set.feature_spec.included
    fitted = HistGradientBoostingRegressor(max_iter=TREES, early_stopping=False)
    fitted.fit(training.select(order).to_pandas(), label)
    info = ws.fe.log_model(
        model=fitted,
        artifact_path="model",
        flavor=mlflow.sklearn,
        training_set=training_set,
        skops_trusted_types=TRUSTED,
    )
    return info.model_uri, fitted, order


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
