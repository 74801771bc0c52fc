"""What a use case has come to: its business state, what its models are, and what its report says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlplatform.features import artifacts
from mlplatform.gate import decision_log
from mlplatform.ops.stage_runs import ENDED_WELL, RunLog, of_the_cycle
from mlplatform.reporting import facts
from tests.support.state import business_state

if TYPE_CHECKING:
    from mlplatform.naming import Namespace
    from mlplatform.protocols.registry import ModelVersion
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase

# Facts that tell of a run, and not of what it came to.
_OF_RUNS = {
    "run_id",
    "started_at",
    "recorded_at",
    "applied_at",
    "raised_at",
    "seconds",
    "timings",
    "newest_run",
    "flows",
}


def outcome_of(ws: Workspace, use_case: UseCase) -> dict[str, Any]:
    """Return all that has to be the same after runs that were disturbed as after one that was not."""
    namespace, registry = use_case.namespace, ws.registry
    told = facts.gather(ws, namespace, use_case.label_spine(), use_case.settings)
    # Runs that were begun several times leave more small files, which are put together sooner: no step of the cycle.
    cycle = of_the_cycle(RunLog(ws, namespace).records())
    ended = {(run.stage, run.as_of) for run in cycle if run.status in ENDED_WELL}
    report = _without_runs(asdict(told))
    # After a crash the same rows may have been committed once more: the Delta version that is read is a later one.
    for made in report["lineage"]:
        made["tables"] = [name for name, _ in made["tables"]]
    return business_state(ws, namespace) | {
        "stages that ended well": sorted(ended),
        "models": [_model(ws, namespace, version) for version in registry.versions(use_case.model)],
        "report": report,
    }


def _model(ws: Workspace, namespace: Namespace, version: ModelVersion) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        digest = artifacts.digest(ws.registry.download(version, Path(folder)))
    return {
        "metrics": ws.registry.run(version).metrics,
        "its files are those registered": version.tags.get(artifacts.DIGEST_TAG) == digest,
        "digests of decisions that are others": [
            event.artifact_digest
            for event in decision_log.events(ws, namespace)
            if event.challenger_version == version.version and event.artifact_digest not in {None, "", digest}
        ],
    }


def _without_runs(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_runs(item) for key, item in value.items() if key not in _OF_RUNS}
    if isinstance(value, list | tuple):
        return [_without_runs(item) for item in value]
    return value
