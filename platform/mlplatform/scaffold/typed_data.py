"""Data with types that a use case is made from: a Parquet file, a Delta table's folder, a table of a workspace.

The use case gets them as a Parquet file of its own, and new rows come as such files.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mlplatform.errors import UsageError
from mlplatform.ingest.landed_parquet import as_text, has_text
from mlplatform.naming import ObjectName
from mlplatform.scaffold.given_data import GivenData, check_header, plain_names

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

MOST_ROWS = 1_000_000
"""So many rows of a table are taken; a use case is made from an extract, and the whole is what it runs on later."""
_FEWER = "Make a table of fewer rows, such as those of the last months, and name that."


def read_parquet(path: Path) -> GivenData:
    """Read a Parquet file.

    Raises:
        UsageError: If it is none, or its columns cannot be used.
    """
    try:
        if not path.is_file():
            raise UsageError(f"There is no file {path}.", hint="--from-parquet names one Parquet file.")
        content = path.read_bytes()
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"{path} cannot be read as Parquet: {reason}", hint="Is it whole, and Parquet?") from None
    return _data(str(path), table, content)


def read_delta(ws: Workspace, folder: Path) -> GivenData:
    """Read a Delta table by its folder.

    Raises:
        UsageError: If it is none, has too many rows, or columns that cannot be used.
    """
    from pyspark.errors import PySparkException

    if not (folder / "_delta_log").is_dir():
        raise UsageError(f"{folder} is no Delta table: it has no _delta_log.", hint="--from-delta names its folder.")
    try:
        rows = ws.spark.read.format("delta").load(str(folder.resolve())).limit(MOST_ROWS + 1)
        frame = ws.frames.of(rows)
    except PySparkException as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"{folder} cannot be read as a Delta table: {reason}", hint="Is it whole?") from None
    if ws.frames.count(frame) > MOST_ROWS:
        raise UsageError(f"{folder} has more than {MOST_ROWS:,} rows.", hint=_FEWER)
    return _data(str(folder), ws.frames.collect(frame, at_most=MOST_ROWS, what=f"the rows of {folder}"))


def read_table(ws: Workspace, name: str) -> GivenData:
    """Read a table of a workspace: on Databricks one of Unity Catalog.

    Raises:
        UsageError: If there is no such table, it has too many rows, or columns that cannot be used.
    """
    table = ObjectName.parse(name)
    if not ws.tables.exists(table):
        raise UsageError(
            f"There is no table {table} in this workspace.",
            hint="Name catalog, schema and table. Of Unity Catalog: --workspace databricks; a folder: --from-delta.",
        )
    frame = ws.frames.read(table)
    if (count := ws.frames.count(frame)) > MOST_ROWS:
        raise UsageError(f"{table} has {count:,} rows, more than {MOST_ROWS:,}.", hint=_FEWER)
    return _data(str(table), ws.frames.collect(frame, at_most=MOST_ROWS, what=f"the rows of {table}"))


def _data(origin: str, table: pa.Table, content: bytes | None = None) -> GivenData:
    import pandas as pd

    # What a pipeline writes beside the columns that people gave a name: the platform's own have such names, too.
    left_out = tuple(name for name in table.column_names if name.startswith("_"))
    if left_out:
        table, content = table.drop_columns(list(left_out)), None
    names = list(table.column_names)
    if not names:
        raise UsageError(f"{origin} has no columns.", hint="It takes an entity, a label, and what to predict from.")
    check_header(origin, names)
    without = [f"{field.name} ({field.type})" for field in table.schema if not has_text(field.type)]
    if without:
        raise UsageError(
            f"{origin}: {', '.join(without)} cannot be used: a column holds text, numbers, booleans, days or times.",
            hint="Leave such columns out, or take them apart into a column for each part.",
        )
    try:
        texts = {name: _texts(table.column(name)) for name in names}
    except pa.ArrowInvalid as error:
        raise UsageError(
            f"{origin} cannot be used: {error}", hint="Times hold microseconds; round what is finer."
        ) from None
    rows = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in texts.items()})
    return GivenData(
        origin=origin,
        content=_as_parquet(table) if content is None else content,
        rows=rows.where(rows.notna(), None),
        names=plain_names(names),
        format="parquet",
        types={field.name: _kind(field.type) for field in table.schema},
        left_out=left_out,
    )


def _texts(column: pa.ChunkedArray) -> list[str | None]:  # type: ignore[type-arg]
    return [text for chunk in column.chunks for text in as_text(chunk).to_pylist()]


def _kind(kind: pa.DataType) -> str:
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _as_parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()
