"""mlplatform: base classes for machine learning on Databricks, and a local workspace to run them on."""

from mlplatform.workspace import open_workspace

__all__ = ["open_workspace"]
