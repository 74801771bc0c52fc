"""How a CSV file is written: found by what it holds, said where it may be otherwise, and never guessed silently."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner

from mlplatform import discovery
from mlplatform.cli.main import cli
from mlplatform.errors import UsageError
from mlplatform.ingest.dialect import DELIMITERS, Dialect
from mlplatform.scaffold.csv_dialect import found_delimiter
from mlplatform.scaffold.inference import infer
from mlplatform.scaffold.render import new_use_case
from mlplatform.scaffold.written import WrittenAs

ROWS = 240
START = date(2024, 1, 1)


def brazilian(number: float) -> str:
    return f"{number:,.2f}".replace(",", "@").replace(".", ",").replace("@", ".")


def table(**others: Sequence[Any]) -> dict[str, Sequence[Any]]:
    dice = random.Random(3)
    columns: dict[str, Sequence[Any]] = {
        "Código": [f"{number:05d}" for number in range(ROWS)],
        "Data": [f"{START + timedelta(days=number):%d/%m/%Y}" for number in range(ROWS)],
        "Cidade": [("São Paulo", "Maceió; AL", "Goiânia")[number % 3] for number in range(ROWS)],
        "Valor": [brazilian(dice.uniform(1, 5000)) for _ in range(ROWS)],
        "Comprou": [("sim", "não")[number % 4 > 0] for number in range(ROWS)],
    }
    return columns | others


def write(tmp_path: Path, columns: dict[str, Sequence[Any]], delimiter: str = ";", encoding: str = "latin-1") -> Path:
    path = tmp_path / "vendas.csv"
    pd.DataFrame(columns).to_csv(path, sep=delimiter, encoding=encoding, index=False)
    return path


def found(path: Path, **options: Any) -> Any:
    asked = {"task": "classification", "entity": "Código", "label": "Comprou", "timestamp": "Data"}
    return infer(path, **asked | options)


def test_a_brazilian_file_is_found_out_and_declared(tmp_path: Path) -> None:
    path = write(tmp_path, table())
    inferred = found(path)
    expected = Dialect(delimiter=";", encoding="latin-1", decimal=",", thousands=".", date_format="dd/MM/yyyy")
    assert inferred.dialect == expected
    assert {fact.name: fact.role for fact in inferred.facts} == {"cidade": "category", "valor": "number"}
    assert (f"{inferred.start:%Y-%m-%d}", f"{inferred.end:%Y-%m-%d}") == ("2024-01-01", "2024-08-27")
    asked = {"task": "classification", "entity": "Código", "label": "Comprou", "timestamp": "Data"}
    made = new_use_case("vendas", path, into=tmp_path / "use_cases", **asked)
    (source,) = discovery.load(discovery.get("vendas", tmp_path / "use_cases")).sources
    assert source.dialect == expected
    assert (made.folder / "data" / "vendas.csv").read_bytes() == path.read_bytes(), "the bytes as they came"
    tables = (made.folder / "tables.py").read_text(encoding="utf-8")
    assert 'number_sql("`Valor`", dialect=DIALECT)' in tables
    assert '_TIME = time_sql("`Data`", dialect=DIALECT)' in tables


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_each_delimiter_and_encoding_is_found(tmp_path: Path, delimiter: str, encoding: str) -> None:
    dialect = found(write(tmp_path, table(), delimiter, encoding)).dialect
    assert (dialect.delimiter, dialect.encoding) == (delimiter, encoding.removesuffix("-sig"))
    assert (dialect.decimal, dialect.thousands, dialect.date_format) == (",", ".", "dd/MM/yyyy")


def test_letters_that_latin_1_lacks_are_those_of_windows(tmp_path: Path) -> None:
    path = write(tmp_path, table(Nota=["5 €"] * ROWS), encoding="cp1252")
    assert found(path).dialect.encoding == "windows-1252"


def test_decimal_commas_in_quotes_between_commas(tmp_path: Path) -> None:
    path = write(tmp_path, table(), delimiter=",")
    assert '"' in path.read_text(encoding="latin-1")
    assert (found(path).dialect.delimiter, found(path).dialect.decimal) == (",", ",")


def test_codes_stay_codes(tmp_path: Path) -> None:
    numbers = range(ROWS)
    codes = {
        "CEP": [f"{number % 40:05d}" for number in numbers],
        "Conta": [str(2**53 + number) for number in numbers],
        "Peça": [f"{number % 30 + 1}E3" for number in numbers],
    }
    facts = {fact.name: fact for fact in found(write(tmp_path, table(**codes))).facts}
    assert {name: facts[name].role for name in ("cep", "conta", "peca")} == {
        "cep": "category", "conta": "text", "peca": "category",
    }  # fmt: skip
    assert "leading zeros" in facts["cep"].note


def test_a_column_that_is_written_otherwise_than_the_file_says_so_itself(tmp_path: Path) -> None:
    columns = table(Lat=[f"-{number % 90}.5" for number in range(ROWS)], Itens=[str(n % 7) for n in range(ROWS)])
    asked = {"task": "classification", "entity": "Código", "label": "Comprou", "timestamp": "Data"}
    made = new_use_case("vendas", write(tmp_path, columns), into=tmp_path / "use_cases", **asked)
    tables = (made.folder / "tables.py").read_text(encoding="utf-8")
    assert 'number_sql("`Lat`")' in tables
    # Two columns disagree: neither is how the file is written, and each says how it is.
    assert 'number_sql("`Valor`", thousands=".", decimal=",")' in tables
    assert "decimal=" not in tables[: tables.index("class DropsSource")]


def test_whole_numbers_are_read_as_the_file_is_written(tmp_path: Path) -> None:
    columns = table(Itens=[str(number % 7) for number in range(ROWS)])
    asked = {"task": "classification", "entity": "Código", "label": "Comprou", "timestamp": "Data"}
    made = new_use_case("vendas", write(tmp_path, columns), into=tmp_path / "use_cases", **asked)
    assert 'number_sql("`Itens`", dialect=DIALECT)' in (made.folder / "tables.py").read_text(encoding="utf-8")


def test_a_number_that_may_be_either_is_said_and_can_be_decided(tmp_path: Path) -> None:
    columns = table(Valor=[f"{number % 9 + 1},{number % 900 + 100}" for number in range(ROWS)])
    path = write(tmp_path, columns)
    (valor,) = [fact for fact in found(path).facts if fact.name == "valor"]
    assert "it may be" in valor.note
    (valor,) = [fact for fact in found(path, written=WrittenAs(decimal=",")).facts if fact.name == "valor"]
    assert (valor.form.decimal, valor.note) == (",", "")


MONTHS = [f"{number % 12 + 1:02d}/{number // 12 % 12 + 1:02d}/{2000 + number // 144}" for number in range(ROWS)]


def test_days_that_may_be_months_are_an_error_that_says_both_readings(tmp_path: Path) -> None:
    path = write(tmp_path, table(Data=MONTHS))
    with pytest.raises(UsageError, match="can be read in two ways: 02/01/2000 is 2000-01-02") as caught:
        found(path)
    assert "--date-format dd/MM/yyyy, or --date-format MM/dd/yyyy" in str(caught.value.hint)
    assert found(path, written=WrittenAs(date_format="MM/dd/yyyy")).dialect.date_format == "MM/dd/yyyy"


@pytest.mark.parametrize(("other", "date_format"), [("31/12/2024", "dd/MM/yyyy"), ("12/31/2024", "MM/dd/yyyy")])
def test_another_column_decides_and_that_is_said(tmp_path: Path, other: str, date_format: str) -> None:
    inferred = found(write(tmp_path, table(Data=MONTHS, Vencimento=[other] * ROWS)))
    assert inferred.dialect.date_format == date_format
    assert f"is read as {date_format}, as the days of Vencimento must be" in inferred.timestamp.note


@pytest.mark.parametrize(
    ("written", "date_format"),
    [("%m/%d/%Y", "MM/dd/yyyy"), ("%d.%m.%Y", "dd.MM.yyyy"), ("%d-%m-%Y", "dd-MM-yyyy"), ("%Y/%m/%d", "yyyy/MM/dd"),
     ("%d/%m/%Y %H:%M", "dd/MM/yyyy"), ("%Y-%m-%d", "yyyy-MM-dd")],
)  # fmt: skip
def test_days_of_other_countries(tmp_path: Path, written: str, date_format: str) -> None:
    days = [(START + timedelta(days=number)).strftime(written) for number in range(ROWS)]
    assert found(write(tmp_path, table(Data=days))).dialect.date_format == date_format


@pytest.mark.parametrize("wrong", ["31/12/24", "31/02/2024", "31 de dezembro", "2024-12-31"])
def test_a_day_that_is_none_is_named(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(UsageError, match=f"Data is '{wrong}' somewhere|no time in ISO 8601"):
        found(write(tmp_path, table(Data=[wrong, *table()["Data"][1:]])))


def test_a_file_without_a_header_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, table())
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[1:]))
    with pytest.raises(UsageError, match="has no header: its first line is a row"):
        found(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no CSV file"),
        (b"\xff\xfe", "no CSV file"),
        ("valor\n" + "1,5\n" * ROWS, "more values than its header"),
        ("nome\n" + "ana\n" * ROWS, "no column 'Código'"),
        ("Código;Data\n1;2;3\n", "more values than its header"),
        (b"Comprou\xff\x00;x\n", "bytes that no text has"),
        ("sep=;\nCódigo;Data\n1;2\n", "a note to Excel"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, content: bytes | str, says: str) -> None:
    path = tmp_path / "vendas.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=says):
        found(path)


def test_what_is_said_of_a_file_wins_and_is_held_against_it(tmp_path: Path) -> None:
    path = write(tmp_path, table(), encoding="cp1252")
    assert found(path, written=WrittenAs(encoding="windows-1252")).dialect.encoding == "windows-1252"
    with pytest.raises(UsageError, match="is not utf-8: line 1 holds the byte 0xf3"):
        found(path, written=WrittenAs(encoding="utf-8"))
    with pytest.raises(UsageError, match="no column 'Código'"):
        found(path, written=WrittenAs(delimiter="|"))


def lines_of(rows: list[list[str]], delimiter: str) -> str:
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in rows]
    return "".join(f"{delimiter.join(row)}\n" for row in quoted)


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_where_duckdb_finds_a_delimiter_it_is_ours(tmp_path: Path, delimiter: str) -> None:
    rows = [list(map(str, row)) for row in zip(*table().values(), strict=True)]
    text = lines_of([list(table()), *rows], delimiter)
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    ((judge,),) = duckdb.sql(f"SELECT Delimiter FROM sniff_csv('{path}')").fetchall()
    assert found_delimiter(text) == judge == delimiter


def test_decimal_commas_in_each_column_are_no_delimiter() -> None:
    """By which sniffers are taken in that look at the lines alone: DuckDB's says comma, and finds no header."""
    rows = [[f"{line},{column}5" for column in range(500)] for line in range(300)]
    header = [f"v{column}" for column in range(500)]
    assert found_delimiter(lines_of([header, *rows], ";")) == ";"


