"""Pools from which the random scenarios draw: small, so that keys meet, and full of what goes wrong."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_E_ACUTE, _E_PLUS_ACUTE = "caf\u00e9", "cafe\u0301"

# Strings that become equal when keys are concatenated, trimmed, case-folded or normalised.
_STRINGS = [
    "a",
    "b",
    "a_",
    "_b",
    "a_b",
    "",
    " ",
    "a ",
    "A",
    "1",
    "11",
    "1_1",
    _E_ACUTE,
    _E_PLUS_ACUTE,
    "日本",
    "😀",
    "null",
]
_DATES = [
    dt.date(1, 1, 1),
    dt.date(1582, 10, 4),
    dt.date(1969, 12, 31),
    dt.date(1970, 1, 1),
    dt.date(2024, 2, 29),
    dt.date(2024, 3, 1),
    dt.date(9999, 12, 31),
]

KEYS: dict[str, list[Any]] = {
    "bigint": [0, 1, 11, 111, -1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1],
    "int": [0, 1, 11, 111, -1, 2**31 - 1, -(2**31)],
    "smallint": [0, 1, 11, -1, 2**15 - 1],
    "string": _STRINGS,
    "date": _DATES,
    "boolean": [True, False],
}

FEATURES: dict[str, list[Any]] = {
    **KEYS,
    "double": [0.0, -0.0, 1.5, -2.25, 0.1, 1e308, math.nan, math.inf, -math.inf, 5e-324],
    "float": [0.0, 1.5, -0.25, 0.10000000149011612, math.nan, math.inf],
    "timestamp": [_EPOCH, _EPOCH - dt.timedelta(microseconds=1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999, dt.UTC)],
    "binary": [b"", b"\x00\xff", b"abc"],
    "decimal(10,2)": [decimal.Decimal("1.50"), decimal.Decimal("-99999999.99"), decimal.Decimal("0.00")],
    "decimal(38,18)": [decimal.Decimal("12345678901234567890.123456789012345678")],
    "array<double>": [[], [1.5, None], [math.nan]],
    "array<string>": [["a", None, ""], []],
    "map<string,int>": [[], [("a", 1), ("b", None)]],
    "struct<x:int,y:string>": [{"x": 1, "y": "a"}, {"x": None, "y": None}],
}

DEFAULTS: dict[str, list[Any]] = {
    "bigint": [0, -1, 2**53 + 1],
    "int": [0, -1, 7],
    "smallint": [0, -1],
    "double": [0.0, -1.5, 7],
    "float": [0.5, -1.0],
    "boolean": [False, True],
    "string": ["none", "", "é"],
}

# Eighths of a second are exact in binary floating point, in which the real client compares a lookback: see `scenarios`.
LOOKBACKS = [
    dt.timedelta(0),
    dt.timedelta(milliseconds=125),
    dt.timedelta(milliseconds=1500),
    dt.timedelta(seconds=10),
    dt.timedelta(days=1),
    dt.timedelta(days=4000),
]
_EIGHTH = dt.timedelta(milliseconds=125)
_START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_FAR = [
    dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    dt.datetime(1582, 10, 10, tzinfo=dt.UTC),
    dt.datetime(1969, 12, 31, 23, 59, 59, 875000, dt.UTC),
    dt.datetime(2038, 1, 19, 3, 14, 8, tzinfo=dt.UTC),
    dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC),
]


def times(rng: random.Random, count: int) -> list[dt.datetime]:
    """Draw times at which features are known: some close together, some far away."""
    near = [_START + _EIGHTH * rng.randrange(200) for _ in range(count)]
    days = [_START + dt.timedelta(days=rng.randrange(-30, 30)) for _ in range(count)]
    return rng.sample([*near, *days, *(_FAR if rng.random() < 0.4 else [])], count)


def time_near(rng: random.Random, known: list[dt.datetime], lookback: dt.timedelta | None) -> dt.datetime:
    """Draw a time at, just before or just after a known one, or on the edge of the lookback after it."""
    base = rng.choice(known) if known and rng.random() < 0.9 else _START
    shifts = [dt.timedelta(0), dt.timedelta(0), _EIGHTH * rng.randrange(-20, 20)]
    # A microsecond is lost in binary floating point where the seconds are many: keep it to the years around now.
    if lookback is None or base.year in range(1970, 2030):
        shifts += [dt.timedelta(microseconds=1), dt.timedelta(microseconds=-1)]
    if lookback:
        shifts += [lookback, lookback + rng.choice(shifts)]
    try:
        return base + rng.choice(shifts)
    except OverflowError:
        return base


def date_near(rng: random.Random, known: list[dt.date]) -> dt.date:
    """Draw a date at or around a known one."""
    base = rng.choice(known) if known else dt.date(2024, 2, 29)
    try:
        return base + dt.timedelta(days=rng.choice([0, 0, 1, -1, 30]))
    except OverflowError:
        return base


def values(rng: random.Random, kind: str, count: int, *, nulls: float = 0.2) -> list[Any]:
    """Draw feature values, some of them null."""
    pool = FEATURES[kind]
    return [None if rng.random() < nulls else rng.choice(pool) for _ in range(count)]
