"""A damaged workspace is found to be one, and after a repair is what an undisturbed one is."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from mlplatform.ops.stage_runs import REPAIR
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.damages import DATA, LOG, cut, data, entry, flip
from tests.support.doctor_case import Case
from tests.support.homes import Homes
from tests.support.state import differences
from tests.support.tiny_runs import open_tiny, run_tiny

if TYPE_CHECKING:
    from mlplatform.doctor.finding import Finding

COMPUTED = (
    "tiny.bronze_signups",
    "tiny.silver_signups",
    "tiny.quarantine_signups",
    "tiny.gold_spine",
    "tiny.gold_labels",
    "tiny.features_region",
    "tiny.gold_predictions",
)
RECORDS = ("ops.stage_runs", "ops.gate_decisions", "ops.drift_metrics", "ops.window_counts", "ops.code")
# By day the rest is in `test_several_damages_at_once`, with one of each kind.
SHORT = {("tiny.silver_signups", "a bit of a data page is another one")}


def problems(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.state == "problem"]


def kinds(tables: tuple[str, ...], damages: dict[str, object]) -> list[object]:
    """All of them at night; one by day."""
    return [
        pytest.param(table, how, marks=() if (table, how) in SHORT else pytest.mark.slow)
        for table in tables
        for how in damages
    ]


def assert_mended(case: Case, table: str) -> None:
    found = problems(case.examine())
    assert any(table in f"{finding.about} {finding.found}" for finding in found), found
    before = {path: path.stat().st_mtime_ns for path in case.root.rglob("*.parquet")}
    would = case.repair(dry_run=True)
    assert would.done
    assert {path: path.stat().st_mtime_ns for path in case.root.rglob("*.parquet")} == before
    repaired = case.repair()
    assert repaired.done
    assert not repaired.left, repaired.left
    assert not problems(case.examine())
    assert not differences(case.state(), case.twin)
    again = case.repair()
    assert not again.done
    with LocalWorkspace.open(root=case.root) as ws:
        summary = run_tiny(ws, case.tiny.folder, Homes.SECOND)
        assert not summary.notes()
        records = open_tiny(ws, case.tiny.folder).context(ws, summary.as_of, "test").log.records(REPAIR)
    assert [record.details["aside"] for record in records] == ["tiny-first"]


def test_nothing_is_wrong_where_nothing_happened(case):
    files = {path: path.read_bytes() for path in case.root.rglob("*") if path.is_file() and "tables" in path.parts}
    findings = case.examine()
    assert not problems(findings), problems(findings)
    assert [finding for finding in findings if finding.state == "ok"]
    after = {path: path.read_bytes() for path in case.root.rglob("*") if path.is_file() and "tables" in path.parts}
    assert after == files, "it changes nothing"
    assert not case.repair().done


@pytest.mark.parametrize(("table", "how"), kinds((*COMPUTED, *RECORDS), LOG))
def test_damages_of_the_log(case, table, how):
    LOG[how](case.folder(table))
    assert_mended(case, table.partition(".")[2])


@pytest.mark.parametrize(("table", "how"), kinds(COMPUTED, DATA))
def test_damages_of_data_files(case, table, how):
    DATA[how](case.folder(table))
    assert_mended(case, table.partition(".")[2])


@pytest.mark.parametrize(
    "table", [pytest.param(name, marks=() if name.endswith("predictions") else pytest.mark.slow) for name in COMPUTED]
)
def test_tables_that_are_gone(case, table):
    shutil.rmtree(case.folder(table))
    found = problems(case.examine())
    assert any(table.partition(".")[2] in finding.about for finding in found), found
    repaired = case.repair()
    assert any("was gone" in text for text in repaired.done)
    assert not repaired.left, repaired.left
    assert not differences(case.state(), case.twin)


@pytest.mark.slow
@pytest.mark.parametrize("table", RECORDS)
def test_records_that_are_damaged_are_left_out_and_told(case, table):
    """Nothing makes them again: what was whole is kept, and what is not is put aside."""
    with LocalWorkspace.open(root=case.root) as ws:
        before = ws.tables.to_arrow(f"dev.{table}", at_most=10**6).num_rows
    flip(data(case.folder(table)), 0.2)
    assert problems(case.examine())
    repaired = case.repair()
    assert any("taken out of the table" in text for text in repaired.done)
    with LocalWorkspace.open(root=case.root) as ws:
        assert 0 < ws.tables.to_arrow(f"dev.{table}", at_most=10**6).num_rows < before + 10
    assert not [
        finding for finding in case.examine() if finding.check == "files of tables" and finding.state == "problem"
    ]
    assert list((case.root / "aside").rglob("*.parquet"))


def test_several_damages_at_once(case):
    cut(entry(case.folder("ops.stage_runs"), -1), 0)
    cut(entry(case.folder("ops.changes"), 0), 0.3)
    cut(entry(case.folder("ops.gate_decisions"), -1), 0)
    flip(data(case.folder("tiny.features_region")), 0.3)
    shutil.rmtree(case.folder("tiny.gold_labels"))
    data(case.folder("tiny.bronze_cancellations")).unlink()
    (case.root / "functions.json").write_text("{")
    assert len(problems(case.examine())) >= 3
    repaired = case.repair()
    assert not repaired.left, repaired.left
    assert not differences(case.state(), case.twin)
    assert not problems(case.examine())


def test_bronze_whose_files_are_no_longer_landed_keeps_what_is_whole(case, tmp_path):
    own = tmp_path / "own" / "tiny"
    shutil.copytree(case.tiny.folder, own)
    tiny = type(case.tiny)(own, case.tiny.rows)
    case = Case(case.root, tiny, case.twin)
    *gone, landed = sorted((own / "data" / "signups").iterdir())
    for file in gone:
        file.unlink()
    with LocalWorkspace.open(root=case.root) as ws:
        before = ws.tables.to_arrow("dev.tiny.bronze_signups", at_most=10**6).num_rows
    # One whose rows cannot come back from what is landed still; the first, so that to go back before it would lose the
    # others, too.
    flip(
        next(
            file
            for file in sorted(
                case.folder("tiny.bronze_signups").glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns
            )
            if f"signups/{landed.name}" not in pq.read_table(file, columns=["_file"]).column(0).to_pylist()
        ),
        0.2,
    )
    repaired = case.repair()
    with LocalWorkspace.open(root=case.root) as ws:
        after = ws.tables.to_arrow("dev.tiny.bronze_signups", at_most=10**6).num_rows
    assert 0 < after < before
    assert any("taken out of the table" in text for text in repaired.done), "\n".join(repaired.done)


def test_predictions_whose_version_is_gone_are_left_to_people_with_the_command(case):
    with LocalWorkspace.open(root=case.root) as ws:
        numbers = ws.tables.to_arrow("dev.tiny.gold_predictions", at_most=10**6).column("model_version").to_pylist()
        champion = ws.registry.aliases("dev.tiny.model")["champion"]
        other = next(number for number in sorted(set(numbers)) if number != champion)
        ws.registry._connect().delete_model_version("dev.tiny.model", str(other))
    shutil.rmtree(case.folder("tiny.gold_predictions"))
    repaired = case.repair()
    assert any("could not be" in text and "mlplatform score tiny" in text for text in repaired.done), "\n".join(
        repaired.done
    )
    assert any("prediction" in finding.found for finding in repaired.left)
