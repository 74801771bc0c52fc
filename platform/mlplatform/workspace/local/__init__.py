"""The local workspace: Delta tables on disk, Sail for PySpark, DuckDB for as-of joins, MLflow on SQLite."""
