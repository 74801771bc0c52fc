"""How a source's files become cells of text: kept with each ingestion, for an edit does not reach files taken before.

The rest of a dialect (decimals, thousands, dates) is how silver reads these cells, and part of its code.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlplatform.ingest.source import Source
from mlplatform.naming import ObjectName


def reading_of(source: type[Source] | Source) -> dict[str, str]:
    """Return what decides how a source's files become cells; empty for files that say so themselves.

    Args:
        source: The source, or its class.

    Examples:
        >>> class Sales(Source):
        ...     files, columns = "sales_*.csv", ("sale",)
        >>> reading_of(Sales)
        {'delimiter': ',', 'encoding': 'utf-8', 'newlines_in_values': 'no'}
    """
    if source.format != "csv":
        return {}
    return {
        "delimiter": source.dialect.delimiter,
        "encoding": source.dialect.encoding,
        "newlines_in_values": "yes" if source.newlines_in_values else "no",
    }


def told(bronze: ObjectName, before: Mapping[str, str], now: Mapping[str, str], use_case: str) -> str:
    """Return a sentence about files that were taken while a source was read otherwise; empty: it was not.

    Args:
        bronze: The source's table.
        before: How the last ingestion read; empty: not on record.
        now: How files are read now.
        use_case: The use case's name, for the way out.

    Examples:
        >>> table = ObjectName("dev", "shop", "bronze_sales")
        >>> print(told(table, {"delimiter": ","}, {"delimiter": ";"}, "shop"))
        bronze_sales: files are read with delimiter ';' from now on, instead of ','. Those that were taken before stay
        as they were read; to take one again: mlplatform ingest shop --again FILE
    """
    changed = [f"{name} {now[name]!r}" for name in now if name in before and before[name] != now[name]]
    if not changed:
        return ""
    instead = ", ".join(repr(before[name]) for name in now if name in before and before[name] != now[name])
    return (
        f"{bronze.name}: files are read with {', '.join(changed)} from now on, instead of {instead}. Those that were "
        f"taken before stay as they were read; to take one again: mlplatform ingest {use_case} --again FILE"
    )
