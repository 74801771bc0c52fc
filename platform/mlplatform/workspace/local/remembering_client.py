"""MLflow's client of a database on this machine, which remembers an answer until somebody writes to the database.

A step of a pipeline asks a dozen times which version has which alias, and MLflow takes milliseconds for each answer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.store.entities.paged_list import PagedList

from mlplatform.workspace.local import registry_database

T = TypeVar("T")


class RememberingClient(MlflowClient):
    """Remembers what the registry answers about models and their versions; whoever reads it changes nothing of it."""

    def __init__(self, database: Path, uri: str) -> None:
        """Take MLflow's database, and the URI by which MLflow knows it."""
        super().__init__(tracking_uri=uri, registry_uri=uri)
        self._database = database
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._answered_at: registry_database.State | None = None

    def get_registered_model(self, name: str) -> RegisteredModel:
        """Return a registered model."""
        ask = super().get_registered_model
        return self._answer(("model", name), lambda: ask(name))

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        """Return a version."""
        ask = super().get_model_version
        return self._answer(("version", name, version), lambda: ask(name, version))

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = 10_000,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        """Return a page of versions."""
        ask = super().search_model_versions
        asked = (filter_string, max_results, tuple(order_by or ()), page_token)
        return self._answer(("versions", *asked), lambda: ask(filter_string, max_results, order_by, page_token))

    def _answer(self, question: tuple[Any, ...], ask: Callable[[], T]) -> T:
        state = registry_database.state(self._database)
        if state is None or state != self._answered_at:
            self._answers, self._answered_at = {}, state
        if question not in self._answers:
            answer = ask()
            # Not where somebody wrote meanwhile: it may be of before or after that.
            if state is None or registry_database.state(self._database) != state:
                return answer
            self._answers[question] = answer
        found: T = self._answers[question]
        return found
