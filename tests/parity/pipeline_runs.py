"""Runs of a use case's pipeline, and what they leave behind: called with the workspace of either home."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.features import artifacts
from mlplatform.pipeline import Pipeline
from mlplatform.refine.spine import LABEL_KNOWN_AT
from mlplatform.training.label_frame import known_labels
from tests.support.bounded_runs import CEILING, ceiling_of, open_bounded

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase

# Which run it was, the wall clock, Delta versions, and what only one home needs.
_NOT_BUSINESS = {
    *("run_id", "scored_at", "recorded_at", "raised_at", "attempted_at", "_ingested_at", "decided_by"),
    # Its files name the run that made them.
    "artifact_digest",
}
_NOT_STATE = {"stage_runs", "transactions", "leases"}


@dataclass(frozen=True)
class Step:
    """What one run of the pipeline came to.

    Attributes:
        stages: Name, status, and rows in, out and quarantined of each stage.
        aliases: The model's aliases afterwards.
        most_collected: Rows of the largest collecting; the homes need not bring the same into the process.
    """

    stages: list[tuple[str, str, int | None, int | None, int | None]]
    aliases: dict[str, int]
    most_collected: int = field(compare=False)


def open_use_case(ws: Workspace, name: str) -> UseCase:
    """Open a use case of this project."""
    found = discovery.get(name)
    cls = discovery.load(found)
    return cls.open(name, discovery.folder_of(found, cls), ws)


def run(ws: Workspace, name: str, as_of: str) -> Step:
    """Run what is due at a time; no stage collects more rows than the ceiling, training and gate a sample."""
    use_case = open_bounded(ws, name, CEILING)
    ws.registry.ensure_model(use_case.model)
    with ceiling_of(ws, CEILING):
        summary = Pipeline(ws, use_case, parse_as_of(as_of)).run()
    stages = [
        (done.stage, done.status, done.result.rows_in, done.result.rows_out, done.result.rows_quarantined)
        for done in summary.stages
    ]
    collected = (done.details.collected for done in summary.stages)
    return Step(stages, ws.registry.aliases(use_case.model), max(item.largest_rows for item in collected if item))


def tables(ws: Workspace, name: str) -> dict[str, pa.Table]:
    """Return the business rows of every table of a use case, and its own ones of the platform's tables."""
    namespace = open_use_case(ws, name).namespace
    found = {}
    for schema in (namespace.table("x").schema, namespace.ops("x").schema):
        for table in ws.tables.list(namespace.catalog, schema):
            if table not in _NOT_STATE:
                mine = [("use_case", "=", name)] if schema != namespace.model.schema else []
                rows = ws.tables.to_arrow(f"{namespace.catalog}.{schema}.{table}", at_most=10**6, filters=mine)
                keep = [column for column in rows.column_names if column not in _NOT_BUSINESS]
                found[table] = rows.select(keep)
    return found


def training_rows(ws: Workspace, name: str, as_of: str, rows: int) -> pa.Table:
    """Return the training set of the newest labels that were known."""
    use_case = open_use_case(ws, name)
    spine, trainer = use_case.label_spine(), use_case.model_trainer()
    frame = known_labels(ws, use_case.namespace, spine, parse_as_of(as_of)).rows
    frame = frame.slice(max(frame.num_rows - rows, 0)).combine_chunks()
    return ws.fe.create_training_set(
        df=frame, feature_lookups=trainer.lookups(), label=spine.label, exclude_columns=[LABEL_KNOWN_AT]
    ).to_arrow()


def save_model(ws: Workspace, name: str, version: int, folder: Path) -> Path:
    """Bring a version's files into a folder, as they were logged."""
    import mlflow

    ws.registry.activate()
    use_case = open_use_case(ws, name)
    target = folder / f"{name}_model"
    with TemporaryDirectory() as part:
        shutil.copytree(
            mlflow.artifacts.download_artifacts(f"models:/{use_case.model}/{version}", dst_path=part), target
        )
    return target


def register_model(ws: Workspace, name: str, folder: Path) -> str:
    """Register files that the other home logged; return the version's URI."""
    import mlflow

    ws.registry.activate()
    use_case = open_use_case(ws, name)
    model = use_case.namespace.table("from_elsewhere")
    ws.registry.ensure_model(model)
    client = mlflow.MlflowClient()
    version = client.create_model_version(str(model), source=str(folder))
    ws.registry.set_tags(model, int(version.version), {artifacts.DIGEST_TAG: artifacts.digest(folder)})
    return f"models:/{model}/{version.version}"


def score(ws: Workspace, name: str, uri: str, as_of: str, rows: int) -> pa.Table:
    """Score the newest rows of the spine."""
    use_case = open_use_case(ws, name)
    spine = use_case.label_spine()
    time = spine.prediction_time
    frame = ws.tables.to_arrow(
        use_case.namespace.gold("spine"), at_most=10**6, filters=[(time, "<=", parse_as_of(as_of))]
    )
    frame = frame.sort_by([(time, "descending"), *((key, "ascending") for key in spine.entity_keys)]).slice(0, rows)
    scored = ws.fe.score_batch_arrow(model_uri=uri, df=frame, result_type="double")
    return scored.sort_by([(key, "ascending") for key in spine.primary_keys])


def score_elsewhere(ws: Workspace, name: str, folder: Path, as_of: str, rows: int) -> pa.Table:
    """Register files that a home logged, and score with them here."""
    return score(ws, name, register_model(ws, name, folder), as_of, rows)
