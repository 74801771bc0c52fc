"""The search's trials one after another, in threads and in processes: time, memory, and that they find the same.

    python tests/benchmarks/search.py
    python tests/benchmarks/search.py --rows 200000 --estimators histgb

Memory is the most that this process and its children held beyond what it held before, pages that they share counted
once (proportional set size).
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Threads of OpenMP that wait busily for one another take minutes where somebody else works on the machine, too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
from hyperopt import hp

from mlplatform.config.settings import UseCaseSettings
from mlplatform.training.fit_arguments import fit_with_arguments
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.search import Told
from mlplatform.training.tuning import tune

COLUMNS = 20
TRIALS = 8


def rows_of(count: int, seed: int) -> FitRows:
    """Make rows up of which a few columns decide."""
    random = np.random.default_rng(seed)
    inputs = pd.DataFrame(random.normal(size=(count, COLUMNS)), columns=[f"x{number}" for number in range(COLUMNS)])
    odds = inputs["x0"] + inputs["x1"] * inputs["x2"] - 0.5 * (inputs["x3"] > 1)
    return FitRows(inputs, (random.random(count) < 1 / (1 + np.exp(-odds))).to_numpy().astype(np.float64))


def histgb(params: Mapping[str, Any]) -> Any:
    """Return scikit-learn's gradient boosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0, **params)


def lightgbm(params: Mapping[str, Any]) -> Any:
    """Return LightGBM."""
    from lightgbm import LGBMClassifier

    rate, leaves = params.get("learning_rate", 0.1), params.get("max_leaf_nodes", 31)
    return LGBMClassifier(n_estimators=100, learning_rate=rate, num_leaves=leaves, random_state=0, verbosity=-1)


def linear(params: Mapping[str, Any]) -> Any:
    """Return a linear model on squares and products: slow, and under Python's lock for the most part."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    strength = LogisticRegression(C=params.get("learning_rate", 0.1), max_iter=300)
    return make_pipeline(PolynomialFeatures(2), StandardScaler(), strength)


ESTIMATORS = {"histgb": histgb, "lightgbm": lightgbm, "linear": linear}


def trainer_of(make: Any) -> Any:
    """Return what a search needs of a trainer."""
    space = {
        "learning_rate": hp.loguniform("learning_rate", np.log(0.02), np.log(0.3)),
        "max_leaf_nodes": hp.quniform("max_leaf_nodes", 8, 63, 1),
    }
    return SimpleNamespace(estimator=make, fit=fit_with_arguments, default_params={}, search_space=lambda: space)


def proportional_bytes() -> int:
    """Return what this process and its descendants hold, each shared page counted once."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    ours = {int(Path("/proc/self").resolve().name)}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    total = 0
    for process in ours:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) * 1024
    return total


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Measure seconds and the most memory beyond what was held before."""
    found: dict[str, float] = {}
    most, ended, before = 0, threading.Event(), proportional_bytes()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.1):
            most = max(most, proportional_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    yield found
    found["seconds"] = time.perf_counter() - begun
    ended.set()
    watcher.join()
    found["megabytes"] = (max(most, before) - before) / 1e6


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--estimators", nargs="*", default=list(ESTIMATORS), choices=list(ESTIMATORS))
    parser.add_argument("--libraries", nargs="*", default=["hyperopt", "optuna"])
    options = parser.parse_args()
    rows = rows_of(options.rows, 0)
    cut = options.rows * 3 // 4
    fitted, validation = rows.part(slice(0, cut)), rows.part(slice(cut, None))
    data = FitRows(fitted.inputs, fitted.labels, validation=validation)
    print(f"{cut} rows of {COLUMNS} columns fitted, {options.rows - cut} scored, {TRIALS} trials")
    for name in options.estimators:
        for library in options.libraries:
            results = {}
            for how, search in {
                "in turn": {"parallelism": 1},
                "threads": {"workers": "threads"},
                "processes": {"workers": "processes"},
                "pruned": {"workers": "threads", "pruning": True},
            }.items():
                if how == "pruned" and library != "optuna":
                    continue
                settings = UseCaseSettings.model_validate(
                    {
                        "owner": "us",
                        "label": {"horizon": "1 day"},
                        "gate": {"floor": 0.5},
                        "training": {"search": {"max_evals": TRIALS, "library": library} | search},
                    }
                )
                with watched() as found:
                    result = tune(trainer_of(ESTIMATORS[name]), data, settings, Told(lambda *_: None))
                assert result is not None
                results[how] = (result.params, round(result.score, 6))
                print(
                    f"{name:9} {library:9} {how:10} {found['seconds']:6.1f} s {found['megabytes']:7.0f} MB   "
                    f"{result.score:.6f} pruned {result.pruned}"
                )
            same = {how: results[how] == results["in turn"] for how in ("threads", "processes")}
            print(f"{name:9} {library:9} the same as in turn: {same}")


if __name__ == "__main__":
    main()
