"""The data of the use case `orders`: landed CSV files, made chunk by chunk, the same for the same seed.

A drop holds the orders of some days, the returns that came back in them, and the accounts that changed. What is wrong
with a real feed is in it: rows that came twice, orders that came again with other content, amounts below zero, dates
that nobody can read, and lines that are cut off.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2024, 1, 1, tzinfo=UTC)
FILE_ROWS = 100_000
STORES = 400
CHANNELS = ("web", "app", "shop")
SEGMENTS = ("private", "business")
REGIONS = ("north", "east", "south", "west")
REASONS = ("too small", "too late", "broken")
# Shares of the orders.
TWICE, CHANGED, NEGATIVE, UNREADABLE = 0.002, 0.001, 0.001, 0.0005
CUT_OFF = 2  # lines a file
MICROSECONDS = 1_000_000
DAY = 86_400


@dataclass(frozen=True)
class Plan:
    """What data there is.

    Attributes:
        rows: Orders of each drop, the first drop first; faulty ones included.
        days: Days of each drop.
        customers: How many there are.
        seed: The same seed gives the same files.
        columns: How many numbers more there are of each account.
    """

    rows: tuple[int, ...]
    days: tuple[int, ...]
    customers: int
    seed: int = 0
    columns: int = 0

    @classmethod
    def evenly(cls, rows: int, *, drops: int, days: int, seed: int = 0, columns: int = 0) -> Plan:
        """Return a plan of drops of the same size, with 20 orders a customer."""
        each = [rows * (number + 1) // drops - rows * number // drops for number in range(drops)]
        return cls(tuple(each), (days,) * drops, max(rows // 20, 200), seed, columns)

    def end(self, drop: int) -> datetime:
        """Return when a drop was complete."""
        return START + timedelta(days=sum(self.days[: drop + 1]))


def write(plan: Plan, landing: Path) -> None:
    """Write the files of all drops; those of the same plan that are there stay, those of another are removed.

    Args:
        plan: What data there is.
        landing: The folder where they land.
    """
    marker = landing / "plan.json"
    wanted = json.dumps(asdict(plan))
    if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(landing, ignore_errors=True)
    for name in ("orders", "returns", "accounts"):
        (landing / name).mkdir(parents=True)
    # Those that come back in a later drop wait here: of the orders of about 20 days, one in ten.
    waiting: dict[int, list[pa.Table]] = defaultdict(list)
    first = 0
    for drop, rows in enumerate(plan.rows):
        name = f"{plan.end(drop) - timedelta(days=1):%Y-%m-%d}"
        for part, start in enumerate(range(0, rows, FILE_ROWS)):
            chunk = _orders(plan, drop, first + start, min(FILE_ROWS, rows - start))
            _write_orders(landing / "orders" / f"orders_{name}_p{part:04d}.csv", chunk["orders"])
            for later, returns in _by_drop(plan, chunk["returns"]):
                waiting[later].append(returns)
        first += rows
        returns = pa.concat_tables(waiting.pop(drop, []) or [_no_returns()])
        _write_parts(landing / "returns", f"returns_{name}", returns.select(["order_id", "returned_at", "reason"]))
        for part, accounts in enumerate(_accounts(plan, drop)):
            _write_csv(landing / "accounts" / f"accounts_{name}_p{part:04d}.csv", accounts)
    marker.write_text(wanted, encoding="utf-8")


def _orders(plan: Plan, drop: int, first: int, rows: int) -> dict[str, pa.Table]:
    random = np.random.default_rng([plan.seed, 1, drop, first])
    numbers = np.arange(first, first + rows)
    # A few customers and stores have most of the orders.
    customers = (plan.customers * random.random(rows) ** 1.5).astype(np.int64)
    stores = (STORES * random.random(rows) ** 2).astype(np.int64)
    start, length = plan.end(drop) - timedelta(days=plan.days[drop]), plan.days[drop] * DAY
    placed = int(start.timestamp()) + np.sort(random.integers(0, length, rows))
    channel, items = random.integers(0, 3, rows), 1 + random.poisson(1.5, rows)
    amount = np.round(np.exp(random.normal(3.5, 0.8, rows)) + 1, 2)
    discount = np.round(random.beta(1, 6, rows), 3)
    risk = -3.2 + 0.8 * (channel == 0) + 3.0 * discount + 0.25 * (items - 1) + 1.2 * _noise(customers) + _noise(stores)
    back = random.random(rows) < 1 / (1 + np.exp(-risk))
    returned = placed + DAY + random.integers(0, 18 * DAY, rows)
    reason = random.integers(0, 3, rows)

    kind = random.random(rows)
    limits = np.cumsum([TWICE, CHANGED, NEGATIVE, UNREADABLE])
    shown = np.where((kind >= limits[1]) & (kind < limits[2]), -amount, amount)
    moments = _text(placed)
    unreadable = pa.array((kind >= limits[2]) & (kind < limits[3]))
    orders = pa.table(
        {
            "order_id": _order_ids(numbers),
            "customer_id": _numbered("C", customers, 8),
            "store": _numbered("S", stores, 3),
            "placed_at": pc.if_else(unreadable, pc.replace_substring(moments, "-", "."), moments),
            "channel": pa.array(CHANNELS).take(pa.array(channel)),
            "items": pa.array(items),
            "amount": pa.array(shown),
            "discount": pa.array(discount, mask=random.random(rows) < 0.02),
        }
    )
    again = orders.filter(pa.array(kind < limits[0]))
    changed = orders.filter(pa.array((kind >= limits[0]) & (kind < limits[1])))
    changed = changed.set_column(6, "amount", pc.add(changed.column("amount"), 1.0))
    # They take the place of others at the end of the file, so that it keeps its number of rows.
    extra = pa.concat_tables([again, changed]).slice(0, rows // 2)
    kept = orders.slice(0, rows - extra.num_rows)
    returns = pa.table(
        {
            "order_id": kept.column("order_id"),
            "returned_at": _text(returned[: kept.num_rows]),
            "reason": pa.array(REASONS).take(pa.array(reason[: kept.num_rows])),
            "second": pa.array(returned[: kept.num_rows]),
        }
    ).filter(pa.array(back[: kept.num_rows]))
    return {"orders": pa.concat_tables([kept, extra]), "returns": returns}


def _by_drop(plan: Plan, returns: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Yield the returns by the drop in which they come back; those after the last drop are left out."""
    ends = np.array([plan.end(drop).timestamp() for drop in range(len(plan.rows))])
    drops = np.searchsorted(ends, returns.column("second").to_numpy(), side="right")
    for drop in np.unique(drops):
        if drop < len(plan.rows):
            yield int(drop), returns.filter(pa.array(drops == drop))


