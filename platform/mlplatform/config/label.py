"""Settings of the label: when it becomes known, and what it can be."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from mlplatform.config import task_rules
from mlplatform.config.base import Settings
from mlplatform.config.values import DurationText, PositiveText

ClassName = Annotated[str, BeforeValidator(task_rules.class_name, json_schema_input_type=str | int)]
"""A value of the label of several classes."""


class LabelSettings(Settings):
    """When a label becomes known."""

    horizon: PositiveText = Field(description="Time from the prediction to the moment its label is mature.")
    event_above: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Regression: a label above this is an event (late, say); adds the metric `event_roc_auc`.",
    )
    quantile: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Of the task quantile: which one is predicted; 0.9 is what nine of ten labels stay at or below.",
    )
    event_delay: DurationText = Field(
        default="0 days",
        description="Dated events: how long after it happened an event may become known. What lies nearer to as_of "
        "does not count as observed.",
    )
    classes: tuple[ClassName, ...] = Field(
        default=(),
        description="Of the task multiclass: the values of the label, at least three, text or whole numbers, in the "
        "order of the probabilities. Later ones are added at the end.",
    )
