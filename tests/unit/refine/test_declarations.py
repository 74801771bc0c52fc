"""What a use case declares of its tables and its model: taken over where it is said once, refused where it misses."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform import Column, FeatureFunctionSpec, FeatureTable, LabelSpine, SilverTable, Source, Trainer
from mlplatform.columns import Described
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import ConfigError, FeatureStoreError, TableError, UsageError
from mlplatform.naming import Namespace

SETTINGS = UseCaseSettings.model_validate(
    {"owner": "me", "label": {"horizon": "1 month"}, "gate": {"floor": 0.5}, "training": {"seed": 3}}
)


class Landed(Source):
    """What lands."""

    name = "legs"
    files = "legs/*.csv"
    columns = ("leg", "carrier", "left", "miles")


class Legs(SilverTable):
    """Legs flown.

    More of it stands here.
    """

    name = "legs"
    source = Landed
    keys = ("leg",)
    timeseries = True
    known_at = "left_at"
    columns = (
        Column("leg", "string", "Number of the leg"),
        Column("left_at", "timestamp", "When it left", sql="try_to_timestamp(left, 'yyyy-MM-dd')"),
        Column("carrier", "string", "Who flies it"),
        Column("miles", "double", "How far"),
    )


class Spine(LabelSpine):
    """Predicts each leg when it leaves."""

    table = Legs
    entity_keys = ("leg",)
    prediction_time = "left_at"
    label = "late"
    inputs = ("silver_legs",)

    def labels(self, ws: Any) -> Any:
        return ws


class Plain(Described):
    """One line"""


class Undescribed(Plain):
    pass


class Its(Plain):
    description = "What it says itself."


class Below(Described):
    """
    Begins a line below.

    And goes on.
    """


@pytest.mark.parametrize(
    ("described", "text"),
    [
        (Legs, "Legs flown"),
        (Plain, "One line"),
        (Undescribed, ""),
        (Its, "What it says itself."),
        (Below, "Begins a line below"),
        (Landed, "What lands"),
    ],
)
def test_a_table_is_described_by_the_first_line_of_its_own_docstring(described: type[Described], text: str) -> None:
    assert described().description == text


def test_the_sql_of_a_column_is_no_part_of_its_field() -> None:
    for sql in (None, "upper(x)"):
        field = Column("x", "date", "A day", nullable=False, sql=sql).field()
        assert field.equals(pa.field("x", pa.date32(), nullable=False))
        assert field.metadata == {b"comment": b"A day"}


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("", "Known: "),
        ("xyz", "Known: "),
        ("decimel(10,2)", "Did you mean decimal(10,2)?"),
        ("smalint", "Did you mean smallint"),
        ("decimal(39,2)", "Precision is 1 to 38 digits, scale at most the precision"),
        ("decimal(2,3)", "Precision is 1 to 38 digits, scale at most the precision"),
        ("decimal", "Precision is 1 to 38 digits, scale at most the precision"),
        ("array<int>", "a column for each"),
        ("binary", "Encode it as text"),
        ("tinyint", "Declare it smallint"),
        ("byte", "Declare it smallint"),
        ("timestamp_ntz", "Give it the zone UTC"),
    ],
)
def test_a_type_that_no_column_may_have_is_refused_with_those_that_are(kind: str, hint: str) -> None:
    allowed = "string, boolean, smallint, int, bigint, float, double, date, timestamp and decimal"
    with pytest.raises(TableError, match=rf"^Column x: {re.escape(repr(kind))} is no type .*: {allowed}") as caught:
        Column("x", kind, "A column").field()
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "arrow"),
    [
        ("decimal(12,2)", pa.decimal128(12, 2)),
        ("DECIMAL(38, 0)", pa.decimal128(38, 0)),
        ("smallint", pa.int16()),
        ("short", pa.int16()),
        ("Double", pa.float64()),
        ("long", pa.int64()),
    ],
)
def test_a_column_may_be_of_any_type_of_spark_that_holds_one_value(kind: str, arrow: pa.DataType) -> None:
    assert Column("x", kind, "A column").field().type == arrow


# --- the spine ---


def test_a_spine_takes_its_columns_from_its_silver_table() -> None:
    assert [column.name for column in Spine.key_columns] == ["leg", "left_at"]
    assert [column.name for column in Spine.columns] == ["carrier", "miles"]
    schema = Spine(SETTINGS).spine_schema()
    assert schema.names == ["leg", "left_at", "carrier", "miles"]
    assert [field.nullable for field in schema] == [False, False, True, True]
    assert schema.field("miles").metadata == {b"comment": b"How far"}
    # The silver table's own declaration is untouched.
    assert all(column.nullable for column in Legs.columns)


def test_labels_have_the_keys_the_label_and_when_it_was_known() -> None:
    schema = Spine(SETTINGS).label_schema()
    assert schema.names == ["leg", "left_at", "late", "label_known_at"]
    assert not any(field.nullable for field in schema)


@pytest.mark.parametrize(
    ("keys", "time", "nearest"),
    [(("legg",), "left_at", "leg"), (("leg",), "leftat", "left_at"), (("leg", "carier"), "left_at", "carrier")],
)
def test_a_key_that_the_silver_table_lacks_is_refused_with_the_nearest(
    keys: tuple[str, ...], time: str, nearest: str
) -> None:
    with pytest.raises(ConfigError, match="is no column of Legs") as caught:
        type("Wrong", (Spine,), {"entity_keys": keys, "prediction_time": time})
    assert f"Did you mean {nearest}" in caught.value.hint


def test_a_spine_without_a_table_and_without_rows_is_refused() -> None:
    class Bare(LabelSpine):
        entity_keys = ("leg",)
        prediction_time = "left_at"
        label = "late"
        key_columns = Legs.columns[:2]
        columns = ()
        inputs = ("silver_legs",)

        def labels(self, ws: Any) -> Any:
            return ws

    assert Bare(SETTINGS).spine_schema().names == ["leg", "left_at"]
    with pytest.raises(ConfigError, match="Bare has no table") as caught:
        Bare(SETTINGS).spine(None)  # type: ignore[arg-type]  (not looked at)
    assert "override spine()" in caught.value.hint


def test_a_spine_of_a_spine_takes_the_columns_of_its_own_table() -> None:
    class Shorter(Legs):
        columns = Legs.columns[:3]

    class Other(Spine):
        table = Shorter

    assert [column.name for column in Other.columns] == ["carrier"]
    assert [column.name for column in Spine.columns] == ["carrier", "miles"]


# --- keys ---


def test_keys_are_without_the_time_and_primary_keys_with_it() -> None:
    class Renewed(LabelSpine, table=Legs, label="late"):
        def labels(self, ws: Any) -> Any:
            return ws

    for part in (Legs, Renewed, AsItStands):
        assert (part.keys, part.primary_keys) == (("leg",), ("leg", "left_at")), part
    assert Renewed.prediction_time == "left_at"


def test_keys_declared_with_the_time_are_read_as_before_and_warned_about() -> None:
    with pytest.warns(DeprecationWarning, match=r"Write keys = \('leg',\) and timeseries = True"):

        class Old(Legs):
            keys = ("leg", "left_at")
            timeseries = False

    assert (Old.keys, Old.primary_keys) == (("leg", "left_at"), ("leg", "left_at"))
    assert type("Table", (AsItStands,), {"table": Old}).keys == ("leg",)


def test_entity_keys_are_read_as_before() -> None:
    # `keys` held the prediction time where the entity was declared by its earlier name: code that selects them goes on.
    assert (Spine.entity_keys, Spine.keys, Spine.primary_keys) == (("leg",), ("leg", "left_at"), ("leg", "left_at"))


def test_keys_of_a_spine_that_hold_the_time_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Wrong\.keys holds the prediction time, left_at"):
        type("Wrong", (LabelSpine,), {"table": Legs, "keys": ("leg", "left_at")})


# --- feature tables ---


class AsItStands(FeatureTable):
    """Legs as they stand."""

    table = Legs
    name = "leg"


def test_a_feature_table_takes_its_declarations_from_its_silver_table() -> None:
    assert (AsItStands.keys, AsItStands.timeseries_column) == (("leg",), "left_at")
    assert AsItStands.inputs == ("silver_legs",)
    schema = AsItStands().schema()
    assert schema.names == ["leg", "left_at", "carrier", "miles"]
    assert [field.nullable for field in schema] == [False, False, True, True]
    assert AsItStands().primary_keys == ("leg", "left_at")


def test_the_time_is_no_key_twice_when_the_silver_table_has_it_as_none() -> None:
    class ByLeg(Legs):
        timeseries = False

    assert type("Table", (AsItStands,), {"table": ByLeg})().primary_keys == ("leg", "left_at")


def test_a_feature_table_without_a_table_and_without_a_computation_is_refused() -> None:
    class Bare(FeatureTable):
        name = "bare"

    with pytest.raises(ConfigError, match="Feature table bare has no table") as caught:
        Bare().compute(None, None, None)  # type: ignore[arg-type]  (not looked at)
    assert "override compute()" in caught.value.hint


# --- the trainer ---


def margin(paid: float | None, due: float | None) -> float | None:
    return None if paid is None or due is None else paid - due


MARGIN = FeatureFunctionSpec.of(margin)


class Model(Trainer):
    default_params: ClassVar[dict[str, Any]] = {}

    def lookups(self) -> list[Any]:
        return []

    def estimator(self, params: Any) -> Any:
        return params


@pytest.fixture
def trainer() -> Model:
    return Model(Namespace("dev", "flights"), SETTINGS, Spine)


def test_a_lookup_is_by_the_tables_keys_as_of_the_prediction_time(trainer: Model) -> None:
    found = trainer.lookup(AsItStands)
    assert found.table_name == "dev.flights.features_leg"
    assert (found.lookup_key, found.timestamp_lookup_key) == (["leg"], "left_at")
    assert (found.feature_names, found.lookback_window, found.default_values) == ([], None, {})


def test_a_lookup_says_what_differs(trainer: Model) -> None:
    found = trainer.lookup(
        AsItStands, ["miles"], keys=["previous_leg"], lookback="2 days", default_values={"miles": 0.0}
    )
    assert (found.lookup_key, found.feature_names) == (["previous_leg"], ["miles"])
    assert (found.lookback_window, found.default_values) == (timedelta(days=2), {"miles": 0.0})


@given(st.integers(0, 500), st.sampled_from(["minute", "hour", "day", "week"]))
def test_a_lookback_is_as_long_as_it_says(count: int, unit: str) -> None:
    model = Model(Namespace("dev", "flights"), SETTINGS, Spine)
    assert model.lookup(AsItStands, lookback=f"{count} {unit}s").lookback_window == count * timedelta(**{f"{unit}s": 1})


@pytest.mark.parametrize("lookback", ["1 month", "1 quarter", "2 years"])
def test_a_lookback_in_months_is_refused(trainer: Model, lookback: str) -> None:
    with pytest.raises(ConfigError, match=f"lookback of leg is '{lookback}'") as caught:
        trainer.lookup(AsItStands, lookback=lookback)
    assert "weeks or days" in caught.value.hint


def test_a_lookback_that_is_no_duration_is_refused(trainer: Model) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        trainer.lookup(AsItStands, lookback="a while")


def test_a_default_for_what_is_not_looked_up_is_refused(trainer: Model) -> None:
    with pytest.raises(FeatureStoreError, match="belongs to no feature"):
        trainer.lookup(AsItStands, ["miles"], default_values={"milse": 0.0})


def test_one_name_may_be_given_as_text(trainer: Model) -> None:
    found = trainer.lookup(AsItStands, "miles", keys="previous_leg")
    assert (found.lookup_key, found.feature_names) == (["previous_leg"], ["miles"])


def test_no_feature_is_not_every_feature(trainer: Model) -> None:
    try:
        found = trainer.lookup(AsItStands, [])
    except (ConfigError, FeatureStoreError):
        return
    assert found.feature_names != trainer.lookup(AsItStands).feature_names


def test_a_function_takes_the_columns_named_as_its_parameters(trainer: Model) -> None:
    found = trainer.function(MARGIN)
    assert found.udf_name == "dev.flights.margin"
    assert found.input_bindings == {"paid": "paid", "due": "due"}
    assert found.output_name == "margin"


def test_a_function_takes_other_columns_where_that_is_said(trainer: Model) -> None:
    assert trainer.function(MARGIN, due="amount").input_bindings == {"paid": "paid", "due": "amount"}


def test_a_binding_of_a_parameter_that_there_is_not_is_refused_with_the_nearest(trainer: Model) -> None:
    with pytest.raises((ConfigError, FeatureStoreError), match="Did you mean due"):
        trainer.function(MARGIN, deu="amount")


@pytest.mark.parametrize(
    ("kind", "other", "alike"),
    [("bigint", "long", True), ("decimal(5,2)", "decimal(5, 2)", True), ("int", "long", False)],
)
def test_a_type_counts_by_what_it_is_not_by_how_it_is_spelled(kind: str, other: str, alike: bool) -> None:
    def digest(spelled: str) -> str:
        columns = (*Legs.columns, Column("seats", spelled, "How many", sql="miles"))
        return type("Spelled", (Legs,), {"columns": columns})().digest()

    assert (digest(kind) == digest(other)) is alike
