"""A silver table that is declared otherwise is refined again whole, and what is computed from it follows."""

from __future__ import annotations

import re
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mlplatform import Column, Expectation, FeatureTable
from mlplatform.as_of import parse_as_of
from mlplatform.errors import StageError, TableError
from mlplatform.ingest.quarantine import quarantine_schema
from mlplatform.ops.record_table import RecordTable
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.pipeline import Pipeline
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.silver import SilverTable
from mlplatform.workspace.local.tables import LocalTables
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import crossed, every
from tests.support.state import table_rows
from tests.support.tiny_runs import clone
from tests.support.tiny_use_case import (
    NAME,
    RegionHistory,
    Signups,
    SilverCancellations,
    Subscriptions,
    Tiny,
    TinyFolder,
    write_tiny_use_case,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.ops.run_record import RunSummary

STAGES = ("ingest", "refine", "features")
BEFORE, NOW = "2020-05-01", "2020-07-01"
_BATCH = re.compile(r'"_batch": \d+, ')
TABLES = ("silver_signups", "quarantine_signups", "gold_spine", "gold_labels", "features_prices", "features_region")


class Monthly(SilverTable):
    """One row per subscription."""

    name = "signups"
    source = Signups
    keys = ("account",)
    known_at = "signed_up_at"
    columns = (
        Column("account", "string", "Number of the account", nullable=False, sql="trim(account)"),
        Column("signed_up_at", "timestamp", "Day", nullable=False, sql="try_to_timestamp(signed_up, 'yyyy-MM-dd')"),
        Column("region", "string", "Where the customer is", sql="trim(region)"),
        Column("price", "double", "Price per month", sql="try_cast(price AS double)"),
        Column("seats", "double", "Seats", sql="try_cast(seats AS double)"),
    )
    expectations = (Expectation("price_is_positive", "price > 0"),)


def changed(column: str, **values: Any) -> tuple[Column, ...]:
    return tuple(replace(item, **values) if item.name == column else item for item in Monthly.columns)


class Yearly(Monthly):
    """One row per subscription, its price by year."""

    columns = changed("price", sql="12 * try_cast(price AS double)")


class Northern(Monthly):
    """Only the north is good enough."""

    expectations = (*Monthly.expectations, Expectation("is_in_the_north", "region = 'north'"))


class Reworded(Monthly):
    """The same in other words."""

    columns = changed("price", comment="What a month costs")


class Hopeless(Monthly):
    """No row is good enough."""

    expectations = (*Monthly.expectations, Expectation("never_holds", "1 = 0"))


class Required(Monthly):
    """Its seats may not be null, and some are."""

    columns = changed("seats", nullable=False, sql="nullif(try_cast(seats AS double), 3)")


class Checked(Required):
    """Rows whose seats are null are quarantined."""

    expectations = (*Monthly.expectations, Expectation("seats_are_known", "seats IS NOT NULL"))


class Broken(Monthly):
    """Refers to a column that nobody has."""

    columns = changed("price", sql="prize")


class Prices(FeatureTable):
    """Prices by account."""

    name = "prices"
    table = None
    keys = ("account",)
    timeseries_column = "signed_up_at"
    inputs = ("silver_signups",)
    columns = (Column("account", "string", "Number"), Column("signed_up_at", "timestamp", "When"), Monthly.columns[3])

    def compute(self, ws, as_of, since):  # type: ignore[no-untyped-def]
        """As they stand."""
        return ws.read("silver_signups").select("account", "signed_up_at", "price")


def run(ws: LocalWorkspace, tiny: TinyFolder, silver: type[SilverTable], as_of: str = NOW, *only: str) -> RunSummary:
    parts = {"silver": (silver, SilverCancellations), "spine": Subscriptions, "features": (Prices, RegionHistory)}
    use_case = type("Changed", (Tiny,), parts).open(NAME, tiny.folder, ws)
    return Pipeline(ws, use_case, parse_as_of(as_of)).run(only or STAGES)


def contents(ws: LocalWorkspace) -> dict[str, list[str]]:
    # Which batch refined a row is another matter.
    return {name: [_BATCH.sub("", row) for row in table_rows(ws, f"dev.tiny.{name}")] for name in TABLES}


def prices(ws: LocalWorkspace, table: str) -> dict[str, float]:
    return {row["account"]: row["price"] for row in ws.tables.to_arrow(f"dev.tiny.{table}", at_most=10**6).to_pylist()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    folder = write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), months=6, rows_a_month=30)
    folder.soil()
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A workspace whose prices are by month, run step by step."""
    root = tmp_path_factory.mktemp("base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        for as_of in ("2020-03-01", BEFORE):
            run(ws, tiny, Monthly, as_of)
    return root


@pytest.fixture
def ws(tmp_path: Path, base: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "home")) as opened:
        yield opened


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> dict[str, dict[str, list[str]]]:
    """The tables of workspaces that never knew another declaration, by its name."""
    states = {}
    for silver in (Monthly, Yearly, Northern, Checked):
        with LocalWorkspace.open(root=tmp_path_factory.mktemp(silver.__name__) / "home") as ws:
            run(ws, tiny, silver)
            states[silver.__name__] = contents(ws)
    return states


def test_a_changed_expression_gives_one_unit_in_the_whole_column(ws, tiny, new):
    before = prices(ws, "silver_signups")
    summary = run(ws, tiny, Yearly)
    assert contents(ws) == new["Yearly"]
    assert {account: prices(ws, "silver_signups")[account] for account in before} == pytest.approx(
        {account: 12 * price for account, price in before.items()}
    )
    by_now = {account: price for account, price in prices(ws, "silver_signups").items() if account != "X3"}
    assert prices(ws, "gold_spine") == prices(ws, "features_prices") == by_now
    (refined,) = [stage.result for stage in summary.stages if stage.stage == "refine"]
    assert refined.rows_in == refined.rows_out + refined.rows_quarantined
    assert any(note.startswith("silver_signups is declared otherwise than before") for note in summary.notes())
    again = run(ws, tiny, Yearly)
    assert {stage.status for stage in again.stages} == {"skipped"}
    assert not again.notes()
    assert contents(ws) == new["Yearly"]


class Narrow(Monthly):
    """Its SQL gives an int for the bigint that is declared, and nothing at all for the region."""

    columns = tuple(
        {
            "seats": Column("seats", "bigint", "Seats", sql="try_cast(seats AS int)"),
            "region": Column("region", "string", "Where the customer is", sql="NULL"),
        }.get(item.name, item)
        for item in Monthly.columns
    )


class NarrowYearly(Narrow):
    """The same, with the price by year."""

    columns = tuple(
        replace(item, sql="12 * try_cast(price AS double)") if item.name == "price" else item for item in Narrow.columns
    )


def test_sql_of_other_types_than_declared_is_refined_again_too(tmp_path, tiny):
    with LocalWorkspace.open(root=tmp_path / "narrow") as ws:
        run(ws, tiny, Narrow, NOW, "ingest", "refine")
        before = ws.tables.to_arrow(f"dev.{NAME}.silver_signups", at_most=1000).sort_by("account")
        run(ws, tiny, NarrowYearly, NOW, "refine")
        after = ws.tables.to_arrow(f"dev.{NAME}.silver_signups", at_most=1000).sort_by("account")
    assert before.schema.field("seats").type == after.schema.field("seats").type == pa.int64()
    assert after.column("seats").equals(before.column("seats"))
    assert after.column("region").null_count == after.num_rows > 0
    assert after.column("price").to_pylist() == [12 * price for price in before.column("price").to_pylist()]


# Yearly by day: the test of a changed expression.
@pytest.mark.parametrize("silver", every(2, [Northern, Yearly]))
def test_rows_that_no_longer_go_on_are_gone_everywhere_and_come_back(ws, tiny, new, silver):
    run(ws, tiny, silver)
    assert contents(ws) == new[silver.__name__]
    run(ws, tiny, Monthly)
    assert contents(ws) == new["Monthly"]


def test_other_words_refine_nothing_again(ws, tiny):
    run(ws, tiny, Monthly)
    summary = run(ws, tiny, Reworded)
    assert {stage.stage: stage.status for stage in summary.stages}["refine"] == "skipped"
    assert not summary.notes()


def test_an_earlier_time_leaves_no_row_of_the_other_unit(ws, tiny, new):
    run(ws, tiny, Monthly)
    run(ws, tiny, Yearly, BEFORE)
    assert contents(ws)["silver_signups"] == new["Yearly"]["silver_signups"]
    run(ws, tiny, Yearly)
    assert contents(ws) == new["Yearly"]


# By day: that of an earlier time, and tables that are restored (test_lost_tables.py).
@pytest.mark.slow
def test_a_table_that_was_put_back_and_is_declared_otherwise_has_one_unit(ws, tiny, new):
    run(ws, tiny, Monthly)
    DeltaTable(str(ws.root / "tables" / "dev" / "tiny" / "silver_signups")).restore(2)
    ws.tables._opened.clear()
    run(ws, tiny, Yearly, "2020-03-01")
    assert set(contents(ws)["silver_signups"]) <= set(new["Yearly"]["silver_signups"])
    run(ws, tiny, Yearly)
    assert contents(ws) == new["Yearly"]


def test_a_record_of_an_earlier_version_counts_as_unchanged(ws, tiny, monkeypatch):
    read = RecordTable.records

    def without(table, *arguments, **options):
        records = read(table, *arguments, **options)
        if table is not STAGE_RUNS:
            return records
        details = [{key: value for key, value in record.details.items() if key != "refined"} for record in records]
        return [replace(record, details=kept) for record, kept in zip(records, details, strict=True)]

    before = prices(ws, "silver_signups")
    with monkeypatch.context() as patch:
        patch.setattr(RecordTable, "records", without)
        assert not run(ws, tiny, Yearly, BEFORE).notes()
    assert prices(ws, "silver_signups") == before
    # From then on it is known by what it was refined.
    run(ws, tiny, Monthly, BEFORE)
    assert prices(ws, "silver_signups") == before
    run(ws, tiny, Yearly, BEFORE)
    assert prices(ws, "silver_signups") == pytest.approx({account: 12 * price for account, price in before.items()})


class Killed(BaseException):
    """As a kill: nothing after it happens."""


def die_at(patch: pytest.MonkeyPatch, number: int) -> None:
    """Die in place of the n-th write of the stage refine to silver, its quarantine, or gold."""
    left = [number]
    for method in ("overwrite", "append", "merge"):
        write = getattr(LocalTables, method)

        def counted(self, name, *arguments, _write=write, **options):
            if ".tiny." in str(name):
                left[0] -= 1
                if not left[0]:
                    raise Killed
            return _write(self, name, *arguments, **options)

        patch.setattr(LocalTables, method, counted)


def die_on(patch: pytest.MonkeyPatch, table: str) -> None:
    """Die in place of the first write to a table."""
    for method in ("overwrite", "append", "merge", "replace_range"):
        write = getattr(LocalTables, method)

        def unless(self, name, *arguments, _write=write, **options):
            if str(name).endswith(f".{table}"):
                raise Killed
            return _write(self, name, *arguments, **options)

        patch.setattr(LocalTables, method, unless)


@pytest.mark.parametrize(("number", "then"), crossed(range(1, 6), [Northern, Monthly]))
def test_a_run_that_is_killed_is_completed_or_taken_back(ws, tiny, new, monkeypatch, number, then):
    run(ws, tiny, Monthly, NOW, "ingest")
    with monkeypatch.context() as patch:
        die_at(patch, number)
        with pytest.raises(Killed):
            run(ws, tiny, Northern, NOW, "refine")
    run(ws, tiny, then)
    assert contents(ws) == new[then.__name__]


# By day one, in which the other declaration comes, too.
@pytest.mark.parametrize(("number", "then"), every(4, [(3, Yearly), (2, Monthly), (2, Yearly), (3, Monthly)]))
def test_what_a_killed_run_refined_of_a_later_time_is_not_refined_twice(ws, tiny, new, monkeypatch, number, then):
    run(ws, tiny, Monthly, NOW, "ingest")
    if then is Monthly:
        shutil.rmtree(ws.root / "tables" / "dev" / "tiny" / "silver_signups")
        ws.tables._opened.clear()
    with monkeypatch.context() as patch:
        die_at(patch, number)
        with pytest.raises(Killed):
            run(ws, tiny, then, NOW, "refine")
    run(ws, tiny, then, BEFORE)
    run(ws, tiny, then)
    assert contents(ws) == new[then.__name__]


def test_features_follow_after_a_declaration_that_no_row_passed(ws, tiny, new):
    run(ws, tiny, Monthly)
    run(ws, tiny, Hopeless, NOW, "refine")
    assert not prices(ws, "silver_signups")
    run(ws, tiny, Yearly)
    assert contents(ws) == new["Yearly"]


def test_rows_of_a_first_run_that_failed_after_its_quarantine_are_judged_anew(tmp_path, tiny, new):
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run(ws, tiny, Required, NOW, "ingest")
        with pytest.raises(TableError, match="seats"):
            run(ws, tiny, Required, NOW, "refine")
        assert ws.tables.to_arrow("dev.tiny.quarantine_signups", at_most=10**6).num_rows
        summary = run(ws, tiny, Checked)
        assert contents(ws) == new["Checked"]
        assert not any("silver_signups" in note for note in summary.notes())


def test_a_quarantine_that_took_some_of_the_files_is_completed(tmp_path, tiny, new):
    """As an earlier version left it, which wrote file by file, when it was killed between two of them."""
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run(ws, tiny, Northern, NOW, "ingest")
        files = sorted(
            {row["_file"] for row in ws.tables.to_arrow("dev.tiny.bronze_signups", at_most=10**6).to_pylist()}
        )
        for file in files[:2]:
            row = {"_file": file, "_row": 0, "_available_at": parse_as_of("2020-02-01"), "reason": "of a run that died"}
            ws.tables.create("dev.tiny.quarantine_signups", quarantine_schema())
            ws.tables.append(
                "dev.tiny.quarantine_signups",
                pa.Table.from_pylist([row], schema=quarantine_schema()),
                transactions=[Transaction(f"refine:signups:{file}")],
            )
        run(ws, tiny, Northern)
        assert contents(ws) == new["Northern"]


# Of a first run that failed by day: the tests before.
@pytest.mark.parametrize(
    "earlier", every(2, [(("2020-01-15",),), ((),)]), ids=["a run that found nothing", "a first run"]
)
def test_what_a_run_that_did_not_complete_refined_is_refined_again(tmp_path, tiny, new, monkeypatch, earlier):
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        for as_of in earlier:
            run(ws, tiny, Yearly, as_of)
        run(ws, tiny, Yearly, NOW, "ingest")
        with monkeypatch.context() as patch:
            die_on(patch, "gold_spine")
            with pytest.raises(Killed):
                run(ws, tiny, Yearly, NOW, "refine")
        assert prices(ws, "silver_signups")
        then = Yearly if earlier else Monthly
        summary = run(ws, tiny, then)
        assert contents(ws) == new[then.__name__]
        assert any(note.startswith("silver_signups holds rows of a run that did not") for note in summary.notes())


def test_files_that_are_gone_are_named_and_nothing_is_written(ws, tiny, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(tiny.folder, own / "tiny")
    here = TinyFolder(own / "tiny", {})
    shutil.rmtree(ws.root / "tables" / "dev" / "tiny" / "bronze_signups")
    (here.data / "signups" / "signups_2020-02.csv").unlink()
    run(ws, here, Monthly, BEFORE)
    before = contents(ws)
    with pytest.raises(StageError, match=r"1 of its files are no longer in .*signups_2020-02\.csv") as refused:
        run(ws, here, Yearly, BEFORE)
    assert "Put the files back" in (refused.value.hint or "")
    assert contents(ws) == before


def test_what_cannot_be_computed_changes_nothing(ws, tiny):
    before = contents(ws)
    with pytest.raises(StageError, match="silver_signups cannot be read"):
        run(ws, tiny, Broken, BEFORE)
    assert contents(ws) == before


@pytest.mark.parametrize("as_of", every(2, [NOW, BEFORE]), ids=["of the same files", "of other files"])
def test_what_another_run_refines_while_all_is_refined_again_stays(ws, tiny, new, monkeypatch, as_of):
    run(ws, tiny, Monthly, as_of, "ingest")
    overwrite, meanwhile = LocalTables.overwrite, []

    def late(self: LocalTables, name: Any, *arguments: Any, **options: Any) -> Any:
        if str(name).endswith(".silver_signups") and not meanwhile:
            meanwhile.append(name)
            with LocalWorkspace.open(root=ws.root) as other:
                run(other, tiny, Yearly, NOW, "ingest", "refine")
        return overwrite(self, name, *arguments, **options)

    with monkeypatch.context() as patch:
        # Runs take turns at home; those of Databricks are not held back by us.
        patch.setattr(LocalWorkspace, "turn", lambda *_: nullcontext())
        patch.setattr(LocalTables, "overwrite", late)
        run(ws, tiny, Yearly, as_of, "refine")
    assert meanwhile
    run(ws, tiny, Yearly)
    silver = [name for name in TABLES if name.startswith(("silver_", "quarantine_"))]
    found = contents(ws)
    assert {name: found[name] for name in silver} == {name: new["Yearly"][name] for name in silver}


class NorthernYearly(Northern):
    """Only the north is good enough, its price by year."""

    columns = Yearly.columns


def test_what_another_run_quarantines_of_files_that_were_refined_meanwhile_is_not_there_twice(ws, tiny, monkeypatch):
    run(ws, tiny, Northern, BEFORE, "refine")
    run(ws, tiny, Northern, NOW, "ingest")
    append, meanwhile = LocalTables.append, []

    def late(self: LocalTables, name: Any, *arguments: Any, **options: Any) -> Any:
        if str(name).endswith(".quarantine_signups") and not meanwhile:
            meanwhile.append(name)
            with LocalWorkspace.open(root=ws.root) as other:
                run(other, tiny, NorthernYearly, NOW, "refine")
        return append(self, name, *arguments, **options)

    # Runs take turns at home; those of Databricks are not held back by us.
    monkeypatch.setattr(LocalWorkspace, "turn", lambda *_: nullcontext())
    monkeypatch.setattr(LocalTables, "append", late)
    run(ws, tiny, Northern, NOW, "refine")
    assert meanwhile
    rows = table_rows(ws, "dev.tiny.quarantine_signups")
    assert len(rows) == len(set(rows)) > 0
