"""The platform's own tables: a new field of a record is a new column by the next run, other changes are migrations."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from mlplatform.as_of import parse_as_of
from mlplatform.cli.main import cli
from mlplatform.errors import TableError
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import records, schema_mark
from mlplatform.ops.migrations import registry
from mlplatform.ops.migrations.migration import Migration
from mlplatform.ops.record_table import noted
from mlplatform.ops.records import ALERT_DELIVERIES, ALERTS, STAGE_RUNS, TABLES, AlertRecord, DeliveryRecord
from mlplatform.ops.schema_mark import PROPERTY, SchemaMark
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.tables import LocalTables
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import open_tiny
from tests.support.tiny_use_case import write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlplatform.ops.record_table import RecordTable
    from mlplatform.protocols.workspace import Workspace

NS = Namespace("dev", "one")
NAME = ALERT_DELIVERIES.full_name(NS)
AT = datetime(2024, 1, 1, tzinfo=UTC)
OLD = DeliveryRecord(alert_id="a", use_case="one", channel="log", attempted_at=AT, status="delivered", attempts=1)


@dataclass(frozen=True, kw_only=True)
class Later(DeliveryRecord):
    """A later version's record: with more fields, all of which need not be given."""

    seconds: float = noted("How long it took", default=0.0)
    places: list[str] = noted("JSON: where it went", factory=list)  # noqa: RUF009  (as `field`)
    receipt: str | None = None


LATER = replace(ALERT_DELIVERIES, record=Later)


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[LocalWorkspace]:
    """A workspace whose tables are today's, one of them with a row."""
    with LocalWorkspace.open(root=tmp_path / "home") as opened:
        assert records.ensure(opened, NS) == list(TABLES)
        ALERT_DELIVERIES.append(opened, NS, [OLD])
        yield opened


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> RecordTable[Later]:
    """The platform of later."""
    tables = tuple(LATER if table is ALERT_DELIVERIES else table for table in TABLES)
    monkeypatch.setattr(records, "TABLES", tables)
    return LATER


def versions(ws: Workspace) -> dict[str, int]:
    return {table.name: ws.tables.version(table.full_name(NS)) for table in TABLES}


def test_new_tables_are_marked_by_the_commit_that_makes_them_and_then_left_alone(ws):
    assert versions(ws) == {table.name: int(table is ALERT_DELIVERIES) for table in TABLES}
    marks = ws.tables.properties("dev", "ops", PROPERTY)
    assert {table.name: marks[table.name] for table in TABLES} == {
        table.name: str(SchemaMark.of(table, ())) for table in TABLES
    }
    before = versions(ws)
    assert records.ensure(ws, NS) == []
    assert versions(ws) == before


def test_where_nothing_has_changed_no_table_is_looked_at(ws, monkeypatch):
    asked = []
    for name in ("describe", "widen", "to_arrow", "create", "set_property"):
        monkeypatch.setattr(LocalTables, name, lambda self, *given, name=name, **named: asked.append(name))
    records.ensure(ws, NS)
    assert asked == []


def test_a_new_field_is_a_column_by_the_next_run_and_old_rows_read_its_default(ws, later):
    before = versions(ws)
    records.ensure(ws, NS)
    schema = ws.tables.describe(NAME).schema
    assert schema.names == later.schema.names
    assert schema.field("seconds").metadata == {b"comment": b"How long it took"}
    # One commit for the columns, one for the mark; no other table is touched.
    assert versions(ws) == {**before, "alert_deliveries": before["alert_deliveries"] + 2}
    new = Later(**{**vars(OLD), "alert_id": "b", "seconds": 2.5, "places": ["x"], "receipt": "r"})
    later.append(ws, NS, [new])
    found = {record.alert_id: record for record in later.read(ws, NS)}
    assert found == {"a": Later(**vars(OLD)), "b": new}
    assert (found["a"].seconds, found["a"].places, found["a"].receipt) == (0.0, [], None)
    after = versions(ws)
    records.ensure(ws, NS)
    assert versions(ws) == after


def test_an_older_platform_goes_on_beside_columns_that_it_does_not_know(ws, later, monkeypatch):
    records.ensure(ws, NS)
    mark = ws.tables.properties("dev", "ops", PROPERTY)["alert_deliveries"]
    monkeypatch.setattr(records, "TABLES", TABLES)
    before = versions(ws)
    records.ensure(ws, NS)
    assert versions(ws) == before
    ALERT_DELIVERIES.append(ws, NS, [replace(OLD, alert_id="b")])
    assert sorted(record.alert_id for record in ALERT_DELIVERIES.read(ws, NS)) == ["a", "b"]
    # The newer one's mark stays, so that it need not look again.
    assert SchemaMark.parse(mark).has(
        SchemaMark.parse(ws.tables.properties("dev", "ops", PROPERTY)["alert_deliveries"])
    )


def test_tables_from_before_there_were_marks_get_theirs(tmp_path):
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        for table in TABLES:
            ws.tables.create(table.full_name(NS), table.schema, description=table.description)
        assert records.ensure(ws, NS) == []
        assert set(versions(ws).values()) == {1}
        records.ensure(ws, NS)
        assert set(versions(ws).values()) == {1}


