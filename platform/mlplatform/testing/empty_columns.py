"""Why a column of the training set holds no value: none is known yet, or a lookup does not find it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import shown
from mlplatform.naming import ObjectName
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.lookups import FeatureLookup
from mlplatform.protocols.tables import TableInfo
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import SPINE
from mlplatform.training.trainer import Trainer
from mlplatform.use_case import UseCase

_LATER = "Choose a later time, a shorter label.horizon, or leave the column out (exclude_columns) until it has values."
_WRITTEN = "Look at the SQL that gives it, and at the quarantine; or leave it out (exclude_columns)."
_FIRST = "__first_known"


@dataclass(frozen=True)
class EmptyColumn:
    """A column without any value in the labelled rows.

    Attributes:
        cause: Why, as a sentence.
        hint: The way out.
        is_wrong: Whether it will stay so: false where values came later than the labelled rows, and training goes on.
    """

    cause: str
    hint: str
    is_wrong: bool


def empty_column(ws: Workspace, use_case: UseCase, trainer: Trainer, labelled: pa.Table, name: str) -> EmptyColumn:
    """Find out why a column of the training set is empty.

    Args:
        ws: The workspace.
        use_case: The use case, its features computed.
        trainer: Declares the lookups.
        labelled: The labelled rows.
        name: The column.
    """
    spine = use_case.label_spine()
    last: datetime = pc.max(labelled.column(spine.prediction_time)).as_py()
    for item in trainer.lookups():
        if not isinstance(item, FeatureLookup):
            if item.output_name == name:
                return EmptyColumn(
                    f"{name}: the function {item.udf_name} gives null for every labelled row.",
                    "Are its inputs null, or does it not handle what they hold?",
                    is_wrong=True,
                )
            continue
        table = ws.tables.describe(ObjectName.parse(str(item.table_name)))
        by_output = {
            item.output_name(feature): feature
            for feature in item.feature_names
            or [field for field in table.schema.names if field not in table.primary_keys]
        }
        if name in by_output:
            return _looked_up(ws, item, by_output[name], table, name, labelled)
    rows = ws.frames.read(use_case.namespace.gold(SPINE), columns=[name, spine.prediction_time])
    first = _one(ws, rows.filter(~nw.col(name).is_null()).select(first=nw.col(spine.prediction_time).min()))["first"]
    if first is None:
        return EmptyColumn(f"{name}: null in every row of the spine.", _WRITTEN, is_wrong=True)
    return EmptyColumn(
        f"{name}: its first value is of {shown(first)}, the last labelled prediction of {shown(last)}; "
        "the model learns nothing of it yet.",
        _LATER,
        is_wrong=False,
    )


def _looked_up(
    ws: Workspace, lookup: FeatureLookup, feature: str, table: TableInfo, name: str, labelled: pa.Table
) -> EmptyColumn:
    where, time = str(lookup.table_name), table.timeseries_column
    keys = [key for key in table.primary_keys if key != time]
    ours = list(lookup.lookup_key)
    rows = ws.frames.read(where, columns=list(dict.fromkeys([*keys, feature, *([time] if time else [])])))
    counts = _one(ws, rows.select(rows=nw.len(), values=nw.col(feature).count()))
    if not counts["rows"]:
        return EmptyColumn(f"{name}: {where} has no row.", "Are its inputs empty at this time?", is_wrong=True)
    if not counts["values"]:
        return EmptyColumn(f"{name}: null in every row of {where}.", _WRITTEN, is_wrong=True)
    if not set(ours) <= set(labelled.column_names):
        return EmptyColumn(
            f"{name}: null in every row of the training set; it is looked up by {', '.join(ours)}, itself looked up.",
            "Is what it is looked up by null, or of another spelling?",
            is_wrong=True,
        )
    # One row for each key: when its first value became known.
    known = rows.filter(~nw.col(feature).is_null())
    of_keys = known.group_by(*keys).agg(nw.col(time or keys[0]).min().alias(_FIRST))
    predicted = lookup.timestamp_lookup_key
    moments = nw.col(predicted) if time and predicted in labelled.column_names else nw.col(_FIRST)
    asked = ws.frames.of(labelled.select([column for column in labelled.column_names if column in {*ours, predicted}]))
    same = _one(
        ws,
        asked.join(of_keys, left_on=ours, right_on=keys, how="inner").select(
            rows=nw.len(),
            in_time=(nw.col(_FIRST) <= moments).cast(nw.Int64()).sum(),
            first=nw.col(_FIRST).min(),
            last=moments.max(),
        ),
    )
    if not same["rows"]:
        example = {key: str(labelled.column(key)[0].as_py()) for key in ours}
        other = {key: str(value) for key, value in _one(ws, of_keys.select(*keys).sort(*keys).head(1)).items()}
        return EmptyColumn(
            f"{name}: null in every row, as no labelled row has a key of {where}; they are such as {example}, there "
            f"such as {other}.",
            "Do the keys agree in spelling?",
            is_wrong=True,
        )
    if not same["in_time"]:
        return EmptyColumn(
            f"{name}: for each of the {labelled.num_rows} labelled rows the first value in {where} became known "
            f"after its prediction (the first of all at {same['first']:%Y-%m-%d}, the last prediction at "
            f"{same['last']:%Y-%m-%d}); the model learns nothing of it yet.",
            _LATER,
            is_wrong=False,
        )
    return EmptyColumn(
        f"{name}: null in every row of the training set, though {where} holds {counts['values']} value(s) for "
        f"{ws.frames.count(of_keys)} key(s), some known before a prediction.",
        "Is the lookback too short, or the value null in the newest row before each prediction?",
        is_wrong=True,
    )


def _one(ws: Workspace, frame: Frame) -> dict[str, Any]:
    row: dict[str, Any] = ws.frames.collect(frame, at_most=1, what="why a column is empty").to_pylist()[0]
    return row
