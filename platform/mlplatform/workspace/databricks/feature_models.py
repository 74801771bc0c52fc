"""Models of the feature engineering client in Unity Catalog: whether the MLflow that is installed registers them.

The client packages a model as a pyfunc whose loader is its own. MLflow's store for Unity Catalog asks of such a model
which features it depends on, and only Databricks' own build of MLflow knows: the one from PyPI raises, whatever the
environment. What is installed is therefore tried, in seconds, with files that hold no model.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mlplatform.protocols.feature_spec import FeatureSpec, SourceColumn
from mlplatform.workspace.shared.model_store import SPEC_FOLDER

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOADER = "databricks.feature_store.mlflow_model"
_REFUSAL = "can only be registered on a Databricks cluster"


def is_refusal(text: str) -> bool:
    """Tell whether an error's text is MLflow's refusal of a model that the feature client packaged."""
    return _REFUSAL in text


def refusal(client: MlflowClient, catalog: str) -> str:
    """Try to register such a model under a name that no model has; return why MLflow refuses, empty if it does not.

    MLflow refuses before it sends anything. Where it does not, the service answers that there is no such model, or that
    the caller may not: nothing is created in either case.

    Args:
        client: MLflow's client of the registry.
        catalog: The catalog to name.
    """
    with TemporaryDirectory() as part, _silent():
        _write(Path(part))
        try:
            client.create_model_version(f"{catalog}.mlplatform_probe.none_{uuid.uuid4().hex}", source=part)
        except Exception as error:  # noqa: BLE001  (any other answer means that MLflow let it pass)
            if is_refusal(str(error)):
                return f"MLflow {version('mlflow-skinny')} does not register models that the feature client packaged"
    return ""


def _write(folder: Path) -> None:
    """Write what the client's packaging looks like from outside."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    signature = ModelSignature(inputs=Schema([ColSpec("double", "x")]), outputs=Schema([ColSpec("double", "y")]))
    model = Model(signature=signature)
    model.add_flavor("python_function", loader_module=LOADER, data=SPEC_FOLDER.as_posix(), env={})
    model.save(str(folder / "MLmodel"))
    FeatureSpec((SourceColumn("x", data_type="double", topological_ordering=0),)).save(folder / SPEC_FOLDER)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep MLflow from warning that these files come from no run."""
    logger = logging.getLogger("mlflow.store._unity_catalog.registry.rest_store")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
