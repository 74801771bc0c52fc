"""What a use case declares of its model: lookups, estimator, search space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from mlplatform.config import UseCaseSettings
    from mlplatform.features.lookups import FeatureFunction, FeatureLookup
    from mlplatform.naming import Namespace


class Trainer(ABC):
    """Base class of a use case's model.

    The estimator is a scikit-learn estimator or pipeline that takes the training set's columns as a pandas frame.

    Attributes:
        exclude_columns: Spine columns and looked-up features that the model does not get. Entity keys and the
            prediction time never reach it.
        default_params: Parameters when there is no search.
        trusted_types: Types beyond the platform's own allow-list that the stored model may hold (fully qualified).
    """

    exclude_columns: ClassVar[tuple[str, ...]] = ()
    default_params: ClassVar[Mapping[str, Any]] = {}
    trusted_types: ClassVar[tuple[str, ...]] = ()

    def __init__(self, namespace: Namespace, settings: UseCaseSettings) -> None:
        """Take where the use case's tables are, and its settings."""
        self.namespace = namespace
        self.settings = settings

    @abstractmethod
    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """Return the feature lookups and feature functions of the training set."""

    @abstractmethod
    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Return an unfitted estimator.

        Args:
            params: `default_params`, overlaid by what the search tries. The seed is `settings.training.seed`.
        """

    def search_space(self) -> dict[str, Any]:
        """Return the hyperopt search space; empty: no search."""
        return {}
