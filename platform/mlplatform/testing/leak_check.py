"""The leak check: what is computed on everything, and on what was known at T, gives the same rows up to T."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

import narwhals as nw

from mlplatform.as_of import shown
from mlplatform.errors import ContractError
from mlplatform.features.compare import compare_rows
from mlplatform.features.table import FeatureTable
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.as_of_view import WorkspaceAsOf
from mlplatform.refine.event_spine import EVENT_KNOWN_AT, EVENTS, EventSpine
from mlplatform.refine.gold_refining import GoldTable
from mlplatform.refine.spine import SPINE
from mlplatform.testing.computed import TOLERANCE, computed_rows
from mlplatform.training.weights import WeightColumn, look_up
from mlplatform.use_case import UseCase


def check_features(ws: Workspace, use_case: UseCase, moments: Sequence[datetime]) -> None:
    """Put every feature table of a use case through the leak check.

    Args:
        ws: A workspace in which the use case's silver tables are filled.
        use_case: The use case.
        moments: The times T; the last is "everything".

    Raises:
        ContractError: Naming the table, the time, and rows that differ.
        ValueError: If there are fewer than two moments, or they hold no row to compare.
    """
    for table_type in use_case.features:
        check_table(ws, use_case, table_type(), moments)


def check_weights(ws: Workspace, use_case: UseCase, moments: Sequence[datetime]) -> None:
    """Put the weights of a use case's rows through the leak check, where they are looked up in a silver table.

    Args:
        ws: A workspace in which the use case's silver tables and its spine are filled.
        use_case: The use case.
        moments: The times T; the last is "everything".

    Raises:
        ContractError: Naming the table, the time, and rows whose weight changed.
    """
    declared = use_case.trainer.weight_column
    if not isinstance(declared, WeightColumn):
        return
    spine, names = use_case.label_spine(), use_case.namespace
    *earlier, everything = sorted(moments)
    for moment in earlier:
        rows = ws.frames.read(names.gold(SPINE), filters=[(spine.prediction_time, "<=", moment)])
        then, later = (
            look_up(ws, names, spine, declared, rows, known_by, landed_only=False).rows
            for known_by in (moment, everything)
        )
        difference = compare_rows(ws.frames, then, later, spine.primary_keys, tolerance=TOLERANCE)
        if difference:
            raise ContractError(
                f"The weights in {declared} leak: of those of rows up to {shown(moment)}, looked up later, "
                f"{difference.added} were not there then, {difference.removed} are gone, {difference.changed} differ. "
                + difference.examples(old="then", new="later"),
                hint=f"Stamp each row of silver_{declared.table.name} ({declared.table.known_at}) with the time when "
                "everything in it was known.",
            )


def check_table(ws: Workspace, use_case: UseCase, table: FeatureTable, moments: Sequence[datetime]) -> None:
    """Put one feature table through the leak check.

    Args:
        ws: A workspace in which the table's inputs are filled.
        use_case: The use case it belongs to.
        table: The feature table.
        moments: The times T; the last is "everything".

    Raises:
        ContractError: Naming the table, the time, and rows that differ.
        ValueError: If there are fewer than two moments, or they hold no row to compare.
    """

    @contextmanager
    def rows(moment: datetime) -> Iterator[Frame]:
        with computed_rows(ws, use_case, table, moment) as computed:
            yield computed

    what, time = f"Feature table {table.name}", table.timeseries_column
    compared = _check(ws, rows, moments, what, table.primary_keys, time)
    if not compared:
        *earlier, _ = sorted(moments)
        raise ValueError(f"{what} has no row up to {earlier[-1]}: the check looked at nothing.")


def check_events(ws: Workspace, use_case: UseCase, moments: Sequence[datetime]) -> int:
    """Put the dated events of a use case's spine through the leak check.

    Args:
        ws: A workspace in which the use case's silver tables are filled.
        use_case: The use case.
        moments: The times T; the last is "everything".

    Returns:
        How many events were compared; 0 where the spine has none.

    Raises:
        ContractError: If an event that became known later shows earlier, or changed since.
        ValueError: If there are fewer than two moments.
    """
    spine = use_case.label_spine()
    if not isinstance(spine, EventSpine):
        return 0
    events = GoldTable(spine, EVENTS)

    @contextmanager
    def rows(moment: datetime) -> Iterator[Frame]:
        view = WorkspaceAsOf(
            ws, use_case.namespace, moment, allowed=spine.inputs, landed_only=False, takes_in_alike=True
        )
        with ws.frames.staged(events.rows(view, None)) as computed:
            yield computed

    what, keys = f"The events of {type(spine).__name__}", spine.primary_keys
    return _check(ws, rows, moments, what, keys, EVENT_KNOWN_AT, once_a_key=True)


def _check(
    ws: Workspace,
    computed: Callable[[datetime], AbstractContextManager[Frame]],
    moments: Sequence[datetime],
    what: str,
    keys: Sequence[str],
    time: str,
    *,
    once_a_key: bool = False,
) -> int:
    """Compare what is computed as of several times; return how many rows were compared.

    Where there is one row for each key (`once_a_key`), one that was corrected since is known from the correction on,
    and the row that was known before is none that leaked.
    """
    *earlier, everything = sorted(moments)
    if not earlier:
        raise ValueError("The leak check compares at least two moments.")
    compared = 0
    with computed(everything) as whole:
        for moment in earlier:
            later = whole.filter(nw.col(time) <= moment)
            with computed(moment) as now:
                if once_a_key:
                    corrected = whole.filter(nw.col(time) > moment).select(*keys)
                    now = now.join(corrected, on=list(keys), how="anti")  # noqa: PLW2901
                difference = compare_rows(ws.frames, now, later, keys, tolerance=TOLERANCE)
                if difference:
                    raise ContractError(
                        f"{what} leaks: of its rows up to {moment:%Y-%m-%d %H:%M}, computed later, "
                        f"{difference.added} were not there then, {difference.removed} are gone, "
                        f"{difference.changed} differ. " + difference.examples(old="then", new="later"),
                        hint=f"Stamp each row ({time}) with the time when everything in it was known.",
                    )
            compared += difference.before
    return compared
