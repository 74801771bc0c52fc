"""Feature lookups, functions, the training-set rules and the feature spec: engine neutral, used by both workspaces."""

from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup

__all__ = ["FeatureFunction", "FeatureLookup", "FeatureSpec"]
