"""Rows on disk in Parquet files, written once by the engine that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa

from mlplatform.protocols.table_checks import check_distinct
from mlplatform.types import arrow_type
from mlplatform.workspace.local import duck
from mlplatform.workspace.local.plain_path import plain_path
from mlplatform.workspace.shared.frames import is_lazy, is_spark_frame, to_arrow

if TYPE_CHECKING:
    from mlplatform.protocols.tables import FrameLike


def write(rows: FrameLike, folder: Path) -> None:
    """Write rows into a folder of Parquet files; a sorted frame stays sorted.

    Args:
        rows: A frame (written by DuckDB), a Spark DataFrame (by Spark), rows in memory, or a reader, whose batches are
            in memory one at a time.
        folder: A folder that does not exist.

    Raises:
        TableError: If they cannot be computed, or there is no room on the disk.
    """
    if is_spark_frame(rows):
        write_spark(rows, folder)
        return
    folder.mkdir(parents=True)
    file = folder / "rows.parquet"
    if is_lazy(rows):
        # DuckDB sums whole numbers to 128 bits, which it writes as floats.
        wide = [name for name, kind in rows.collect_schema().items() if kind == nw.Int128]
        if wide:
            rows = rows.with_columns(*(nw.col(name).cast(nw.Int64()) for name in wide))
        relation: Any = rows.to_native()
        with duck.computing("Computing rows"):
            relation.write_parquet(str(file), compression="lz4")
        return
    from pyarrow import parquet

    reader = rows if isinstance(rows, pa.RecordBatchReader) else to_arrow(rows).to_reader()
    check_distinct(reader.schema.names, "The frame")
    with parquet.ParquetWriter(file, reader.schema, compression="lz4") as writer:
        for batch in reader:
            writer.write_batch(batch)


def write_spark(df: Any, folder: Path) -> None:
    """Let Spark write a DataFrame into a folder that does not exist; no row passes through this process.

    Spark's own errors, as of the SQL of a use case, are left as they are: who asked for the rows says what they mean.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    schema = schema_of(df)
    df.write.parquet(str(plain_path(folder)))
    if not files(folder):
        # Of no rows the engine writes no file.
        from pyarrow import parquet

        folder.mkdir(exist_ok=True)
        parquet.write_table(schema.empty_table(), folder / "rows.parquet")


def files(folder: Path) -> list[str]:
    """Return the Parquet files of a folder, in order."""
    return sorted(str(file) for file in folder.rglob("*.parquet"))


def only_file(folder: Path) -> Path:
    """Return the file of a folder that holds one."""
    (file,) = files(folder)
    return Path(file)


def schema_of(df: Any) -> pa.Schema:
    """Return a Spark DataFrame's columns as Arrow types; needed where not a single file was written.

    Raises:
        TableError: If two columns have one name.
    """
    check_distinct([column.name for column in df.schema], "The frame")
    fields: list[pa.Field[Any]] = []
    for column in df.schema:
        name = column.dataType.simpleString()
        kind: pa.DataType = pa.null()
        if name == "timestamp_ntz":
            kind = pa.timestamp("us")
        elif name != "void":
            kind = arrow_type(name)
        fields.append(pa.field(column.name, kind))
    return pa.schema(fields)
