"""Why a column of the training set holds no value: keys do not meet, values came later, nulls at the source."""

from __future__ import annotations

import datetime as dt
import re
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from mlplatform import FeatureFunction, FeatureLookup
from mlplatform.testing.empty_columns import empty_column
from mlplatform.workspace.local.workspace import LocalWorkspace

TIME = pa.timestamp("us", "UTC")
TABLE = "dev.x.features_history"


def day(number: int) -> dt.datetime:
    return dt.datetime(2024, 1, number, tzinfo=dt.UTC)


LABELLED = pa.table({"machine": ["A", "B"], "at": pa.array([day(10), day(12)], TIME), "tags": [["x"], None]})


def history(keys: list[str], days: list[int], values: list[float | None]) -> pa.Table:
    times = pa.array([day(number) for number in days], TIME)
    return pa.table({"key": pa.array(keys, pa.string()), "known_at": times, "mean": pa.array(values, pa.float64())})


def why(name: str, *, lookup_key: str = "machine", **rows: pa.Table) -> Any:
    lookup = FeatureLookup(TABLE, lookup_key, timestamp_lookup_key="at")
    function = FeatureFunction(udf_name="dev.x.ratio", input_bindings={"a": "load"}, output_name="ratio")
    use_case = SimpleNamespace(
        label_spine=lambda: SimpleNamespace(prediction_time="at"),
        namespace=SimpleNamespace(gold=lambda table: f"dev.x.gold_{table}"),
    )
    trainer: Any = SimpleNamespace(lookups=lambda: [lookup, function])
    with TemporaryDirectory() as folder, LocalWorkspace.open(root=folder) as ws:
        for table, content in rows.items():
            timed = {"key", "known_at"} <= set(content.column_names)
            keys = {"primary_keys": ("key", "known_at"), "timeseries_column": "known_at"} if timed else {}
            ws.tables.create(f"dev.x.{table}", content.schema, **keys)  # type: ignore[arg-type]
            ws.tables.append(f"dev.x.{table}", content)
        found = empty_column(ws, use_case, trainer, LABELLED, name)  # type: ignore[arg-type]
    assert found.cause.startswith(f"{name}: ")
    assert found.hint
    return found


@pytest.mark.parametrize(
    ("rows", "says", "is_wrong"),
    [
        (history(["A", "B"], [11, 20], [1.0, 1.0]), "became known after its prediction", False),
        (history(["A", "A"], [5, 20], [None, 1.0]), "became known after its prediction", False),
        (history(["a", "b"], [1, 1], [1.0, 1.0]), "no labelled row has a key.*'A'.*'a'", True),
        (history(["A", "B"], [1, 1], [None, None]), "null in every row of dev.x.features_history", True),
        (history(["A", "B"], [1, 1], [1.0, 2.0]), "holds 2 value.s. for 2 key.s., some known before", True),
        (history([], [], []), "has no row", True),
    ],
    ids=["later", "later, null before", "other keys", "null at the source", "lookback", "empty"],
)
def test_a_looked_up_column(rows: pa.Table, says: str, is_wrong: bool) -> None:
    found = why("mean", features_history=rows)
    assert re.search(says, found.cause), found.cause
    assert found.is_wrong is is_wrong
    # Keys and lookback are blamed only where they may be the cause.
    assert ("lookback" in found.hint) == ("some known before" in found.cause)
    assert ("keys" in found.hint) == ("has a key" in found.cause)


def test_a_key_that_is_itself_looked_up() -> None:
    found = why("mean", lookup_key="owner", features_history=history(["A"], [1], [1.0]))
    assert "looked up by owner" in found.cause


def test_a_function() -> None:
    found = why("ratio", features_history=history(["A"], [1], [1.0]))
    assert "dev.x.ratio gives null" in found.cause
    assert found.is_wrong


@pytest.mark.parametrize(
    ("values", "says", "is_wrong"),
    [([None, None], "null in every row of the spine", True), ([None, 3.0], "first value is of 2024-01-20", False)],
    ids=["never", "later"],
)
def test_a_column_of_the_spine(values: list[float | None], says: str, is_wrong: bool) -> None:
    spine = pa.table({"load": pa.array(values, pa.float64()), "at": pa.array([day(10), day(20)], TIME)})
    found = why("load", features_history=history(["A"], [1], [1.0]), gold_spine=spine)
    assert says in found.cause
    assert found.is_wrong is is_wrong
