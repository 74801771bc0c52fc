"""Data with types that a use case is made from: Parquet, Delta, a table of a workspace."""

from __future__ import annotations

from mlplatform.errors import UsageError


def read_parquet(path):
    raise UsageError("x", hint="x")


read_delta = read_table = read_parquet
