"""The feature client's methods for feature tables: creating, writing, reading, dropping and tagging them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from mlplatform.naming import ObjectName
from mlplatform.workspace.shared import feature_writes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.tables import TableInfo, Tables
    from mlplatform.workspace.shared.feature_frames import Rows


class FeatureTableMethods(ABC):
    """What a feature client does with feature tables. A home says how it takes rows for them."""

    _tables: Tables

    def create_table(
        self,
        *,
        name: ObjectName | str,
        primary_keys: str | Sequence[str],
        df: Any = None,
        timeseries_column: str | None = None,
        partition_columns: str | Sequence[str] | None = None,
        schema: Any = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> TableInfo:
        """Create a feature table; the same declaration again returns the existing table, and merges `df`.

        Args:
            name: Three-level name.
            primary_keys: Key columns in order, the timeseries column among them.
            df: The first rows; their schema is the table's unless `schema` is given.
            timeseries_column: The column that says when a row was known.
            partition_columns: Taken for the real client's sake; tables are clustered by their keys on Databricks, and
                not partitioned at home.
            schema: A Spark `StructType` or an Arrow schema.
            description: The table's comment.
            tags: Free key-value tags.

        Returns:
            What is known about the table.

        Raises:
            FeatureStoreError: If the declaration does not fit itself or the existing table.
            TableError: If rows have null or duplicate keys; the table then stays empty, or as it was.
        """
        del partition_columns
        with nullcontext() if df is None else self._rows(df, of=f"the frame for {name}") as rows:
            return feature_writes.create(
                self._tables,
                name,
                primary_keys,
                rows,
                timeseries_column=timeseries_column,
                schema=schema,
                description=description,
                tags=tags,
            )

    def write_table(self, *, name: ObjectName | str, df: Any, mode: str = "merge") -> None:
        """Upsert rows by primary key.

        Columns that `df` lacks keep their values on update and are null on insert; a timeseries table must be given
        all its columns; new columns are added.

        Raises:
            FeatureStoreError: If the mode is not `merge`, or columns of a timeseries table are missing.
            TableError: If the table does not exist, the rows do not fit it, or keys are null or repeated.
            UnavailableError: If other writers kept winning.
        """
        with self._rows(df, of=f"the frame for {name}") as rows:
            feature_writes.write(self._tables, name, rows, mode)

    def read_table(self, *, name: ObjectName | str) -> DataFrame:
        """Return the table, pinned at its newest version, as a Spark DataFrame.

        Raises:
            TableError: If it does not exist; the message suggests similar names.
        """
        return self._tables.read(name)

    def get_table(self, *, name: ObjectName | str) -> TableInfo:
        """Return name, keys, timeseries column, description, tags and features.

        Raises:
            TableError: If it does not exist; the message suggests similar names.
        """
        return self._tables.describe(name)

    def drop_table(self, *, name: ObjectName | str) -> None:
        """Remove a table and its metadata.

        Raises:
            TableError: If it does not exist; the message suggests similar names.
        """
        self._tables.drop(name)

    def set_feature_table_tag(self, *, name: ObjectName | str, key: str, value: str) -> None:
        """Set a tag."""
        self._tables.set_tag(name, key, str(value))

    def delete_feature_table_tag(self, *, name: ObjectName | str, key: str) -> None:
        """Remove a tag; no error if it does not exist."""
        self._tables.set_tag(name, key, None)

    @abstractmethod
    def _rows(self, df: Any, *, of: str) -> AbstractContextManager[Rows]:
        """Take rows for a feature table while they are checked and written; `of` says what they are, for messages."""
