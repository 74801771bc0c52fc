"""The label frame: counted, joined and drawn by the engine, the same rows in both homes."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform import Column, LabelSpine
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import LabelError
from mlplatform.naming import Namespace
from mlplatform.protocols.frames import metered
from mlplatform.training.label_frame import ClassCounts, KnownLabels, LabelFrame, known_labels, table_digest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.workspace import Workspace

NAMESPACE = Namespace("dev", "label_frames")
TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
ROWS, HORIZON = 200, 30


class Defaults(LabelSpine):
    """Loans by number; every tenth defaults within thirty days."""

    keys = ("loan",)
    key_columns = (Column("loan", "string", "Number"), Column("approved_at", "timestamp", "When"))
    columns = (Column("amount", "decimal(10,2)", "Dollars"), Column("term", "smallint", "Months"))
    label = "defaulted"
    inputs = ()

    def spine(self, ws: Any) -> DataFrame:
        raise AssertionError("nothing here computes it")

    def labels(self, ws: Any) -> DataFrame:
        raise AssertionError("nothing here computes it")


def spine(**training: Any) -> Defaults:
    given = {"owner": "me", "label": {"horizon": f"{HORIZON} days"}, "gate": {"floor": 0.6}}
    return Defaults(UseCaseSettings.model_validate(given | {"training": {"min_rows": 1, **training}}))


def day(number: int) -> dt.datetime:
    return DAY + dt.timedelta(days=number)


def facts(numbers: range) -> pa.Table:
    # Two loans a day.
    columns = {
        "loan": [f"L{number:03d}" for number in numbers],
        "approved_at": [day(number // 2) for number in numbers],
        "amount": [None if number % 7 == 0 else Decimal(number) for number in numbers],
        "term": [number % 12 for number in numbers],
    }
    return pa.table(columns).cast(pa.schema([(field.name, field.type) for field in spine().spine_schema()]))


def labels(numbers: range) -> pa.Table:
    columns = {
        "loan": [f"L{number:03d}" for number in numbers],
        "approved_at": [day(number // 2) for number in numbers],
        "defaulted": [float(number % 10 == 0) for number in numbers],
        "label_known_at": [day(number // 2 + HORIZON) for number in numbers],
    }
    return pa.table(columns).cast(pa.schema([(field.name, field.type) for field in spine().label_schema()]))


@pytest.fixture(scope="module")
def loans(ws: Workspace) -> Workspace:
    for name, schema, rows in (
        ("spine", spine().spine_schema(), facts),
        ("labels", spine().label_schema(), labels),
    ):
        table = NAMESPACE.gold(name)
        ws.tables.create(table, schema, primary_keys=Defaults.primary_keys, timeseries_column="approved_at")
        # In several files, the newest first.
        for start in range(ROWS - 50, -1, -50):
            ws.tables.append(table, rows(range(start, start + 50)))
    return ws


def expected(numbers: list[int]) -> pa.Table:
    """Return the frame's rows of loans, as Arrow alone would join them."""
    whole, outcome = facts(range(ROWS)), labels(range(ROWS))
    for name in ("defaulted", "label_known_at"):
        whole = whole.append_column(name, outcome.column(name))
    return whole.take(pa.array(sorted(numbers), pa.int64()))


def drawn(known: int, *, at_most: int, seed: int) -> list[int]:
    """Return the loans whose keys have the smallest MD5, computed by hashlib."""

    def digest(number: int) -> str:
        text = f"{seed}|L{number:03d}|{int(day(number // 2).timestamp()) * 1_000_000}"
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    return sorted(range(known), key=digest)[:at_most]


def at(ws: Workspace, number: int, *, after: int | None = None, **training: Any) -> LabelFrame:
    later = None if after is None else day(after)
    return known_labels(ws, NAMESPACE, spine(**training), day(number), after=later)


def test_all_known_rows_are_taken_where_they_fit(loans):
    frame = at(loans, HORIZON + 69)
    assert frame.rows.equals(expected(list(range(140))))
    assert frame.digest == table_digest(expected(list(range(140))))
    assert (frame.known_rows, frame.is_sample, str(frame)) == (140, False, "140 labelled rows")
    assert frame.versions == {str(NAMESPACE.gold(name)): 4 for name in ("labels", "spine")}
    assert at(loans, HORIZON + 69, max_rows=140).rows.equals(frame.rows)