def test_a_required_field_is_no_new_column(ws, monkeypatch):
    wrong = make_dataclass("Wrong", [("urgency", int)], bases=(DeliveryRecord,), frozen=True, kw_only=True)
    monkeypatch.setattr(records, "TABLES", (replace(ALERT_DELIVERIES, record=wrong),))
    with pytest.raises(TableError, match=r"(?s)another version.*new column urgency \(bigint\) is declared not null"):
        records.ensure(ws, NS)


def shout(ws: Workspace, name: ObjectName) -> None:
    """Write the channels of all deliveries in capitals: the same again changes nothing."""
    rows = ws.tables.to_arrow(name, at_most=100).to_pylist()
    rows = [{**row, "channel": row["channel"].upper()} for row in rows]
    ws.tables.overwrite(name, ALERT_DELIVERIES.to_arrow([DeliveryRecord(**row) for row in rows]))


def test_migrations_run_in_order_each_once_and_only_those_that_the_table_lacks(ws, monkeypatch):
    applied: list[int] = []

    def numbered(number: int, table: str = "alert_deliveries", change: Any = None) -> Migration:
        def apply(ws: Workspace, name: ObjectName) -> None:
            applied.append(number)
            if change is not None:
                change(ws, name)

        return Migration(number, table, f"change {number}", apply)

    monkeypatch.setattr(registry, "MIGRATIONS", (numbered(1, change=shout), numbered(3), numbered(2, "alerts")))
    records.ensure(ws, NS)
    assert sorted(applied) == [1, 2, 3]
    assert applied.index(1) < applied.index(3)
    assert [record.channel for record in ALERT_DELIVERIES.read(ws, NS)] == ["LOG"]
    numbers = {
        name: SchemaMark.parse(mark).number for name, mark in ws.tables.properties("dev", "ops", PROPERTY).items()
    }
    assert numbers == {table.name: {"alert_deliveries": 3, "alerts": 2}.get(table.name, 0) for table in TABLES}
    records.ensure(ws, NS)
    assert sorted(applied) == [1, 2, 3]
    monkeypatch.setattr(registry, "MIGRATIONS", (*registry.MIGRATIONS, numbered(4, "alerts")))
    records.ensure(ws, NS)
    assert applied[3:] == [4]
    # A table that is made now is as it should be.
    ws.tables.drop(NAME)
    assert records.ensure(ws, NS) == [ALERT_DELIVERIES]
    assert applied[3:] == [4]


def test_a_run_that_is_killed_over_a_migration_goes_on_where_it_was(ws, monkeypatch):
    applied: list[int] = []

    def fails(ws: Workspace, name: ObjectName) -> None:
        applied.append(2)
        if applied.count(2) == 1:
            raise KeyboardInterrupt

    first = Migration(1, "alert_deliveries", "the first", lambda ws, name: applied.append(1))
    second = Migration(2, "alert_deliveries", "the second", fails)
    monkeypatch.setattr(registry, "MIGRATIONS", (first, second))
    with pytest.raises(KeyboardInterrupt):
        records.ensure(ws, NS)
    records.ensure(ws, NS)
    assert applied == [1, 2, 2]


def test_a_workspace_of_a_newer_platform_is_not_written_to(ws, tmp_path):
    tiny = write_tiny_use_case(tmp_path / "use_cases", months=1, rows_a_month=5)
    use_case = open_tiny(ws, tiny.folder)
    ws.tables.set_property(ALERTS.full_name(NS), PROPERTY, "1:0f0f0f:9.0.0")
    before = versions(ws)
    with pytest.raises(TableError, match=r"dev\.ops\.alerts was written by a newer version .*9\.0\.0") as refused:
        Pipeline(ws, use_case, parse_as_of("2020-03-01")).run()
    assert "Install that version" in refused.value.hint
    assert versions(ws) == before
    assert ws.tables.list("dev", "tiny") == []
    for command in ("status", "history"):
        where = ["--home", str(ws.root), "--use-cases", str(tiny.use_cases)]
        done = CliRunner().invoke(cli, [command, "tiny", *where])
        assert isinstance(done.exception, TableError)
        assert "newer version of the platform (9.0.0)" in done.exception.message


def test_a_mark_that_may_not_be_set_stops_nobody(tmp_path, monkeypatch, caplog):
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        ws.tables.create(STAGE_RUNS.full_name(NS), STAGE_RUNS.schema)

        def refuse(self: LocalTables, name: Any, key: str, value: str) -> None:
            raise TableError(f"{name}: not yours")

        monkeypatch.setattr(LocalTables, "set_property", refuse)
        assert STAGE_RUNS not in records.ensure(ws, NS)
        assert "stage_runs could not be marked as up to date" in caplog.text


def test_records_say_what_they_said_before(ws):
    raised = AlertRecord(
        alert_id="a", use_case="one", as_of=AT, kind="drift", event="raised", severity="warning", message="m",
        runbook="r", channels="log", raised_at=AT,
    )  # fmt: skip
    ALERTS.append(ws, NS, [raised])
    assert ALERTS.read(ws, NS) == [raised]
    assert schema_mark.platform_version()
