"""Data profiling's tables: the champion's predictions with the labels that became known, and its holdout as baseline.

Databricks profiles a table by itself: windows of it against each other and against a baseline table of the same
columns, and, where there is a label column, the model's quality. The predictions have no labels when they are written,
and nobody may change them; so that what is profiled is a table of its own, which each monitoring completes. Where there
is no data profiling, there are no such tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import parse_as_of
from mlplatform.errors import LabelError
from mlplatform.gate import evaluation
from mlplatform.monitoring import performance_check
from mlplatform.monitoring.late_labels import LABEL as KNOWN_LABEL
from mlplatform.naming import CHAMPION, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.protocols.operations import InferenceProfile
from mlplatform.protocols.registry import ModelVersion
from mlplatform.scoring.scorer import PREDICTION
from mlplatform.training.label_frame import known_labels
from mlplatform.training.version_tags import TRAINED_AS_OF_TAG, TRAINED_THROUGH_TAG

LABELLED, BASELINE = "labelled_predictions", "profile_baseline"
LABEL, VERSION = "label", "model_version"


def tables(context: StageContext) -> list[ObjectName]:
    """Return the tables that profiling needs; none where there is no profiling."""
    if not context.ws.monitors.offered:
        return []
    return [context.namespace.gold(LABELLED), context.namespace.gold(BASELINE)]


def create_tables(context: StageContext) -> None:
    """Create them where they are missing."""
    spine = context.use_case.label_spine()
    schema = pa.schema(
        [
            *(column.field().with_nullable(False) for column in spine.key_columns),
            pa.field(VERSION, pa.int64(), nullable=False),
            pa.field(PREDICTION, pa.float64(), nullable=False),
            pa.field(LABEL, pa.float64(), metadata={"comment": "null: not known yet"}),
        ]
    )
    descriptions = ("The champion's predictions, with the labels known by now", "The champion's holdout")
    for name, description in zip(tables(context), descriptions, strict=False):
        context.ws.tables.create(
            name,
            schema,
            primary_keys=(*spine.primary_keys, VERSION),
            timeseries_column=spine.prediction_time,
            description=description,
        )


def ensure(context: StageContext) -> str:
    """See to the profile; return what stands, see `Monitors.ensure`."""
    settings = context.use_case.settings
    baseline = context.namespace.gold(BASELINE)
    filled = context.ws.monitors.offered and _version_of_baseline(context) is not None
    profile = InferenceProfile(
        prediction=PREDICTION,
        timestamp=context.use_case.label_spine().prediction_time,
        model_version=VERSION,
        # As a regression also where the label is a class: the prediction is then a probability, which would never equal
        # a class. The mean squared error of a probability is the Brier score.
        task="regression",
        label=LABEL,
        baseline=baseline if filled else None,
        schedule=settings.monitoring.profile_schedule,
        timezone=settings.jobs.timezone,
    )
    return context.ws.monitors.ensure(context.namespace.gold(LABELLED), profile)


def update(context: StageContext) -> dict[str, Any] | None:
    """Add predictions and labels up to `as_of`, renew the baseline after a promotion, and refresh the profile.

    Returns:
        What was done; None where there is no profiling, or no setup has made its tables.
    """
    names = tables(context)
    if not names or not all(context.ws.tables.exists(name) for name in names):
        return None
    done: dict[str, Any] = {"rows": _add(context)}
    aliases = context.ws.registry.aliases(context.use_case.model)
    before = _version_of_baseline(context)
    if CHAMPION in aliases and before != aliases[CHAMPION]:
        version = context.ws.registry.get(context.use_case.model, aliases[CHAMPION])
        done["baseline_rows"] = _renew_baseline(context, version)
        if before is None and done["baseline_rows"]:
            done["profile"] = ensure(context)
    done["refresh"] = context.ws.monitors.refresh(names[0])
    return done


def _add(context: StageContext) -> int:
    """Merge what is new or has another label now; return how many rows."""
    name, spine = context.namespace.gold(LABELLED), context.use_case.label_spine()
    keys = [*spine.primary_keys, VERSION]
    rows = performance_check.predictions_with_labels(context, CHAMPION).rows
    rows = rows.rename_columns([LABEL if column == KNOWN_LABEL else column for column in rows.column_names])
    rows = rows.select([*keys, PREDICTION, LABEL])
    there = context.ws.tables.to_arrow(name, columns=[*keys, LABEL])
    there = there.rename_columns([*keys, "before"]).append_column(
        "there", pa.array([True] * there.num_rows, pa.bool_())
    )
    joined = rows.join(there, keys=keys, join_type="left outer")
    both_null = pc.and_(pc.is_null(joined.column(LABEL)), pc.is_null(joined.column("before")))
    same = pc.coalesce(pc.or_kleene(pc.equal(joined.column(LABEL), joined.column("before")), both_null), both_null)
    known = pc.is_valid(joined.column("there"))
    changed = joined.filter(pc.invert(pc.and_(known, same))).select(rows.column_names)
    if changed.num_rows:
        context.ws.tables.merge(name, changed.cast(context.ws.tables.describe(name).schema))
    return int(changed.num_rows)


def _renew_baseline(context: StageContext, version: ModelVersion) -> int:
    """Score the version's holdout, and make it the baseline; return its rows."""
    spine = context.use_case.label_spine()
    through, known = version.tags.get(TRAINED_THROUGH_TAG), version.tags.get(TRAINED_AS_OF_TAG)
    if not through or not known:
        return 0  # adopted: what it was trained on is not known
    try:
        frame = known_labels(context.ws, context.namespace, spine, parse_as_of(known), after=parse_as_of(through))
    except LabelError:
        return 0
    predictions, _ = evaluation.score(context.ws, spine, version, frame, context.use_case.trainer.trusted_types)
    name, count = context.namespace.gold(BASELINE), int(frame.rows.num_rows)
    rows = frame.rows.select(list(spine.primary_keys))
    rows = rows.append_column(VERSION, pa.array(np.full(count, version.version), pa.int64()))
    rows = rows.append_column(PREDICTION, pa.array(predictions))
    rows = rows.append_column(LABEL, frame.rows.column(spine.label).cast(pa.float64()))
    context.ws.tables.overwrite(name, rows.cast(context.ws.tables.describe(name).schema))
    return count


def _version_of_baseline(context: StageContext) -> int | None:
    name = context.namespace.gold(BASELINE)
    if not context.ws.tables.exists(name):
        return None
    version: int | None = context.ws.tables.largest(name, VERSION)
    return version
