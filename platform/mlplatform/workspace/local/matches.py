"""Which lookups of a model found a row: each join brings a key of its table along, null exactly where it found none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from mlplatform.features.scoring import UNMATCHED_TABLES, ScoringPlan, bare_name
from mlplatform.features.training_set import Join, LookupPlan
from mlplatform.types import normal_type


def with_matches(scoring: ScoringPlan) -> LookupPlan:
    """Return what is looked up and computed, each join's key under the name of its match."""
    plan = scoring.lookups
    if not scoring.matched:
        return plan
    names = iter(scoring.matched)
    fields, stages = list(plan.schema), []
    for stage in plan.stages:
        steps: list[Join] = []
        for step in stage:
            if isinstance(step, Join):
                name, key = next(names), step.keys[0][1]
                fields.append(pa.field(name, normal_type(scoring.tables[step.table].schema.field(key).type)))
                steps.append(replace(step, outputs=(*step.outputs, (key, name))))
        stages.append(tuple(steps) or stage)
    return LookupPlan(stages=tuple(stages), defaults=plan.defaults, schema=pa.schema(fields))


def unmatched(scored: pa.RecordBatch, matched: Sequence[str]) -> pa.Array[Any]:
    """Return, for each scored row, the bare names of the feature tables that held no row for it.

    Args:
        scored: The rows.
        matched: Their columns that say whether a lookup found a row.
    """
    missing = np.zeros((scored.num_rows, len(matched)), dtype=bool)
    for place, name in enumerate(matched):
        missing[:, place] = ~scored.column(name).to_numpy(zero_copy_only=False).astype(bool)
    tables = np.array([bare_name(name) for name in matched], dtype=object)
    offsets = np.concatenate([[0], np.cumsum(missing.sum(axis=1))]).astype(np.int32)
    values = pa.array(tables[np.nonzero(missing)[1]] if matched else [], pa.string())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=UNMATCHED_TABLES)
