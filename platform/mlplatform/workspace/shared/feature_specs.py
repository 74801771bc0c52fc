"""Feature specs by name: what a home keeps and finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlplatform.features.named_spec import NamedSpec
    from mlplatform.naming import ObjectName
    from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
    from mlplatform.protocols.tables import TableInfo


@dataclass(frozen=True)
class SpecDeclaration:
    """A new feature spec.

    Attributes:
        name: Its name.
        features: Lookups and functions, in order.
        exclude_columns: Columns that are left out of every training set made from it.
        tables: What is known about the tables of the lookups.
        spec: What follows.
    """

    name: ObjectName
    features: Sequence[FeatureLookup | FeatureFunction]
    exclude_columns: Sequence[str]
    tables: Mapping[str, TableInfo]
    spec: NamedSpec


class FeatureSpecs(Protocol):
    """The feature specs of a workspace."""

    def get(self, name: ObjectName) -> NamedSpec:
        """Return a feature spec.

        Raises:
            FeatureStoreError: If it does not exist, or cannot be read.
        """
        ...

    def find(self, name: ObjectName) -> NamedSpec | None:
        """Return a feature spec, or None if it does not exist."""
        ...

    def create(self, declaration: SpecDeclaration) -> None:
        """Keep a new feature spec."""
        ...

    def delete(self, name: ObjectName) -> None:
        """Remove a feature spec.

        Raises:
            FeatureStoreError: If it does not exist.
        """
        ...
