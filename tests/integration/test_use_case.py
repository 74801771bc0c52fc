"""A use case is opened without changing the workspace; its functions and its trust come with what is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.errors import FeatureStoreError
from mlplatform.naming import CHALLENGER
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_gate import FIRST, MODEL, NAMESPACE
from tests.support.tiny_runs import open_tiny, run_tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_use_case import TinyFolder


def test_opening_a_use_case_changes_nothing_in_the_workspace(tmp_path: Path, wide: TinyFolder) -> None:
    with LocalWorkspace.open(root=tmp_path) as ws:
        client, files = dict(vars(ws.fe)), sorted(tmp_path.rglob("*"))
        use_case = open_tiny(ws, wide.folder)
        assert use_case.functions
        assert dict(vars(ws.fe)) == client
        assert sorted(tmp_path.rglob("*")) == files
        with pytest.raises(FeatureStoreError, match="is not registered"):
            ws.functions.get(NAMESPACE.table(use_case.functions[0].name))


def test_a_workspace_without_registered_functions_gates_and_scores(
    gate_at: Callable[[str], LocalWorkspace], wide: TinyFolder
) -> None:
    ws = gate_at("trained")
    (ws.root / "functions.json").unlink()
    summary = run_tiny(ws, wide.folder, FIRST, ["gate", "score", "monitor"])
    assert [(run.stage, run.status) for run in summary.stages] == [
        ("gate", "done"),
        ("score", "done"),
        ("monitor", "done"),
    ]
    assert summary.details("score")["mean_prediction"] is not None


def test_a_version_without_digest_is_scored_by_no_stage(
    gate_at: Callable[[str], LocalWorkspace], wide: TinyFolder
) -> None:
    ws = gate_at("trained")
    version = ws.registry.aliases(MODEL)[CHALLENGER]
    ws.registry.set_tags(MODEL, version, {"artifact_digest": ""})
    details: dict[str, Any] = run_tiny(ws, wide.folder, FIRST, ["gate"]).details("gate")
    assert details["outcome"] == "rejected"
    assert "No digest is recorded" in details["reason"]
