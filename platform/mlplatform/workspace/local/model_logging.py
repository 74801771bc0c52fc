"""Logging a model with the feature spec of its training set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlplatform.workspace.shared.model_logging import ModelToLog, log_ourselves, refusals_in_our_words

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.models.model import ModelInfo

    from mlplatform.workspace.local.registry import LocalRegistry
    from mlplatform.workspace.local.training_set import LocalTrainingSet


def log_model(registry: LocalRegistry, scratch: Path, request: ModelToLog, training_set: LocalTrainingSet) -> ModelInfo:
    """Log and register a model; see `LocalFeatureClient.log_model`.

    Args:
        registry: The workspace's registry.
        scratch: A folder to package the model in.
        request: The model.
        training_set: What it was fitted on.
    """
    registry.activate()
    return log_ourselves(
        registry,
        request,
        training_set,
        scratch / "feature_store",
        refusals=refusals_in_our_words,
        # A registration is immediate here.
        await_registration_for=request.await_registration_for or 0,
    )
