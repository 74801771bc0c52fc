"""The files of a table at a version, as its log lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from deltalake import DeltaTable


def files_of(table: DeltaTable, *, flatten: bool = False) -> pa.Table:
    """Return what the log says of a table's files, one row each; `flatten`: each statistic is a column.

    `pyarrow.table` would load pandas to look at what it is given, which takes longer than most commands that only read.
    """
    return pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=flatten)).read_all()
