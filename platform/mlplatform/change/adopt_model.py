"""Adopt a model: a version trained elsewhere is checked, registered under the use case's name, and may be champion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import narwhals as nw
import numpy as np
import pyarrow as pa
from pydantic import Field

from mlplatform.as_of import parse_as_of
from mlplatform.errors import FeatureStoreError, RegistryError, StageError
from mlplatform.features import artifacts
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.features.probabilities import matrix, profiled
from mlplatform.features.training_set import PREDICTION
from mlplatform.gate import champion as champions
from mlplatform.gate import decision_log, judged, promotion
from mlplatform.gate.decision import Decision, decision_id
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace, ObjectName
from mlplatform.ops import stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.class_labels import class_number
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE, LabelSpine
from mlplatform.statistics import estimate, profiles
from mlplatform.statistics.prior_shift import ScoreCounts
from mlplatform.training.reference import PROFILE_FILE
from mlplatform.training.version_tags import TRAINED_AS_OF_TAG, TRAINED_THROUGH_TAG

FROM_TAG = "adopted_from"
_SPEC_FOLDER = Path("data") / "feature_store"
_PROFILED_ROWS = 20_000


@dataclass(frozen=True)
class ExistingVersion:
    """The version to adopt.

    Attributes:
        model: Three-level name of the registered model.
        version: Its version.
        trained_through: The newest prediction time that it was fitted on; None: as its tag says.
    """

    model: str
    version: int
    trained_through: datetime | None = None


class AdoptModelDetails(Details):
    """What the adoption of a model says of itself.

    Attributes:
        origin: The existing version, as in `main.risk.scorer/4`.
        dry_run: Whether nothing was changed.
        version: Its version under the use case's name.
        role: What that version is: `champion`, `challenger`, or how far its promotion has come.
    """

    origin: str = Field(default="", alias="from")
    dry_run: bool = False
    version: int | None = None
    role: str = ""


@dataclass(frozen=True)
class AdoptModel(PlannedStage[AdoptModelDetails]):
    """A version of an existing model is taken over.

    Its files, signature and feature spec are checked before anything is changed, and rows of the spine are scored with
    it. Where there is no champion, it becomes champion by a decision on record; where there is one, it becomes
    challenger, and the gate decides. Again changes nothing.

    Attributes:
        spine: Whom to predict for, when, and the label.
        functions: The use case's feature functions.
        trusted_types: Types that the stored model may hold beyond the platform's own.
        source: The version.
    """

    name: ClassVar[str] = stage_runs.ADOPT

    spine: LabelSpine
    functions: tuple[FeatureFunctionSpec, ...]
    trusted_types: tuple[str, ...]
    source: ExistingVersion

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the tables whose rows are scored, and compared with their labels."""
        return names.gold(SPINE), names.gold(LABELS)

    def plan(self, context: StageContext) -> Plan[AdoptModelDetails]:
        """Check the version, and return what is to be done.

        Raises:
            FeatureStoreError: If it carries no feature spec, or one that the tables and the spine do not fit.
            StageError: If it has no signature, or it is not known what it was trained on.
            RegistryError: If the registry cannot be read or written, or if the model's files may be pickled or code,
                hold types that are not allowed, or are not those that the platform registered.
        """
        origin = context.ws.registry.get(self.source.model, self.source.version)
        through = _trained_through(self.source, origin)
        with TemporaryDirectory() as part:
            folder = _download(context.ws, origin, part)
            registered = judged.digest_to_judge(context.ws, origin)
            with artifacts.named(folder, origin.uri):
                digest = artifacts.digest(folder)
                if registered:
                    artifacts.verify(folder, registered, self.trusted_types)
                else:
                    artifacts.check_files(folder, self.trusted_types)
            spec = FeatureSpec.load(folder / _SPEC_FOLDER)
        _check_spec(context, spec, self.functions)
        _check_signature(context.ws, origin)
        details = AdoptModelDetails(dry_run=True)
        details.origin = f"{self.source.model}/{self.source.version}"
        result = StageResult(details)
        adoption = _Adoption(context, self, origin, through, spec, digest, result)
        model = context.model
        return Plan(
            result,
            (
                Action(f"register {details.origin} as a version of {model}, and tag it", adoption.register),
                Action("score rows of the spine with it, and keep its reference profile", adoption.keep_profile),
                Action(f"make it champion of {model} if there is none, else challenger", adoption.give_role),
            ),
        )

    def run(self, context: StageContext) -> StageResult[AdoptModelDetails]:
        """Take the version over."""
        plan = self.plan(context)
        plan.result.details.dry_run = False
        with context.ws.lock(f"promote {context.model}"):
            return plan.carry_out()


