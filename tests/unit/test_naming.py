"""Names: three levels, nothing that could break out of SQL or out of a folder."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.errors import UsageError
from mlplatform.naming import Namespace, ObjectName, check_use_case_name, quote

PART = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
PRINTABLE = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30)

INJECTIONS = [
    "x; DROP TABLE y",
    "x` ; DROP TABLE y --",
    'x"; DROP TABLE y --',
    "x'y",
    "x y",
    "x/y",
    "../x",
    "..",
    ".",
    "",
    " ",
    "-x",
    "x\n",
    "x\x00",
    "x\u202e",
    "ünï",
    "x" * 256,
    "$(id)",
    "%s",
    "*",
]


@given(PART, PART, PART)
def test_a_valid_name_reads_back_from_its_text_and_from_its_sql(catalog, schema, name):
    parsed = ObjectName(catalog, schema, name)
    assert ObjectName.parse(str(parsed)) == parsed
    assert ObjectName.parse(parsed.sql) == parsed
    assert ObjectName.parse(parsed) is parsed


@pytest.mark.parametrize("part", INJECTIONS)
@pytest.mark.parametrize("level", range(3))
def test_what_is_no_plain_part_is_refused_at_every_level(part, level):
    parts = ["dev", "credit_risk", "loans"]
    parts[level] = part
    with pytest.raises(UsageError) as caught:
        ObjectName(*parts)
    assert caught.value.hint
    with pytest.raises(UsageError):
        ObjectName.parse(".".join(parts))


@pytest.mark.parametrize(
    "text", ["loans", "risk.loans", "a.dev.risk.loans", "", "dev..loans", None, 3, b"dev.risk.loans"]
)
def test_a_name_has_exactly_three_levels(text):
    with pytest.raises(UsageError):
        ObjectName.parse(text)


def test_a_part_of_255_characters_is_the_longest():
    assert ObjectName("dev", "risk", "x" * 255).name == "x" * 255


@given(PRINTABLE)
@settings(max_examples=40)
def test_duckdb_reads_a_quoted_identifier_as_that_one_name(identifier):
    """The engine itself is the judge: whatever the text, it stays one column's name."""
    with duckdb.connect() as connection:
        columns = connection.execute(f"SELECT 1 AS {quote(identifier, 'duckdb')}").description
    assert [column[0] for column in columns] == [identifier]


@given(PRINTABLE)
def test_a_backtick_inside_is_doubled_so_that_the_quoting_ends_where_it_should(identifier):
    quoted = quote(identifier)
    assert quoted[0] == quoted[-1] == "`"
    assert "`" not in quoted[1:-1].replace("``", "")
    assert quoted[1:-1].replace("``", "`") == identifier


@pytest.mark.parametrize("identifier", ["", "a\nb", "a\x00b", "\t", "a\x7f"])
@pytest.mark.parametrize("dialect", ["spark", "duckdb"])
def test_a_column_name_is_not_empty_and_holds_no_control_character(identifier, dialect):
    with pytest.raises(UsageError):
        quote(identifier, dialect)


@pytest.mark.parametrize("name", ["Credit", "1st", "_x", "a-b", "a.b", "", "a b", "../a", "a" * 64, "a\n"])
def test_a_use_case_name_is_a_python_package_name_in_lower_case(name):
    with pytest.raises(UsageError):
        check_use_case_name(name)


def test_a_namespace_names_every_kind_of_table_in_the_use_cases_schema():
    here = Namespace("prod", "churn")
    names = [here.bronze("a"), here.silver("a"), here.quarantine("a"), here.gold("a"), here.features("a"), here.model]
    assert [str(name) for name in names] == [
        "prod.churn.bronze_a",
        "prod.churn.silver_a",
        "prod.churn.quarantine_a",
        "prod.churn.gold_a",
        "prod.churn.features_a",
        "prod.churn.model",
    ]
    assert str(here.ops("alerts")) == "prod.ops.alerts"


def test_a_namespace_refuses_what_would_leave_its_schema():
    with pytest.raises(UsageError):
        Namespace("dev", "churn").table("../../prod/churn/x")
    with pytest.raises(UsageError):
        Namespace("dev", "churn").silver("x.y")
