"""Data profiling's tables: the champion's predictions with the labels that became known, and its holdout as baseline.

Databricks profiles a table by itself: windows of it against each other and against a baseline table of the same
columns, and, where there is a label column, the model's quality. The predictions have no labels when they are written,
and nobody may change them; so that what is profiled is a table of its own, which each monitoring completes. Where there
is no data profiling, there are no such tables.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import LabelError
from mlplatform.features.probabilities import profiled
from mlplatform.features.training_set import PREDICTION
from mlplatform.gate import evaluation
from mlplatform.monitoring.details import ProfilingUpdate
from mlplatform.monitoring.late_labels import LABEL as KNOWN_LABEL
from mlplatform.monitoring.late_labels import labelled_predictions, looked_at_since
from mlplatform.naming import CHAMPION, Namespace, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.declared_table import declare
from mlplatform.protocols.operations import InferenceProfile
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.class_labels import class_text
from mlplatform.refine.spine import LabelSpine
from mlplatform.statistics.class_metrics import codes
from mlplatform.training.label_frame import known_labels
from mlplatform.training.version_tags import TRAINED_AS_OF_TAG, TRAINED_THROUGH_TAG, fitted_as_of

LABELLED, BASELINE = "labelled_predictions", "profile_baseline"
LABEL, VERSION = "label", "model_version"


def tables(ws: Workspace, namespace: Namespace) -> list[ObjectName]:
    """Return the tables that profiling needs; none where there is no profiling."""
    if not ws.monitors.offered:
        return []
    return [namespace.gold(LABELLED), namespace.gold(BASELINE)]


def create_tables(ws: Workspace, namespace: Namespace, spine: LabelSpine) -> None:
    """Create them where they are missing."""
    # A class is shown by its name.
    kind = pa.string() if spine.settings.kind_of_task.is_multiclass else pa.float64()
    schema = pa.schema(
        [
            *(column.field().with_nullable(False) for column in spine.key_columns),
            pa.field(VERSION, pa.int64(), nullable=False),
            pa.field(PREDICTION, kind, nullable=False),
            pa.field(LABEL, kind, metadata={"comment": "null: not known yet"}),
        ]
    )
    descriptions = ("The champion's predictions, with the labels known by now", "The champion's holdout")
    for name, description in zip(tables(ws, namespace), descriptions, strict=False):
        declare(
            ws,
            name,
            schema,
            primary_keys=(*spine.primary_keys, VERSION),
            timeseries_column=spine.prediction_time,
            description=description,
        )


def ensure(ws: Workspace, namespace: Namespace, spine: LabelSpine, settings: UseCaseSettings) -> str:
    """Create or update the profile; return its state, see `Monitors.ensure`."""
    baseline = namespace.gold(BASELINE)
    filled = ws.monitors.offered and _version_of_baseline(ws, namespace) is not None
    profile = InferenceProfile(
        prediction=PREDICTION,
        timestamp=spine.prediction_time,
        model_version=VERSION,
        task=settings.kind_of_task.profiled_as,
        label=LABEL,
        baseline=baseline if filled else None,
        schedule=settings.monitoring.profile_schedule,
        timezone=settings.jobs.timezone,
    )
    return ws.monitors.ensure(namespace.gold(LABELLED), profile)


def update(context: StageContext, spine: LabelSpine, trusted_types: Collection[str]) -> ProfilingUpdate | None:
    """Add predictions and labels up to `as_of`, renew the baseline after a promotion, and refresh the profile.

    Args:
        context: The run.
        spine: The label spine.
        trusted_types: Types beyond the platform's own allow-list that the model may hold.

    Returns:
        What was done; None where there is no profiling, or no setup has made its tables.
    """
    ws, namespace = context.ws, context.namespace
    names = tables(ws, namespace)
    if not names or not all(ws.tables.exists(name) for name in names):
        return None
    done = ProfilingUpdate(rows=_add(context, spine))
    aliases = ws.registry.aliases(context.model)
    before = _version_of_baseline(ws, namespace)
    if CHAMPION in aliases and before != aliases[CHAMPION]:
        version = ws.registry.get(context.model, aliases[CHAMPION])
        done.baseline_rows = _renew_baseline(context, spine, version, trusted_types)
        if before is None and done.baseline_rows:
            done.profile = ensure(ws, namespace, spine, context.settings)
    done.refresh = ws.monitors.refresh(names[0])
    return done


def _add(context: StageContext, spine: LabelSpine) -> int:
    """Merge what is new or has another label now; return how many rows."""
    name, keys = context.namespace.gold(LABELLED), [*spine.primary_keys, VERSION]
    frames, since = context.ws.frames, looked_at_since(context.settings, context.as_of)
    predictions = labelled_predictions(context, spine, [CHAMPION])
    task, known = context.settings.kind_of_task, nw.col(KNOWN_LABEL)
    shown = class_text(known, task.classes) if task.is_multiclass else known
    rows = predictions.select(*keys, PREDICTION, shown.alias(LABEL))
    existing = frames.read(name, columns=[*keys, LABEL], filters=[(spine.prediction_time, ">", since)])
    existing = existing.select(*keys, nw.col(LABEL).alias("_before"), nw.lit(1).alias("_exists"))
    label, before = nw.col(LABEL), nw.col("_before")
    same = (label == before) | (label.is_null() & before.is_null())
    new = rows.join(existing, on=keys, how="left").filter(nw.col("_exists").is_null() | ~same.fill_null(value=False))
    with frames.staged(new.select(*keys, PREDICTION, LABEL)) as changed:
        return context.ws.tables.merge(name, changed).rows if frames.count(changed) else 0


def _renew_baseline(
    context: StageContext, spine: LabelSpine, version: ModelVersion, trusted_types: Collection[str]
) -> int:
    """Score the version's holdout, and make it the baseline; return its rows."""
    through = version.tags.get(TRAINED_THROUGH_TAG)
    if not through or TRAINED_AS_OF_TAG not in version.tags:
        return 0  # adopted: what it was trained on is not known
    trained = fitted_as_of(version)
    try:
        frame = known_labels(context.ws, context.namespace, spine, trained, after=parse_as_of(through))
    except LabelError:
        return 0
    predictions, _ = evaluation.score(context.ws, spine, version, frame, trusted_types)
    name, count = context.namespace.gold(BASELINE), int(frame.rows.num_rows)
    rows = frame.rows.select(list(spine.primary_keys))
    rows = rows.append_column(VERSION, pa.array(np.full(count, version.version), pa.int64()))
    task = context.settings.kind_of_task
    labels: pa.ChunkedArray[Any] = frame.rows.column(spine.label).cast(pa.float64())
    rows = rows.append_column(PREDICTION, profiled(predictions, task).column(PREDICTION))
    if task.is_multiclass:
        names = np.asarray(task.classes, dtype=object)[codes(np.asarray(labels.to_numpy()))]
        labels = pa.chunked_array([names.tolist()], pa.string())
    rows = rows.append_column(LABEL, labels)
    context.ws.tables.overwrite(name, rows.cast(context.ws.tables.describe(name).schema))
    return count


def _version_of_baseline(ws: Workspace, namespace: Namespace) -> int | None:
    name = namespace.gold(BASELINE)
    if not ws.tables.exists(name):
        return None
    version: int | None = ws.tables.largest(name, VERSION)
    return version
