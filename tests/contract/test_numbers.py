"""Reading numbers as files write them: both engines read the same, and as Python does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from mlplatform.refine.numbers import number_pattern, number_sql, present_sql, readable_sql
from mlplatform.scaffold.number_forms import Form

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

TEXTS = [
    *("1", "-2.5", "+3", "0", ".5", "5.", "1e-05", "2.5E+10", "1.5e3", "007", "02134", "12E3", "9" * 16, "9" * 17),
    *("NaN", "nan", "inf", "-Infinity", "1e400", "9" * 400, "1d", "1f", "0x1F", "1_000", "--", "-", "?", "n/a", "N/A"),
    *("", " ", " 7 ", "\u00a05\u00a0", "abc", "1-2", "(5", "5)", "12,50", "1,234", "1,234.50", "1.234,50", "1,2,3"),
    *(
        "12,34,567.8",
        "1 234,5",
        "1\u202f234,5",
        "1\u00a0234",
        "12'345.6",
        "12\u2019345",
        "(12.50)",
        "12.50-",
        "\u22125",
    ),
    *("$5", "$150,000.00 ", "-$5", "$-5", "($5)", "R$ 1.234,56", "R$5", "R$ 7", "5 €", "€5", "€ 7"),
    *("40%", "40 %", "-3.5%", "%", "40%%", "Rs. 500", "Rs. 1,500.50", "5 km", "5 kg"),
]
FORMS = [
    Form(),
    Form(thousands=","),
    Form(thousands=".", decimal=","),
    Form(thousands=" ", decimal=","),
    Form(thousands="'"),
    Form(decimal=","),
    Form(unit="$", thousands=","),
    Form(unit="R$", thousands=".", decimal=","),
    Form(unit="€"),
    Form(unit="%"),
    Form(unit="Rs.", thousands=","),
    Form(unit="km"),
]


@pytest.fixture(scope="module")
def landed(ws: Workspace) -> str:
    name = "dev.contract.landed_numbers"
    ws.tables.create(name, pa.schema([pa.field("n", pa.int64()), pa.field("a.b", pa.string())]))
    ws.tables.append(name, pa.table({"n": list(range(len(TEXTS))), "a.b": TEXTS}))
    return name


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.unit}{form.thousands}{form.decimal}")
def test_a_number_is_what_is_written_as_declared(ws: Workspace, landed: str, form: Form) -> None:
    marks = {"unit": form.unit, "thousands": form.thousands, "decimal": form.decimal}
    rows = ws.tables.read(landed).selectExpr("n", f"{number_sql('`a.b`', **marks)} AS number").toArrow().to_pylist()
    read = {TEXTS[row["n"]]: row["number"] for row in rows}
    pattern = re.compile(number_pattern(**marks))
    blanks = " " if form.plain else " \u00a0\u202f\u2009\t"
    expected = {text: form.value(text.strip(blanks)) if pattern.search(text.strip(blanks)) else None for text in TEXTS}
    assert read == pytest.approx(expected, nan_ok=False)
    assert sum(number is not None for number in read.values()) >= 3


def test_what_is_missing_in_words_is_missing(ws: Workspace, landed: str) -> None:
    present = ws.tables.read(landed).where(present_sql("`a.b`")).toArrow()["a.b"].to_pylist()
    missing = {"NaN", "nan", "inf", "-Infinity", "--", "-", "?", "n/a", "N/A", "", " "}
    assert set(TEXTS) - set(present) == missing


def test_a_number_is_readable_or_missing(ws: Workspace, landed: str) -> None:
    frame = ws.tables.read(landed).selectExpr(
        "struct(`a.b`) AS raw", f"{number_sql('`a.b`')} AS number", "`a.b` AS text"
    )
    bad = frame.where(f"NOT ({readable_sql('number', '`a.b`')})").toArrow()["text"].to_pylist()
    assert {"02134", "12E3", "1e400", "12,50", "$5", "abc", "1d"} <= set(bad)
    assert not {"1", "NaN", "", "n/a", " 7 "} & set(bad)
