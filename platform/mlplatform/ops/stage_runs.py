"""The record of runs: one row a stage, written when the stage ends, also when it fails."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa

from mlplatform.naming import Namespace
from mlplatform.ops.schemas import STAGE_RUNS
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace

DONE = "done"
SKIPPED = "skipped"
FAILED = "failed"
BACKFILL = "backfill"
ADOPT = "adopt"


@dataclass
class StageResult:
    """What a stage did.

    Attributes:
        inputs: Table -> Delta version that was read.
        outputs: Table -> Delta version after the stage.
        rows_in: Rows that came in; None where counting makes no sense.
        rows_out: Rows that went on.
        rows_quarantined: Rows that were quarantined; in = out + quarantined.
        details: What else is worth recording; JSON types only.
        skipped: Why nothing was to be done; empty when something was.
    """

    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    rows_in: int | None = None
    rows_out: int | None = None
    rows_quarantined: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""


@dataclass(frozen=True)
class StageRun:
    """A recorded stage."""

    run_id: str
    use_case: str
    stage: str
    as_of: datetime
    status: str
    started_at: datetime
    seconds: float
    result: StageResult
    message: str = ""


class RunLog:
    """The record of one use case's runs, read once and kept up to date by what is recorded through it."""

    def __init__(self, ws: Workspace, namespace: Namespace) -> None:
        """Keep the log of a use case; nothing is read yet."""
        self._ws = ws
        self._namespace = namespace
        self._rows: list[dict[str, Any]] | None = None

    def rows(self, stage: str | None = None) -> list[dict[str, Any]]:
        """Return the recorded runs, of one stage or of all, oldest first; JSON columns are decoded."""
        if self._rows is None:
            self._rows = read(self._ws, self._namespace)
        return [row for row in self._rows if stage is None or row["stage"] == stage]

    def record(self, run: StageRun) -> None:
        """Append a stage's row."""
        row = _row(run)
        self._ws.tables.append(self._namespace.ops("stage_runs"), pa.Table.from_pylist([row], schema=STAGE_RUNS))
        if self._rows is not None:
            self._rows.append(_decoded(row))


def _row(run: StageRun) -> dict[str, Any]:
    result = run.result
    return {
        "run_id": run.run_id,
        "use_case": run.use_case,
        "stage": run.stage,
        "as_of": run.as_of,
        "status": run.status,
        "started_at": run.started_at,
        "seconds": run.seconds,
        "rows_in": result.rows_in,
        "rows_out": result.rows_out,
        "rows_quarantined": result.rows_quarantined,
        "inputs": json.dumps(result.inputs),
        "outputs": json.dumps(result.outputs),
        "details": json.dumps(result.details, default=str),
        "message": run.message or result.skipped,
        "platform_version": platform_version(),
    }


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **{column: json.loads(row[column] or "{}") for column in ("inputs", "outputs", "details")}}


def read(ws: Workspace, namespace: Namespace, *, stage: str | None = None) -> list[dict[str, Any]]:
    """Return the recorded stages of a use case, oldest first; JSON columns are decoded."""
    name = namespace.ops("stage_runs")
    if not ws.tables.exists(name):
        return []
    filters: list[Filter] = [("use_case", "=", namespace.use_case)]
    if stage:
        filters.append(("stage", "=", stage))
    rows: list[dict[str, Any]] = ws.tables.to_arrow(name, filters=filters).sort_by("started_at").to_pylist()
    return [_decoded(row) for row in rows]


def of_the_cycle(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the recorded stages without backfills and adoptions, which are no step of the cycle."""
    return [row for row in rows if row["stage"] not in (BACKFILL, ADOPT)]


def utc_now() -> datetime:
    """Return the wall clock, for records only: never for data."""
    return datetime.now(UTC)


def platform_version() -> str:
    """Return the installed version of this library."""
    try:
        return version("mlplatform")
    except PackageNotFoundError:
        return "0+unknown"