def test_a_few_broken_lines_do_not_hide_the_delimiter() -> None:
    rows = [[str(line), f"{line},5", "x"] for line in range(100)]
    assert found_delimiter(lines_of([["id", "valor", "obs"], *rows], ";") + '7;"abre\n8;2,5;y;z\n') == ";"


def test_a_wide_table_is_shown_in_few_lines_and_whole_as_json(tmp_path: Path) -> None:
    wide = {f"Variável {number}": [f"{n * number % 97},5" for n in range(ROWS)] for number in range(150)}
    path = write(tmp_path, table(**wide))
    asked = ["--task", "classification", "--entity", "Código", "--timestamp", "Data", "--label", "Comprou"]
    called = ["new-use-case", "larga", *asked, "--from-csv", str(path), "--use-cases", str(tmp_path / "use_cases")]
    said = CliRunner().invoke(cli, [*called, "--dry-run"])
    assert said.exit_code == 0, said.output
    assert len(said.output) < 3000
    assert "Numbers:     151: " in said.output
    assert "and 141 more" in said.output
    assert "Nothing was written" in said.output
    assert not (tmp_path / "use_cases").exists()
    shown = json.loads(CliRunner().invoke(cli, [*called, "--dry-run", "--json"]).output)
    assert (len(shown["numbers"]), shown["dry_run"]) == (151, True)
    assert shown["data"]["dialect"] == {
        "delimiter": ";", "encoding": "latin-1", "decimal": ",", "thousands": ".", "date_format": "dd/MM/yyyy",
    }  # fmt: skip
    assert CliRunner().invoke(cli, called).exit_code == 0
    (facts, *_) = discovery.load(discovery.get("larga", tmp_path / "use_cases")).silver
    assert len(facts.columns) > 150


