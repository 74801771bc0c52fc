"""Parity: the real Databricks feature engineering client, run locally, is the judge of ours."""
