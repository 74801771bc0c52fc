"""From which known-at time on a table's inputs changed since it was last computed: the `since` of `compute`."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import parse_as_of
from mlplatform.ingest.provenance import AVAILABLE_AT
from mlplatform.ops import markers, stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.protocols.tables import TableInfo
from mlplatform.refine.silver import BATCH

_PLATFORM = __name__.partition(".")[0]


@dataclass(frozen=True)
class Freshness:
    """What changed for one computed table.

    Attributes:
        since: Nothing known before this changed; None: compute everything.
        unchanged: True when there is nothing to compute at all.
        marker: What to record once the table is written, under `details["computed"][<table>]`.
        lost: True when it had been computed, and is gone, or is another table than the one that was computed.
    """

    since: datetime | None
    unchanged: bool
    marker: dict[str, Any]
    lost: bool = False


def check(
    context: StageContext, stage: str, table: str, inputs: Sequence[str], code: type, settings: str = ""
) -> Freshness:
    """Compare a table's inputs with what they were when the stage last computed it.

    A row counts as new if it came in a later batch, became known, or became available, since. What was known before the
    earliest of them cannot have changed a row stamped earlier, as long as the table does not leak (see the leak check).

    Args:
        context: The running stage's.
        stage: The stage's name.
        table: Bare name of the computed table.
        inputs: Bare names of the silver tables it is computed from.
        code: The class that computes it: when its code changes, everything is computed again.
        settings: What else decides what is computed, as text: a change of it counts as well.
    """
    batches: dict[str, int] = {}
    ids: dict[str, str] = {}
    row = markers.last(context, stage, context.namespace.table(table))
    lost = markers.lost(context, stage, context.namespace.table(table))
    # A marker belongs to the table that it was written for.
    last = row["details"].get("computed", {}).get(table) if row is not None and not lost else None
    digest = hashlib.sha256((_source(code) + settings).encode()).hexdigest()[:16]
    earliest: list[datetime] = []
    for name in inputs:
        full_name = context.namespace.table(name)
        info = context.ws.tables.describe(full_name)
        ids[name] = info.id
        if row is not None and last is not None and not _same_input(row, last, info, name):
            last = None  # batches of another table are numbered anew
        known_at = info.timeseries_column
        if known_at is None or BATCH not in info.schema.names:
            # Not a silver table: there is no way to tell what is new in it.
            last = None
            continue
        rows = context.ws.tables.to_arrow(
            full_name,
            version=info.version,
            columns=[known_at, BATCH, AVAILABLE_AT],
            filters=[(known_at, "<=", context.as_of), (AVAILABLE_AT, "<=", context.as_of)],
        )
        batches[name] = pc.max(rows.column(BATCH)).as_py() or 0
        if last is not None:
            computed = pa.scalar(parse_as_of(last["as_of"]))
            new = pc.or_(
                pc.greater(rows.column(BATCH), pa.scalar(last["batches"].get(name, -1), pa.int64())),
                pc.or_(pc.greater(rows.column(known_at), computed), pc.greater(rows.column(AVAILABLE_AT), computed)),
            )
            first = pc.min(pc.filter(rows.column(known_at), new)).as_py()
            if first is not None:
                earliest.append(first)
    marker = {"as_of": context.as_of.isoformat(), "batches": batches, "code": digest, "inputs": ids}
    if last is None or last["code"] != digest:
        return Freshness(since=None, unchanged=False, marker=marker, lost=lost)
    previous = parse_as_of(last["as_of"])
    if context.as_of <= previous and not earliest:
        # All that was known by now has been computed; the later marker stays the one to compare with.
        return Freshness(since=previous, unchanged=True, marker=last | {"inputs": ids})
    return Freshness(since=min([previous, *earliest]), unchanged=False, marker=marker)


def first_computed(context: StageContext, table: str) -> datetime | None:
    """Return the first moment after a feature table's adopted rows, which are not computed; None: none were adopted."""
    name = context.namespace.table(table)
    found = [
        parse_as_of(row["details"]["adopted"][table])
        for row in context.log.rows(stage_runs.ADOPT)
        if row["status"] == stage_runs.DONE
        and table in row["details"].get("adopted", {})
        and markers.is_of(row, name, context.ws.tables.describe(name))
    ]
    return max(found) + timedelta(microseconds=1) if found else None


def _source(code: type) -> str:
    """Return all code that a class computes with.

    That is the modules of its own classes, what these import from their own package, and the platform's base classes.
    """
    texts = {code.__qualname__: ""}
    for base in code.__mro__:
        if base.__module__.partition(".")[0] == _PLATFORM:
            texts[base.__qualname__] = inspect.getsource(base)
        elif base.__module__ not in ("abc", "builtins", "typing"):
            _add_module(base.__module__, texts)
    return "\n".join(f"{name}\n{text}" for name, text in sorted(texts.items()))


def _add_module(name: str, texts: dict[str, str]) -> None:
    """Add a module's source, and that of the modules beside it which it imports: helpers and constants count too."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if module is None or file is None or name in texts:
        return
    texts[name] = inspect.getsource(module)
    for node in ast.walk(ast.parse(texts[name])):
        if isinstance(node, ast.ImportFrom):
            parent = name.rsplit(".", node.level)[0] if node.level else ""
            target = ".".join(filter(None, (parent, node.module)))
            imported = [target, *(f"{target}.{item.name}" for item in node.names)]
        elif isinstance(node, ast.Import):
            imported = [item.name for item in node.names]
        else:
            continue
        for other in imported:
            its_file = getattr(sys.modules.get(other), "__file__", None) or ""
            if Path(its_file).parent == Path(file).parent and Path(its_file).name != "__init__.py":
                _add_module(other, texts)


def _same_input(row: dict[str, Any], marker: dict[str, Any], info: TableInfo, name: str) -> bool:
    """Tell whether an input is the table that a marker was written for."""
    recorded = marker.get("inputs", {}).get(name)
    return recorded == info.id if recorded else markers.was_there(row, info)
