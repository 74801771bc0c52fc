"""All migrations, in the order of their numbers. A new one is appended, with a test that makes a table as it was.

A new field of a record needs none: with a default, its column is added to tables that exist (see `ops/schema_mark.py`).
A column that changes its meaning, its name or its type, or rows that are to be written anew, do.
"""

from __future__ import annotations

from mlplatform.ops.migrations.migration import Migration

MIGRATIONS: tuple[Migration, ...] = ()
