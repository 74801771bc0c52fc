"""The tables and functions of a case, as the stand-in wants to know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.standin.metastore import Column, FixedTables, Metastore, TableInfo
from tests.support.arrow_types import spark_name

if TYPE_CHECKING:
    from tests.support.cases import Case


def tell(metastore: Metastore, case: Case) -> None:
    """Tell a metastore of a case's tables, keys and functions, instead of the last one's; the data stay in Spark."""
    metastore.clear(
        FixedTables(
            {
                table.name: TableInfo([Column(field.name, spark_name(field.type)) for field in table.data.schema])
                for table in case.tables
            }
        )
    )
    for table in case.tables:
        metastore.set_primary_key(table.name, table.all_keys, table.timeseries_column)
    for function in case.functions:
        metastore.add_function(function.name, function.parameters, function.returns, function.source)
