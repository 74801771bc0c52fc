"""Feature specs in Unity Catalog: functions whose definition is the spec, made by the feature engineering client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from mlplatform.errors import FeatureStoreError
from mlplatform.features.named_spec import NamedSpec
from mlplatform.naming import ObjectName
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.workspace.databricks.feature_engineering import asked

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

_REQUIREMENTS = "environment.dependencies"


def find(client: WorkspaceClient, name: ObjectName) -> NamedSpec | None:
    """Return a feature spec, or None if there is no function of that name.

    Raises:
        FeatureStoreError: If there is a function of that name that is no feature spec, or it cannot be read.
    """
    from databricks.sdk.errors import NotFound

    with asked(f"Reading the feature spec {name}"):
        try:
            function = client.functions.get(str(name))
        except NotFound:
            return None
        try:
            content = yaml.safe_load(function.routine_definition or "")
        except yaml.YAMLError:
            content = None
        return NamedSpec(FeatureSpec.from_dict(content, of=f"The function {name}"), _requirements(function.properties))


def get(client: WorkspaceClient, name: ObjectName) -> NamedSpec:
    """Return a feature spec.

    Raises:
        FeatureStoreError: If there is none, or it cannot be read.
    """
    found = find(client, name)
    if found is None:
        raise FeatureStoreError(f"There is no feature spec {name}.", hint="Make it by ws.fe.create_feature_spec.")
    return found


def create(real: Any, name: ObjectName, features: Sequence[Any], excluded: Sequence[str], pip: Sequence[str]) -> None:
    """Make a feature spec through the real client."""
    with asked(f"Creating the feature spec {name}"):
        real.create_feature_spec(
            name=str(name),
            features=list(features),
            exclude_columns=list(excluded) or None,
            extra_pip_requirements=list(pip) or None,
        )


def _requirements(properties: str | None) -> tuple[str, ...]:
    found = json.loads(properties or "{}").get(_REQUIREMENTS) or ()
    return tuple(json.loads(found) if isinstance(found, str) else found)
