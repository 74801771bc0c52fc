"""What `mlplatform new-use-case` wrote reaches a champion and predictions as it is, whatever the file is like."""

from __future__ import annotations

import csv
import random
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.naming import CHAMPION
from mlplatform.pipeline import Pipeline
from mlplatform.scaffold.render import new_use_case

if TYPE_CHECKING:
    from mlplatform.workspace.local.workspace import LocalWorkspace


def write(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    # As a spreadsheet exports it: with a byte-order mark, and \\r\\n.
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def predictions(ws: LocalWorkspace, into: Path, name: str, path: Path, **options: Any) -> pa.Table:
    """Make the use case, run it once where the scaffold says, and return what the champion predicted."""
    made = new_use_case(name, path, into=into, **options)
    cls = discovery.load(discovery.get(name, into))
    use_case = cls.open(name, made.folder, ws)
    Pipeline(ws, use_case, parse_as_of(made.as_of)).run()
    assert ws.registry.aliases(use_case.model) == {CHAMPION: 1}
    return ws.tables.to_arrow(use_case.namespace.table("gold_predictions"))


def test_without_a_time_the_rows_without_a_label_are_predicted(ws, tmp_path):
    dice = random.Random(1)
    rows: list[list[object]] = []
    for number in range(500):
        amount, group = dice.uniform(0, 100), dice.choice(["it's", 'a "b", c', "ü\n2"])
        yes = dice.random() < (0.9 if amount > 60 else 0.1)
        label = "" if number >= 460 else str(yes).upper()
        rows.append([number, "NA" if number % 9 == 0 else f"{amount:.1f}", group, label])
    path = write(tmp_path / "orders.csv", ["order", "select", "group by", "where"], rows)
    found = predictions(
        ws, tmp_path / "use_cases", "orders", path, task="classification", entity="order", label="where"
    )
    assert {str(number) for number in range(460, 500)} <= set(found["order"].to_pylist())


def test_times_with_an_offset_are_read_as_what_they_are(ws, tmp_path):
    dice = random.Random(2)
    zone, start = timezone(timedelta(hours=2)), datetime(2023, 1, 1, 23, tzinfo=UTC)
    rows: list[list[object]] = []
    for number in range(600):
        area = dice.uniform(20, 200)
        at = (start + timedelta(hours=16 * number)).astimezone(zone)
        rows.append([f"Haus {number}", at.isoformat(), f"{area:.1f}", "", f"{3 * area + dice.gauss(0, 30):.2f}"])
    path = write(tmp_path / "houses.csv", ["Haus Nr.", "Verkauft am", "Fläche m²", "leer", "Preis (k€)"], rows)
    found = predictions(
        ws,
        tmp_path / "use_cases",
        "houses",
        path,
        task="regression",
        entity="Haus Nr.",
        label="Preis (k€)",
        timestamp="Verkauft am",
    )
    expected = {f"Haus {number}": start + timedelta(hours=16 * number) for number in range(600)}
    times = zip(found["haus_nr"].to_pylist(), found["verkauft_am"].to_pylist(), strict=True)
    assert found.num_rows > 20
    assert all(expected[house] == at for house, at in times)
