"""Rows that could not go on: said aloud where they are many, and shown by `mlplatform quarantine`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.errors import UsageError
from tests.support.tiny_use_case import DIRT, Signups, TinyFolder, write_drop, write_tiny_use_case


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    """Three months, of which one has a few faulty rows; then rows that are delivered again with another price."""
    made = write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), months=3, rows_a_month=200)
    made.soil()
    folder = made.data / "signups"
    with (folder / "signups_2020-01.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    write_drop(folder / "signups_2020-02-15.csv", Signups.columns, [[*row[:3], "99.00", row[4]] for row in rows[:84]])
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def told(tiny: TinyFolder, home: Path) -> str:
    return call(tiny, home, "run", "tiny", "--as-of", "2020-04-01", "--stage", "ingest", "--stage", "refine")


def call(tiny: TinyFolder, home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(
        cli, [*arguments, "--home", str(home), "--use-cases", str(tiny.use_cases)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_file_quarantined_to_a_large_part_is_said_with_reason_table_and_command(tiny, home, told):
    (note,) = [line for line in told.splitlines() if line.startswith("Note: ")]
    assert "quarantine_signups: 84 of 84 rows of 1 file(s) were quarantined (signups/signups_2020-02-15.csv)" in note
    assert "84 of them as duplicate_key" in note
    assert "mlplatform quarantine tiny" in note
    assert "--table signups" in note
    # Five faulty rows of two hundred are on record, and no news.
    assert "2020-03" not in note
    assert "84 of 84 rows" in call(tiny, home, "status", "tiny")
    (fact,) = json.loads(call(tiny, home, "status", "tiny", "--json"))["notes"]
    assert fact in note or "84 of 84 rows" in fact


def test_all_reasons_are_counted_and_shown_with_rows_as_they_landed(tiny, home, told):
    found: dict[str, Any] = json.loads(call(tiny, home, "quarantine", "tiny", "--json", "--rows", "2"))
    by_name = {item["table"]: item for item in found["tables"]}
    assert by_name["dev.tiny.quarantine_cancellations"]["rows"] == 0
    table = by_name["dev.tiny.quarantine_signups"]
    counts = {item["reason"]: item["rows"] for item in table["reasons"]}
    expected: dict[str, int] = {"duplicate_key": 84}
    for _, reason in DIRT:
        expected[reason] = expected.get(reason, 0) + 1
    assert counts == expected
    assert sum(counts.values()) == table["rows"]
    first = table["reasons"][0]
    assert (first["reason"], first["files"], first["newest_file"]) == (
        "duplicate_key",
        2,
        "signups/signups_2020-03.csv",
    )
    assert all(1 <= len(item["examples"]) <= 2 for item in table["reasons"])
    shown = call(tiny, home, "quarantine", "tiny", "--table", "signups")
    assert "malformed_line: 3 fields instead of 5" in shown
    assert "X5,2020-03-05,north" in shown


@pytest.mark.parametrize("name", ["silver_signups", "quarantine_signups", "bronze_signups"])
def test_a_table_is_found_by_its_names(tiny, home, told, name):
    found = json.loads(call(tiny, home, "quarantine", "tiny", "--table", name, "--json"))
    assert [item["table"] for item in found["tables"]] == ["dev.tiny.quarantine_signups"]


def test_a_name_that_is_none_is_an_error_with_the_nearest(tiny, home, told):
    with pytest.raises(UsageError, match="no quarantine of 'signupz'") as raised:
        call(tiny, home, "quarantine", "tiny", "--table", "signupz")
    assert "signups" in raised.value.hint


def test_before_the_first_run_there_is_nothing_to_show(tiny, tmp_path):
    assert "has no quarantine yet" in call(tiny, tmp_path, "quarantine", "tiny")
