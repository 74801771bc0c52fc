"""What `mlplatform new-use-case` wrote reaches a champion and predictions, whatever the file is like.

With its search and all it is run in `test_brazilian_csv.py`.
"""

from __future__ import annotations

import csv
import random
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.naming import CHAMPION
from mlplatform.pipeline import Pipeline
from mlplatform.scaffold.render import new_use_case
from tests.support.crossed import crossed

if TYPE_CHECKING:
    from mlplatform.ops.result import StageResult
    from mlplatform.workspace.local.workspace import LocalWorkspace


def write(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    # As a spreadsheet exports it: with a byte-order mark, and \\r\\n.
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def predictions(ws: LocalWorkspace, into: Path, name: str, path: Path, **options: Any) -> pa.Table:
    """Make the use case, run it once where the scaffold says, without a search; return what the champion predicted."""
    made = new_use_case(name, path, into=into, **options)
    config = made.folder / "config.yml"
    written = config.read_text(encoding="utf-8")
    assert written.count("max_evals: 4") == 1
    config.write_text(written.replace("max_evals: 4", "max_evals: 1"), encoding="utf-8")
    cls = discovery.load(discovery.get(name, into))
    use_case = cls.open(name, made.folder, ws)
    Pipeline(ws, use_case, parse_as_of(made.as_of)).run()
    assert ws.registry.aliases(use_case.model) == {CHAMPION: 1}
    return ws.tables.to_arrow(use_case.namespace.table("gold_predictions"), at_most=10**6)


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


NAMES = (f"late_{number}" for number in range(100))
HEADER = ["order", "placed on", "amount", "region", "returned"]


def orders(count: int, start: datetime) -> list[list[object]]:
    dice = random.Random(3)
    rows: list[list[object]] = []
    for number in range(count):
        amount = dice.uniform(0, 100)
        returned = "yes" if dice.random() < (0.8 if amount > 60 else 0.1) else "no"
        day = (start + timedelta(days=number // 3)).date().isoformat()
        rows.append([f"{number:04d}", day, f"{amount:.2f}", dice.choice("abc"), returned])
    return rows


def unlabelled(rows: list[list[object]]) -> list[list[object]]:
    return [[*row[:-1], ""] for row in rows]


class TestLateLabels:
    """Rows come first, their labels in later files, and then a correction."""

    LATE = 90

    @pytest.fixture
    def delivered(self, ws, tmp_path):
        rows = orders(480, datetime(2024, 1, 1, tzinfo=UTC))
        known, late = rows[: -self.LATE], rows[-self.LATE :]
        path = write(tmp_path / "orders.csv", HEADER, known + unlabelled(late))
        options = {"task": "classification", "entity": "order", "label": "returned", "timestamp": "placed on"}
        name = next(NAMES)  # the workspace is the module's
        made = new_use_case(name, path, into=tmp_path / "use_cases", horizon="3 days", **options)
        use_case = discovery.load(discovery.get(name, tmp_path / "use_cases")).open(name, made.folder, ws)

        def refine() -> StageResult[Any]:
            summary = Pipeline(ws, use_case, parse_as_of("2024-07-01")).run(["ingest", "refine"])
            (refined,) = [run.result for run in summary.stages if run.stage == "refine"]
            assert refined.rows_in == refined.rows_out + refined.rows_quarantined
            return refined

        return (
            made.folder / "data",
            late,
            refine,
            lambda name: ws.tables.to_arrow(use_case.namespace.table(name), at_most=10**6),
        )

    def test_the_labels_arrive_and_the_facts_are_there_already(self, delivered):
        data, late, refine, table = delivered
        first = refine()
        assert first.details.left_out == {"silver_outcomes": self.LATE}
        assert table("gold_labels").num_rows == 480 - self.LATE
        write(data / "late.csv", HEADER, late)
        second = refine()
        assert (second.rows_quarantined, second.details.repeated) == (0, {"silver_facts": self.LATE})
        labels = {row["order"]: row["returned"] for row in table("gold_labels").to_pylist()}
        assert len(labels) == 480
        assert {row[0]: float(row[-1] == "yes") for row in late}.items() <= labels.items()
        assert table("silver_facts").num_rows == 480
        assert table("quarantine_facts").num_rows == table("quarantine_outcomes").num_rows == 0

    def test_the_last_report_of_a_label_counts_whatever_its_file_is_called(self, delivered):
        data, late, refine, table = delivered
        write(data / "late.csv", HEADER, late)
        refine()
        order, *middle, label = late[0]
        corrected = [order, *middle, "no" if label == "yes" else "yes"]
        # Sorts before the file that it corrects.
        write(data / "a_correction.csv", HEADER, [corrected])
        assert refine().rows_quarantined == 0
        labels = {row["order"]: row["returned"] for row in table("gold_labels").to_pylist()}
        assert (len(labels), labels[order]) == (480, float(corrected[-1] == "yes"))

    def test_other_facts_under_the_same_key_are_quarantined_and_their_label_arrives(self, delivered):
        data, late, refine, table = delivered
        refine()
        order, day, _, region, label = late[0]
        write(data / "late.csv", HEADER, [[order, day, "1.23", region, label]])
        assert refine().rows_quarantined == 1
        (row,) = table("quarantine_facts").to_pylist()
        assert row["reason"] == "duplicate_key"
        assert order in table("gold_labels")["order"].to_pylist()

    def test_a_quarantine_that_is_gone_comes_back_without_the_repeats(self, ws, delivered):
        data, late, refine, table = delivered
        refine()
        # Sorts before the file that brought the rows first.
        write(data / "a_late.csv", HEADER, [*late[1:], [*late[0][:2], "1.23", *late[0][3:]]])
        assert refine().rows_quarantined == 1
        before = table("quarantine_facts").to_pylist()
        ws.tables.drop(f"{ws.catalog}.{data.parent.name}.quarantine_facts")
        refine()
        assert table("quarantine_facts").to_pylist() == before

    def test_a_number_written_otherwise_is_quarantined_and_no_other_number(self, delivered):
        data, _, refine, table = delivered
        refine()
        texts = ["12,50", "NaN", "1e400", "", "NA", "12E3"]
        write(data / "odd.csv", HEADER, [[f"X{n}", "2024-06-20", odd, "a", ""] for n, odd in enumerate(texts)])
        refine()
        reasons = [row["reason"] for row in table("quarantine_facts").to_pylist()]
        assert reasons == ["amount_is_readable"] * 3
        odd = {row["order"]: row["amount"] for row in table("silver_facts").to_pylist() if row["order"][0] == "X"}
        assert odd == {"X1": None, "X3": None, "X4": None}


def test_without_a_time_a_late_label_is_of_the_row_that_was_there(ws, tmp_path):
    rows = [[f"P{number}", f"{number % 97}.5", "" if number >= 400 else number % 2] for number in range(450)]
    path = write(tmp_path / "parts.csv", ["part", "weight", "bad"], rows)
    made = new_use_case("parts", path, into=tmp_path / "uc", task="classification", entity="part", label="bad")
    use_case = discovery.load(discovery.get("parts", tmp_path / "uc")).open("parts", made.folder, ws)
    # The second time a horizon after the last made-up day.
    for as_of in (made.as_of, "2000-04-20"):
        Pipeline(ws, use_case, parse_as_of(as_of)).run(["ingest", "refine"])
        write(made.folder / "data" / "late.csv", ["part", "weight", "bad"], [[*row[:-1], "1.0"] for row in rows[400:]])
    spine = ws.tables.to_arrow(use_case.namespace.table("gold_spine"), at_most=10**6)
    labels = ws.tables.to_arrow(use_case.namespace.table("gold_labels"), at_most=10**6).to_pylist()
    assert spine.num_rows == 450
    late = {row["part"]: row["bad"] for row in labels if int(row["part"][1:]) >= 400}
    assert late == {f"P{number}": 1.0 for number in range(400, 450)}


@pytest.mark.parametrize(
    ("estimator", "task"), crossed(["lightgbm", "xgboost", "linear"], ["classification", "regression"])
)
def test_each_estimator_reaches_a_champion(ws, tmp_path, estimator, task):
    """With a category, a number with gaps, and two columns without any value."""
    dice = random.Random(4)
    rows: list[list[object]] = []
    for number in range(600):
        amount, group = dice.uniform(0, 100), dice.choice(["a", "b", "c", ""])
        value = 2 * amount + 40 * (group == "b") + dice.gauss(0, 10)
        label = f"{value:.1f}" if task == "regression" else ("yes" if value + dice.gauss(0, 30) > 120 else "no")
        shown = "" if number % 9 == 0 else f"{amount:.1f}"
        rows.append([number, shown, group, "", "", "" if number >= 550 else label])
    path = write(tmp_path / "orders.csv", ["order", "amount", "group", "void", "note", "result"], rows)
    found = predictions(
        ws,
        tmp_path / "use_cases",
        f"orders_{estimator}_{task}",
        path,
        task=task,
        entity="order",
        label="result",
        estimator=estimator,
    )
    assert {str(number) for number in range(550, 600)} <= set(found["order"].to_pylist())
    assert len(set(found["prediction"].to_pylist())) > 20
