"""The leak check: a feature table computed on everything, and on what was known at T, gives the same rows up to T."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from mlplatform.errors import LeakError
from mlplatform.features.table import FeatureTable
from mlplatform.medallion.as_of_view import WorkspaceAsOf
from mlplatform.stages.features import compute
from mlplatform.use_case import UseCase
from mlplatform.workspace.protocols import Workspace

# Sums of floats depend on the order in which an engine adds them up.
_TOLERANCE = 1e-9


def check_features(ws: Workspace, use_case: UseCase, moments: Sequence[datetime]) -> None:
    """Put every feature table of a use case through the leak check.

    Args:
        ws: A workspace in which the use case's silver tables are filled.
        use_case: The use case.
        moments: The times T; the last is "everything".

    Raises:
        LeakError: Naming the table, the time, and rows that differ.
    """
    for table_type in use_case.features:
        check_table(ws, use_case, table_type(), moments)


def check_table(ws: Workspace, use_case: UseCase, table: FeatureTable, moments: Sequence[datetime]) -> None:
    """Put one feature table through the leak check.

    Args:
        ws: A workspace in which the table's inputs are filled.
        use_case: The use case it belongs to.
        table: The feature table.
        moments: The times T; the last is "everything".

    Raises:
        LeakError: Naming the table, the time, and rows that differ.
        ValueError: If there are fewer than two moments, or they hold no row to compare.
    """
    *earlier, everything = sorted(moments)
    if not earlier:
        raise ValueError("The leak check compares at least two moments.")
    whole = _rows(ws, use_case, table, everything)
    compared = 0
    for moment in earlier:
        now = _rows(ws, use_case, table, moment)
        later = {key: row for key, row in whole.items() if key[-1] <= moment}
        compared += len(now)
        _compare(table, moment, now, later)
    if not compared:
        raise ValueError(f"Feature table {table.name} has no row up to {earlier[-1]}: the check looked at nothing.")


def _rows(
    ws: Workspace, use_case: UseCase, table: FeatureTable, moment: datetime
) -> dict[tuple[Any, ...], dict[str, Any]]:
    view = WorkspaceAsOf(ws, use_case.namespace, moment, allowed=table.inputs, landed_only=False)
    rows: pa.Table = compute(table, view)
    keyed = {}
    for row in rows.to_pylist():
        keyed[tuple(row[key] for key in table.primary_keys)] = row
    if len(keyed) != rows.num_rows:
        raise LeakError(
            f"Feature table {table.name} at {moment:%Y-%m-%d}: {rows.num_rows - len(keyed)} row(s) repeat a key.",
            hint=f"Rows are unique by {', '.join(table.primary_keys)}.",
        )
    return keyed


def _compare(
    table: FeatureTable,
    moment: datetime,
    now: dict[tuple[Any, ...], dict[str, Any]],
    later: dict[tuple[Any, ...], dict[str, Any]],
) -> None:
    added = sorted(map(str, later.keys() - now.keys()))
    lost = sorted(map(str, now.keys() - later.keys()))
    changed = [key for key in now.keys() & later.keys() if not _alike(now[key].values(), later[key].values())]
    if not (added or lost or changed):
        return
    examples = [f"only later: {key}" for key in added[:2]] + [f"only then: {key}" for key in lost[:2]]
    examples += [f"then {now[key]}, later {later[key]}" for key in sorted(changed, key=str)[:2]]
    raise LeakError(
        f"Feature table {table.name} leaks: of its rows up to {moment:%Y-%m-%d %H:%M}, computed later, {len(added)} "
        f"were not there then, {len(lost)} are gone, {len(changed)} differ. " + "; ".join(examples),
        hint=f"Stamp each row ({table.timeseries_column}) with the time when everything in it was known.",
    )


def _alike(left: Iterable[Any], right: Iterable[Any]) -> bool:
    return all(_same(one, other) for one, other in zip(left, right, strict=True))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(
            one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE
        )
    return bool(one == other)
