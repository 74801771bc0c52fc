"""scikit-learn models in the skops format: MLflow's own flavor, or this one where MLflow cannot store them so.

MLflow stores them since 3.9, and Databricks ships 3.8.1 (Runtime 18 LTS ML, serverless environment 5). A model that
this flavor stored is loaded by this package, so that it has to be installed where the model is scored. It imports
MLflow, though it lies outside the workspaces: MLflow calls it, and the name of this module stands in stored models.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FLAVOR_NAME = "skops"
_MODEL, _OPTIONS = "model.skops", "options.json"


def flavor(name: str = "sklearn") -> Any:
    """Return one of MLflow's flavors; for scikit-learn the one that stores models in the skops format.

    Args:
        name: `sklearn`, `lightgbm`, `xgboost` or `catboost`.
    """
    if name == "lightgbm":
        import mlflow.lightgbm

        return mlflow.lightgbm
    if name == "xgboost":
        import mlflow.xgboost

        return mlflow.xgboost
    if name == "catboost":
        import mlflow.catboost

        return mlflow.catboost
    import mlflow.sklearn

    if FLAVOR_NAME in mlflow.sklearn.SUPPORTED_SERIALIZATION_FORMATS:
        return mlflow.sklearn
    return sys.modules[__name__]


def save_model(
    sk_model: Any,
    path: str,
    *,
    skops_trusted_types: Sequence[str] = (),
    pyfunc_predict_fn: str = "predict",
    serialization_format: str = FLAVOR_NAME,
    **kwargs: Any,
) -> None:
    """Store a model, as `mlflow.sklearn.save_model` does.

    Args:
        sk_model: A fitted estimator or pipeline.
        path: The folder to write; it must not exist.
        skops_trusted_types: Types that loading it may make, beyond what skops vouches for.
        pyfunc_predict_fn: The method that predicts.
        serialization_format: There is one.
        **kwargs: For `mlflow.pyfunc.save_model`.
    """
    import mlflow.pyfunc
    import skops.io

    assert serialization_format == FLAVOR_NAME
    with TemporaryDirectory() as part:
        skops.io.dump(sk_model, Path(part) / _MODEL)
        options = {"trusted": list(skops_trusted_types), "predict": pyfunc_predict_fn}
        (Path(part) / _OPTIONS).write_text(json.dumps(options), encoding="utf-8")
        mlflow.pyfunc.save_model(path, loader_module=__name__, data_path=part, **kwargs)


class SkopsModel:
    """A loaded model; what MLflow asks to predict."""

    def __init__(self, folder: Path) -> None:
        """Load it; types that were not trusted when it was stored are refused by skops."""
        import skops.io

        options = json.loads((folder / _OPTIONS).read_text(encoding="utf-8"))
        self._predict = getattr(skops.io.load(folder / _MODEL, trusted=options["trusted"]), options["predict"])

    def predict(self, frame: Any, params: Any = None) -> Any:
        """Return what the model's method gives for a pandas frame."""
        return self._predict(frame, **(params or {}))


def _load_pyfunc(path: str) -> SkopsModel:
    """Return the model; MLflow looks for this name."""
    return SkopsModel(Path(path))
