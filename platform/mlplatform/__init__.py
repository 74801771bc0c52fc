"""mlplatform: base classes for machine learning on Databricks, and a local workspace to run them on.

Everything a use case needs is importable from here; what is not listed in `__all__` may change without notice. Names
load when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlplatform.as_of import Duration, parse_as_of
    from mlplatform.columns import Column
    from mlplatform.discovery import open_use_case
    from mlplatform.errors import MissingDependencyError
    from mlplatform.features.functions import FeatureFunctionSpec
    from mlplatform.features.rolling import RollingFeatureTable
    from mlplatform.features.table import FeatureTable
    from mlplatform.gate.champion_gate import ChampionGate
    from mlplatform.gate.checks.base import CheckResult, Evidence, GateCheck
    from mlplatform.ingest.dialect import Dialect
    from mlplatform.ingest.replay import Replay, utc_from_local
    from mlplatform.ingest.source import Source, end_of_period, start_of_period
    from mlplatform.monitoring.monitor import Monitor
    from mlplatform.pipeline import Pipeline
    from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
    from mlplatform.refine.as_of_view import WorkspaceAsOf
    from mlplatform.refine.dates import time_sql
    from mlplatform.refine.event_spine import EventSpine
    from mlplatform.refine.expectations import Expectation, one_of_sql
    from mlplatform.refine.horizon import label_classes, label_horizon
    from mlplatform.refine.numbers import number_sql, present_sql, readable_sql
    from mlplatform.refine.silver import SilverTable
    from mlplatform.refine.spine import LabelSpine
    from mlplatform.scoring.scorer import BatchScorer
    from mlplatform.statistics.metrics import Metric
    from mlplatform.training.estimators import coded
    from mlplatform.training.fit_rows import FitRows
    from mlplatform.training.trainer import Trainer
    from mlplatform.training.weights import WeightColumn
    from mlplatform.use_case import UseCase
    from mlplatform.workspace import open_workspace

__all__ = [
    "BatchScorer",
    "ChampionGate",
    "CheckResult",
    "Column",
    "Dialect",
    "Duration",
    "EventSpine",
    "Evidence",
    "Expectation",
    "FeatureFunction",
    "FeatureFunctionSpec",
    "FeatureLookup",
    "FeatureTable",
    "FitRows",
    "GateCheck",
    "LabelSpine",
    "Metric",
    "MissingDependencyError",
    "Monitor",
    "Pipeline",
    "Replay",
    "RollingFeatureTable",
    "SilverTable",
    "Source",
    "Trainer",
    "UseCase",
    "WeightColumn",
    "WorkspaceAsOf",
    "coded",
    "end_of_period",
    "label_classes",
    "label_horizon",
    "number_sql",
    "one_of_sql",
    "open_use_case",
    "open_workspace",
    "parse_as_of",
    "present_sql",
    "readable_sql",
    "start_of_period",
    "time_sql",
    "utc_from_local",
]

_MODULES = {
    "BatchScorer": "scoring.scorer",
    "ChampionGate": "gate.champion_gate",
    "CheckResult": "gate.checks.base",
    "Column": "columns",
    "Dialect": "ingest.dialect",
    "Duration": "as_of",
    "EventSpine": "refine.event_spine",
    "Evidence": "gate.checks.base",
    "Expectation": "refine.expectations",
    "FeatureFunction": "protocols.lookups",
    "FeatureFunctionSpec": "features.functions",
    "FeatureLookup": "protocols.lookups",
    "FeatureTable": "features.table",
    "FitRows": "training.fit_rows",
    "GateCheck": "gate.checks.base",
    "LabelSpine": "refine.spine",
    "Metric": "statistics.metrics",
    "MissingDependencyError": "errors",
    "Monitor": "monitoring.monitor",
    "Pipeline": "pipeline",
    "Replay": "ingest.replay",
    "RollingFeatureTable": "features.rolling",
    "SilverTable": "refine.silver",
    "Source": "ingest.source",
    "Trainer": "training.trainer",
    "UseCase": "use_case",
    "WeightColumn": "training.weights",
    "WorkspaceAsOf": "refine.as_of_view",
    "coded": "training.estimators",
    "end_of_period": "ingest.source",
    "label_classes": "refine.horizon",
    "label_horizon": "refine.horizon",
    "number_sql": "refine.numbers",
    "one_of_sql": "refine.expectations",
    "open_use_case": "discovery",
    "open_workspace": "workspace",
    "parse_as_of": "as_of",
    "present_sql": "refine.numbers",
    "readable_sql": "refine.numbers",
    "start_of_period": "ingest.source",
    "time_sql": "refine.dates",
    "utc_from_local": "ingest.replay",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
