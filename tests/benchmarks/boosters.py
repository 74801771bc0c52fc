"""LightGBM against scikit-learn's gradient boosting, through the cycle of the references: time, metric, model size.

    python tests/benchmarks/boosters.py
    python tests/benchmarks/boosters.py --use-cases churn

Each model is trained, gated and scored where the use case's simulation starts, in a copy of one home, without a search.
Then the labels that became known until its end are predicted by it: what it would have been worth.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import mlflow.pyfunc  # noqa: F401  (once, before anything is timed)
import numpy as np

from mlplatform import Pipeline, UseCase, coded, discovery, parse_as_of
from mlplatform.as_of import shown
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.statistics import metrics
from mlplatform.training.candidate import training_data
from mlplatform.training.fitting import fit
from mlplatform.training.label_frame import known_labels, training_start
from mlplatform.workspace.local.workspace import LocalWorkspace

ROOT = Path(__file__).resolve().parents[2]
SEED = 7


def lightgbm_for(use_case: type[UseCase]) -> Any:
    """Return the use case's trainer with LightGBM in the place of its estimator, of like parameters."""
    module = sys.modules[use_case.trainer.__module__]
    ours = use_case.trainer
    if hasattr(module, "LightGBMTrainer"):
        return module.LightGBMTrainer
    estimate = credit_risk if "credit_risk" in module.__name__ else delivery_delay
    attributes = {"default_params": {}, "estimator": lambda self, params: estimate(module, params)}
    return type(f"LightGBM{ours.__name__}", (ours,), {"__module__": __name__} | attributes)


def credit_risk(module: Any, params: Mapping[str, Any]) -> Any:
    """Shallow trees on application facts."""
    from lightgbm import LGBMClassifier

    boosting = LGBMClassifier(
        n_estimators=100, learning_rate=0.05, max_depth=3, num_leaves=8, min_child_samples=50, reg_lambda=10.0,
        colsample_bytree=0.5, random_state=SEED, deterministic=True, force_row_wise=True, **params,
    )  # fmt: skip
    return coded(boosting, module.CATEGORIES, module.NUMBERS, min_frequency=10)


def delivery_delay(module: Any, params: Mapping[str, Any]) -> Any:
    """Trees on the delay's normal score."""
    from lightgbm import LGBMRegressor
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import QuantileTransformer

    del module
    boosting = LGBMRegressor(
        n_estimators=120, learning_rate=0.08, min_child_samples=60, random_state=SEED, deterministic=True,
        force_row_wise=True, **params,
    )  # fmt: skip
    score = QuantileTransformer(output_distribution="normal", subsample=None)
    return TransformedTargetRegressor(coded(boosting, ["carrier", "origin"]), transformer=score)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--use-cases", nargs="+", default=["churn", "credit_risk", "delivery_delay"])
    for name in parser.parse_args().use_cases:
        measure(name)


def measure(name: str) -> None:
    """Prepare one home, and train in copies of it."""
    found = discovery.get(name, ROOT / "use_cases")
    base: type[UseCase] = discovery.load(found)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared"
        with LocalWorkspace.open(root=prepared) as ws:
            settings = base.open(name, found.folder, ws).settings
            assert settings.simulation is not None
            start, end = parse_as_of(settings.simulation.start), parse_as_of(settings.simulation.end)
            Pipeline(ws, base.open(name, found.folder, ws), start).run(["ingest", "refine", "features"])
        print(f"{name}, trained as of {shown(start)}, labels known by {shown(end)}", flush=True)
        for label, trainer in (("scikit-learn", base.trainer), ("LightGBM", lightgbm_for(base))):
            plain = {"search_space": lambda self: {}, "__module__": trainer.__module__}
            declared = {"trainer": type(trainer.__name__, (trainer,), plain), "__module__": base.__module__}
            chosen = type(base.__name__, (base,), declared)
            home = Path(folder) / label
            shutil.copytree(prepared, home)
            with LocalWorkspace.open(root=home) as ws:
                print(f"  {label:13}{of_one(ws, chosen.open(name, found.folder, ws), start, end)}", flush=True)


def fitting(ws: LocalWorkspace, use_case: UseCase, start: Any) -> float:
    """Return how many seconds a fit on the older four fifths takes: the least of three."""
    trainer, spine, settings = use_case.model_trainer(), use_case.label_spine(), use_case.settings
    use_case.register_functions(ws)
    after = training_start(settings.training, start)
    frame = known_labels(ws, use_case.namespace, spine, start, after=after)
    data = training_data(ws, trainer, spine, frame, settings)
    taken = []
    older = data.labels.size * 4 // 5
    rows = data.fit_rows(slice(0, older), slice(older, data.labels.size))
    for _ in range(3):
        began = time.perf_counter()
        fit(trainer, trainer.default_params, rows)
        taken.append(time.perf_counter() - began)
    return min(taken)


def of_one(ws: LocalWorkspace, use_case: UseCase, start: Any, end: Any) -> str:
    """Train, gate and score at the start; return what it took, and how good it is later."""
    fitted = fitting(ws, use_case, start)
    taken, results = {}, {}
    for stage in ("train", "gate", "score"):
        began = time.perf_counter()
        results[stage] = Pipeline(ws, use_case, start).run([stage])
        taken[stage] = time.perf_counter() - began
    trained = results["train"].details("train")
    aliases = ws.registry.aliases(use_case.model)
    version = ws.registry.get(use_case.model, aliases.get(CHAMPION) or aliases[CHALLENGER])
    with tempfile.TemporaryDirectory() as part:
        raw = ws.registry.download(version, Path(part)) / "data" / "feature_store" / "raw_model"
        size = sum(path.stat().st_size for path in raw.iterdir() if path.name.startswith("model."))
    Pipeline(ws, use_case, end).run(["ingest", "refine", "features"])
    spine, metric = use_case.label_spine(), metrics.get(use_case.settings.training.metric)
    frame = known_labels(ws, use_case.namespace, spine, end, after=start).rows
    began = time.perf_counter()
    scored = ws.fe.score_batch_arrow(model_uri=version.uri, df=frame, trusted_types=())
    scoring = time.perf_counter() - began
    later = metric.compute(scored[spine.label].to_numpy().astype(np.float64), scored["prediction"].to_numpy())
    rounds = f", {trained['rounds']} rounds" if trained.get("rounds") else ""
    return (
        f"fit {fitted:.2f} s, train {taken['train']:.1f} s, gate {taken['gate']:.1f} s, score {taken['score']:.1f} s; "
        f"holdout {metric.name} {trained['metrics'][metric.name]:.4f}, later {later:.4f} "
        f"({frame.num_rows:,} rows in {scoring:.1f} s); "
        f"{results['gate'].details('gate')['outcome']}; {size / 1024:.0f} kB{rounds}"
    )


if __name__ == "__main__":
    main()
