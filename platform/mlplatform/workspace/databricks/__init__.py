"""The Databricks workspace: Unity Catalog, the real feature engineering client, MLflow in Unity Catalog, Jobs."""
