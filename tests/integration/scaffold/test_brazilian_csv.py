"""A CSV file with `;`, decimal commas, 31/12/2024 and Latin-1: from `new-use-case` to a run and its report.

Beside it the same rows from Parquet, a Delta table and a table of the workspace: the same facts.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlplatform import Pipeline, discovery
from mlplatform.as_of import parse_as_of
from mlplatform.errors import StageError, UsageError
from mlplatform.reporting.report import write_report
from mlplatform.scaffold import typed_data
from mlplatform.scaffold.render import new_use_case
from mlplatform.scaffold.typed_data import read_delta, read_parquet, read_table
from mlplatform.workspace.local.workspace import LocalWorkspace

ROWS, DAYS = 900, 300
ASKED: dict[str, Any] = {"task": "classification", "entity": "Código", "timestamp": "Data", "label": "Comprou"}
AS_OF = parse_as_of("2024-09-01")


def visits() -> pd.DataFrame:
    dice = random.Random(5)
    days = sorted(dice.randrange(DAYS) for _ in range(ROWS))
    values = [round(dice.lognormvariate(6, 1.5), 2) for _ in range(ROWS)]
    return pd.DataFrame(
        {
            "Código": [f"{number:05d}" for number in range(ROWS)],
            "Data": [date(2024, 1, 1) + timedelta(days=day) for day in days],
            "Cidade": [dice.choice(["São Paulo", "Maceió; AL", "Goiânia"]) for _ in range(ROWS)],
            "Valor": values,
            "Itens": [dice.randrange(9) for _ in range(ROWS)],
            "Comprou": ["sim" if value + dice.gauss(0, 300) > 450 else "não" for value in values],
        }
    )


def brazilian(number: float) -> str:
    return f"{number:,.2f}".replace(",", "@").replace(".", ",").replace("@", ".")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    frame = frame.assign(Data=[f"{day:%d/%m/%Y}" for day in frame["Data"]], Valor=frame["Valor"].map(brazilian))
    frame.to_csv(path, sep=";", encoding="latin-1", index=False, lineterminator="\r\n")


@dataclass(frozen=True)
class Made:
    """A use case, the workspace that it runs in, and the folder of both."""

    name: str
    ws: LocalWorkspace
    where: Path

    def opened(self) -> Any:
        found = discovery.get(self.name, self.where / "use_cases")
        return discovery.load(found).open(self.name, self.where / "use_cases" / self.name, self.ws)

    def run(self, *stages: str) -> None:
        Pipeline(self.ws, self.opened(), AS_OF).run(list(stages) or None)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.ws.tables.to_arrow(f"dev.{self.name}.{table}", at_most=10_000).to_pylist()

    def facts(self) -> list[dict[str, Any]]:
        rows = [
            {name: value for name, value in row.items() if not name.startswith("_")}
            for row in self.rows("silver_facts")
        ]
        return sorted(rows, key=lambda row: row["codigo"])


@pytest.fixture(scope="module")
def from_csv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    where = tmp_path_factory.mktemp("brazilian")
    write_csv(where / "vendas.csv", visits())
    new_use_case("vendas", where / "vendas.csv", into=where / "use_cases", horizon="10 days", **ASKED)
    with LocalWorkspace.open(env="dev", root=where / "home") as ws:
        made = Made("vendas", ws, where)
        made.run()
        yield made


@pytest.mark.usefixtures("rendered")
def test_it_runs_to_its_report_and_nothing_is_quarantined(from_csv: Made) -> None:
    facts = from_csv.facts()
    frame = visits()
    assert [row["codigo"] for row in facts] == frame["Código"].tolist(), "leading zeros are kept"
    assert [row["data"].date() for row in facts] == frame["Data"].tolist()
    assert [row["valor"] for row in facts] == pytest.approx(frame["Valor"].tolist())
    assert [row["itens"] for row in facts] == frame["Itens"].tolist()
    assert {row["cidade"] for row in facts} == {"São Paulo", "Maceió; AL", "Goiânia"}
    assert from_csv.rows("quarantine_drops") == []
    opened = from_csv.opened()
    page = write_report(from_csv.ws, opened.namespace, opened.label_spine(), opened.settings, from_csv.where / "page")
    assert "v1" in page.read_text(encoding="utf-8")


def test_later_files_are_read_as_declared_or_refused_with_their_line(from_csv: Made) -> None:
    """Nothing is guessed again: a file in UTF-8 is no Latin-1, and a number with a point no Brazilian one."""
    data = from_csv.where / "use_cases" / "vendas" / "data"
    header = "Código;Data;Cidade;Valor;Itens;Comprou\n"
    later = data / "vendas_2.csv"
    later.write_text(f"{header}90000;31/10/2024;São Paulo;1,5;1;\n", encoding="utf-8")
    with pytest.raises(StageError, match=r"vendas_2\.csv .*line 1 is UTF-8"):
        from_csv.run("ingest")
    lines = [
        "90001;31/10/2024;São Paulo;1.234,56;1;",
        "90002;31/10/2024;São Paulo;1234.56;1;",
        "90003;10/31/2024;São Paulo;1,50;1;",
        "90004;31/10/2024;São Paulo;1,50;1;;",
    ]
    later.write_text(header + "\n".join(lines), encoding="latin-1")
    from_csv.run("ingest", "refine")
    (good,) = [row for row in from_csv.facts() if row["codigo"].startswith("9")]
    assert (good["codigo"], good["valor"]) == ("90001", 1234.56)
    (malformed,) = from_csv.rows("quarantine_drops")
    assert (malformed["_file"], malformed["_row"], malformed["content"]) == ("vendas_2.csv", 5, lines[3])
    reasons = {row["content"][:20]: row["reason"] for row in from_csv.rows("quarantine_facts")}
    assert reasons == {'{"Código":"90002","D': "valor_is_readable", '{"Código":"90003","D': "data_is_null"}


def typed(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def test_the_same_rows_from_parquet_are_the_same_facts(from_csv: Made) -> None:
    path = from_csv.where / "vendas.parquet"
    pq.write_table(typed(visits()), path)
    where = from_csv.where / "use_cases"
    made = new_use_case("de_parquet", read_parquet(path), into=where, horizon="10 days", **ASKED)
    assert (made.folder / "data" / "de_parquet.parquet").read_bytes() == path.read_bytes()
    other = Made("de_parquet", from_csv.ws, from_csv.where)
    other.run("ingest", "refine")
    assert other.facts() == [row for row in from_csv.facts() if not row["codigo"].startswith("9")]
    assert other.rows("quarantine_facts") == []


def test_text_of_digits_that_is_declared_to_be_text_stays_text(from_csv: Made, tmp_path: Path) -> None:
    frame = visits().assign(Loja=[str(number % 30 + 100) for number in range(ROWS)], Conta=2**53)
    pq.write_table(typed(frame), tmp_path / "a.parquet")
    made = new_use_case("lojas", read_parquet(tmp_path / "a.parquet"), into=tmp_path, dry_run=True, **ASKED)
    roles = {fact.name: fact.role for fact in made.inferred.facts}
    assert (roles["loja"], roles["conta"], roles["valor"]) == ("category", "category", "number")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet"]


def test_tables_and_delta_folders_are_read_alike(from_csv: Made, tmp_path: Path, monkeypatch: Any) -> None:
    ws, frame = from_csv.ws, typed(visits())
    name = "dev.vendas.extract"
    ws.tables.create(name, frame.schema)
    ws.tables.append(name, frame)
    folder = ws.tables.path(name)
    found = [read_table(ws, name), read_delta(ws, folder)]
    for data in found:
        made = new_use_case("de_tabela", data, into=tmp_path, dry_run=True, **ASKED)
        assert (made.inferred.rows, made.inferred.file.format) == (ROWS, "parquet")
        assert {fact.name: fact.role for fact in made.inferred.facts} == {
            "cidade": "category", "valor": "number", "itens": "number",
        }  # fmt: skip
        sorted_rows = sorted(map(tuple, data.rows.to_numpy().tolist()))
        assert sorted_rows == sorted(map(tuple, found[0].rows.to_numpy().tolist()))
    own = read_table(ws, "dev.vendas.silver_facts")
    assert own.left_out[:2] == ("_file", "_row")
    assert list(own.names) == ["codigo", "data", "cidade", "valor", "itens"]
    assert pq.read_schema(io.BytesIO(own.content)).names == list(own.names)
    monkeypatch.setattr(typed_data, "MOST_ROWS", 10)
    for read in (lambda: read_table(ws, name), lambda: read_delta(ws, folder)):
        with pytest.raises(UsageError, match="rows"):
            read()
    with pytest.raises(UsageError, match="There is no table"):
        read_table(ws, "dev.vendas.nothing")