def test_the_command_shows_what_it_found_and_a_word_by_which_one_sees_it(tmp_path: Path) -> None:
    path = write(tmp_path, table())
    asked = ["--task", "classification", "--entity", "Código", "--timestamp", "Data", "--label", "Comprou"]
    called = ["new-use-case", "vendas", *asked, "--from-csv", str(path), "--use-cases", str(tmp_path / "use_cases")]
    done = CliRunner().invoke(cli, called)
    assert done.exit_code == 0, done.output
    shown = "';' between values, Latin-1, decimals by ',', thousands by '.', days as dd/MM/yyyy; as in 'Código'"
    assert f"Read as:     {shown}" in done.output
    assert "declared as DIALECT in tables.py" in done.output
    assert "mlplatform report vendas" in done.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "Where are the data?"),
        (["--from-csv", "a.csv", "--from-parquet", "b.parquet"], "The data come from one place"),
        (["--from-parquet", "b.parquet", "--delimiter", ";"], "are of CSV files"),
        (["--from-parquet", "b.parquet"], "There is no file b.parquet"),
        (["--from-delta", "nowhere"], "nowhere is no Delta table"),
        (["--from-table", "a.b"], "a.b"),
    ],
)
def test_data_come_from_one_place_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    called = ["new-use-case", "vendas", "--task", "classification", "--entity", "a", "--label", "b", *options]
    done = CliRunner().invoke(cli, called)
    assert isinstance(done.exception, UsageError), done.output
    assert says in str(done.exception)


