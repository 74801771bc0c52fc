"""Feature lookups, functions, the training-set rules and the feature spec: engine neutral, used by both workspaces."""

from mlplatform.features.lookups import FeatureFunction, FeatureLookup
from mlplatform.features.spec import FeatureSpec

__all__ = ["FeatureFunction", "FeatureLookup", "FeatureSpec"]
