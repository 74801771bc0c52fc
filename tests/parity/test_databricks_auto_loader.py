"""Auto Loader's part of ingest, on open-source Spark's file stream: what is asked of it, and what bronze gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import CONFIG_FILE, load_settings
from mlplatform.ingest.dialect import Dialect
from mlplatform.ingest.landed_file import LandedFile
from mlplatform.ingest.provenance import FILE, ROW
from mlplatform.ingest.stage import Ingest
from mlplatform.naming import Namespace
from mlplatform.pipeline import Pipeline
from tests.support.tiny_use_case import NAME, Signups, Tiny, write_tiny_use_case

if TYPE_CHECKING:
    from mlplatform.ops.result import StageResult


@pytest.fixture
def tiny(databricks, tmp_path, monkeypatch):
    monkeypatch.setattr(Signups, "reader", "auto_loader", raising=False)
    monkeypatch.setattr(Tiny, "sources", (Signups,))
    folder = write_tiny_use_case(tmp_path, months=3, rows_a_month=5)
    config = folder.folder / "config.yml"
    config.write_text(config.read_text(encoding="utf-8").replace("landing: data", f"landing: {folder.data}"), "utf-8")
    folder.soil("2020-02")
    return folder


def run(databricks, tiny, as_of) -> StageResult:
    # Not by `open`, which registers functions: they are not what this is about.
    settings = load_settings(tiny.folder / CONFIG_FILE, databricks.env)
    use_case = Tiny(NAME, tiny.folder, settings, Namespace(databricks.catalog, NAME))
    return Ingest(use_case.sources, use_case.landing).run(use_case.context(databricks, parse_as_of(as_of), "a-run"))


def test_bronze_gets_each_file_once_when_it_can_be_known(databricks, tiny):
    bronze, landed = f"dev.{NAME}.bronze_signups", f"dev.{NAME}.landed_signups"
    first = run(databricks, tiny, "2020-02-01")
    assert (first.rows_out, first.rows_quarantined) == (5, 0)
    path, options, schema = databricks.sql.streams[-1]
    assert path == str(tiny.data / "signups")
    assert options == {
        "cloudFiles.format": "csv",
        "cloudFiles.schemaEvolutionMode": "rescue",
        "rescuedDataColumn": "_rescued_data",
        "pathGlobFilter": "signups_*.csv",
        "header": "true",
        "multiLine": "false",
        "escape": '"',
        "sep": ",",
        "encoding": "UTF-8",
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": "_corrupt_record",
    }
    assert schema == ", ".join(f"`{column}` STRING" for column in (*Signups.columns, "_corrupt_record"))
    # The other files have landed already, and wait for their time.
    assert databricks.tables.to_arrow(landed, at_most=10**6).num_rows == 5 + 7 + 5

    second = run(databricks, tiny, "2020-04-01")
    assert (second.rows_out, second.rows_quarantined) == (5 + 6 + 5, 1)
    assert run(databricks, tiny, "2020-04-01").rows_out == 0
    assert databricks.tables.to_arrow(landed, at_most=10**6).num_rows == 0

    rows = databricks.tables.to_arrow(bronze, at_most=10**6).sort_by([(FILE, "ascending"), (ROW, "ascending")])
    files = sorted((tiny.data / "signups").iterdir())
    landed_files = [LandedFile(file, Signups()) for file in files]
    expected = pa.concat_tables([pa.Table.from_batches(item.batches(), item.schema) for item in landed_files])
    assert rows.select(expected.column_names).to_pylist() == expected.to_pylist()
    assert set(rows.column(FILE).to_pylist()) == {f"signups/{file.name}" for file in files}
    quarantined = databricks.tables.to_arrow(f"dev.{NAME}.quarantine_signups", at_most=10**6).to_pylist()
    assert [row["content"].strip() for row in quarantined] == ["X5,2020-03-05,north"]
    assert quarantined[0]["reason"].startswith("malformed_line: ")


def test_a_bronze_table_that_is_gone_gets_all_files_again(databricks, tiny):
    """What Auto Loader remembers having brought belongs to the table that it brought it to."""
    bronze, quarantine = f"dev.{NAME}.bronze_signups", f"dev.{NAME}.quarantine_signups"
    for as_of in ("2020-02-01", "2020-04-01"):
        record(databricks, tiny, as_of)
    before = [databricks.tables.to_arrow(name, at_most=10**6).num_rows for name in (bronze, quarantine)]
    assert all(before)
    for lost in ((bronze,), (quarantine,), (bronze, quarantine)):
        for name in lost:
            databricks.tables.drop(name)
        record(databricks, tiny, "2020-04-01")
        assert [databricks.tables.to_arrow(name, at_most=10**6).num_rows for name in (bronze, quarantine)] == before


@pytest.mark.parametrize("codec", ["latin-1", "utf-8"])
def test_files_are_read_in_the_dialect_of_the_source(databricks, tiny, monkeypatch, codec):
    """Bytes that are not of the encoding do not pass with a replacement: their rows are quarantined."""
    monkeypatch.setattr(Signups, "dialect", Dialect(delimiter=";", encoding=codec))
    # Of a month that no other test has: a file is ingested once.
    name = {"latin-1": "signups_2020-06.csv", "utf-8": "signups_2020-07.csv"}[codec]
    for file in (tiny.data / "signups").iterdir():
        file.unlink()
    good, header = "S1;2020-01-05;São;1,5;2", ";".join(Signups.columns)
    assert len(good.split(";")) == len(Signups.columns)
    content = f"{header}\n{good}\n".encode(codec) + (b"S2;2020-01-06;S\xe3o;2;1\n" if codec == "utf-8" else b"")
    (tiny.data / "signups" / name).write_bytes(content)
    done = run(databricks, tiny, "2020-08-01")
    assert (done.rows_out, done.rows_quarantined) == (1, int(codec == "utf-8"))
    of_file = [(FILE, "==", f"signups/{name}")]
    rows = databricks.tables.to_arrow(f"dev.{NAME}.bronze_signups", at_most=10, filters=of_file).to_pylist()
    assert [[row[column] for column in Signups.columns] for row in rows] == [good.split(";")]
    quarantined = databricks.tables.to_arrow(f"dev.{NAME}.quarantine_signups", at_most=10, filters=of_file).to_pylist()
    for row in quarantined:
        assert row["reason"] == "malformed_line: bytes that are not of the declared encoding"
        assert "S2" in row["content"]


def record(databricks, tiny, as_of) -> None:
    settings = load_settings(tiny.folder / CONFIG_FILE, databricks.env)
    use_case = Tiny(NAME, tiny.folder, settings, Namespace(databricks.catalog, NAME))
    Pipeline(databricks, use_case, parse_as_of(as_of)).run(["ingest"])
