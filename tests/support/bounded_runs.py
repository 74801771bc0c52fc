"""Runs of a use case in which no stage may collect more than so many rows: called with the workspace of either home."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.pipeline import Pipeline

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase

CEILING = 20_000
# Use case -> the times at which it runs, in order.
MOMENTS = {
    "credit_risk": ("2006-01-01", "2006-04-01"),
    "delivery_delay": ("2013-01-29", "2013-02-05"),
    "churn": ("1997-12-01", "1998-01-01"),
}
# Use case -> a feature table with more rows than the ceiling, and the first moment of its rows.
LARGE_TABLES = {
    "credit_risk": ("lender", "1990-01-01"),
    "delivery_delay": ("destination", "2013-01-01"),
    "churn": ("weekly", "1997-01-01"),
}


@dataclass(frozen=True)
class StageSeen:
    """What a stage did.

    Attributes:
        stage: Its name.
        status: How it ended.
        rows: Rows that it took or gave, whichever are more.
        collected: The largest collecting, in words, and its rows; None where nothing was collected.
        failed: What it could not do, and went on without.
    """

    stage: str
    status: str
    rows: int
    collected: tuple[str, int] | None
    failed: str


def run_bounded(ws: Workspace, name: str, moments: Sequence[str], ceiling: int) -> list[StageSeen]:
    """Run a reference's stages, none of which may collect more rows than the ceiling.

    What is due at each moment; at the last one training and the gate once more, with a champion there, scoring of all
    that has no prediction, however old, and a backfill of a whole feature table.

    Args:
        ws: The workspace.
        name: The use case.
        moments: The `as_of` times.
        ceiling: No stage may collect more rows.
    """
    use_case = open_bounded(ws, name, ceiling)
    ws.registry.ensure_model(use_case.model)
    last = parse_as_of(moments[-1])
    with ceiling_of(ws, ceiling):
        pipelines = [Pipeline(ws, use_case, parse_as_of(moment)) for moment in moments]
        for pipeline in pipelines:
            pipeline.run()
        again = Pipeline(ws, use_case, last)
        again.run(["train", "gate"])
        table, start = LARGE_TABLES[name]
        again.run(["score", "monitor"], since=parse_as_of(start))
        again.backfill(table, parse_as_of(start))
    runs = [run for pipeline in (*pipelines, again) for run in pipeline.summary.stages]
    return [_seen(run.stage, run.status, run.result, run.details.to_json()) for run in runs]


@contextmanager
def ceiling_of(ws: Workspace, rows: int) -> Iterator[None]:
    """Let no collecting bring more rows meanwhile."""
    before, ws.frames.ceiling = ws.frames.ceiling, rows
    try:
        yield
    finally:
        ws.frames.ceiling = before


def open_bounded(ws: Workspace, name: str, rows: int) -> UseCase:
    """Open a use case that trains, gates and monitors on so many rows at most; its files are where they land."""
    use_case = discovery.open_use_case(ws, name)
    landing = ws.landing(name)
    if landing is not None and not landing.exists():
        shutil.copytree(use_case.folder / "data", landing)
    written = use_case.settings.model_dump(exclude_unset=True)
    for section in ("training", "gate", "monitoring"):
        written[section] = {**written.get(section, {}), "max_rows": rows}
    written["training"]["search"] = {"max_evals": 1}
    use_case.settings = UseCaseSettings.model_validate(written)
    return use_case


def _seen(stage: str, status: str, result: Any, details: dict[str, Any]) -> StageSeen:
    collected = details.get("collected") or {}
    alerts = [alert["message"] for alert in details.get("alerts") or [] if alert["kind"] == "monitor"]
    shadow = (details.get("shadow") or {}).get("failed")
    return StageSeen(
        stage=stage,
        status=status,
        rows=max(result.rows_in or 0, result.rows_out or 0),
        collected=(collected["largest"], collected["largest_rows"]) if collected else None,
        failed="; ".join(filter(None, [*alerts, shadow])),
    )
