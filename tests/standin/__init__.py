"""A stand-in for a Databricks workspace: a server the real clients talk to, and JVM Spark with Unity Catalog's names."""
