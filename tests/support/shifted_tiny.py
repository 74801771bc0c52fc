"""The tiny use case in a world whose base rate moves: from a month on more cancel, who look as ever."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

FIRST, LATER = "2020-08-01", "2021-01-01"
SHIFT = "2020-06"


def write_shifted(where: Path, *, extra: float = 0.35, since: str = SHIFT, **settings: Any) -> TinyFolder:
    """Write the use case with twelve months of data, of which those from `since` on have more cancellations.

    Args:
        where: A folder of use cases.
        extra: Of those who would not have cancelled, the share that does.
        since: The first month.
        **settings: As `write_tiny_use_case`.
    """
    sections: dict[str, Any] = {"recalibration": {"window": "4 months"}}
    tiny = write_tiny_use_case(where, months=12, **{**sections, **settings})
    folder, rng = tiny.data / "cancellations", random.Random(3)
    gone = {row[0] for path in folder.glob("*.csv") for row in _rows(path)}
    more: dict[str, list[list[str]]] = defaultdict(list)
    for path in sorted((tiny.data / "signups").glob("*.csv")):
        for account, signed_up, *_ in _rows(path):
            if signed_up[:7] >= since and account not in gone and rng.random() < extra:
                cancelled = date.fromisoformat(signed_up) + timedelta(days=rng.randint(5, 80))
                more[cancelled.strftime("%Y-%m")].append([account, cancelled.isoformat()])
    for month, rows in more.items():
        path = folder / f"cancellations_{month}.csv"
        if path.exists():
            with path.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
    return tiny


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]
