"""Computing a feature table's rows for a check, writing to no table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from mlplatform.features.computing import compute
from mlplatform.features.table import FeatureTable
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.as_of_view import WorkspaceAsOf
from mlplatform.use_case import UseCase

# Sums of floats depend on the order in which an engine adds them up.
TOLERANCE = 1e-9


@contextmanager
def computed_rows(
    ws: Workspace, use_case: UseCase, table: FeatureTable, moment: datetime, since: datetime | None = None
) -> Iterator[Frame]:
    """Give a feature table's rows as computed from what was known at a moment, whenever it landed; computed once.

    Args:
        ws: A workspace in which the table's inputs are filled.
        use_case: The use case it belongs to.
        table: The feature table.
        moment: The time.
        since: Nothing known before this changed; None computes all.
    """
    view = WorkspaceAsOf(ws, use_case.namespace, moment, allowed=table.inputs, landed_only=False, takes_in_alike=True)
    with ws.frames.staged(compute(table, view, since)) as rows:
        yield rows
