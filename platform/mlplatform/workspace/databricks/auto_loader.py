"""Auto Loader: new files of a folder become rows of a table, all of it text, each file once.

The stream only lands: what it writes is read, judged and moved on file by file, by the same code as files that are read
directly. So the function that runs inside the stream (on serverless compute it is pickled, and runs elsewhere) is one
write and knows nothing of the workspace, and a file that lands before it could be known waits in the landed table until
it can. Batches that are tried again are skipped by Delta, by the checkpoint and the batch's number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.landing import LANDED_CORRUPT, LANDED_FILE, LANDED_ORDER, LANDED_RESCUED
from mlplatform.workspace.databricks import table_metadata
from mlplatform.workspace.databricks.delta import retrying_conflicts
from mlplatform.workspace.databricks.literals import literal
from mlplatform.workspace.databricks.spark_errors import translated_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.workspace.databricks.unity import Unity


_BLOCK = "_landed_block"


class DatabricksAutoLoader:
    """Auto Loader; see `mlplatform.protocols.landing.AutoLoader`."""

    def __init__(self, unity: Unity) -> None:
        """Take the connection."""
        self._unity = unity

    def land(
        self,
        folder: Path,
        files: str,
        *,
        columns: Sequence[str],
        into: ObjectName,
        newlines_in_values: bool,
        delimiter: str,
        encoding: str,
    ) -> None:
        """Bring all new files into a table.

        Raises:
            TableError: If the stream fails; what it has landed stays, and the next call goes on after it.
        """
        from pyspark.sql import functions as F  # noqa: N812

        schema = landed_schema(columns)
        table_metadata.create_table(self._unity, into, schema, [LANDED_FILE], "Files on their way into bronze")
        # In Spark's globs as in ours: folders in the path, the file's own name as a filter.
        glob = PurePosixPath(files)
        source = folder / glob.parent
        ddl = ", ".join(f"{quote(column)} STRING" for column in (*columns, LANDED_CORRUPT))
        options = {
            "cloudFiles.format": "csv",
            "cloudFiles.schemaEvolutionMode": "rescue",
            "rescuedDataColumn": LANDED_RESCUED,
            "pathGlobFilter": glob.name,
            "header": "true",
            # Line by line, an open quote ends with its line.
            "multiLine": str(newlines_in_values).lower(),
            "escape": '"',
            "sep": delimiter,
            "encoding": encoding,
            "mode": "PERMISSIVE",
            "columnNameOfCorruptRecord": LANDED_CORRUPT,
        }
        # The checkpoint belongs to the table: one that is created again gets all files again.
        checkpoint = folder / "_checkpoints" / f"{into.name}-{table_metadata.table_id(self._unity, into)}"
        with translated_spark(f"Loading {files} of {folder}"):
            stream = self._unity.sql.read_stream(str(source), options, ddl).select(
                # An empty cell is null, quoted or not.
                *(F.nullif(F.col(quote(column)), F.lit("")).alias(column) for column in columns),
                F.col(LANDED_RESCUED),
                F.col(LANDED_CORRUPT),
                F.col("_metadata.file_path").alias(LANDED_FILE),
                F.col("_metadata.file_block_start").alias(_BLOCK),
            )
            writer = stream.writeStream.foreachBatch(_batch_writer(into.sql, str(checkpoint)))
            writer = writer.option("checkpointLocation", str(checkpoint)).trigger(availableNow=True)
            writer.start().awaitTermination()

    def forget(self, table: ObjectName, files: Sequence[str]) -> None:
        """Remove the rows of files that have been moved on."""
        listed = ", ".join(literal(file) for file in files)
        if listed:
            retrying_conflicts(
                f"Removing rows from {table}",
                lambda: self._unity.spark.sql(f"DELETE FROM {table.sql} WHERE {LANDED_FILE} IN ({listed})").collect(),
            )


def _batch_writer(table: str, app_id: str) -> Callable[[DataFrame, int], None]:
    def write(batch: DataFrame, number: int) -> None:
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        # Rising within a file: a large one is read in blocks, each from its first row to its last.
        placed = batch.withColumn("_landed_place", F.monotonically_increasing_id())
        in_order = Window.partitionBy("_landed_path").orderBy("_landed_block", "_landed_place")
        numbered = placed.withColumn("_landed_order", F.row_number().over(in_order).cast("bigint"))
        writer = numbered.drop("_landed_block", "_landed_place").write.format("delta").mode("append")
        writer.option("txnAppId", app_id).option("txnVersion", number).saveAsTable(table)

    return write


def landed_schema(columns: Sequence[str]) -> pa.Schema:
    """Return the columns of a landed table."""
    texts = (*columns, LANDED_RESCUED, LANDED_CORRUPT, LANDED_FILE)
    fields: list[pa.Field[Any]] = [pa.field(column, pa.string()) for column in texts]
    return pa.schema([*fields, pa.field(LANDED_ORDER, pa.int64())])
