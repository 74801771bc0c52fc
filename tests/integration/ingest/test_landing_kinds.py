"""Kinds of files that land, each with its books: every physical line is a row, or in the quarantine with its reason.

All files land in one folder, and are ingested and refined in one run for each of two sources: one whose values hold no
newlines, and one whose values may. What came of each kind is judged by a count that is none of the platform's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlplatform import Column, SilverTable, Source
from mlplatform.as_of import parse_as_of
from mlplatform.errors import StageError
from mlplatform.ingest.quarantine import MALFORMED
from mlplatform.ingest.source import shown_path
from mlplatform.ingest.stage import Ingest
from mlplatform.ops.result import StageResult
from mlplatform.refine.details import RefineDetails
from mlplatform.refine.silver_refining import bring_up
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.landing_kinds import KINDS, REFUSED, Kind
from tests.support.tiny_use_case import Tiny, write_tiny_use_case

AS_OF = parse_as_of("2021-01-01")


class Lines(Source):
    """Values hold no newlines."""

    files = "kinds/*"
    columns = ("id", "day", "price", "note")


class Texts(Source):
    """Values may."""

    files = "kinds/*"
    columns = ("id", "day", "price", "note")
    newlines_in_values = True


class Refused(Source):
    """Files of which nothing is taken."""

    files = "refused/*"
    columns = ("id", "day", "price", "note")


class _Cases(SilverTable):
    keys = ("id",)
    columns = (
        Column("id", "string", "Number"),
        Column("known_at", "timestamp", "Day", sql="try_to_timestamp(day, 'yyyy-MM-dd')"),
        Column("price", "double", "In dollars", sql="try_cast(price AS double)"),
        Column("note", "string", "Text"),
    )


class LineCases(_Cases):
    """Of lines."""

    source = Lines


class TextCases(_Cases):
    """Of texts."""

    source = Texts


class Kinds(Tiny):
    """The use case's parts."""

    sources = (Lines, Texts)
    silver = (LineCases, TextCases)


SILVER: dict[type[Source], type[SilverTable]] = {Lines: LineCases, Texts: TextCases}


@dataclass
class Outcome:
    """What came of a file."""

    bronze: list[dict[str, Any]] = field(default_factory=list)
    malformed: list[dict[str, Any]] = field(default_factory=list)
    silver: list[dict[str, Any]] = field(default_factory=list)
    faulty: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def use_case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kinds, LocalWorkspace]]:
    folder = write_tiny_use_case(tmp_path_factory.mktemp("use_case"), months=1, rows_a_month=1)
    with LocalWorkspace.open(root=tmp_path_factory.mktemp("workspace")) as ws:
        yield Kinds.open("tiny", folder.folder, ws), ws


@pytest.fixture(scope="module")
def outcomes(use_case: tuple[Kinds, LocalWorkspace]) -> dict[tuple[type[Source], str], Outcome]:
    """What came of each file, by source and name."""
    opened, ws = use_case
    folder = opened.landing / "kinds"
    folder.mkdir()
    for kind in KINDS:
        (folder / kind.file).write_bytes(kind.content)
    assert len(list(folder.iterdir())) == len(KINDS)
    context = opened.context(ws, AS_OF, "a-run")
    ingested = Ingest(opened.sources, opened.landing).run(context)
    found: dict[tuple[type[Source], str], Outcome] = {}
    refined = StageResult(details=RefineDetails(), rows_in=0, rows_out=0, rows_quarantined=0)
    names, counts = opened.namespace, Counter[str]()
    for source, silver in SILVER.items():
        bring_up(context, silver(), refined)
        tables = {
            "bronze": names.bronze(source.name),
            "malformed": names.quarantine(source.name),
            "silver": names.silver(silver.name),
            "faulty": names.silver_quarantine(silver.name),
        }
        for attribute, table in tables.items():
            # Without times: Python does not know the year 0.
            columns = [name for name in ws.tables.describe(table).schema.names if not name.endswith("_at")]
            for row in ws.tables.to_arrow(table, at_most=10**6, columns=columns).to_pylist():
                counts[attribute] += 1
                getattr(found.setdefault((source, row["_file"]), Outcome()), attribute).append(row)
    # The record says what the tables hold.
    assert (ingested.rows_out, ingested.rows_quarantined) == (counts["bronze"], counts["malformed"])
    assert refined.rows_in == counts["bronze"] == (refined.rows_out or 0) + (refined.rows_quarantined or 0)
    assert refined.rows_out == counts["silver"] + sum(refined.details.repeated.values())
    assert refined.rows_quarantined == counts["faulty"]
    return found


