"""The incremental check: a feature table computed step by step, and all at once, has the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime

import narwhals as nw

from mlplatform.errors import ContractError
from mlplatform.features.compare import compare_rows
from mlplatform.features.table import FeatureTable
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.workspace import Workspace
from mlplatform.testing.computed import TOLERANCE, computed_rows
from mlplatform.use_case import UseCase

_STEP, _NEWEST = "__step", "__newest_step"


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
    with ExitStack() as stack:
        steps, since = [stack.enter_context(computed_rows(ws, use_case, table, first))], first
        for moment in later:
            steps.append(stack.enter_context(computed_rows(ws, use_case, table, moment, since)))
            since = moment
        at_once = stack.enter_context(computed_rows(ws, use_case, table, since))
        rows = _newest_of(steps, table.primary_keys)
        difference = compare_rows(ws.frames, rows, at_once, table.primary_keys, tolerance=TOLERANCE)
        if difference.before == ws.frames.count(steps[0]):
            raise ValueError(f"Feature table {table.name} got no row after {first}: the check looked at nothing.")
        if difference:
            raise ContractError(
                f"Feature table {table.name} computed step by step up to {since:%Y-%m-%d %H:%M} is not what it is "
                f"computed at once: {difference.added} row(s) are missing, {difference.removed} are too many, "
                f"{difference.changed} differ. " + difference.examples(old="step by step", new="at once"),
                hint="A row may depend only on what was known at its own time; compute(since) must not cut off what "
                "later rows need. A RollingFeatureTable has this right for sums over windows.",
            )


def _newest_of(steps: Sequence[Frame], keys: Sequence[str]) -> Frame:
    """Return of each key the rows of the last step that gave it."""
    numbered = nw.concat([step.with_columns(nw.lit(place).alias(_STEP)) for place, step in enumerate(steps)])
    newest = numbered.with_columns(nw.col(_STEP).max().over(*keys).alias(_NEWEST))
    return newest.filter(nw.col(_STEP) == nw.col(_NEWEST)).drop(_STEP, _NEWEST)
