"""Gathering what the gate decides on: both models scored on the same frozen label frame, and facts about them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration
from mlplatform.config.gate import GateSettings
from mlplatform.errors import LabelError, PlatformError, StageError
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.features.probabilities import matrix
from mlplatform.features.training_set import PREDICTION
from mlplatform.gate import canary
from mlplatform.gate import champion as champions
from mlplatform.gate.checks.base import Evidence, FeatureFacts, RecalibrationEvidence
from mlplatform.gate.checks.evidence import enough
from mlplatform.naming import Namespace
from mlplatform.ops.context import StageContext
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.registry import ModelSignature, ModelVersion
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LABEL_KNOWN_AT, LabelSpine
from mlplatform.statistics.metrics import Vector
from mlplatform.task import Task
from mlplatform.training import reference
from mlplatform.training.label_frame import KnownLabels, LabelFrame, known_labels, training_start
from mlplatform.training.outcomes import REALISED, Basis, RealisedBasis, RowOutcomes
from mlplatform.training.recalibrated import Recalibration, left_out, recalibration_of
from mlplatform.training.version_tags import (
    TRAINED_AS_OF_TAG,
    TRAINED_THROUGH_TAG,
    fitted_as_of,
    learned_events,
    time_of,
)
from mlplatform.types import TIMESTAMP

NEW_LABELS, HOLDOUT, HELD_OUT, NO_LABELS = "new labels", "holdout", "held out", "no labels"
RECALIBRATED_FROM = "recalibrated_from"
"""In what a decision was made on: the champion that the challenger is, with its probabilities moved."""
_BASES: Mapping[str, Basis] = {REALISED: RealisedBasis()}
_TIMED_ROWS = 1000
_SPEC = "data/feature_store/feature_spec.yaml"


@dataclass(frozen=True)
class Gathered:
    """The evidence, and the fingerprint of the frame it is about."""

    evidence: Evidence
    digest: str


def gather(
    context: StageContext,
    spine: LabelSpine,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    *,
    digest: str = "",
    functions: Sequence[FeatureFunctionSpec] = (),
    trusted_types: Collection[str] = (),
    bases: Mapping[str, Basis] = _BASES,
) -> Gathered:
    """Score both versions on the same rows, and gather what the checks need; writes nothing.

    The rows are those that neither version was fitted on: predicted later than both versions' `trained_through`, with
    a label known by `as_of`. Of these, the labels that neither training knew at all are taken where they are enough
    for a decision; else all of them, the challenger's time-ordered holdout included, and the evidence says so. Of more
    than `gate.max_rows` a sample, drawn by the engine; the evidence says of how many. Rows that a recalibration of
    either learned from are left out.

    A challenger that is this very champion, recalibrated, is judged by outcomes of the basis that moved it: of the same
    window and what has come since, the rows that it did not learn from.

    Args:
        context: The run.
        spine: The use case's label spine.
        challenger: The version to decide about.
        champion: The champion, or None if the registry says that there is none.
        digest: Which files of the challenger are judged; empty: those on record, see `fe.score_batch_arrow`.
        functions: The use case's feature functions.
        trusted_types: Types that its stored models may hold beyond the platform's own.
        bases: Where the outcomes come from that a recalibrated challenger is judged by, by name.

    Raises:
        PlatformError: If labels, features, models or the registry cannot be read: never "no evidence".
    """
    versions = [version for version in (challenger, champion) if version is not None]
    after = max(time_of(version, TRAINED_THROUGH_TAG) for version in versions)
    settings = context.settings
    known_then = max(time_of(version, TRAINED_AS_OF_TAG) for version in versions)
    move = moved_champion(challenger, champion)
    try:
        if move is None:
            outcomes, source = _newest(context, spine, after, known_then, versions)
        else:
            outcomes, source = _held_out(context, spine, after, move, versions, bases)
    except LabelError:
        # No label at all is the extreme of too little evidence: the gate says so itself.
        empty = np.array([])
        nothing = {"rows_from": NO_LABELS, "after": after.isoformat()}
        evidence = Evidence(empty, empty, None if champion is None else empty, nothing, as_of=context.as_of)
        return Gathered(evidence, "empty")
    frame, made = outcomes.frame, recalibration_of(challenger)
    if made is not None:
        source[RECALIBRATED_FROM] = made.origin
    context.progress(f"gate: {frame} ({source['rows_from']}) that neither model learned")
    register_functions(context.ws, context.namespace, functions)
    predictions, rows = score(context.ws, spine, challenger, frame, trusted_types, digest=digest)
    other = _score_champion(context, spine, champion, frame, trusted_types) if champion else None
    if move is not None and other is not None and other.size:
        outcomes = outcomes.spread(other)
    spec = _feature_spec(context.ws, challenger)
    source |= {"tables": _versions(context, frame, spec), "digest": frame.digest, "after": after.isoformat()}
    evidence = Evidence(
        labels=outcomes.targets,
        challenger=predictions,
        champion=other,
        source=source,
        as_of=context.as_of,
        rows=rows,
        training=training_labels(context.ws, context.namespace, spine, challenger)
        if settings.gate.baseline_by
        else None,
        features=_feature_facts(context, challenger, spec, rows),
        signatures=(_signature(context.ws, challenger), _signature(context.ws, champion) if champion else None),
        seconds_per_1000_rows=(
            _seconds(context.ws, spine, challenger, frame, trusted_types)
            if settings.gate.max_seconds_per_1000_rows
            else None
        ),
        recalibration=None
        if move is None
        else RecalibrationEvidence(move.origin, outcomes.weights, outcomes.expected, outcomes.low, outcomes.high),
        canary=canary.outcome(context, challenger.version) if settings.scoring.canary else None,
    )
    return Gathered(evidence, frame.digest if move is None else outcomes.digest)


def moved_champion(challenger: ModelVersion, champion: ModelVersion | None) -> Recalibration | None:
    """Return how a challenger was recalibrated, if it is this very champion with its probabilities moved; else None."""
    move = recalibration_of(challenger)
    return move if move is not None and champion is not None and move.is_of(champion) else None


def _newest(
    context: StageContext,
    spine: LabelSpine,
    after: datetime,
    known_then: datetime,
    versions: Sequence[ModelVersion],
) -> tuple[RowOutcomes, dict[str, Any]]:
    """Choose the labels that no training knew where they are enough, else all that no training fitted on.

    Where a version learned events of rows that were not mature then, all rows of their times are left out: without the
    events alone, what is left would be too well off.

    Of more than `gate.max_rows` a sample, by the gate's seed: both versions are scored on the same rows.

    Raises:
        LabelError: If there is none.
    """
    limits, task = context.settings.gate, context.settings.kind_of_task
    known = KnownLabels.at(context.ws, context.namespace, spine, context.as_of, after=after)
    horizon = Duration.parse(context.settings.label.horizon)
    for learned in filter(None, (learned_events(version, horizon) for version in versions)):
        known = known.without(*learned)
    rows, newer = known.count(newer_than=known_then)
    if enough(newer.rows, newer.rarer, limits, task):
        newest = known.newer_than(known_then).frame(at_most=limits.max_rows, seed=limits.seed, rows=newer.rows)
        outcomes, source = _not_learned(RealisedBasis.of(newest, spine), spine, versions)
        if not source or _is_enough(outcomes, limits, task):
            return outcomes, {"rows_from": NEW_LABELS, "known_rows": _known_rows(outcomes)} | source
    frame = known.frame(at_most=limits.max_rows, seed=limits.seed, rows=rows)
    outcomes, source = _not_learned(RealisedBasis.of(frame, spine), spine, versions)
    then = pc.less_equal(outcomes.frame.rows.column(LABEL_KNOWN_AT), pa.scalar(known_then, TIMESTAMP))
    held_out = int(pc.sum(then.cast(pa.int64())).as_py() or 0)
    known_rows = _known_rows(outcomes)
    return outcomes, {"rows_from": HOLDOUT, "known_rows": known_rows, "holdout_rows": held_out} | source


def _held_out(
    context: StageContext,
    spine: LabelSpine,
    after: datetime,
    move: Recalibration,
    versions: Sequence[ModelVersion],
    bases: Mapping[str, Basis],
) -> tuple[RowOutcomes, dict[str, Any]]:
    """Return the outcomes by which a recalibrated champion is judged: those that no recalibration learned from.

    Raises:
        LabelError: If there is none.
        StageError: If it was moved by a basis that the use case does not have.
    """
    if move.basis not in bases:
        raise StageError(
            f"It was recalibrated by {move.basis} outcomes, which {context.name} does not have.",
            hint="Recalibrate again, by a basis that there is.",
        )
    found = bases[move.basis].outcomes(context, spine, after=after, known_after=move.known_after)
    outcomes, source = _not_learned(found, spine, versions)
    return outcomes, {
        "rows_from": HELD_OUT,
        "known_rows": _known_rows(outcomes),
        "recalibrated_by": move.basis,
        "judged_by": "proper scores",
        "known_after": move.known_after.isoformat() if move.known_after else None,
    } | source


def _not_learned(
    outcomes: RowOutcomes, spine: LabelSpine, versions: Sequence[ModelVersion]
) -> tuple[RowOutcomes, dict[str, Any]]:
    """Return the outcomes without those that a recalibration learned from, and how many were left out.

    Raises:
        LabelError: If none is left.
    """
    learned = left_out(versions, outcomes.frame.rows, spine)
    if not learned.any():
        return outcomes, {}
    if learned.all():
        raise LabelError("Every row with an outcome was learned from.", hint="Raise recalibration.holdout.")
    return outcomes.part(~learned), {"left_out_as_learned": int(learned.sum())}


def _is_enough(outcomes: RowOutcomes, limits: GateSettings, task: Task) -> bool:
    rarer = int(min(outcomes.events, outcomes.others)) if task.is_binary else 0
    if task.is_multiclass:
        rarer = int(np.bincount(outcomes.targets.astype(np.int64), minlength=len(task.classes)).min())
    return enough(outcomes.targets.size, rarer, limits, task)


def _known_rows(outcomes: RowOutcomes) -> int:
    """Return how many labelled rows there were, where these are a sample; else how many they are."""
    return outcomes.frame.known_rows if outcomes.frame.sampled else outcomes.frame.rows.num_rows


def score(
    ws: Workspace,
    spine: LabelSpine,
    version: ModelVersion,
    frame: LabelFrame,
    trusted_types: Collection[str] = (),
    *,
    digest: str = "",
) -> tuple[Vector, pa.Table]:
    """Score a label frame through the feature client.

    Args:
        ws: The workspace.
        spine: The label spine.
        version: The version.
        frame: The rows.
        trusted_types: Types that the stored model may hold beyond the platform's own.
        digest: Which files of it are scored with; empty: those on record.

    Returns:
        Predictions, shape (rows,), of several classes (rows, classes), and the rows with the looked-up features; both
        in the frame's order.

    Raises:
        StageError: If not every row came back.
    """
    rows = frame.rows.drop_columns([spine.label, LABEL_KNOWN_AT])
    classes = spine.settings.kind_of_task.classes
    scored = ws.fe.score_batch_arrow(
        model_uri=version.uri, df=rows, trusted_types=trusted_types, digest=digest, classes=classes
    )
    # Scoring promises no order; the frame is sorted by these, and they are unique.
    scored = scored.sort_by(spine.order).combine_chunks()
    keys = list(spine.primary_keys)
    if scored.num_rows != rows.num_rows or not scored.select(keys).equals(rows.select(keys).combine_chunks()):
        raise StageError(
            f"{version.uri} gave {scored.num_rows} rows for {rows.num_rows}, or rows of other keys.",
            hint="Predictions cannot be held against labels; report this.",
        )
    predicted, rest = scored.column(PREDICTION), scored.drop_columns([PREDICTION])
    if classes:
        return matrix(predicted, len(classes)), rest
    return np.asarray(predicted.to_numpy(), dtype=np.float64), rest


def _score_champion(
    context: StageContext, spine: LabelSpine, version: ModelVersion, frame: LabelFrame, trusted_types: Collection[str]
) -> Vector:
    """Score with the champion; what keeps it from scoring names it, and the commands that lead out."""
    try:
        return score(context.ws, spine, version, frame, trusted_types)[0]
    except PlatformError as error:
        raise StageError(
            f"The champion, version {version.version} of {version.name}, could not score: {error.message}",
            hint=f"{error.hint} {champions.way_out(context.namespace)}".strip(),
        ) from error


def training_labels(ws: Workspace, namespace: Namespace, spine: LabelSpine, version: ModelVersion) -> pa.Table:
    """Return the labelled spine rows that a version was fitted on; the label's column is called `label`.

    Raises:
        LabelError: If none of them is there.
    """
    trained_as_of, through = fitted_as_of(version), time_of(version, TRAINED_THROUGH_TAG)
    start = training_start(spine.settings.training, trained_as_of)
    # The training's own sample, cut where it was cut: one of the fitted rows alone would be another.
    rows = known_labels(ws, namespace, spine, trained_as_of, after=start).rows
    rows = rows.filter(pc.less_equal(rows.column(spine.prediction_time), pa.scalar(through, TIMESTAMP)))
    if not rows.num_rows:
        raise LabelError(f"No label that version {version.version} of {version.name} was fitted on is there any more.")
    labels = rows.column(spine.label).cast(pa.float64())
    return rows.drop_columns([spine.label]).append_column("label", labels)


def _feature_spec(ws: Workspace, version: ModelVersion) -> FeatureSpec:
    with TemporaryDirectory() as folder:
        return FeatureSpec.load(ws.registry.download(version, Path(folder), _SPEC))


def _feature_facts(context: StageContext, version: ModelVersion, spec: FeatureSpec, rows: pa.Table) -> FeatureFacts:
    looked_up = {column.output_name for column in spec.features} | {column.output_name for column in spec.computed}
    names = [name for name in spec.included if name in looked_up]
    trained = reference.load(context.ws, version).profile
    missing = {name: rows.column(name).is_null(nan_is_null=True).cast(pa.int64()) for name in names}
    shares = {name: pc.sum(column).as_py() / rows.num_rows for name, column in missing.items()}
    newest: dict[str, datetime | None] = {}
    if context.settings.gate.features.max_age:
        tables = context.ws.tables
        for table in spec.tables:
            time_column = tables.describe(table.table_name).timeseries_column
            if time_column is not None:
                known: list[Filter] = [(time_column, "<=", context.as_of)]
                newest[table.table_name] = tables.largest(table.table_name, time_column, filters=known)
    counts = {name: trained[name].counts for name in names if name in trained}
    trained_shares = {name: count.nulls / max(count.rows, 1) for name, count in counts.items()}
    return FeatureFacts(null_share=shares, trained_null_share=trained_shares, newest=newest)


def _versions(context: StageContext, frame: LabelFrame, spec: FeatureSpec) -> dict[str, int]:
    """Return the Delta versions of the label frame's tables, and of the feature tables as they are now."""
    tables = context.ws.tables
    return {**frame.versions, **{table.table_name: tables.version(table.table_name) for table in spec.tables}}


def _signature(ws: Workspace, version: ModelVersion) -> ModelSignature:
    signature = ws.registry.signature(version)
    if signature is None:
        raise StageError(
            f"Version {version.version} of {version.name} has no signature.", hint="Log it with ws.fe.log_model."
        )
    return signature


def _seconds(
    ws: Workspace, spine: LabelSpine, version: ModelVersion, frame: LabelFrame, trusted_types: Collection[str]
) -> float:
    """Time to score 1,000 rows (the frame's first, repeated where it has fewer), the better of two tries."""
    places = np.arange(_TIMED_ROWS) % frame.rows.num_rows
    rows = frame.rows.drop_columns([spine.label, LABEL_KNOWN_AT]).take(places).combine_chunks()
    taken = []
    for _ in range(2):
        started = time.perf_counter()
        ws.fe.score_batch_arrow(
            model_uri=version.uri,
            df=rows,
            trusted_types=trusted_types,
            classes=spine.settings.kind_of_task.classes,
        )
        taken.append(time.perf_counter() - started)
    return min(taken)
