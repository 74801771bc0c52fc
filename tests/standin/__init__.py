"""A stand-in for a Databricks workspace: a server for the real clients, and JVM Spark with Unity Catalog's names."""