def outcome_of(outcomes: dict[tuple[type[Source], str], Outcome], source: type[Source], kind: Kind) -> Outcome:
    return outcomes.get((source, f"kinds/{shown_path(kind.file)}"), Outcome())


def test_there_are_many_kinds_each_with_its_own_name():
    assert len(KINDS) + len(REFUSED) >= 160
    assert len({kind.name for kind in KINDS}) == len({kind.file for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("source", SILVER, ids=lambda source: source.name)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: ascii(kind.name))
def test_every_line_is_a_row_or_in_the_quarantine(outcomes, kind, source):
    found = outcome_of(outcomes, source, kind)
    lines = kind.lines
    filled = [number for number, line in enumerate(lines, 1) if line]
    body = filled[1:]  # after the header
    # Rows are numbered in their order, and malformed lines by their line.
    assert sorted(row["_row"] for row in found.bronze) == list(range(len(found.bronze)))
    numbers = [row["_row"] for row in found.malformed]
    assert len(set(numbers)) == len(numbers)
    assert {row["_row"]: row["content"] for row in found.malformed} == {
        number: lines[number - 1].replace("\0", "\\x00") for number in numbers
    }
    assert all(row["reason"].startswith(f"{MALFORMED}: ") for row in found.malformed)
    # The books, line by line.
    cells = [row[column] or "" for row in found.bronze for column in (*source.columns, "_rescued_data")]
    inside = sum(len(re.findall(r"\r\n|\n|\r", cell)) for cell in cells)
    blank_inside = sum(len(re.findall(r"(?<=\n)\n", cell)) for cell in cells)
    blank_apart = sum(not row["content"] for row in found.malformed)
    assert len(found.bronze) + inside - blank_inside + len(numbers) - blank_apart == len(body)
    assert not inside or source.newlines_in_values
    assert (len(found.bronze), len(numbers)) == kind.expected(newlines=source.newlines_in_values)


@pytest.mark.parametrize("source", SILVER, ids=lambda source: source.name)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: ascii(kind.name))
def test_every_row_is_in_silver_or_in_the_quarantine_with_its_value(outcomes, kind, source):
    found = outcome_of(outcomes, source, kind)
    assert len(found.silver) + len(found.faulty) + kind.repeated == len(found.bronze)
    if kind.silver is not None and not kind.malformed:
        assert len(found.silver) == kind.silver
    elif kind.silver is None:
        assert len(found.silver) == len(found.bronze)
    assert all(row["price"] is None or math.isfinite(row["price"]) for row in found.silver)
    notes = {row["id"]: row["note"] for row in found.silver}
    assert {key: notes.get(key) for key, _ in kind.notes} == dict(kind.notes)
    if "\r" not in "".join(kind.lines) and not source.newlines_in_values:
        # No text is longer than the line that it stood in.
        longest = max(map(len, kind.lines))
        assert all(len(note or "") <= longest for note in notes.values())


@pytest.mark.parametrize("name", REFUSED)
def test_of_a_file_that_cannot_be_read_nothing_is_taken_and_the_error_names_it(use_case, name):
    opened, ws = use_case
    file, content, said = REFUSED[name]
    path: Path = opened.landing / "refused" / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    try:
        with pytest.raises(StageError, match=said) as raised:
            Ingest((Refused,), opened.landing).run(opened.context(ws, AS_OF, "a-run"))
    finally:
        path.unlink()
    assert str(path) in str(raised.value)
    assert raised.value.hint
    assert ws.tables.to_arrow(opened.namespace.bronze(Refused.name), at_most=1).num_rows == 0


def test_a_number_that_is_none_is_named_with_its_column(outcomes):
    kinds = [kind for kind in KINDS if kind.name.startswith("a price of ")]
    assert len(kinds) == 9
    for kind in kinds:
        (faulty,) = outcome_of(outcomes, Lines, kind).faulty
        assert faulty["reason"] == "price_is_not_finite"
