"""Training sets: as-of joins, lookbacks, defaults, functions, and reading them again as recorded."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform import FeatureFunction, FeatureLookup
from mlplatform.errors import FeatureStoreError, TableError
from mlplatform.protocols.feature_client import TrainingSet

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

TIME = pa.timestamp("us", "UTC")
TICK = dt.timedelta(microseconds=1)


def day(number: int) -> dt.datetime:
    return dt.datetime(2024, 1, number, tzinfo=dt.UTC)


def times(*days: int) -> pa.Array:
    return pa.array([day(number) for number in days], TIME)


SPINE = pa.table({"id": [1, 1, 2, 9], "ts": times(4, 6, 6, 6), "y": [0, 1, 0, 1]})
FEATURES = pa.table({"k": [1, 1, 2], "t": times(1, 5, 2), "a": [1.0, 2.0, None]})
BEFORE = [(1, 4, 1.0), (1, 6, 2.0), (2, 6, None), (9, 6, None)]


@dataclass
class Shop:
    """A schema of its own with one feature table."""

    ws: Workspace
    schema: str

    @property
    def table(self) -> str:
        return f"dev.{self.schema}.f"

    def lookup(self, **arguments: Any) -> FeatureLookup:
        return FeatureLookup(**{"table_name": self.table, "lookup_key": "id", "timestamp_lookup_key": "ts"} | arguments)

    def training_set(self, *more: Any, spine: Any = SPINE, lookup: Any = None, **arguments: Any) -> Any:
        return self.ws.fe.create_training_set(
            **{"df": spine, "feature_lookups": [lookup or self.lookup(), *more], "label": "y"} | arguments
        )


def make(ws: Workspace) -> Shop:
    made = Shop(ws, f"s{uuid.uuid4().hex[:8]}")
    ws.fe.create_table(name=made.table, primary_keys=["k", "t"], df=FEATURES, timeseries_column="t")
    return made


@pytest.fixture(scope="module")
def shop(ws: Workspace) -> Shop:
    """One that no test writes to."""
    return make(ws)


@pytest.fixture
def own(ws: Workspace) -> Shop:
    """One of this test alone."""
    return make(ws)


def features(table: pa.Table) -> list[tuple[Any, ...]]:
    return sorted((row["id"], row["ts"].day, row["a"]) for row in table.to_pylist())


def test_every_kind_of_frame_gives_the_same(shop):
    pandas = SPINE.to_pandas()
    for spine in (SPINE, pandas, shop.ws.spark.createDataFrame(pandas)):
        training_set = shop.training_set(spine=spine)
        assert isinstance(training_set, TrainingSet)
        assert features(training_set.to_arrow()) == BEFORE
    assert list(training_set.to_pandas().columns) == ["id", "ts", "a", "y"]
    assert features(training_set.load_df().toArrow()) == BEFORE
    assert features(pa.Table.from_batches(list(training_set.to_batches()))) == BEFORE
    assert dict(training_set.load_df().dtypes) == {"id": "bigint", "ts": "timestamp", "a": "double", "y": "bigint"}


def test_the_latest_row_not_after_counts_whole_to_the_microsecond(own):
    own.ws.fe.create_table(
        name=f"{own.table}2",
        primary_keys=["k", "t"],
        timeseries_column="t",
        df=pa.table({"k": [1, 1], "t": pa.array([day(2), day(3)], TIME), "a": [1.0, None], "b": [None, "late"]}),
    )
    moments = [day(2) - TICK, day(2), day(3) - TICK, day(3)]
    spine = pa.table({"id": [1] * 4, "ts": pa.array(moments, TIME), "y": [0, 1, 2, 3]})
    result = own.training_set(spine=spine, lookup=own.lookup(table_name=f"{own.table}2")).to_arrow().sort_by("y")
    # A null of the latest row stays null: no column is taken from an older row.
    assert result.select(["a", "b"]).to_pylist() == [
        {"a": None, "b": None},
        {"a": 1.0, "b": None},
        {"a": 1.0, "b": None},
        {"a": None, "b": "late"},
    ]


def test_a_lookback_includes_its_end_to_the_microsecond(shop):
    def looked_up(lookback: dt.timedelta, moment: dt.datetime) -> float | None:
        spine = pa.table({"id": [1], "ts": pa.array([moment], TIME), "y": [0]})
        return shop.training_set(spine=spine, lookup=shop.lookup(lookback_window=lookback)).to_arrow()["a"][0].as_py()

    two = dt.timedelta(days=2)
    assert looked_up(two, day(7)) == 2.0
    assert looked_up(two, day(7) + TICK) is None
    assert looked_up(dt.timedelta(0), day(5)) == 2.0
    assert looked_up(dt.timedelta(0), day(5) + TICK) is None


def test_defaults_fill_misses_and_nulls_after_everything_else(shop, ws):
    name = f"dev.{shop.schema}.seen"
    ws.functions.register(name, seen, parameters=[("a", "double")], returns="string")
    result = shop.training_set(
        FeatureFunction(udf_name=name, input_bindings={"a": "a"}, output_name="z"),
        lookup=shop.lookup(default_values={"a": -1.0}),
    ).to_arrow()
    assert features(result) == [(1, 4, 1.0), (1, 6, 2.0), (2, 6, -1.0), (9, 6, -1.0)]
    # The function saw the null, not the default.
    assert sorted(result.column("z").to_pylist()) == ["1.0", "2.0", "None", "None"]


def test_a_lookup_may_need_what_another_one_gives(own):
    owners = f"dev.{own.schema}.owners"
    own.ws.fe.create_table(name=owners, primary_keys="thing", df=pa.table({"thing": [7, 8], "owner": [1, None]}))
    spine = pa.table({"thing": [7, 8, 9, None], "ts": times(6, 6, 6, 6), "y": [0, 1, 2, 3]})
    result = own.training_set(
        FeatureLookup(owners, "thing", feature_names="owner"), spine=spine, lookup=own.lookup(lookup_key="owner")
    ).to_arrow()
    assert result.column_names == ["thing", "ts", "a", "owner", "y"]
    assert result.sort_by("y").select(["owner", "a"]).to_pylist() == [
        {"owner": 1, "a": 2.0},
        {"owner": None, "a": None},
        {"owner": None, "a": None},
        {"owner": None, "a": None},
    ]


def test_a_null_key_matches_nothing_and_the_row_stays(shop):
    spine = pa.table({"id": pa.array([None, None, 1], pa.int64()), "ts": times(6, 6, 6), "y": [0, 0, 1]})
    for frame in (spine, shop.ws.spark.createDataFrame(spine)):
        result = shop.training_set(spine=frame).to_arrow()
        assert sorted(result.to_pylist(), key=str) == sorted(
            [
                {"id": None, "ts": day(6), "a": None, "y": 0},
                {"id": None, "ts": day(6), "a": None, "y": 0},
                {"id": 1, "ts": day(6), "a": 2.0, "y": 1},
            ],
            key=str,
        )


@pytest.mark.parametrize("lookback", [None, dt.timedelta(0), dt.timedelta(days=1)], ids=str)
def test_rows_without_a_time_are_an_error_with_their_count(shop, lookback):
    spine = SPINE.set_column(1, "ts", pa.array([None, day(1), None, day(1)], TIME))
    for frame in (spine, shop.ws.spark.createDataFrame(spine)):
        training_set = shop.training_set(spine=frame, lookup=shop.lookup(lookback_window=lookback))
        for load in (training_set.to_arrow, training_set.load_df):
            with pytest.raises(FeatureStoreError, match=r"^2 of 4 row\(s\) have no time in 'ts'"):
                load()


def test_keys_are_compared_exactly_and_column_by_column(own):
    table = f"dev.{own.schema}.pairs"
    keys = [("1", "11"), ("11", "1"), ("a_", "b"), ("a", "_b"), ("A", "_b"), ("a ", "_b")]
    columns = {"p": [a for a, _ in keys], "q": [b for _, b in keys]}
    own.ws.fe.create_table(name=table, primary_keys=["p", "q"], df=pa.table({**columns, "v": list(range(len(keys)))}))
    spine = pa.table({**columns, "y": list(range(len(keys)))}).append_column("w", pa.array(["x"] * len(keys)))
    result = own.ws.fe.create_training_set(df=spine, feature_lookups=[FeatureLookup(table, ["p", "q"])], label="y")
    assert result.to_arrow().column("v").to_pylist() == result.to_arrow().column("y").to_pylist()
    unknown = pa.table({"p": ["1", "a_b", "a"], "q": ["1", "", " _b"]})
    lookup = FeatureLookup(table, ["p", "q"])
    found = own.ws.fe.create_training_set(df=unknown, feature_lookups=[lookup], label=None).to_arrow()
    assert found.column("v").to_pylist() == [None, None, None]


def test_the_row_count_is_the_spines_with_its_duplicates(shop):
    spine = pa.concat_tables([SPINE, SPINE, SPINE.slice(0, 1)])
    assert features(shop.training_set(spine=spine).to_arrow()) == sorted([*BEFORE, *BEFORE, BEFORE[0]], key=str)


def test_columns_that_are_excluded_and_their_order(shop):
    result = shop.training_set(exclude_columns=["ts", "never there"]).to_arrow()
    assert result.column_names == ["id", "a", "y"]
    spine = SPINE.append_column("w", pa.array([1.5] * 4))
    assert shop.training_set(spine=spine, label=["w", "y"]).to_arrow().column_names == ["id", "ts", "a", "w", "y"]
    with pytest.raises(FeatureStoreError, match="'y'"):
        shop.training_set(exclude_columns=["y"])


def test_columns_of_the_spine_may_be_called_as_the_heads_of_csv_files_are(shop):
    names = ['we"ird, name', "x;y", "p(q)", "{r}", "s=t", "Ünï"]
    spine = SPINE
    for name in names:
        spine = spine.append_column(name, pa.array([1, 2, 3, 4]))
    result = shop.training_set(spine=spine).to_arrow()
    assert result.column_names == ["id", "ts", *names, "a", "y"]
    assert features(result) == BEFORE


def test_an_empty_spine_and_an_empty_table(own):
    empty = own.training_set(spine=SPINE.slice(0, 0))
    assert empty.to_arrow().schema == own.training_set().to_arrow().schema
    assert empty.load_df().toArrow().num_rows == 0
    own.ws.tables.overwrite(own.table, FEATURES.slice(0, 0))
    assert [row[2] for row in features(own.training_set().to_arrow())] == [None] * 4


def test_a_spine_without_lookups(ws):
    training_set = ws.fe.create_training_set(df=SPINE, feature_lookups=[], label="y", exclude_columns=["ts"])
    assert training_set.to_arrow().sort_by("id").to_pylist() == SPINE.select(["id", "y"]).sort_by("id").to_pylist()


def test_a_column_added_later_is_looked_up(own):
    own.ws.fe.write_table(name=own.table, df=pa.table({"k": [2], "t": times(3), "a": [7.0], "new": ["x"]}))
    result = own.training_set().to_arrow()
    assert {(row["id"], row["new"]) for row in result.to_pylist()} == {(1, None), (2, "x"), (9, None)}


def test_as_recorded_after_later_writes(own):
    training_set = own.training_set()
    recorded = training_set.recorded_versions
    assert recorded == {own.table: own.ws.tables.version(own.table)}
    own.ws.fe.write_table(name=own.table, df=pa.table({"k": [2, 9], "t": times(3, 3), "a": [7.0, 8.0]}))
    assert features(training_set.to_arrow()) == [(1, 4, 1.0), (1, 6, 2.0), (2, 6, 7.0), (9, 6, 8.0)]
    own.ws.fe.write_table(name=own.table, df=pa.table({"k": [9], "t": times(4), "a": [0.0], "new": [True]}))
    assert features(training_set.to_arrow(as_recorded=True)) == BEFORE
    assert features(training_set.load_df(as_recorded=True).toArrow()) == BEFORE
    assert training_set.recorded_versions == recorded
    training_set.to_arrow()
    assert [(item.name, item.version) for item in training_set.lineage.tables] == [
        (own.table, own.ws.tables.version(own.table))
    ]


def test_as_recorded_notices_a_table_made_anew(own):
    training_set = own.training_set()
    own.ws.fe.drop_table(name=own.table)
    with pytest.raises(TableError, match=f"{own.table} does not exist"):
        training_set.to_arrow()
    own.ws.fe.create_table(name=own.table, primary_keys=["k", "t"], df=FEATURES, timeseries_column="t")
    assert features(training_set.to_arrow()) == BEFORE
    with pytest.raises(FeatureStoreError, match=f"{own.table} was dropped and made again"):
        training_set.to_arrow(as_recorded=True)


def test_functions_see_python_values_of_every_type(shop):
    name = f"dev.{shop.schema}.kinds"
    shop.ws.functions.register(
        name, kinds, parameters=[("t", "timestamp"), ("a", "double"), ("i", "bigint")], returns="string"
    )
    function = FeatureFunction(udf_name=name, input_bindings={"t": "ts", "a": "a", "i": "id"}, output_name="z")
    result = shop.training_set(function).to_arrow()
    assert set(result.column("z").to_pylist()) == {"datetime float int", "datetime NoneType int"}


def test_what_cannot_be_declared_is_refused(shop, ws):
    other = FeatureFunction(udf_name="dev.x.none", output_name="z")
    for arguments, error, says in (
        ({"feature_lookups": [other]}, FeatureStoreError, r"dev\.x\.none is not registered"),
        ({"feature_lookups": [FeatureLookup("dev.x.f", "id")]}, TableError, r"dev\.x\.f does not exist"),
        ({"df": [1]}, FeatureStoreError, "A list is not a frame"),
        ({"label": "why"}, FeatureStoreError, "'why'"),
        ({"feature_lookups": [shop.lookup(lookup_key="idd")]}, FeatureStoreError, "'idd'"),
        ({"feature_lookups": [shop.lookup(lookup_key="ts")]}, FeatureStoreError, "timestamp.*bigint|bigint.*timestamp"),
        ({"feature_lookups": [shop.lookup(timestamp_lookup_key=None)]}, FeatureStoreError, "timestamp"),
        ({"feature_lookups": [shop.lookup(feature_names="aa")]}, FeatureStoreError, "'aa'"),
        ({"feature_lookups": [shop.lookup(rename_outputs={"a": "y"})]}, FeatureStoreError, "'y'"),
        ({"feature_lookups": [shop.lookup(rename_outputs={"a": "id"})]}, FeatureStoreError, "'id'"),
        ({"feature_spec": "dev.x.spec"}, FeatureStoreError, "not from both"),
    ):
        with pytest.raises(error, match=says):
            shop.training_set(**arguments)


def seen(a: float | None) -> str:
    return str(a)


def kinds(t: dt.datetime | None, a: float | None, i: int | None) -> str:
    return f"{type(t).__name__} {type(a).__name__} {type(i).__name__}"
