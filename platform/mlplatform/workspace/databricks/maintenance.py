"""Maintenance of Unity Catalog's tables: OPTIMIZE and VACUUM, unless predictive optimization does it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mlplatform.errors import TableError
from mlplatform.naming import ObjectName
from mlplatform.protocols.maintenance import Damage, Inspection, Removal, TableFiles
from mlplatform.workspace.databricks import delta, retention, table_metadata
from mlplatform.workspace.databricks.connection import retrying, translated
from mlplatform.workspace.databricks.spark_errors import translated_spark

if TYPE_CHECKING:
    from mlplatform.protocols.maintenance import Keeping
    from mlplatform.workspace.databricks.unity import Unity

FILE_BYTES = 128 * 1024**2


class DatabricksMaintenance:
    """Files of Unity Catalog's tables; see `mlplatform.protocols.maintenance.Maintenance`."""

    # Each stage is a task of its own there, and maintenance is a job.
    by_runs = False

    def __init__(self, unity: Unity) -> None:
        """Look after the tables of this connection."""
        self._unity = unity

    def left_to(self, name: ObjectName | str) -> str:
        """Return predictive optimization's name where it is on for a table."""
        # REST reference, "Get a table": effective_predictive_optimization_flag, inherited from schema, catalog or
        # metastore; it works on managed tables only.
        with translated(f"Reading what Unity Catalog knows about {name}", TableError):
            info = retrying(lambda: self._unity.client.tables.get(str(ObjectName.parse(name))))
        flag = info.effective_predictive_optimization_flag
        managed = "MANAGED" in str(info.table_type)
        return "predictive optimization" if managed and flag is not None and flag.value.value == "ENABLE" else ""

    def files(self, name: ObjectName | str, *, target_size: int | None = None) -> TableFiles:
        """Return how many files a table has; small are so many as its bytes do not need."""
        with translated_spark(f"Reading the details of {name}"):
            detail = self._unity.spark.sql(f"DESCRIBE DETAIL {ObjectName.parse(name).sql}")
            row = detail.select("numFiles", "sizeInBytes").collect()[0]
        files, size = int(row["numFiles"]), int(row["sizeInBytes"])
        del target_size
        needed = -(-size // FILE_BYTES)
        return TableFiles(files, size, max(0, files - needed))

    def compact(self, name: ObjectName | str, *, target_size: int | None = None) -> int:
        """Run OPTIMIZE, which also clusters; return how many files were replaced."""
        parsed = ObjectName.parse(name)
        del target_size  # Databricks chooses it by the table's size
        result = delta.retrying_conflicts(
            f"Compacting {name}", lambda: self._unity.spark.sql(f"OPTIMIZE {parsed.sql}").collect()
        )
        return int(result[0]["metrics"]["numFilesRemoved"])

    def keep(self, name: ObjectName | str, *, versions: Collection[int], days: int) -> None:
        """Set how long the table's files and log are kept: long enough for the oldest version that is to be.

        VACUUM, which predictive optimization runs, too, knows no single versions. What somebody else set is never
        made shorter; see `mlplatform.workspace.databricks.retention`.
        """
        parsed = ObjectName.parse(name)
        age = self._age_of_successor(parsed, versions) if versions else None
        self._set(parsed, retention.changes(self._properties(parsed), retention.days_wanted(days, age)))

    def clean(self, name: ObjectName | str, *, versions: Collection[int], days: int, dry_run: bool = False) -> Removal:
        """Run VACUUM, which goes by the retention that `keep` set; a dry run says nothing about files."""
        if not dry_run:
            self.keep(name, versions=versions, days=days)
            # Databricks' SQL reference, "VACUUM" (sql/language-manual/delta-vacuum): without RETAIN it goes by the
            # table's property, as predictive optimization does.
            with translated_spark(f"Removing old files of {name}"):
                self._unity.spark.sql(f"VACUUM {ObjectName.parse(name).sql}").collect()
        return Removal(None, None)

    def folders(self, catalog: str, schema: str) -> list[str]:
        """Return the names of the tables of a schema."""
        return table_metadata.list_tables(self._unity, catalog, schema)

    def inspect(self, name: ObjectName | str) -> Inspection:
        """Look into no file: the object store keeps checksums of them, and Delta's log belongs to Databricks."""
        del name
        return Inspection(left_to="Databricks and its object store")

    def mend(self, name: ObjectName | str, *, keep: Keeping, aside: str, dry_run: bool = False) -> tuple[str, ...]:
        """Do nothing: of a table that was restored (RESTORE TABLE), what is missing is computed as of a lost one."""
        del name, keep, aside, dry_run
        return ()

    def inspect_files(self) -> tuple[Damage, ...]:
        """Return nothing: functions and feature specs are Unity Catalog's."""
        return ()

    def mend_files(self, *, aside: str, dry_run: bool = False) -> tuple[str, ...]:
        """Do nothing: functions and feature specs are Unity Catalog's."""
        del aside, dry_run
        return ()

    def explanation(self, error: BaseException) -> None:
        """Return nothing: what Databricks says of a file is in its error."""
        del error

    def _age_of_successor(self, name: ObjectName, versions: Collection[int]) -> timedelta | None:
        """Return for how long the oldest of some versions has not been the newest; None where it still is."""
        with translated_spark(f"Reading the history of {name}"):
            history = self._unity.spark.sql(f"DESCRIBE HISTORY {name.sql}").select("version", "timestamp")
            # Through Arrow: it knows of the zone.
            times: dict[int, datetime] = {row["version"]: row["timestamp"] for row in history.toArrow().to_pylist()}
        ended = [times[version + 1] for version in versions if version + 1 in times]
        return datetime.now(UTC) - min(ended) if ended else None

    def _properties(self, name: ObjectName) -> dict[str, str]:
        with translated_spark(f"Reading the properties of {name}"):
            rows = self._unity.spark.sql(f"SHOW TBLPROPERTIES {name.sql}").collect()
        return {str(row[0]): str(row[1]) for row in rows}

    def _set(self, name: ObjectName, properties: dict[str, str]) -> None:
        if properties:
            listed = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
            delta.retrying_conflicts(
                f"Setting properties of {name}",
                lambda: self._unity.spark.sql(f"ALTER TABLE {name.sql} SET TBLPROPERTIES ({listed})"),
            )
