"""Adopt a model: a version trained elsewhere is checked, registered under the use case's name, and may be champion."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from mlplatform.errors import FeatureStoreError, LabelError, RegistryError, StageError
from mlplatform.features import artifacts
from mlplatform.gate import promotion
from mlplatform.gate.champion_gate import Decision, decision_id
from mlplatform.naming import CHALLENGER, CHAMPION, ObjectName
from mlplatform.ops import stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Plan, PlannedStage
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE
from mlplatform.scoring.scorer import PREDICTION
from mlplatform.statistics import estimate, profiles
from mlplatform.training.label_frame import known_labels
from mlplatform.training.reference import PROFILE_FILE
from mlplatform.training.stage import TRAINED_AS_OF_TAG, TRAINED_THROUGH_TAG

NAME = stage_runs.ADOPT
FROM_TAG = "adopted_from"
_SPEC_FOLDER = Path("data") / "feature_store"
_PROFILED_ROWS = 20_000


@dataclass(frozen=True)
class Source:
    """The version to adopt.

    Attributes:
        model: Three-level name of the registered model.
        version: Its version.
        trained_through: The newest prediction time that it was fitted on; None: as its tag says.
    """

    model: str
    version: int
    trained_through: datetime | None = None


def run(context: StageContext, source: Source, *, dry_run: bool = False) -> StageResult[Any]:
    """Take over a version of an existing model.

    Its files, signature and feature spec are checked, and rows of the spine are scored with it, before anything is
    changed. Where there is no champion, it becomes champion by a decision on record; where there is one, it becomes
    challenger, and the gate decides. Again changes nothing.

    Args:
        context: The run.
        source: What to adopt.
        dry_run: Check, and change nothing; the rows are then not scored.

    Raises:
        FeatureStoreError: If it carries no feature spec, or one that the tables and the spine do not fit.
        StageError: If it has no signature, or it is not known what it was trained on.
        RegistryError: If the registry cannot be read or written, or if the model's files may be pickled or hold types
            that are not allowed.
    """
    ws, use_case = context.ws, context.use_case
    origin = ws.registry.get(source.model, source.version)
    through = _trained_through(source, origin)
    with TemporaryDirectory() as part:
        folder = _download(ws, origin, part)
        artifacts.check_types(folder, use_case.trainer.trusted_types)
        spec = FeatureSpec.load(folder / _SPEC_FOLDER)
        digest = artifacts.digest(folder)
    _check_spec(context, spec)
    _check_signature(ws, origin)
    details: dict[str, Any] = {"from": f"{source.model}/{source.version}", "dry_run": dry_run}
    result: StageResult[Any] = StageResult(details=details)
    if dry_run:
        return result
    with ws.lock(f"promote {use_case.model}"):
        version = _registered(context, origin)
        if version != origin:
            # The registry may have had to package it anew: what is loaded from now on is what counts.
            with TemporaryDirectory() as part:
                folder = _download(ws, version, part)
                artifacts.check_types(folder, use_case.trainer.trusted_types)
                digest = artifacts.digest(folder)
        tags = {
            artifacts.DIGEST_TAG: digest,
            TRAINED_THROUGH_TAG: through.isoformat(),
            # It may have known every label that there was by now: the gate takes newer ones only.
            TRAINED_AS_OF_TAG: origin.tags.get(TRAINED_AS_OF_TAG, context.as_of.isoformat()),
            **context.tags,
            "env": ws.env,
        }
        ws.registry.set_tags(use_case.model, version.version, tags)
        version = ws.registry.get(use_case.model, version.version)
        result.rows_in = result.rows_out = _keep_profile(context, version, spec, through)
        details["version"] = version.version
        details["role"] = _give_role(context, version, details["from"])
    result.outputs[str(use_case.model)] = version.version
    return result


def _trained_through(source: Source, origin: ModelVersion) -> datetime:
    from mlplatform.as_of import parse_as_of

    tagged = origin.tags.get(TRAINED_THROUGH_TAG)
    if source.trained_through is not None:
        return source.trained_through
    if not tagged:
        raise StageError(
            f"Version {origin.version} of {origin.name} does not say what it was trained on.",
            hint="Give the newest prediction time of its training rows, as in --trained-through 2025-12-31: the gate "
            "compares on later rows only.",
        )
    return parse_as_of(tagged)


def _download(ws: Workspace, origin: ModelVersion, part: str) -> Path:
    try:
        return ws.registry.download(origin, Path(part))
    except RegistryError as error:
        raise RegistryError(
            f"The files of {origin.uri} cannot be fetched: {error.message}",
            hint="Does its artifact store still exist?",
        ) from error


def _check_spec(context: StageContext, spec: FeatureSpec) -> None:
    tables, wrong = context.ws.tables, []
    spine = tables.describe(context.namespace.gold(SPINE)).schema.names
    outputs = {column.output_name for column in spec.columns}
    wrong += [f"the spine has no column {item.output_name}" for item in spec.sources if item.output_name not in spine]
    keys_of: dict[str, tuple[str, ...]] = {}
    for item in spec.features:
        if not tables.exists(item.table_name):
            wrong.append(f"table {item.table_name} does not exist")
            continue
        info = tables.describe(item.table_name)
        keys_of[item.table_name] = info.primary_keys
        given = len(item.lookup_key) + len(item.timestamp_lookup_key)
        if given != len(info.primary_keys):
            wrong.append(f"{item.table_name} has {len(info.primary_keys)} primary key(s), the spec looks up by {given}")
        if item.feature_name not in info.schema.names:
            wrong.append(f"{item.table_name} has no column {item.feature_name}")
        wrong += [f"nothing gives the lookup key {key}" for key in item.inputs if key not in outputs | set(spine)]
    if wrong:
        raise FeatureStoreError(
            f"The feature spec of the model does not fit: {'; '.join(dict.fromkeys(wrong))}.",
            hint="Adopt or write the feature tables first, and let the spine give the columns that the model takes.",
        )
    context.use_case.register_functions(context.ws)
    for name in spec.functions:
        context.ws.functions.get(name)


def _check_signature(ws: Workspace, origin: ModelVersion) -> None:
    if ws.registry.signature(origin) is None:
        raise StageError(f"Version {origin.version} of {origin.name} has no signature.", hint="Log it again with one.")


def _registered(context: StageContext, origin: ModelVersion) -> ModelVersion:
    """Return the version under the use case's own name; copied once, found by its tag after that."""
    registry, model = context.ws.registry, context.use_case.model
    if str(ObjectName.parse(origin.name)) == str(model):
        return origin
    place = f"{origin.name}/{origin.version}"
    for version in registry.versions(model):
        if version.tags.get(FROM_TAG) == place:
            return version
    registry.ensure_model(model, description=context.use_case.settings.description)
    copied = registry.copy_version(origin, model)
    registry.set_tags(model, copied.version, {FROM_TAG: place})
    return copied


