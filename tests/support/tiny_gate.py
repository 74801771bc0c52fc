"""Workspaces of the tiny use case at the gate: a first challenger, and a second one beside a champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlplatform.as_of import parse_as_of
from mlplatform.gate import promotion
from mlplatform.gate import stage as gate
from mlplatform.naming import Namespace
from mlplatform.ops import records
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder

FIRST, SECOND = "2020-08-01", "2020-11-01"
NAMESPACE = Namespace("dev", "tiny")
MODEL = NAMESPACE.model


def build_bases(folder: Path, tiny: TinyFolder) -> dict[str, Path]:
    """Return closed workspaces: `trained` (version 1 is challenger), `challenged` (1 is champion, 2 challenger)."""
    root, found = folder / "live", {}
    with LocalWorkspace.open(root=root) as ws:
        records.ensure(ws, NAMESPACE)
        run_tiny(ws, tiny.folder, FIRST, ["ingest", "refine", "features", "train"])
        found["trained"] = clone(root, folder / "trained")
        run_tiny(ws, tiny.folder, FIRST, ["gate"])
        run_tiny(ws, tiny.folder, SECOND, ["ingest", "refine", "features", "train"])
        found["challenged"] = clone(root, folder / "challenged")
    return found


def context(ws: LocalWorkspace, tiny: TinyFolder, as_of: str = SECOND) -> StageContext:
    """Return the context of a run of the gate."""
    return open_tiny(ws, tiny.folder).context(ws, parse_as_of(as_of), "run")


def put(ws: LocalWorkspace, tiny: TinyFolder, as_of: str = SECOND, **request: Any) -> StageResult[Any]:
    """Put a version to the gate."""
    return gate.run(context(ws, tiny, as_of), gate.Request(**request))


def back(ws: LocalWorkspace, tiny: TinyFolder, **request: Any) -> StageResult[Any]:
    """Roll back."""
    return gate.roll_back(context(ws, tiny), **{"to": None, "reason": "a test", **request})


def told(ws: LocalWorkspace) -> list[tuple[str, str, str, int]]:
    """Return event, kind, outcome and version of each event."""
    return [
        (row["event"], row["kind"], row["outcome"], row["challenger_version"])
        for row in promotion.events(ws, NAMESPACE)
    ]
