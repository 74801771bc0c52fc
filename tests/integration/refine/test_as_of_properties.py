"""The as-of join against a few obvious lines of Python, over random spines and feature tables."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlplatform import FeatureLookup

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlplatform.workspace.local.workspace import LocalWorkspace

TIME = pa.timestamp("us", "UTC")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SPINE = pa.schema([("id", pa.string()), ("sub", pa.int64()), ("ts", TIME), ("row", pa.int64())])
FEATURES = pa.schema([("k1", pa.string()), ("k2", pa.int64()), ("t", TIME), ("a", pa.int64()), ("b", pa.string())])
DAY = 86_400_000_000

# Microseconds since 1970: close together, so that rows tie, and far out: year 1, before 1970, year 9999.
ANCHORS = (
    0,
    1_700_000_000_000_000,
    -2_208_988_800_000_000,
    -62_135_596_800_000_000 + DAY,
    253_402_300_799_000_000 - DAY,
)
TIMES = st.builds(lambda anchor, offset: anchor + offset, st.sampled_from(ANCHORS), st.integers(-3, 3))
# Keys that become equal when they are put one behind the other, with or without a separator, trimmed or folded.
KEYS1 = st.sampled_from(["", "a", "a_", "a ", "A", "a_1", "1", "11", "é", "e\u0301"])
KEYS2 = st.sampled_from([1, 11, -1])
VALUES = st.one_of(st.none(), st.integers(0, 9))

SPINE_ROWS = st.lists(st.tuples(st.none() | KEYS1, st.none() | KEYS2, TIMES), max_size=12)
FEATURE_ROWS = st.dictionaries(st.tuples(KEYS1, KEYS2, TIMES), st.tuples(VALUES, st.none() | st.just("b")), max_size=25)
LOOKBACKS = st.sampled_from([None, 0, 1, 2, 3, DAY])
A_FEW_AND_MANY = pytest.mark.parametrize("examples", [15, pytest.param(60, marks=pytest.mark.slow)])


def check(examples: int, prove: Callable[..., None], **values: Any) -> None:
    """Put a property to so many examples."""
    given(spine=SPINE_ROWS, features=FEATURE_ROWS, lookback=LOOKBACKS, **values)(
        settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])(prove)
    )()


@dataclass
class Join:
    """Runs the join in a workspace, each time over the feature rows given."""

    ws: LocalWorkspace
    name: str

    def __call__(
        self, spine: list[tuple[Any, ...]], features: list[tuple[Any, ...]], lookback: int | None
    ) -> list[Any]:
        self.ws.tables.overwrite(self.name, _table(FEATURES, features, time=2))
        lookup = FeatureLookup(
            self.name,
            ["id", "sub"],
            timestamp_lookup_key="ts",
            lookback_window=None if lookback is None else dt.timedelta(microseconds=lookback),
        )
        frame = _table(SPINE, [(*row, number) for number, row in enumerate(spine)], time=2)
        result = self.ws.fe.create_training_set(df=frame, feature_lookups=[lookup], label=None).to_arrow()
        assert result.column_names == ["id", "sub", "ts", "row", "a", "b"]
        rows = [tuple(row.values()) for row in result.sort_by("row").to_pylist()]
        assert [row[3] for row in rows] == list(range(len(spine)))
        return [(key, sub, _micros(time), a, b) for key, sub, time, _, a, b in rows]


@pytest.fixture(scope="module")
def join(ws: LocalWorkspace) -> Join:
    name = "dev.as_of.features"
    ws.tables.create(name, FEATURES, primary_keys=["k1", "k2", "t"], timeseries_column="t")
    return Join(ws, name)


def oracle(spine: list[tuple[Any, ...]], features: list[tuple[Any, ...]], lookback: int | None) -> list[Any]:
    rows = []
    for key, sub, time in spine:
        earlier = [row for row in features if row[0] == key and row[1] == sub and row[2] <= time]
        latest = max(earlier, key=lambda row: row[2], default=None)
        if latest is None or (lookback is not None and time - latest[2] > lookback):
            rows.append((key, sub, time, None, None))
        else:
            rows.append((key, sub, time, latest[3], latest[4]))
    return rows


@A_FEW_AND_MANY
def test_the_join_is_the_oracles(join: Join, examples: int) -> None:
    """Row count kept, duplicates too; null keys match nothing; the latest row whole; lookback to the microsecond."""

    def prove(spine: Any, features: Any, lookback: int | None) -> None:
        rows = _rows(features)
        assert join(spine, rows, lookback) == oracle(spine, rows, lookback)

    check(examples, prove)


@A_FEW_AND_MANY
def test_permuting_changes_nothing(join: Join, examples: int) -> None:
    def prove(spine: Any, features: Any, lookback: int | None, random: Any) -> None:
        rows = _rows(features)
        before = Counter(join(spine, rows, lookback))
        random.shuffle(spine)
        random.shuffle(rows)
        assert Counter(join(spine, rows, lookback)) == before

    check(examples, prove, random=st.randoms())


@A_FEW_AND_MANY
def test_the_future_changes_nothing(join: Join, examples: int) -> None:
    def prove(spine: Any, features: Any, lookback: int | None, later: Any) -> None:
        rows = _rows(features)
        newest = max((time for _, _, time in spine), default=0)
        future = [row for row in _rows(later) if row[2] > newest and row[:3] not in features]
        assert join(spine, rows + future, lookback) == join(spine, rows, lookback)

    check(examples, prove, later=FEATURE_ROWS)


@A_FEW_AND_MANY
def test_the_parts_make_the_whole(join: Join, examples: int) -> None:
    def prove(spine: Any, features: Any, lookback: int | None, cut: int) -> None:
        rows = _rows(features)
        parts = join(spine[:cut], rows, lookback) + join(spine[cut:], rows, lookback)
        assert parts == join(spine, rows, lookback)

    check(examples, prove, cut=st.integers(0, 12))


@pytest.mark.parametrize("size", [200, 5_000])
def test_large_enough_to_leave_the_small_path(join: Join, size: int) -> None:
    """DuckDB has a way of its own for small left sides; the result must not depend on it."""
    spine = [(str(row % 7), row % 3, 1_000 * (row * 7919 % size)) for row in range(size)]
    features = {(str(row % 8), row % 3, 1_000 * (row * 104_729 % size)): row for row in range(size)}
    rows = [(*key, value % 10, None) for key, value in features.items()]
    lookback = 20_000
    by_key: dict[Any, list[Any]] = {}
    for row in rows:
        by_key.setdefault(row[:2], []).append(row)
    expected = [oracle([row], by_key.get(row[:2], []), lookback)[0] for row in spine]
    assert join(spine, rows, lookback) == expected


def _rows(features: dict[Any, Any]) -> list[tuple[Any, ...]]:
    return [(*key, *values) for key, values in features.items()]


def _table(schema: pa.Schema, rows: list[tuple[Any, ...]], *, time: int) -> pa.Table:
    columns = []
    for place, field in enumerate(schema):
        values = [row[place] for row in rows]
        if place == time:
            columns.append(pa.array(values, pa.int64()).cast(pa.timestamp("us")).cast(TIME))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _micros(time: dt.datetime) -> int:
    return (time - EPOCH) // dt.timedelta(microseconds=1)
