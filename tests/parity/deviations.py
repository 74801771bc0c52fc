"""Where the contract makes us differ from the real client on purpose: its answer, taken to ours, step by step.

Each function is one documented rule. The parity tests apply them to the judge's answer; nothing else is bent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from tests.support.cases import Case


def as_ours(judged: pa.Table, case: Case) -> pa.Table:
    """Apply every rule to the judge's table."""
    return dates_stay_dates(judged, case)


def dates_stay_dates(judged: pa.Table, case: Case) -> pa.Table:
    """Take a spine's DATE back to a date, which the real as-of join has made a timestamp at midnight UTC.

    Contract: "DATE keys: real returns the spine's date as timestamp; ours: it stays a date".
    """
    as_of_keys = {lookup.timestamp_lookup_key for lookup in case.lookups}
    for position, name in enumerate(judged.column_names):
        declared = case.spine.schema.field(name).type if name in case.spine.column_names else None
        if name in as_of_keys and declared == pa.date32() and judged.column(name).type != pa.date32():
            judged = judged.set_column(position, name, judged.column(name).cast(pa.date32()))
    return judged


def spec_dates_stay_dates(spec: dict[str, Any], case: Case) -> dict[str, Any]:
    """Take the type of such a DATE back in a feature spec, for the same rule."""
    as_of_keys = {lookup.timestamp_lookup_key for lookup in case.lookups}
    spine = case.spine if case.training_spine is None else case.training_spine
    dates = {field.name for field in spine.schema if field.type == pa.date32() and field.name in as_of_keys}
    for column in spec["input_columns"]:
        for name, attributes in column.items():
            if name in dates and attributes.get("data_type") == "timestamp":
                attributes["data_type"] = "date"
    return spec