@dataclass
class _Adoption:
    """The actions of an adoption, each of which goes on from the one before."""

    context: StageContext
    stage: AdoptModel
    version: ModelVersion
    through: datetime
    spec: FeatureSpec
    digest: str
    result: StageResult[AdoptModelDetails]

    def register(self) -> None:
        """Register the version under the use case's name, and tag it with what the gate and scoring look at."""
        context, registry, origin = self.context, self.context.ws.registry, self.version
        version = _registered(context, origin)
        if version != origin:
            # The registry may have had to package it anew: what is loaded from now on is what counts.
            with TemporaryDirectory() as part:
                folder = _download(context.ws, version, part)
                artifacts.check_files(folder, self.stage.trusted_types)
                self.digest = artifacts.digest(folder)
        tags = {
            artifacts.DIGEST_TAG: self.digest,
            TRAINED_THROUGH_TAG: self.through.isoformat(),
            # It may have known every label that there was by now: the gate takes newer ones only.
            TRAINED_AS_OF_TAG: origin.tags.get(TRAINED_AS_OF_TAG, context.as_of.isoformat()),
            **context.tags,
            "env": context.ws.env,
        }
        registry.set_tags(context.model, version.version, tags)
        self.version = registry.get(context.model, version.version)
        self.result.details.version = self.version.version
        self.result.outputs[str(context.model)] = self.version.version

    def keep_profile(self) -> None:
        """Score rows of the spine, and keep the reference profile."""
        register_functions(self.context.ws, self.context.namespace, self.stage.functions)
        rows = _keep_profile(self)
        self.result.rows_in = self.result.rows_out = rows

    def give_role(self) -> None:
        """Make the version champion where there is none, else challenger."""
        self.result.details.role = _give_role(self.context, self.version, self.result.details.origin, self.digest)


def _trained_through(source: ExistingVersion, origin: ModelVersion) -> datetime:
    tag = origin.tags.get(TRAINED_THROUGH_TAG)
    if source.trained_through is not None:
        return source.trained_through
    if not tag:
        raise StageError(
            f"Version {origin.version} of {origin.name} does not say what it was trained on.",
            hint="Give the newest prediction time of its training rows, as in --trained-through 2025-12-31: the gate "
            "compares on later rows only.",
        )
    return parse_as_of(tag)


def _download(ws: Workspace, origin: ModelVersion, part: str) -> Path:
    try:
        return ws.registry.download(origin, Path(part))
    except RegistryError as error:
        raise RegistryError(
            f"The files of {origin.uri} cannot be fetched: {error.message}",
            hint="Does its artifact store still exist?",
        ) from error


def _check_spec(context: StageContext, spec: FeatureSpec, functions: Sequence[FeatureFunctionSpec]) -> None:
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
    # The use case's own are registered before rows are scored.
    declared = {str(context.namespace.table(function.name)) for function in functions}
    for name in spec.functions:
        if name not in declared:
            context.ws.functions.get(name)


def _check_signature(ws: Workspace, origin: ModelVersion) -> None:
    if ws.registry.signature(origin) is None:
        raise StageError(f"Version {origin.version} of {origin.name} has no signature.", hint="Log it again with one.")


def _registered(context: StageContext, origin: ModelVersion) -> ModelVersion:
    """Return the version under the use case's own name; copied once, found by its tag after that."""
    registry, model = context.ws.registry, context.model
    if str(ObjectName.parse(origin.name)) == str(model):
        return origin
    place = f"{origin.name}/{origin.version}"
    for version in registry.versions(model):
        if version.tags.get(FROM_TAG) == place:
            return version
    registry.ensure_model(model, description=context.settings.description)
    copied = registry.copy_version(origin, model)
    registry.set_tags(model, copied.version, {FROM_TAG: place})
    return copied