def _keep_profile(context: StageContext, version: ModelVersion, spec: FeatureSpec, through: datetime) -> int:
    """Score the newest spine rows that it may have been fitted on: proof that it works, and the monitor's reference."""
    ws, spine = context.ws, context.use_case.label_spine()
    time = spine.prediction_time
    rows = ws.tables.to_arrow(context.namespace.gold(SPINE), filters=[(time, "<=", through)])
    rows = rows.sort_by([(time, "ascending"), *((key, "ascending") for key in spine.entity_keys)])
    rows = rows.slice(max(rows.num_rows - _PROFILED_ROWS, 0))
    if not rows.num_rows:
        raise StageError(
            f"The spine holds no row up to {through:%Y-%m-%d}: there is nothing to try the model on.",
            hint="Run the stages ingest, refine and features first; see also --trained-through.",
        )
    context.progress(f"scoring {rows.num_rows} row(s) with {version.uri}")
    scored = ws.fe.score_batch_arrow(
        model_uri=version.uri, df=rows, trusted_types=context.use_case.trainer.trusted_types
    )
    if scored.num_rows != rows.num_rows:
        raise StageError(f"{version.uri} scored {scored.num_rows} of {rows.num_rows} rows.", hint="Report this.")
    reference = profiles.profile_table(scored.select([*spec.included, PREDICTION]))
    content = json.dumps(profiles.to_dict(reference, _calibration(context, scored, through)))
    ws.registry.log_files(version, "", {PROFILE_FILE: content})
    return int(rows.num_rows)


def _calibration(context: StageContext, scored: pa.Table, through: datetime) -> dict[str, float] | None:
    spine = context.use_case.label_spine()
    if context.use_case.settings.task != "classification" or not context.ws.tables.exists(
        context.namespace.gold(LABELS)
    ):
        return None
    try:
        frame = known_labels(context.ws, context.namespace, spine, context.as_of, until=through)
    except LabelError:
        return None  # without labels there is nothing to calibrate by, and the monitor's estimate says so
    labels = frame.rows.select([*spine.primary_keys, spine.label, LABEL_KNOWN_AT])
    joined = labels.join(
        scored.select([*spine.primary_keys, PREDICTION]), keys=list(spine.primary_keys), join_type="inner"
    )
    truth = np.asarray(joined.column(spine.label).to_numpy(), dtype=np.float64)
    return estimate.fit_calibration(truth, np.asarray(joined.column(PREDICTION).to_numpy(), dtype=np.float64))


def _give_role(context: StageContext, version: ModelVersion, source: str) -> str:
    """Make the version champion where there is none, else challenger; return what it is."""
    ws, namespace, model = context.ws, context.namespace, context.use_case.model
    aliases = ws.registry.aliases(model)
    decision = Decision(
        decision_id=decision_id(str(model), version.version, None, None, "adoption", source),
        outcome="promoted",
        reason=f"adopted from {source}",
        challenger_version=version.version,
        champion_version=None,
        as_of=context.as_of,
        evaluation={},
        checks=[],
        kind="adoption",
        decided_by=ws.user,
    )
    recorded = promotion.events(ws, namespace, decision_id=decision.decision_id)
    begun = bool(recorded) and all(row["event"] == "decided" for row in recorded)
    if aliases.get(CHAMPION) == version.version and not begun:
        return CHAMPION
    if CHAMPION in aliases and not begun:
        ws.registry.set_alias(model, CHALLENGER, version.version)
        return CHALLENGER
    if not recorded:
        promotion.record(ws, namespace, decision, "decided")
    event = promotion.apply(ws, namespace, decision)
    return CHAMPION if event == "applied" and ws.registry.aliases(model).get(CHAMPION) == version.version else event


@dataclass(frozen=True)
class AdoptModel(PlannedStage[Any]):
    """An existing model version is taken over.

    Attributes:
        source: The version.
    """

    name: ClassVar[str] = NAME

    source: Source

    def plan(self, context: StageContext) -> Plan[Any]:
        """Return what it would do."""
        return Plan(run(context, self.source, dry_run=True))

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context, self.source)
