"""The incremental check: a feature table computed step by step, and all at once, has the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from mlplatform.errors import ContractError
from mlplatform.features.compare import compare_rows
from mlplatform.features.table import FeatureTable
from mlplatform.joins import without_keys_of
from mlplatform.protocols.workspace import Workspace
from mlplatform.testing.computed import TOLERANCE, computed_rows
from mlplatform.use_case import UseCase


def check_incremental(ws: Workspace, use_case: UseCase, moments: Sequence[datetime]) -> None:
    """Put every feature table of a use case through the incremental check.

    Args:
        ws: A workspace in which the use case's silver tables are filled.
        use_case: The use case.
        moments: The times of the steps, at least two.

    Raises:
        ContractError: Naming the table and rows that differ.
        ValueError: If there are fewer than two moments, or the steps hold no row.
    """
    for table_type in use_case.features:
        check_table_incremental(ws, use_case, table_type(), moments)


def check_table_incremental(ws: Workspace, use_case: UseCase, table: FeatureTable, moments: Sequence[datetime]) -> None:
    """Put one feature table through the incremental check.

    Each step computes with `since` at the step before, and its rows take the place of those with the same keys, as the
    feature stage does it.

    Args:
        ws: A workspace in which the table's inputs are filled.
        use_case: The use case it belongs to.
        table: The feature table.
        moments: The times of the steps, at least two.

    Raises:
        ContractError: Naming the table and rows that differ.
        ValueError: If there are fewer than two moments, or the steps hold no row.
    """
    first, *later = sorted(moments)
    if not later:
        raise ValueError("The incremental check takes at least two moments.")
    keys = list(table.primary_keys)
    rows, since, new = computed_rows(ws, use_case, table, first), first, 0
    for moment in later:
        step = computed_rows(ws, use_case, table, moment, since)
        kept = without_keys_of(rows, step, keys)
        new += kept.num_rows + step.num_rows - rows.num_rows
        rows, since = pa.concat_tables([kept, step.select(rows.column_names)]), moment
    if not new:
        raise ValueError(f"Feature table {table.name} got no row after {first}: the check looked at nothing.")
    difference = compare_rows(rows, computed_rows(ws, use_case, table, since), keys, tolerance=TOLERANCE)
    if difference:
        raise ContractError(
            f"Feature table {table.name} computed step by step up to {since:%Y-%m-%d %H:%M} is not what it is computed "
            f"at once: {difference.added.num_rows} row(s) are missing, {difference.removed.num_rows} are too many, "
            f"{difference.changed_new.num_rows} differ. " + difference.examples(old="step by step", new="at once"),
            hint="A row may depend only on what was known at its own time; compute(since) must not cut off what later "
            "rows need. A RollingFeatureTable has this right for sums over windows.",
        )