def _no_returns() -> pa.Table:
    names = ("order_id", "returned_at", "reason")
    return pa.table({**{name: pa.array([], pa.string()) for name in names}, "second": pa.array([], pa.int64())})


def _accounts(plan: Plan, drop: int) -> Iterator[pa.Table]:
    """Yield all accounts with the first drop, and of each later one those that changed, one in a hundred a day."""
    for start in range(0, plan.customers, FILE_ROWS):
        random = np.random.default_rng([plan.seed, 2, drop, start])
        numbers = np.arange(start, min(start + FILE_ROWS, plan.customers))
        if drop:
            numbers = numbers[random.random(numbers.size) < min(plan.days[drop] / 100, 0.3)]
        begin = int((plan.end(drop) - timedelta(days=plan.days[drop])).timestamp())
        # With the first drop, all is known before the first order.
        changed = begin + (random.integers(0, plan.days[drop] * DAY, numbers.size) if drop else 0 * numbers)
        yield pa.table(
            {
                "customer_id": _numbered("C", numbers, 8),
                "changed_at": _text(changed),
                "segment": pa.array(SEGMENTS).take(pa.array(random.integers(0, 2, numbers.size))),
                "region": pa.array(REGIONS).take(pa.array(numbers % 4)),
                "credit_limit": pa.array(
                    np.round(random.gamma(2, 500, numbers.size)), mask=random.random(numbers.size) < 0.05
                ),
                **{more_column(each): np.round(random.normal(size=numbers.size), 4) for each in range(plan.columns)},
            }
        )


def more_column(number: int) -> str:
    """Return the name of one of the accounts' further columns."""
    return f"number_{number:05d}"


def _noise(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what is peculiar to a customer or a store, in [-1, 1]."""
    result: np.ndarray[Any, Any] = np.sin(numbers * 12.9898)
    return result


def _order_ids(numbers: np.ndarray[Any, Any]) -> pa.Array[Any]:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 10, "0")


def _numbered(letter: str, numbers: np.ndarray[Any, Any], digits: int) -> pa.Array[Any]:
    return pc.binary_join_element_wise(letter, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), digits, "0"), "")


def _text(seconds: np.ndarray[Any, Any]) -> pa.Array[Any]:
    return pc.strftime(pa.array(seconds).cast(pa.timestamp("s")), format="%Y-%m-%d %H:%M:%S")


def _write_orders(path: Path, orders: pa.Table) -> None:
    _write_csv(path, orders)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{number:010d},C00000000\n" for number in range(CUT_OFF))


def _write_parts(folder: Path, stem: str, rows: pa.Table) -> None:
    for part, start in enumerate(range(0, max(rows.num_rows, 1), FILE_ROWS)):
        _write_csv(folder / f"{stem}_p{part:04d}.csv", rows.slice(start, FILE_ROWS))


def _write_csv(path: Path, rows: pa.Table) -> None:
    pacsv.write_csv(rows, path, pacsv.WriteOptions(quoting_style="none"))
