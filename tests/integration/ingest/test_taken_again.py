"""A file that changed after it was taken: that is said, with the command that takes it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.errors import StageError, UsageError
from mlplatform.ingest import again
from mlplatform.ingest.dialect import Dialect
from mlplatform.naming import Namespace
from mlplatform.ops.run_record import RunSummary
from mlplatform.pipeline import Pipeline
from mlplatform.reporting.report import write_report
from mlplatform.workspace.local.tables import LocalTables
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import crossed
from tests.support.state import table_rows
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import NAME, Signups, TinyFolder, write_tiny_use_case

STAGES = ("ingest", "refine", "features")
JANUARY = "signups/signups_2020-01.csv"
SHORT = "a1,2020-01-05,north\n"
Take = Callable[..., RunSummary]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which all files were taken as they landed."""
    folder = tmp_path_factory.mktemp("base")
    landed = landed_at(folder / "use_cases")
    with LocalWorkspace.open(root=folder / "home") as ws:
        run_tiny(ws, landed.folder, "2020-05-01", STAGES)
    return folder / "home"


@pytest.fixture(scope="module")
def changed_from_the_start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What a workspace holds in which January landed as `change` and a short line leave it."""
    folder = tmp_path_factory.mktemp("changed")
    landed = landed_at(folder / "use_cases")
    change(landed, also=SHORT)
    with LocalWorkspace.open(root=folder / "home") as ws:
        run_tiny(ws, landed.folder, "2020-05-01", STAGES)
        return state(ws)


@pytest.fixture
def here(base: Path, tmp_path: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "home")) as ws:
        yield ws


@pytest.fixture
def new(tmp_path: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=tmp_path / "new") as ws:
        yield ws


@pytest.fixture
def tiny(tmp_path: Path) -> TinyFolder:
    return landed_at(tmp_path)


def landed_at(folder: Path) -> TinyFolder:
    return write_tiny_use_case(folder, months=4, rows_a_month=30)


@pytest.fixture
def take(here: LocalWorkspace, tiny: TinyFolder) -> Take:
    def take_again(*files: str, as_of: str = "2020-05-01") -> RunSummary:
        return Pipeline(here, open_tiny(here, tiny.folder), parse_as_of(as_of)).ingest(files)

    return take_again


def rows(ws: LocalWorkspace, table: str) -> list[dict[str, Any]]:
    name = str(Namespace(ws.catalog, NAME).table(table))
    found: list[dict[str, Any]] = ws.tables.to_arrow(name, at_most=10**6).to_pylist()
    return found


def state(ws: LocalWorkspace) -> dict[str, list[str]]:
    """All rows, but for the batch that says in which run a row was refined."""
    tables = ws.tables.list(ws.catalog, NAME)
    return {table: [_without_batch(row) for row in table_rows(ws, f"{ws.catalog}.{NAME}.{table}")] for table in tables}


def _without_batch(row: str) -> str:
    return ",".join(part for part in row.split(",") if '"_batch"' not in part)


def change(tiny: TinyFolder, *, price: str = "99.5", also: str = "") -> None:
    """Give the first subscription of January another price, leave the second out, and add lines."""
    path = tiny.data / JANUARY
    header, first, _, *others = path.read_text(encoding="utf-8").splitlines()
    account, day, region, _, seats = first.split(",")
    changed = f"{account},{day},{region},{price},{seats}"
    path.write_text("\n".join([header, changed, *others]) + "\n" + also, encoding="utf-8")


def test_a_changed_file_is_said_with_the_command_in_the_run_and_in_the_report(here, tiny, tmp_path):
    change(tiny)
    summary = run_tiny(here, tiny.folder, "2020-05-01", STAGES)
    (note,) = summary.notes()
    assert "1 file(s) changed after bronze_signups took them" in note
    assert f"mlplatform ingest tiny --again {JANUARY}" in note
    opened = open_tiny(here, tiny.folder)
    page = write_report(here, opened.namespace, opened.label_spine(), opened.settings, tmp_path).read_text()
    assert f"mlplatform ingest tiny --again {JANUARY}" in page


def test_a_file_is_taken_again_and_all_that_is_computed_is_as_if_it_had_landed_so(here, new, tiny, take):
    change(tiny, also="a1,2020-01-05,north\na2,2020-01-06,south,-1,3\n")
    summary = take(JANUARY)
    assert [run.stage for run in summary.stages] == list(STAGES)
    notes = summary.notes()
    assert any(f"{JANUARY} was taken again: bronze_signups holds 30 row(s) of it instead of 30" in it for it in notes)
    assert any("holds rows of files that were taken again" in note for note in notes)
    assert {row["reason"] for row in rows(here, "quarantine_signups")} == {
        "malformed_line: 3 fields instead of 5",
        "price_is_positive",
    }
    run_tiny(new, tiny.folder, "2020-05-01", STAGES)
    assert state(here) == state(new)


def test_taking_it_again_twice_changes_nothing_and_later_runs_find_nothing_new(here, tiny, take):
    change(tiny, also=SHORT)
    take(JANUARY)
    before = state(here)
    take(JANUARY)
    assert state(here) == before
    results = {run.stage: run.result for run in run_tiny(here, tiny.folder, "2020-05-01", STAGES).stages}
    assert {stage: bool(result.skipped) for stage, result in results.items()} == dict.fromkeys(STAGES, True)


def test_a_file_that_becomes_again_what_it_was_at_first_is_noticed(here, tiny, take):
    path = tiny.data / JANUARY
    first = path.read_bytes()
    before = state(here)
    change(tiny)
    take(JANUARY)
    path.write_bytes(first)
    (ingest, *_) = run_tiny(here, tiny.folder, "2020-05-01", STAGES).stages
    assert ingest.result.details.changed_after_ingestion == [JANUARY]
    take(str(path))  # a path will do, too
    assert state(here) == before


def test_rows_of_other_files_that_it_had_made_duplicates_go_on(new, tiny):
    february = tiny.data / "signups" / "signups_2020-02.csv"
    second = (tiny.data / JANUARY).read_text(encoding="utf-8").splitlines()[2].split(",")[0]
    february.write_text(february.read_text(encoding="utf-8") + f"{second},2020-02-20,west,9,1\n", encoding="utf-8")
    run_tiny(new, tiny.folder, "2020-05-01", STAGES)
    assert [row["reason"] for row in rows(new, "quarantine_signups")] == ["duplicate_key"]
    change(tiny)  # which leaves that account out
    Pipeline(new, open_tiny(new, tiny.folder), parse_as_of("2020-05-01")).ingest([JANUARY])
    assert rows(new, "quarantine_signups") == []
    assert [row["price"] for row in rows(new, "silver_signups") if row["account"] == second] == [9.0]


class Killed(BaseException):
    """As if the process were gone."""


@pytest.mark.parametrize(
    ("table", "after"), crossed(["quarantine_signups", "bronze_signups", "silver_signups"], [False, True])
)
def test_a_run_that_is_killed_on_the_way_is_completed_by_the_next(
    here, changed_from_the_start, tiny, take, monkeypatch, table, after
):
    change(tiny, also=SHORT)
    overwrite = LocalTables.overwrite

    def dying(self: LocalTables, name: Any, *arguments: Any, **named: Any) -> Any:
        if str(name).endswith(table):
            if after:
                overwrite(self, name, *arguments, **named)
            raise Killed
        return overwrite(self, name, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(LocalTables, "overwrite", dying)
        with pytest.raises(Killed):
            take(JANUARY)
    if table == "silver_signups" or (table == "bronze_signups" and after):
        # Bronze holds what the file is now: an ordinary run brings all else up to it.
        run_tiny(here, tiny.folder, "2020-05-01", STAGES)
    else:
        if table == "bronze_signups" or after:
            # Nobody may take the books for balanced that are not: the next run says so.
            ingest = run_tiny(here, tiny.folder, "2020-05-01", ["ingest"])
            assert any("A process died that was taking a file" in note for note in ingest.notes())
        take(JANUARY)
    ordinary = run_tiny(here, tiny.folder, "2020-05-01", STAGES)
    assert not any("A process died" in note for note in ordinary.notes())
    assert state(here) == changed_from_the_start


def test_a_file_that_nobody_has_is_refused_and_similar_ones_are_named(here, take):
    before = state(here)
    with pytest.raises(UsageError, match=r"No source has a file signups/signups_2020-11\.csv") as raised:
        take("signups/signups_2020-11.csv")
    assert "signups/signups_2020-01.csv" in (raised.value.hint or "")
    with pytest.raises(UsageError, match="could be known by then"):
        take(JANUARY, as_of="2020-01-15")
    assert state(here) == before


def test_of_a_file_that_cannot_be_read_all_stays_as_it_was(here, tiny, take):
    before = state(here)
    (tiny.data / JANUARY).write_bytes(b"account,signed_up\n")
    with pytest.raises(StageError, match="lacks the column"):
        take(JANUARY)
    assert state(here) == before


def test_a_file_may_be_taken_again_because_it_is_to_be_read_otherwise(new, tiny, monkeypatch):
    path = tiny.data / JANUARY
    path.write_text(path.read_text(encoding="utf-8") + 'a1,2020-01-05,"nor\nth",5,2\n', encoding="utf-8")
    run_tiny(new, tiny.folder, "2020-05-01", STAGES)
    assert len(rows(new, "quarantine_signups")) == 2
    monkeypatch.setattr(Signups, "newlines_in_values", True)
    Pipeline(new, open_tiny(new, tiny.folder), parse_as_of("2020-05-01")).ingest([JANUARY])
    assert rows(new, "quarantine_signups") == []
    assert [row["region"] for row in rows(new, "silver_signups") if row["account"] == "a1"] == ["nor\nth"]


def test_two_files_that_cannot_be_told_apart_by_name_are_refused(new, tiny):
    folder = tiny.data / "signups"
    (folder / "signups_2020-01.csv").rename(folder / "signups_caf\udce9_2020-01.csv")
    (folder / "signups_2020-02.csv").rename(folder / "signups_caf\\xe9_2020-01.csv")
    with pytest.raises(StageError, match="Two files"):
        run_tiny(new, tiny.folder, "2020-05-01", ["ingest"])


def test_only_what_came_after_a_version_counts(here, take):
    bronze = Namespace(here.catalog, NAME).bronze("signups")
    version = here.tables.version(bronze)
    assert not again.taken_again_since(here, bronze, version)
    take(JANUARY)
    assert again.taken_again_since(here, bronze, version)
    assert not again.taken_again_since(here, bronze, here.tables.version(bronze))


def test_that_files_are_read_otherwise_is_said_once_and_reaches_none_that_was_taken(new, tiny, monkeypatch):
    run_tiny(new, tiny.folder, "2020-04-01", ["ingest", "refine"])
    before = state(new)
    monkeypatch.setattr(Signups, "newlines_in_values", True)
    monkeypatch.setattr(Signups, "dialect", Dialect(decimal=","))
    [ingestion] = run_tiny(new, tiny.folder, "2020-04-01", ["ingest"]).stages
    [note] = ingestion.details.notes
    assert note.startswith("bronze_signups: files are read with newlines_in_values 'yes' from now on, instead of 'no'.")
    assert note.endswith("mlplatform ingest tiny --again FILE"), "and nothing of decimals, which silver reads"
    assert state(new) == before
    [ingestion] = run_tiny(new, tiny.folder, "2020-05-01", ["ingest"]).stages
    assert ingestion.details.notes == [] or not any("from now on" in text for text in ingestion.details.notes)


def test_before_any_file_was_taken_nothing_was_read_otherwise(new, tiny, monkeypatch):
    run_tiny(new, tiny.folder, "2020-01-15", ["ingest"])
    monkeypatch.setattr(Signups, "dialect", Dialect(delimiter=";"))
    [ingestion] = run_tiny(new, tiny.folder, "2020-01-16", ["ingest"]).stages
    assert not any("from now on" in text for text in ingestion.details.notes)
