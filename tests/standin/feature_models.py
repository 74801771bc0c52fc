"""The one thing that the open-source MLflow refuses to do, and Databricks' own build of it does.

Used where a test is about what the client packages; the workspace of the tests does without.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def registrable_feature_models() -> Iterator[None]:
    """Let models of the feature engineering client be registered in Unity Catalog.

    The open-source MLflow raises "can only be registered on a Databricks cluster" where it would note which features a
    model depends on. That note is all that is left out here: the registry's side of it is not known.
    """
    with mock.patch("mlflow.store._unity_catalog.registry.rest_store.get_feature_dependencies", return_value=""):
        yield
