"""What MLflow loads for a model that carries a feature spec: it cannot predict by itself, and says who can."""

from __future__ import annotations

from typing import Any, NoReturn

from mlplatform.errors import FeatureStoreError


class PackagedModel:
    """Stands for a model whose features must be looked up first."""

    def __init__(self, path: str) -> None:
        """Remember where the model lies."""
        self.path = path

    def predict(self, frame: Any, params: Any = None) -> NoReturn:  # noqa: ARG002  (MLflow's signature)
        """Refuse.

        Raises:
            FeatureStoreError: Always: the frame lacks the features.
        """
        raise FeatureStoreError(
            "This model looks its features up, which MLflow cannot do for it.",
            hint="Score with ws.fe.score_batch(model_uri=..., df=...).",
        )


def _load_pyfunc(path: str) -> PackagedModel:
    """Return the stand-in; MLflow looks for this name."""
    return PackagedModel(path)
