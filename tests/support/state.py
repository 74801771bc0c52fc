"""What "the same state" means: business rows and aliases, without run ids, clocks, file names and Delta versions."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlplatform.naming import Namespace
    from mlplatform.protocols.workspace import Workspace

# Which run, and the wall clock; files of a model name the run that made them, and so differ from twin to twin.
_NOT_BUSINESS = {"run_id", "scored_at", "recorded_at", "raised_at", "attempted_at", "_ingested_at", "artifact_digest"}
# The record of runs says what was run, and running twice is recorded twice.
_NOT_STATE = {"stage_runs"}


def business_state(ws: Workspace, namespace: Namespace) -> dict[str, Any]:
    """Return all business rows by table, sorted, and the model's aliases and versions with their business tags."""
    state: dict[str, Any] = {"aliases": ws.registry.aliases(namespace.model)}
    state["versions"] = [
        (version.version, {key: value for key, value in version.tags.items() if key in _BUSINESS_TAGS})
        for version in ws.registry.versions(namespace.model)
    ]
    for schema in (namespace.use_case, "ops"):
        for table in ws.tables.list(namespace.catalog, schema):
            if table not in _NOT_STATE:
                state[table] = table_rows(ws, f"{namespace.catalog}.{schema}.{table}")
    return state


_BUSINESS_TAGS = {
    "dataset_version",
    "training_key",
    "trained_as_of",
    "trained_through",
    "gate_decision",
    "gate_outcome",
}


def table_rows(ws: Workspace, name: str) -> list[str]:
    """Return a table's business rows as sorted text, so that lists of them compare and show what differs."""
    rows = ws.tables.to_arrow(name, at_most=10**6)
    rows = rows.select([column for column in rows.column_names if column not in _NOT_BUSINESS])
    return sorted(json.dumps(_plain(row), default=str, sort_keys=True) for row in rows.to_pylist())


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what differs between two states, by table: what only the one and only the other holds."""
    found: dict[str, Any] = {}
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if left != right:
            if isinstance(left, list) and isinstance(right, list):
                found[key] = {"only one": _lacking(left, right), "only other": _lacking(right, left)}
            else:
                found |= _within(key, left, right)
    return found


def _within(name: str, left: Any, right: Any) -> dict[str, Any]:
    """Return the places at which two values differ, by their path; the order of a sum makes its last bit no other."""
    if left == right or (
        isinstance(left, float) and isinstance(right, float) and math.isclose(left, right, rel_tol=1e-12)
    ):
        return {}
    found: dict[str, Any] = {}
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}, key=str):
            found |= _within(f"{name}.{key}", left.get(key), right.get(key))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            found |= _within(f"{name}[{place}]", one, other)
    else:
        found[name] = (left, right)
    return found


def _lacking(these: list[Any], those: list[Any]) -> list[Any]:
    rest = list(those)
    lacking = []
    for item in these:
        if item in rest:
            rest.remove(item)
        else:
            lacking.append(item)
    return lacking[:5]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    # The frozen label frame names the Delta versions it was read from; its digest is what must be the same.
    if "evaluation" in row:
        evaluation = json.loads(row["evaluation"] or "{}")
        evaluation.pop("tables", None)
        row = {**row, "evaluation": evaluation}
    return row
