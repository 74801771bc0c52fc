"""Labels of several classes: text or whole numbers in tables, the number of the class where anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import narwhals as nw
import pyarrow as pa

from mlplatform.errors import ConfigError
from mlplatform.types import arrow_type

if TYPE_CHECKING:
    from mlplatform.refine.spine import LabelSpine

_TAKEN, _NUMBERED = ("probabilities", "_predicted"), "_probability_"
"""What stands beside the keys of predictions of several classes, and no others: other tasks may call a key so."""


def class_number(column: str, classes: Sequence[str]) -> nw.Expr:
    """Return the place of a label's class, from 0 on, as a `double`; null where it is none of them.

    Args:
        column: The label's column: text, or whole numbers.
        classes: The declared classes, in order.
    """
    text = nw.col(column).cast(nw.String)
    # From the last one on, so that the first is looked at first.
    return reduce(
        lambda rest, place: nw.when(text == classes[place]).then(nw.lit(float(place))).otherwise(rest),
        range(len(classes) - 1, -1, -1),
        nw.lit(None).cast(nw.Float64),
    )


def class_text(number: nw.Expr, classes: Sequence[str]) -> nw.Expr:
    """Return the name of a class by its number, the other way round than `class_number`; null where that is.

    Args:
        number: The number.
        classes: The declared classes, in order.
    """
    return reduce(
        lambda rest, place: nw.when(number == float(place)).then(nw.lit(classes[place])).otherwise(rest),
        range(len(classes) - 1, -1, -1),
        nw.lit(None).cast(nw.String),
    )


def check_type(spine: LabelSpine) -> None:
    """Refuse a label that could not name a class, where the task has several, and names that predictions have then.

    Raises:
        ConfigError: If the label is neither text nor a whole number, or a key is called as a column of predictions is.
    """
    if not spine.settings.kind_of_task.is_multiclass:
        return
    kind, name = arrow_type(spine.label_type), type(spine).__name__
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind)):
        raise ConfigError(
            f"{name}.label_type is {spine.label_type!r}, and the task is multiclass.",
            hint='A class is named by text or by a whole number: label_type = "string", or "int".',
        )
    for column in (spine.label, *spine.primary_keys):
        if column not in _TAKEN and not column.startswith(_NUMBERED):
            continue
        raise ConfigError(
            f"{name}: {column!r} is a key or the label, and what a column of predictions of several classes is called.",
            hint="Give the column another name.",
        )
