"""How a column's numbers are written, and what is none; what decides where two readings are possible."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest

from mlplatform.errors import UsageError
from mlplatform.refine.numbers import number_pattern, number_sql
from mlplatform.scaffold.number_forms import Form, NoNumber, form_of


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        (["1", "-2.5", "0", ".5", "1e-05", "2.5E+10"], Form()),
        (["5", "5.0", "NA", "inf", "NaN", "-", ""], Form()),
        (["12,50", "3,7"], Form(decimal=",")),
        (["1,234.50", "99.90"], Form(thousands=",")),
        (["1.234,50", "7"], Form(thousands=".", decimal=",")),
        (["1 234,50", "7,5"], Form(thousands=" ", decimal=",")),
        (["1\u202f234,50", "7,5"], Form(thousands=" ", decimal=",")),
        (["12'345.60", "1.00"], Form(thousands="'")),
        (["12,34,567.80", "500"], Form(thousands=",")),
        (["$150,000.00 ", "$20.00"], Form(unit="$", thousands=",")),
        (["R$ 1.234,56", "R$ 5,00", "0,00"], Form(unit="R$", thousands=".", decimal=",")),
        (["100,5 €", "2.000,00 €"], Form(unit="€", thousands=".", decimal=",")),
        (["40%", "3.5 %"], Form(unit="%")),
        (["5 km", "12.5 km"], Form(unit="km")),
        (["(12.50)", "3.00"], Form(thousands=",")),
        (["12.50-", "3.00"], Form(thousands=",")),
        (["1,234", "12,5"], Form(decimal=",")),
        (["1,234", "5000"], Form(decimal=",")),
        (["0,123", "1,234"], Form(decimal=",")),
        (["1,234,567", "2,345"], Form(thousands=",")),
    ],
)
def test_numbers_as_they_are_written(texts: list[str], form: Form) -> None:
    assert form_of(texts) == form


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["02134", "2134"], "leading zeros"),
        (["1234567890123456789", "1"], "more digits"),
        (["9007199254740993", "1"], "more digits"),
        (["12E3", "1"], "letters"),
        (["4E-10", "5E-10"], "letters"),
        (["+4912", "+4913"], "a sign before each"),
        (["1.1", "1.10", "2.3"], "one number"),
        (["€5", "$6"], "several units"),
        (["40%", "0.4"], "several units"),
        (["555 123 456", "555 123 457"], "digits in groups"),
        ([*map(str, range(30)), "many"], "but for 1 value"),
        (["A12", "A13"], ""),
        (["2024-01-31"], ""),
        (["31.12.2024"], ""),
        (["10:30"], ""),
        (["1,2,3", "1,2"], ""),
        (["NaN", "inf"], ""),
        (["12A", "13A"], ""),
    ],
)
def test_what_is_no_number_and_why(texts: list[str], why: str) -> None:
    found = form_of(texts)
    assert isinstance(found, NoNumber)
    assert why in found.why
    assert bool(why) == bool(found.why)


def test_what_can_be_read_in_two_ways_is_decided_by_the_other_columns_else_said() -> None:
    alone = form_of(["1,234", "5,678"])
    assert isinstance(alone, Form)
    assert alone.doubt == "1,234 is read as 1234; it may be 1.234"
    assert form_of(["1,234", "5,678"], {","}) == Form(decimal=",")
    assert form_of(["1,234", "5,678"], {"."}) == Form(thousands=",")
    assert form_of(["1.234", "5.678"]) == Form()
    german = form_of(["1.234", "5.678"], {","})
    assert isinstance(german, Form)
    assert (german.thousands, bool(german.doubt)) == (".", True)


@pytest.mark.parametrize(
    ("thousands", "decimal", "texts"),
    [
        (",", ".", ["1,234.50", "-1,000", "0.5", "1,234,567", "12"]),
        (".", ",", ["1.234,50", "-1.000", "0,5", "1.234.567", "12"]),
        ("", ",", ["1234,5", "0,25", "-3"]),
    ],
)
def test_pandas_reads_the_same_numbers(thousands: str, decimal: str, texts: list[str]) -> None:
    judged = pd.read_csv(io.StringIO("\n".join(["x", *texts])), sep="\t", thousands=thousands or None, decimal=decimal)
    form = Form(thousands=thousands, decimal=decimal)
    assert [form.value(text) for text in texts] == judged["x"].tolist()
    pattern = re.compile(number_pattern("", thousands, decimal))
    assert all(pattern.search(text) for text in texts)


@pytest.mark.parametrize(
    ("unit", "thousands", "decimal"), [("", ".", "."), ("", ";", "."), ("", "", ";"), ("a1", "", "."), ("')", "", ".")]
)
def test_what_separates_nothing_is_refused(unit: str, thousands: str, decimal: str) -> None:
    with pytest.raises(UsageError):
        number_sql("x", unit=unit, thousands=thousands, decimal=decimal)