def _keep_profile(adoption: _Adoption) -> int:
    """Score the newest spine rows that it may have been fitted on: proof that it works, and the monitor's reference."""
    context, stage, version, through = adoption.context, adoption.stage, adoption.version, adoption.through
    ws, spine = context.ws, stage.spine
    time = spine.prediction_time
    newest = (
        ws.frames.read(context.namespace.gold(SPINE), filters=[(time, "<=", through)])
        .sort(*(column for column, _ in spine.order), descending=True)
        .head(_PROFILED_ROWS)
    )
    rows = ws.frames.collect(newest, at_most=_PROFILED_ROWS, what="the newest rows of the spine").sort_by(spine.order)
    if not rows.num_rows:
        raise StageError(
            f"The spine holds no row up to {through:%Y-%m-%d}: there is nothing to try the model on.",
            hint="Run the stages ingest, refine and features first; see also --trained-through.",
        )
    context.progress(f"scoring {rows.num_rows} row(s) with {version.uri}")
    task = context.settings.kind_of_task
    scored = ws.fe.score_batch_arrow(
        model_uri=version.uri,
        df=rows,
        trusted_types=stage.trusted_types,
        digest=adoption.digest,
        classes=task.classes,
    )
    if scored.num_rows != rows.num_rows:
        raise StageError(f"{version.uri} scored {scored.num_rows} of {rows.num_rows} rows.", hint="Report this.")
    inputs, predicted = scored.select(adoption.spec.included), scored.column(PREDICTION)
    predictions = matrix(predicted, len(task.classes)) if task.is_multiclass else np.asarray(predicted.to_numpy())
    reference = profiles.profile_table(inputs) | profiles.profile_table(profiled(predictions, task))
    calibration, scores = _calibration(context, spine, scored, through)
    content = json.dumps(profiles.to_dict(reference, calibration, scores=scores))
    ws.registry.log_files(version, "", {PROFILE_FILE: content})
    return int(rows.num_rows)


def _calibration(
    context: StageContext, spine: LabelSpine, scored: pa.Table, through: datetime
) -> tuple[dict[str, float] | None, ScoreCounts | None]:
    frames, name, keys = context.ws.frames, context.namespace.gold(LABELS), list(spine.primary_keys)
    task = context.settings.kind_of_task
    if not task.predicts_probabilities or not context.ws.tables.exists(name):
        return None, None
    predictions = scored.select([*keys, PREDICTION])
    known = frames.read(name, filters=[(LABEL_KNOWN_AT, "<=", context.as_of), (spine.prediction_time, "<=", through)])
    label = class_number(spine.label, task.classes).alias(spine.label) if task.is_multiclass else nw.col(spine.label)
    wanted = known.select(*keys, label).join(frames.of(predictions), on=keys, how="inner")
    joined = frames.collect(wanted, at_most=scored.num_rows, what="labels of the scored rows").sort_by(spine.order)
    # Without labels there is nothing to calibrate by, and the monitor's estimate says so.
    truth = np.asarray(joined.column(spine.label).to_numpy(), dtype=np.float64)
    if task.is_multiclass:
        named = np.isfinite(truth)
        return estimate.fit_temperature(truth[named], matrix(joined.column(PREDICTION), len(task.classes))[named]), None
    known_scores = np.asarray(joined.column(PREDICTION).to_numpy(), dtype=np.float64)
    calibration = estimate.fit_calibration(truth, known_scores)
    return calibration, None if calibration is None else ScoreCounts.of(known_scores)


def _give_role(context: StageContext, version: ModelVersion, source: str, digest: str) -> str:
    """Make the version champion where there is none, else challenger; return what it is."""
    ws, namespace, model = context.ws, context.namespace, context.model
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
        artifact_digest=digest,
    )
    recorded = decision_log.events(ws, namespace, decision_id=decision.decision_id)
    begun = bool(recorded) and all(event.event == "decided" for event in recorded)
    if aliases.get(CHAMPION) == version.version and not begun:
        return CHAMPION
    # A champion on record that is gone is none the less one: who follows it is decided by hand, or by the gate.
    if (CHAMPION in aliases or champions.vanished(ws, namespace, aliases)) and not begun:
        ws.registry.set_alias(model, CHALLENGER, version.version)
        return CHALLENGER
    if not recorded:
        decision_log.record(ws, namespace, decision, "decided")
    event = promotion.apply(ws, namespace, decision)
    return CHAMPION if event == "applied" and ws.registry.aliases(model).get(CHAMPION) == version.version else event
