"""Which lookups of a model found a row: each join brings a key of its table along, null exactly where it found none."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from mlplatform.features.scoring import ScoringPlan
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
