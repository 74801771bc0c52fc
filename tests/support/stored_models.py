"""Models as they lie in a registry, written by hand: as MLflow would, or as somebody hostile would."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import skops.io
import yaml

RAW = Path("data") / "feature_store" / "raw_model"
Spoil = Callable[[Path, Path], object]
"""Changes a model's folder so that a canary, a file by whose presence one sees that code ran, would appear."""


def description(loader: str, flavor: str = "", settings: Mapping[str, Any] | None = None, **function: Any) -> Any:
    """Return what an MLmodel says of a model."""
    flavors: dict[str, Any] = {"python_function": {"loader_module": loader, "python_version": "3.11.7", **function}}
    if flavor:
        flavors[flavor] = dict(settings or {})
    return {"flavors": flavors, "mlflow_version": "3.17.2", "model_uuid": "m-1"}


def of_sklearn() -> Any:
    """Return what MLflow says of a scikit-learn model in the skops format."""
    return description(
        "mlflow.sklearn",
        "sklearn",
        {
            "code": None,
            "pickled_model": "model.skops",
            "serialization_format": "skops",
            "sklearn_version": "1.7.2",
            "skops_trusted_types": ["numpy.dtype"],
        },
        env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        model_path="model.skops",
        predict_fn="predict",
    )


def write(folder: Path, said: Any) -> Path:
    """Write an MLmodel into a folder, which is created; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text(yaml.safe_dump(said), encoding="utf-8")
    return folder


def store(folder: Path, model: Any) -> Path:
    """Write a model as MLflow lays it out: the file, and what is said of it beside it."""
    write(folder, of_sklearn())
    skops.io.dump(model, folder / "model.skops")
    (folder / "requirements.txt").write_text("scikit-learn==1.7.2\n", encoding="utf-8")
    (folder / "conda.yaml").write_text("channels:\n- conda-forge\nname: mlflow-env\n", encoding="utf-8")
    return folder


def package(folder: Path, model: Any) -> Path:
    """Write a model with its features, as `ws.fe.log_model` packages it; return the folder."""
    write(folder, description("mlplatform.features.packaged", data="data/feature_store", code=None, streamable=False))
    store(folder / RAW, model)
    spec = "input_columns:\n- x:\n    data_type: double\n    source: training_data\n    topological_ordering: 0\n"
    (folder / RAW.parent / "feature_spec.yaml").write_text(spec, encoding="utf-8")
    (folder / RAW.parent / "lineage.json").write_text("{}", encoding="utf-8")
    return folder


def bomb(canary: Path, protocol: int | None = None) -> bytes:
    """Return a pickle that makes a folder where it is loaded."""

    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(canary),)

    return pickle.dumps(Bomb(), protocol)


def said(change: Callable[[dict[str, Any]], object], of: Path = RAW / "MLmodel") -> Spoil:
    """Change what an MLmodel says."""

    def spoil(folder: Path, canary: Path) -> None:
        del canary
        content = yaml.safe_load((folder / of).read_text(encoding="utf-8"))
        change(content)
        (folder / of).write_text(yaml.safe_dump(content), encoding="utf-8")

    return spoil


def setting(name: str, value: Any, flavor: str = "python_function", of: Path = RAW / "MLmodel") -> Spoil:
    """Set a setting of a flavor."""
    return said(lambda content: content["flavors"][flavor].update({name: value}), of)