def with_lines(path: Path, *, above: str = "", below: str = "") -> Path:
    text = path.read_text(encoding="latin-1")
    path.write_text(above + text + below, encoding="latin-1")
    return path


@pytest.mark.parametrize("above", ["Relatório de vendas\n\n", "Relatório;2024\n", '"Vendas, de 2024; todas"\n'])
def test_a_title_above_the_header_is_told_with_the_line_of_the_header(tmp_path: Path, above: str) -> None:
    path = with_lines(write(tmp_path, table()), above=above)
    with pytest.raises(UsageError) as caught:
        found(path)
    line = 1 + above.count("\n")
    assert f"line {line} and those after it have 5: does the header stand there?" in (caught.value.hint or "")


def test_a_total_below_is_told_with_its_row_and_what_it_holds(tmp_path: Path) -> None:
    path = with_lines(write(tmp_path, table()), below="Total;;;9.999,99;\n")
    with pytest.raises(UsageError, match=rf"1 row\(s\) have no Data; the first is row {ROWS + 1} \(Total, 9.999,99\)"):
        found(path)


@pytest.mark.parametrize("column", ["Cidade", "Valor", "Código"])
def test_a_column_that_holds_no_times_is_told_before_anything_else_of_it(tmp_path: Path, column: str) -> None:
    gaps = {"Cidade": [None, *("Recife",) * (ROWS - 1)]} if column == "Cidade" else {}
    with pytest.raises(UsageError, match=f"{column} is .* which is no time") as caught:
        found(write(tmp_path, table(**gaps)), timestamp=column, entity="Data")
    assert "Is --timestamp the column meant?" in (caught.value.hint or "")


def test_a_year_of_two_digits_is_called_so(tmp_path: Path) -> None:
    short = [f"{START + timedelta(days=number):%d/%m/%y}" for number in range(ROWS)]
    with pytest.raises(UsageError, match="a year of two digits"):
        found(write(tmp_path, table(Data=short)))


def test_words_as_labels_of_a_regression_lead_to_the_task_that_takes_them(tmp_path: Path) -> None:
    for values, task in ((("sim", "não"), "classification"), (("a", "b", "c"), "multiclass")):
        path = write(tmp_path, table(Comprou=[values[number % len(values)] for number in range(ROWS)]))
        with pytest.raises(UsageError) as caught:
            found(path, task="regression")
        assert f"--task {task}" in (caught.value.hint or "")
