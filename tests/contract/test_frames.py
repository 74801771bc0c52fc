"""ws.frames: lazy relations, computed where the rows are; collecting is bounded."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest

from mlplatform import FeatureLookup
from mlplatform.errors import TableError
from mlplatform.protocols.column_counts import Cells
from mlplatform.protocols.frames import metered

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
SCHEMA = pa.schema([("id", pa.int64()), ("at", TIME), ("name", pa.string()), ("amount", pa.float64())])
NAME = "dev.frames.loans"


def rows(start: int, stop: int) -> pa.Table:
    numbers = range(start, stop)
    return pa.table(
        {
            "id": list(numbers),
            "at": pa.array([DAY + dt.timedelta(days=n) for n in numbers], TIME),
            "name": ["even" if n % 2 == 0 else "odd" for n in numbers],
            "amount": [None if n % 5 == 0 else float(n) for n in numbers],
        },
        schema=SCHEMA,
    )


@pytest.fixture(scope="module")
def loans(ws: Workspace) -> Workspace:
    ws.tables.create(NAME, SCHEMA, primary_keys=["id", "at"], timeseries_column="at")
    for start in range(0, 40, 10):
        ws.tables.append(NAME, rows(start, start + 10))
    return ws


def ids(ws: Workspace, frame) -> list[int]:
    return sorted(ws.frames.collect(frame.select("id"), at_most=100, what="ids").column("id").to_pylist())


def test_filters_and_expressions_give_the_same_rows(loans):
    frames = loans.frames
    since = DAY + dt.timedelta(days=33)
    assert ids(loans, frames.read(NAME, filters=[("at", ">", since)])) == [34, 35, 36, 37, 38, 39]
    assert ids(loans, frames.read(NAME).filter(nw.col("at") > since)) == [34, 35, 36, 37, 38, 39]
    assert ids(loans, frames.read(NAME, filters=[("at", "=", since), ("name", "=", "odd")])) == [33]
    assert ids(loans, frames.read(NAME, filters=[("id", "in", [3, 99])])) == [3]


def test_an_older_version_is_read(loans):
    assert loans.frames.count(loans.frames.read(NAME, version=2)) == 20
    assert loans.frames.count(loans.frames.read(NAME)) == 40


def test_joins_with_rows_from_memory_and_from_spark(loans):
    frames = loans.frames
    known = frames.of(pa.table({"id": [1, 2, 3, 99]}))
    some = frames.of(loans.tables.read(NAME).where("id < 3").select("id", "amount"))
    assert ids(loans, frames.read(NAME).join(known, on="id", how="semi")) == [1, 2, 3]
    assert len(ids(loans, frames.read(NAME).join(known, on="id", how="anti"))) == 37
    assert ids(loans, some.join(known, on="id", how="inner")) == [1, 2]
    left = known.join(some, on="id", how="left").filter(nw.col("amount").is_null())
    assert ids(loans, left) == [3, 99]


def test_aggregates_come_in_normal_types(loans):
    frame = (
        loans.frames.read(NAME)
        .group_by("name")
        .agg(
            nw.len().alias("rows"),
            nw.col("amount").is_null().cast(nw.Int64()).sum().alias("nulls"),
            nw.col("id").sum().alias("ids"),
            nw.col("at").max().alias("newest"),
        )
    )
    table = loans.frames.collect(frame, at_most=2, what="groups").sort_by("name")
    assert table.schema.types == [pa.string(), pa.int64(), pa.int64(), pa.int64(), TIME]
    assert table.to_pylist()[0] == {
        "name": "even", "rows": 20, "nulls": 4, "ids": 380, "newest": DAY + dt.timedelta(days=38)
    }  # fmt: skip


def test_sums_of_whole_numbers_stay_whole_when_they_are_staged(loans):
    large = 2**53 + 1  # no float has this value
    frame = loans.frames.of(pa.table({"id": [1, 1], "number": [large - 1, 1]}))
    sums = frame.group_by("id").agg(nw.col("number").sum())
    with loans.frames.staged(sums) as staged:
        table = loans.frames.collect(staged, at_most=1, what="sums")
    assert table.schema.field("number").type == pa.int64()
    assert table.to_pylist() == [{"id": 1, "number": large}]


def test_no_more_than_the_bound_is_collected(loans):
    frame = loans.frames.read(NAME)
    with metered() as collected:
        assert loans.frames.collect(frame, at_most=40, what="the loans").num_rows == 40
    assert (collected.rows, collected.largest.what, collected.largest.at_most) == (40, "the loans", 40)
    with pytest.raises(TableError, match="the loans has 40 rows; at most 39 may be collected"):
        loans.frames.collect(frame, at_most=39, what="the loans")
    with pytest.raises(TableError, match="has 40 rows; at most 39"):
        loans.tables.to_arrow(NAME, at_most=39)


def test_a_ceiling_counts_whatever_the_bound(loans, monkeypatch):
    monkeypatch.setattr(loans.frames, "ceiling", 10)
    with pytest.raises(TableError, match="at most 10"):
        loans.frames.collect(loans.frames.read(NAME), at_most=1000, what="the loans")
    with pytest.raises(TableError, match="at most 10"):
        loans.tables.to_arrow(NAME, at_most=1000)


def test_what_is_staged_is_computed_once_and_sorted(loans):
    frame = loans.frames.read(NAME).filter(nw.col("id") < 7)
    with loans.frames.staged(frame, order_by=["name", "id"]) as staged:
        table = loans.frames.collect(staged, at_most=7, what="some")
        assert table.column("id").to_pylist() == [0, 2, 4, 6, 1, 3, 5]
        assert loans.frames.count(staged.filter(nw.col("name") == "odd")) == 3
        assert loans.frames.to_spark(staged).count() == 7
    with loans.frames.staged(frame.filter(nw.col("id") < 0)) as nothing:
        assert loans.frames.count(nothing) == 0
        assert nothing.collect_schema().names() == SCHEMA.names


def test_frames_are_written(loans):
    target = "dev.frames.copy"
    loans.tables.create(target, SCHEMA, primary_keys=["id", "at"], timeseries_column="at")
    frame = loans.frames.read(NAME)
    assert loans.tables.append(target, frame.filter(nw.col("id") < 5)).rows == 5
    assert loans.tables.merge(target, frame.filter(nw.col("id") < 8)).rows == 3
    assert ids(loans, loans.frames.read(target)) == list(range(8))
    changed = frame.filter(nw.col("id") < 2).with_columns(nw.lit("new").alias("name"))
    assert loans.tables.merge(target, changed).rows == 2
    assert loans.tables.overwrite(target, frame.filter(nw.col("id") > 37)).rows == 2
    assert ids(loans, loans.frames.read(target)) == [38, 39]
    with pytest.raises(TableError, match="has no column other"):
        loans.tables.append(target, frame.with_columns(nw.lit(1).alias("other")))


def test_a_sample_is_the_same_everywhere_and_another_with_another_seed(loans):
    frame = loans.frames.read(NAME)
    sample = ids(loans, loans.frames.sample(frame, keys=["id", "at"], at_most=8, seed=7))
    # The MD5 of '7|<id>|<microseconds since 1970>', computed by hashlib.
    assert sample == expected_sample(8, seed=7)
    assert ids(loans, loans.frames.sample(frame, keys=["id", "at"], at_most=8, seed=8)) == expected_sample(8, seed=8)
    assert expected_sample(8, seed=7) != expected_sample(8, seed=8)


def test_a_share_of_keys_is_the_same_everywhere_and_grows_with_the_share(loans):
    """The MD5 of '<salt>|<key>', computed by hashlib, in the lowest part of its range."""
    import hashlib

    def expected(salt: str, share: float) -> list[int]:
        digests = {
            number: int(hashlib.md5(f"{salt}|{number}".encode(), usedforsecurity=False).hexdigest()[:8], 16)
            for number in range(40)
        }
        return sorted(number for number, digest in digests.items() if digest < share * 2**32)

    frames, whole = loans.frames, loans.frames.read(NAME)

    def drawn(share: float, salt: str = "tiny:3", **how: bool) -> list[int]:
        return ids(loans, frames.share(whole, keys=["id"], share=share, salt=salt, **how))

    assert drawn(0.3) == expected("tiny:3", 0.3)
    assert 0 < len(drawn(0.3)) < 40
    assert drawn(0.3, outside=True) == sorted(set(range(40)) - set(drawn(0.3)))
    assert set(drawn(0.1)) <= set(drawn(0.3)) <= set(drawn(0.7))
    assert drawn(0.3, "it's another") == expected("it's another", 0.3) != drawn(0.3)
    assert (drawn(0.0), drawn(1.0)) == ([], list(range(40)))
    # By what else the rows hold, and in whatever order they are, nothing changes.
    turned = frames.share(whole.sort("amount").select("id", "at"), keys=["id"], share=0.3, salt="tiny:3")
    assert ids(loans, turned) == drawn(0.3)
    for none in (1.5, -0.1, float("nan")):
        with pytest.raises(TableError, match="is no share"):
            drawn(none)


def test_a_fingerprint_tells_which_rows_a_frame_holds(loans):
    frames = loans.frames
    whole = frames.read(NAME)
    print_of = frames.fingerprint(whole, ["id", "at"])
    assert frames.fingerprint(whole.sort("amount"), ["id", "at"]) == print_of
    with frames.staged(whole, order_by=["name"]) as staged:
        assert frames.fingerprint(staged, ["id", "at"]) == print_of
    others = [whole.filter(nw.col("id") != 7), whole.with_columns(nw.col("id") + 1), whole.filter(nw.col("id") < 0)]
    assert len({print_of, *(frames.fingerprint(other, ["id", "at"]) for other in others)}) == 4


def expected_sample(count: int, *, seed: int) -> list[int]:
    import hashlib

    def digest(number: int) -> str:
        micros = int((DAY + dt.timedelta(days=number)).timestamp()) * 1_000_000
        return hashlib.md5(f"{seed}|{number}|{micros}".encode(), usedforsecurity=False).hexdigest()

    return sorted(sorted(range(40), key=digest)[:count])


def test_a_column_added_later_is_null_in_older_rows(loans):
    name = "dev.frames.wider"
    loans.tables.create(name, SCHEMA, primary_keys=["id", "at"], timeseries_column="at")
    loans.tables.append(name, rows(0, 2))
    loans.tables.merge(name, rows(2, 3).append_column("more", pa.array([1.5])))
    frame = loans.frames.read(name, columns=["id", "more"])
    table = loans.frames.collect(frame, at_most=3, what="all").sort_by("id")
    assert table.column("more").to_pylist() == [None, None, 1.5]


def test_views_are_read(loans):
    view = "dev.frames.latest"
    loans.tables.create_latest_view(view, of=NAME, keys=["name"], order_by=["at"])
    assert ids(loans, loans.frames.read(view)) == [38, 39]
    assert sorted(row["id"] for row in loans.tables.read(view).collect()) == [38, 39]


def test_what_does_not_exist_is_refused(loans):
    with pytest.raises(TableError, match="loanz does not exist"):
        loans.frames.read("dev.frames.loanz")
    with pytest.raises(TableError, match="no column idd"):
        loans.frames.read(NAME, columns=["idd"])
    with pytest.raises(TableError, match="no column idd"):
        loans.frames.read(NAME, filters=[("idd", "=", 1)])
    with pytest.raises(TableError, match="not a frame"):
        loans.frames.of("rows")  # type: ignore[arg-type]


def test_columns_are_counted_in_cells(ws):
    values = [0.5, 1.0, 1.5, None, float("nan"), float("inf"), -3.0, 1e9 + 0.25, 2.0, 2.0]
    texts = ["a", "b", None, "it's", "a", "?", "a", "a", None, "b"]
    flags = [True, False, None, True, True, True, True, True, True, True]
    rows = pa.table({"value": values, "text": texts, "flag": flags})
    cells = {
        "value": Cells([-3.5, 0.75, 1.25, 1.75]),
        "text": Cells(None, ["a", "it's"]),
        "flag": Cells(None, ["true"]),
        "missing": Cells([1.0]),
    }
    frames = [ws.frames.of(rows), ws.spark.createDataFrame(rows), rows.to_reader(), rows]
    for frame in frames:
        found = ws.frames.count_cells(frame, cells)
        assert set(found) == {"value", "text", "flag"}
        value = found["value"]
        assert (value.rows, value.nulls, value.cells) == (10, 2, [0, 2, 1, 1, 4])
        finite = np.array([0.5, 1.0, 1.5, -3.0, 1e9 + 0.25, 2.0, 2.0])
        assert value.mean == pytest.approx(finite.mean(), rel=1e-12)
        assert value.squares == pytest.approx(((finite - finite.mean()) ** 2).sum(), rel=1e-12)
        assert (value.smallest, value.largest) == (-3.0, 1e9 + 0.25)
        assert (found["text"].rows, found["text"].nulls, found["text"].cells) == (10, 2, [4, 1, 3])
        assert (found["flag"].nulls, found["flag"].cells) == (1, [8, 1])
        assert found["text"].mean is None
    assert ws.frames.count_cells(rows.slice(0, 0), cells) == {}


def test_many_edges_cut_alike(ws):
    values = np.random.default_rng(3).normal(size=5000)
    edges = np.sort(np.random.default_rng(4).normal(size=107))
    found = ws.frames.count_cells(ws.frames.of(pa.table({"value": values})), {"value": Cells(edges.tolist())})["value"]
    expected = np.bincount(np.searchsorted(edges, values, side="right"), minlength=108)
    assert found.cells == expected.tolist()


def test_a_training_set_takes_a_frame_and_gives_rows_that_are_counted(loans):
    features = "dev.frames.rates"
    rates = pa.table({"id": list(range(0, 40, 2)), "rate": [float(n) for n in range(20)]})
    loans.fe.create_table(name=features, primary_keys="id", df=rates)
    spine = loans.frames.read(NAME, columns=["id", "amount"]).filter(nw.col("id") < 30)
    lookups = [FeatureLookup(table_name=features, feature_names=["rate"], lookup_key="id")]
    training_set = loans.fe.create_training_set(df=spine, feature_lookups=lookups, label=None)
    assert sorted(training_set.to_arrow().column("id").to_pylist()) == list(range(30))
    found = loans.frames.count_cells(training_set.to_rows(), {"rate": Cells([4.5, 9.5]), "amount": Cells([9.5])})
    assert (found["rate"].rows, found["rate"].nulls, found["rate"].cells) == (30, 15, [5, 5, 5])
    assert (found["amount"].nulls, found["amount"].cells) == (6, [8, 16])
