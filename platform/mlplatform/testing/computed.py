"""Computing a feature table's rows for a check, writing nothing."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from mlplatform.features.computing import compute
from mlplatform.features.table import FeatureTable
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.as_of_view import WorkspaceAsOf
from mlplatform.use_case import UseCase

# Sums of floats depend on the order in which an engine adds them up.
TOLERANCE = 1e-9


def computed_rows(
    ws: Workspace, use_case: UseCase, table: FeatureTable, moment: datetime, since: datetime | None = None
) -> pa.Table:
    """Return a feature table's rows as computed from what was known at a moment, whenever it landed.

    Args:
        ws: A workspace in which the table's inputs are filled.
        use_case: The use case it belongs to.
        table: The feature table.
        moment: The time.
        since: Nothing known before this changed; None computes all.
    """
    view = WorkspaceAsOf(ws, use_case.namespace, moment, allowed=table.inputs, landed_only=False)
    rows = compute(table, view, since).combine_chunks()
    # Without nullability, which the engine infers anew for each computation.
    return pa.table(rows.columns, names=rows.column_names)
