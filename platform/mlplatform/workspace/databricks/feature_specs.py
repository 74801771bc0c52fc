"""Feature specs in Unity Catalog: functions whose definition is the spec, made by the feature engineering client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml

from mlplatform.errors import FeatureStoreError
from mlplatform.features.named_spec import NamedSpec
from mlplatform.naming import ObjectName
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.workspace.databricks.feature_engineering import asked, real_features
from mlplatform.workspace.shared.feature_specs import SpecDeclaration

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

_REQUIREMENTS = "environment.dependencies"


class UnityFeatureSpecs:
    """The feature specs of a Databricks workspace; see `mlplatform.workspace.shared.feature_specs.FeatureSpecs`."""

    def __init__(self, client: WorkspaceClient, real_client: Callable[[], Any]) -> None:
        """Take the SDK's client, which reads, and what gives the real feature client, which writes."""
        self._client = client
        self._real_client = real_client

    def get(self, name: ObjectName) -> NamedSpec:
        """Return a feature spec.

        Raises:
            FeatureStoreError: If it does not exist, or cannot be read.
        """
        spec = self.find(name)
        if spec is None:
            raise FeatureStoreError(
                f"There is no feature spec {name}.", hint="Create it with ws.fe.create_feature_spec."
            )
        return spec

    def find(self, name: ObjectName) -> NamedSpec | None:
        """Return a feature spec, or None if no function has that name.

        Raises:
            FeatureStoreError: If a function of that name is not a feature spec, or cannot be read.
        """
        from databricks.sdk.errors import NotFound

        with asked(f"Reading the feature spec {name}"):
            try:
                function = self._client.functions.get(str(name))
            except NotFound:
                return None
            try:
                content = yaml.safe_load(function.routine_definition or "")
            except yaml.YAMLError:
                content = None
            spec = FeatureSpec.from_dict(content, of=f"The function {name}")
            return NamedSpec(spec, _requirements(function.properties))

    def create(self, declaration: SpecDeclaration) -> None:
        """Make a feature spec through the real client.

        Raises:
            FeatureStoreError: If the client refuses.
        """
        features = real_features(declaration.features, declaration.tables)
        with asked(f"Creating the feature spec {declaration.name}"):
            self._real_client().create_feature_spec(
                name=str(declaration.name),
                features=features,
                exclude_columns=list(declaration.exclude_columns) or None,
                extra_pip_requirements=list(declaration.spec.extra_pip_requirements) or None,
            )

    def delete(self, name: ObjectName) -> None:
        """Remove a feature spec through the real client.

        Raises:
            FeatureStoreError: If it does not exist, or the client refuses.
        """
        self.get(name)
        with asked(f"Deleting the feature spec {name}"):
            self._real_client().delete_feature_spec(name=str(name))


def _requirements(properties: str | None) -> tuple[str, ...]:
    lines = json.loads(properties or "{}").get(_REQUIREMENTS) or ()
    return tuple(json.loads(lines) if isinstance(lines, str) else lines)
