"""Declared columns of exact types: both engines read the same from text, and look up, train and score with them."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

import mlflow.sklearn
import pyarrow as pa
import pytest
from mlflow.models import infer_signature
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from mlplatform import Column, FeatureLookup, SilverTable, Source
from mlplatform.columns import arrow_schema
from mlplatform.errors import TableError

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

TEXTS = [
    *("1", "-7", "+3", " 7 ", "", "abc", "1.5", "-7.0", "127", "128", "-128", "-129", "32767", "32768", "-32769"),
    *("12.34", "12.345", "12.340", ".5", "5.", "-.25", "9999.99", "10000", "10000.00", "-9999.99", "1e2", "1E-1"),
    *("NaN", "inf", "1,5", "0x1F", "1d", "1_000", "--", "9" * 40),
]
_PLAIN = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)$")


class Landed(Source):
    """Numbers as text."""

    name = "landed"
    files = "landed/*.csv"
    columns = ("n", "small", "money", "whole")


class Read(SilverTable):
    """The text in exact types, as it stands and by SQL."""

    name = "read"
    source = Landed
    keys = ("n",)
    known_at = "_available_at"
    columns = (
        Column("n", "int", "Number of the text"),
        Column("small", "short", "A small integer"),
        Column("money", "decimal(6,2)", "A decimal"),
        Column("whole", "decimal(4,0)", "A decimal without decimals"),
        Column("small_sql", "smallint", "Of a computed number", sql="try_cast(small AS double) * 10"),
        Column("money_sql", "decimal(6,2)", "Of a computed number", sql="try_cast(money AS double) / 4"),
    )


def _whole(text: str, least: int, most: int) -> int | None:
    text = text.strip()
    return int(text) if re.fullmatch(r"[+-]?\d+", text) and least <= int(text) <= most else None


def _exact(text: str, whole: int, scale: int) -> Decimal | None:
    text = text.strip()
    if not _PLAIN.match(text):
        return None
    number = Decimal(text)
    if abs(number) >= 10**whole or number != round(number, scale):
        return None
    return number.quantize(Decimal(1).scaleb(-scale))


def _float(text: str) -> float | None:
    try:
        return float(text) if re.fullmatch(r"\s*[+-]?[\d.]+([eE][+-]?\d+)?\s*", text) else None
    except ValueError:
        return None


def test_text_is_read_in_its_type_or_not_at_all(ws: Workspace, fresh: Any) -> None:
    name = fresh("landed")
    ws.tables.create(name, pa.schema([(column, pa.string()) for column in Landed.columns]))
    numbers = [str(number) for number in range(len(TEXTS))]
    ws.tables.append(name, pa.table([numbers, *[TEXTS] * 3], names=list(Landed.columns)))
    landed = ws.tables.read(name)
    rows = landed.select(*(column.alias(name) for name, column in Read().select().items())).toArrow()
    assert rows.schema.field("money").type == pa.decimal128(6, 2)
    assert rows.schema.field("small").type == pa.int16()
    read = {TEXTS[row["n"]]: row for row in rows.to_pylist()}
    for text in TEXTS:
        assert read[text]["small"] == _whole(text, -(2**15), 2**15 - 1), text
        assert read[text]["money"] == _exact(text, 4, 2), text
        assert read[text]["whole"] == _exact(text, 4, 0), text
        number = _float(text)
        if number is not None and abs(number) < 1e15:
            tenfold, quarter = number * 10, Decimal(str(number / 4)).quantize(Decimal("0.01"), ROUND_HALF_UP)
            fits = tenfold.is_integer() and abs(tenfold) < 2**15
            assert read[text]["small_sql"] == (int(tenfold) if fits else None), text
            assert read[text]["money_sql"] == (quarter if abs(quarter) < 10_000 else None), text


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("smallint", [1, 32767, -32768]),
        ("decimal(6,2)", [Decimal("1.00"), Decimal("9999.99"), Decimal("-0.01")]),
    ],
)
def test_a_feature_table_of_exact_types_is_looked_up_trained_on_and_scored_with(
    ws: Workspace, fresh: Any, kind: str, keys: list[Any]
) -> None:
    table, model_name = fresh("exact"), fresh("model")
    columns = (
        Column("k", kind, "The key", nullable=False),
        Column("small", "smallint", "A small integer"),
        Column("money", "decimal(12,2)", "A decimal"),
    )
    schema = arrow_schema(columns)
    money = [Decimal("0.10"), Decimal("9999999999.99"), None]
    rows = pa.table([pa.array(keys, schema.field("k").type), [7, None, -7], money], schema=schema)
    ws.fe.create_table(name=table, primary_keys=["k"], schema=schema)
    ws.fe.write_table(name=table, df=rows)
    ws.fe.write_table(name=table, df=rows.slice(0, 1))
    assert ws.tables.describe(table).schema.equals(schema)
    assert sorted(ws.fe.read_table(name=table).toArrow().to_pylist(), key=str) == sorted(rows.to_pylist(), key=str)
    spine = pa.table({"k": pa.array([*keys, keys[0], None], schema.field("k").type), "y": [0.0, 1.0, 2.0, 3.0, 4.0]})
    training_set = ws.fe.create_training_set(
        df=spine, feature_lookups=[FeatureLookup(table, "k")], label="y", exclude_columns=["k"]
    )
    looked_up = training_set.to_arrow().sort_by("y")
    assert looked_up.column("money").to_pylist() == [*money, money[0], None]
    assert looked_up.schema.field("money").type == pa.decimal128(12, 2)
    frame = training_set.to_pandas().sort_values("y")
    features = ["money", "small"]
    assert {str(frame[name].dtype) for name in features} == {"float64"}
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(frame[features], frame["y"])
    ws.registry.ensure_model(model_name)
    info = ws.fe.log_model(
        model=model,
        artifact_path="model",
        flavor=mlflow.sklearn,
        training_set=training_set,
        registered_model_name=model_name,
        skops_trusted_types=["numpy.dtype"],
        # MLflow has no decimals: the signature is that of the frame that the model is given.
        signature=infer_signature(frame[features], model.predict(frame[features])),
    )
    uri = f"models:/{model_name}/{info.registered_model_version}"
    scored = ws.fe.score_batch_arrow(model_uri=uri, df=spine.select(["k"]))
    assert scored.column("prediction").null_count == 0
    assert scored.schema.field("money").type == pa.decimal128(12, 2)


def test_a_float_goes_into_a_decimal_column_only_if_it_is_that_decimal(ws: Workspace, fresh: Any) -> None:
    name = fresh("decimals")
    ws.tables.create(name, pa.schema([pa.field("paid", pa.decimal128(8, 2))]))
    ws.tables.append(name, pa.table({"paid": [0.1, 0.29, -123456.78, None]}))
    ws.tables.append(name, pa.table({"paid": pa.array([0.1, 1.25], pa.float32())}))
    paid = ws.tables.to_arrow(name, at_most=10**6).column("paid").to_pylist()
    numbers = ["0.10", "0.29", "-123456.78", "0.10", "1.25"]
    assert sorted(value for value in paid if value is not None) == sorted(map(Decimal, numbers))
    for wrong in (0.123, 1e6, float("nan")):
        with pytest.raises(TableError, match=f"Column paid of {name} is decimal128.8, 2.; .* does not fit"):
            ws.tables.append(name, pa.table({"paid": [wrong]}))
    assert ws.tables.to_arrow(name, at_most=10**6).num_rows == 6


def test_whole_numbers_go_into_a_decimal_column_that_has_room_for_them(ws: Workspace, fresh: Any) -> None:
    name = fresh("counts")
    ws.tables.create(name, pa.schema([pa.field("loans", pa.decimal128(10, 2))]))
    ws.tables.append(name, pa.table({"loans": pa.array([12345, -1, None], pa.int64())}))
    loans = ws.tables.to_arrow(name, at_most=10**6).column("loans").to_pylist()
    assert sorted(value for value in loans if value is not None) == [Decimal(-1), Decimal(12345)]
    with pytest.raises(TableError, match="Column loans of"):
        ws.tables.append(name, pa.table({"loans": pa.array([10**9], pa.int64())}))
