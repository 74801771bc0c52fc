"""Workspaces of the tiny use case at the gate: a first challenger, and a second one beside a champion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mlplatform.as_of import parse_as_of
from mlplatform.gate import decision_log
from mlplatform.gate.rollback import Rollback
from mlplatform.naming import Namespace
from mlplatform.ops import records
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import PlannedStage
from mlplatform.stages import gate_of
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder

FIRST, SECOND = "2020-08-01", "2020-11-01"
NAMESPACE = Namespace("dev", "tiny")
MODEL = NAMESPACE.model


def build_bases(folder: Path, tiny: TinyFolder) -> dict[str, Path]:
    """Return closed workspaces.

    `trained`: version 1 is challenger; `challenged`: it is champion, and 2 challenger; `overridden`: 2 is, by hand.
    """
    root, found = folder / "live", {}
    with LocalWorkspace.open(root=root) as ws:
        records.ensure(ws, NAMESPACE)
        run_tiny(ws, tiny.folder, FIRST, ["ingest", "refine", "features", "train"])
        found["trained"] = clone(root, folder / "trained")
        run_tiny(ws, tiny.folder, FIRST, ["gate"])
        run_tiny(ws, tiny.folder, SECOND, ["ingest", "refine", "features", "train"])
        found["challenged"] = clone(root, folder / "challenged")
        put(ws, tiny, override="first")
        found["overridden"] = clone(root, folder / "overridden")
    return found


def context(ws: LocalWorkspace, tiny: TinyFolder, as_of: str = SECOND) -> StageContext:
    """Return the context of a run of the gate."""
    return open_tiny(ws, tiny.folder).context(ws, parse_as_of(as_of), "run")


def put(ws: LocalWorkspace, tiny: TinyFolder, as_of: str = SECOND, **request: Any) -> StageResult[Any]:
    """Put a version to the gate."""
    dry_run = request.pop("dry_run", False)
    given = open_tiny(ws, tiny.folder)
    return of_stage(replace(gate_of(given), **request), given.context(ws, parse_as_of(as_of), "run"), dry_run=dry_run)


def of_stage(stage: PlannedStage[Any], given: StageContext, *, dry_run: bool = False) -> StageResult[Any]:
    """Run a stage without recording that it ran; its details are given as they would be recorded."""
    result = stage.plan(given).result if dry_run else stage.run(given)
    return replace(result, details=result.details.to_json())


def back(ws: LocalWorkspace, tiny: TinyFolder, **request: Any) -> StageResult[Any]:
    """Roll back."""
    dry_run = request.pop("dry_run", False)
    return of_stage(Rollback(**{"reason": "a test", **request}), context(ws, tiny), dry_run=dry_run)


def told(ws: LocalWorkspace) -> list[tuple[str, str, str, int]]:
    """Return event, kind, outcome and version of each event."""
    return [
        (event.event, event.kind, event.outcome, event.challenger_version)
        for event in decision_log.events(ws, NAMESPACE)
    ]
