"""A training while it is being recorded, as an MLflow run with one nested run for each trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class MlflowRun:
    """The active MLflow run of a training; see `mlplatform.protocols.registry.TrainingRun`."""

    def __init__(self, run_id: str, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Take the run's id, its experiment, and the tags that its trials get too."""
        self._run_id = run_id
        self._experiment_id = experiment_id
        self._tags = dict(tags)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log the hyperparameters that were chosen."""
        import mlflow

        mlflow.log_params(dict(params))

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics; what is not a number is left out."""
        import mlflow

        mlflow.log_metrics({name: value for name, value in metrics.items() if value == value})  # noqa: PLR0124

    def log_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep a JSON file with the run."""
        import mlflow

        mlflow.log_dict(dict(content), name)

    def log_trial(self, number: int, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Record a trial as a nested run."""
        import mlflow

        with self._trial(number, {}):
            mlflow.log_params(dict(params))
            mlflow.log_metrics(dict(metrics))

    def log_failed_trial(self, number: int, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Record a trial that failed as a nested run with this status."""
        import mlflow

        with self._trial(number, tags, status="FAILED"):
            mlflow.log_params(dict(params))

    @contextmanager
    def _trial(self, number: int, tags: Mapping[str, str], status: str = "FINISHED") -> Iterator[None]:
        import mlflow

        mlflow.start_run(
            experiment_id=self._experiment_id, run_name=f"trial {number}", nested=True, tags=self._tags | dict(tags)
        )
        try:
            yield
        except BaseException:
            status = "FAILED"
            raise
        finally:
            mlflow.end_run(status)