def test_of_more_a_sample_is_drawn_by_keys_and_seed(loans):
    with metered() as collected:
        frame = at(loans, HORIZON + 69, max_rows=120)
    chosen = drawn(140, at_most=120, seed=0)
    assert frame.digest == table_digest(expected(chosen))
    assert frame.rows.equals(expected(chosen))
    assert (frame.known_rows, frame.is_sample, str(frame)) == (140, True, "120 labelled rows of 140")
    assert collected.largest.rows == collected.largest.at_most == 120
    other = at(loans, HORIZON + 69, max_rows=120, seed=3)
    assert other.rows.equals(expected(drawn(140, at_most=120, seed=3)))
    assert other.digest != frame.digest
    smaller = set(at(loans, HORIZON + 69, max_rows=100).rows.column("loan").to_pylist())
    assert smaller < set(frame.rows.column("loan").to_pylist())


def test_a_window_is_applied_before_the_sample_is_drawn(loans):
    frame = at(loans, HORIZON + 69, after=9, max_rows=100)
    later = [number for number in drawn(140, at_most=140, seed=0) if number >= 20]
    assert frame.rows.equals(expected(later[:100]))
    assert frame.known_rows == 120


def test_labels_are_counted_by_class_and_by_when_they_were_known(loans):
    known = KnownLabels.at(loans, NAMESPACE, spine(), day(HORIZON + 69))
    rows, counts = known.count(newer_than=day(0))
    assert (rows, counts.rows, counts.of_classes, counts.rarer) == (140, 140, (126, 14), 14)
    rows, counts = known.count(newer_than=day(HORIZON + 59))
    assert (rows, counts.rows, counts.of_classes[1], counts.rarer) == (140, 20, 2, 2)
    newer = known.newer_than(day(HORIZON + 59))
    assert newer.frame(at_most=100, seed=0, rows=20).rows.equals(expected(list(range(120, 140))))
    assert known.count(newer_than=day(HORIZON + 69)) == (140, ClassCounts(0, (0, 0)))
    assert KnownLabels.at(loans, NAMESPACE, spine(), day(1)).count(newer_than=day(0)) == (0, ClassCounts(0, (0, 0)))


def test_where_no_label_is_known_it_says_so(loans):
    with pytest.raises(LabelError, match="No label of label_frames is known at 2024-01-11") as caught:
        at(loans, 10)
    assert "30 days after its prediction" in caught.value.hint
    with pytest.raises(LabelError, match="for predictions after 2024-04-09"):
        at(loans, HORIZON + 69, after=99)


CLASSES_SPACE = Namespace("dev", "label_classes")


class Graded(Defaults):
    """Loans with a grade."""

    label = "grade"
    label_type = "string"


def graded(*classes: str) -> LabelSpine:
    label = {"horizon": f"{HORIZON} days", "classes": classes}
    given = {"owner": "me", "task": "multiclass", "label": label, "gate": {"floor": 2}, "training": {"min_rows": 1}}
    return Graded(UseCaseSettings.model_validate(given))


@pytest.fixture(scope="module")
def grades(ws: Workspace) -> Workspace:
    declared = graded("A", "it's B", "C")
    names = pa.array([("A", "it's B", "C")[number % 3] for number in range(ROWS)])
    outcomes = labels(range(ROWS)).drop_columns(["defaulted"]).append_column("grade", names)
    for name, schema, rows in (
        ("spine", declared.spine_schema(), facts(range(ROWS))),
        ("labels", declared.label_schema(), outcomes),
    ):
        table = CLASSES_SPACE.gold(name)
        ws.tables.create(table, schema, primary_keys=Defaults.primary_keys, timeseries_column="approved_at")
        ws.tables.append(table, rows.select(schema.names).cast(schema))
    return ws


class TestSeveralClasses:
    """Labels that are names in the table are numbers of their classes in the frame."""

    def test_the_frame_has_numbers_in_the_declared_order(self, grades):
        frame = known_labels(grades, CLASSES_SPACE, graded("C", "A", "it's B"), day(HORIZON + 69))
        loans = [int(name[1:]) for name in frame.rows.column("loan").to_pylist()]
        assert frame.rows.column("grade").to_pylist() == [{0: 1.0, 1: 2.0, 2: 0.0}[number % 3] for number in loans]

    def test_each_class_is_counted(self, grades):
        known = KnownLabels.at(grades, CLASSES_SPACE, graded("A", "it's B", "C", "D"), day(HORIZON + 69))
        rows, counts = known.count(newer_than=day(0))
        assert (rows, counts.rows, counts.of_classes, counts.rarer) == (140, 140, (47, 47, 46, 0), 0)

    def test_labels_of_other_classes_are_named(self, grades):
        with pytest.raises(LabelError, match=r"none of label\.classes \(A, C, D\): it's B\.") as caught:
            known_labels(grades, CLASSES_SPACE, graded("A", "C", "D"), day(HORIZON + 69))
        assert "at the end" in caught.value.hint
