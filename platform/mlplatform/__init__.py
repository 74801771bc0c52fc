"""mlplatform: base classes for machine learning on Databricks, and a local workspace to run them on.

Everything a use case needs is importable from here; what is not listed in `__all__` may change without notice.
"""

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.features.functions import FeatureFunctionSpec
from mlplatform.features.lookups import FeatureFunction, FeatureLookup
from mlplatform.features.table import FeatureTable
from mlplatform.medallion.as_of_view import WorkspaceAsOf
from mlplatform.medallion.schema import Column
from mlplatform.medallion.silver import SilverTable
from mlplatform.medallion.source import Source, end_of_period
from mlplatform.medallion.spine import LabelSpine
from mlplatform.models.gate import ChampionGate
from mlplatform.models.scorer import BatchScorer
from mlplatform.models.trainer import Trainer
from mlplatform.monitoring.monitor import Monitor
from mlplatform.quality.expectations import Expectation
from mlplatform.use_case import UseCase
from mlplatform.workspace import open_workspace

__all__ = [
    "BatchScorer",
    "ChampionGate",
    "Column",
    "Duration",
    "Expectation",
    "FeatureFunction",
    "FeatureFunctionSpec",
    "FeatureLookup",
    "FeatureTable",
    "LabelSpine",
    "Monitor",
    "SilverTable",
    "Source",
    "Trainer",
    "UseCase",
    "WorkspaceAsOf",
    "end_of_period",
    "open_workspace",
    "parse_as_of",
]
