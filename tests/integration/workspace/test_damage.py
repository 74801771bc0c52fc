"""A damaged table is named when it is read, with the way out; and mended without a loss where there is a copy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from mlplatform.errors import DamagedTableError, PlatformError, TableError
from mlplatform.protocols.maintenance import explained
from mlplatform.protocols.tables import Transaction
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import crossed
from tests.support.damages import DATA, JOURNAL, LOG, cut, data, entry, flip

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "dev.shop.silver_orders"
SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("note", pa.string())])
ROWS = 300


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a table of three commits of rows."""
    root = tmp_path_factory.mktemp("base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        ws.tables.create(NAME, SCHEMA, primary_keys=("id",))
        for number in range(3):
            ids = range(number * ROWS, (number + 1) * ROWS)
            rows = pa.table({"id": list(ids), "note": [f"note {item % 7}" for item in ids]}, schema=SCHEMA)
            ws.tables.append(NAME, rows, transactions=[Transaction(f"append {number}")])
    return root


@pytest.fixture
def root(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "home"))


@pytest.fixture
def ws(root: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=root) as opened:
        yield opened


def folder(root: Path) -> Path:
    return root / "tables" / "dev" / "shop" / "silver_orders"


def rows(ws: LocalWorkspace) -> pa.Table:
    return ws.tables.to_arrow(NAME, at_most=10**6).sort_by("id")


@pytest.mark.parametrize("how", [*LOG, *DATA])
def test_what_is_damaged_is_named_when_it_is_read(ws, root, how):
    expected = rows(ws)
    (LOG | DATA)[how](folder(root))
    with LocalWorkspace.open(root=root) as again:
        with pytest.raises(DamagedTableError) as raised:
            rows(again)
        with pytest.raises(DamagedTableError):
            again.frames.count(again.frames.read(NAME))
        with pytest.raises(DamagedTableError):
            again.tables.append(NAME, expected.slice(0, 1))
    error = raised.value
    assert NAME in error.message
    assert error.file.startswith(("_delta_log", "part-"))
    assert "last good version is" in error.message or "no version of it is whole" in error.message
    assert "mlplatform doctor --data shop" in error.hint
    assert "mlplatform repair shop" in error.hint
    assert "\n" not in error.message, "no engine's own words"


@pytest.mark.parametrize("how", LOG)
def test_a_damaged_log_is_put_back_from_copies_and_nothing_is_lost(ws, root, how):
    expected, version = rows(ws), ws.tables.version(NAME)
    LOG[how](folder(root))
    with LocalWorkspace.open(root=root) as again:
        inspection = again.maintenance.inspect(NAME)
        assert [damage for damage in inspection.damages if damage.current]
        would = again.maintenance.mend(NAME, keep="rows", aside="first", dry_run=True)
        assert again.maintenance.inspect(NAME) == inspection, "a dry run changes nothing"
        done = again.maintenance.mend(NAME, keep="rows", aside="first")
        assert would == done
        assert done
        assert rows(again).equals(expected)
        assert again.tables.version(NAME) == version
        assert not again.tables.replaced_since(NAME, version)
        assert again.tables.committed(NAME, [Transaction("append 2")]) == (True,)
        assert not again.maintenance.inspect(NAME).damages
        assert again.maintenance.mend(NAME, keep="rows", aside="first") == ()


@pytest.mark.parametrize(("keep", "how"), crossed(["rows", "history", "nothing"], DATA))
def test_a_damaged_data_file_is_left_behind_and_put_aside(ws, root, how, keep):
    version = ws.tables.version(NAME)
    before = {file.name for file in folder(root).glob("*.parquet")}
    DATA[how](folder(root))
    left = {file.name for file in folder(root).rglob("*.parquet")}
    with LocalWorkspace.open(root=root) as again:
        done = again.maintenance.mend(NAME, keep=keep, aside="first")
        assert done
        if keep == "nothing":
            assert not again.tables.exists(NAME)
        else:
            kept = rows(again).num_rows
            assert kept % ROWS == 0
            assert again.tables.replaced_since(NAME, version), "what was computed from it is no more"
            assert not again.maintenance.inspect(NAME).damages
            again.tables.append(NAME, pa.table({"id": [10**6], "note": ["new"]}, schema=SCHEMA))
            assert rows(again).num_rows == kept + 1
    aside = {file.name for file in (root / "aside").rglob("*.parquet")}
    there = {file.name for file in folder(root).glob("*.parquet")} if folder(root).exists() else set()
    assert left <= aside | there, "nothing is removed"
    assert before >= left


def test_as_many_rows_are_kept_as_are_whole(ws, root):
    flip(data(folder(root)), 0.2)
    with LocalWorkspace.open(root=root) as again:
        again.maintenance.mend(NAME, keep="rows", aside="first")
        assert rows(again).num_rows == 2 * ROWS


def test_a_damaged_file_that_others_were_put_together_into_gives_way_to_them(ws, root):
    expected = rows(ws)
    ws.maintenance.compact(NAME)
    ws.tables.append(NAME, pa.table({"id": [10**6], "note": ["new"]}, schema=SCHEMA))
    (compacted,) = [item for item in folder(root).glob("*.parquet") if item.stat().st_size == max(
        file.stat().st_size for file in folder(root).glob("*.parquet")
    )]  # fmt: skip
    flip(compacted, 0.3)
    with LocalWorkspace.open(root=root) as again:
        again.maintenance.mend(NAME, keep="rows", aside="first")
        assert rows(again).slice(0, 3 * ROWS).equals(expected)
        assert rows(again).num_rows == 3 * ROWS + 1


@pytest.mark.parametrize("how", LOG)
def test_without_copies_the_log_ends_before_what_is_lost(ws, root, how):
    """A table of an earlier version has no journal: what its form tells is all there is to go by."""
    version = ws.tables.version(NAME)
    (folder(root) / JOURNAL).unlink()
    LOG[how](folder(root))
    with LocalWorkspace.open(root=root) as again:
        again.maintenance.mend(NAME, keep="rows", aside="first")
        if again.tables.exists(NAME):
            assert rows(again).num_rows % ROWS == 0
            if rows(again).num_rows < 3 * ROWS:
                assert again.tables.replaced_since(NAME, version)
            assert not again.maintenance.inspect(NAME).damages


def test_a_repair_never_ends_at_a_version_that_is_on_record(ws, root):
    """A run that recorded version 3 is to see that it is another one now."""
    (folder(root) / JOURNAL).unlink()
    cut(entry(folder(root), -1), 0.5)
    flip(data_of_first(root), 0.2)
    with LocalWorkspace.open(root=root) as again:
        again.maintenance.mend(NAME, keep="history", aside="first")
        assert again.tables.version(NAME) > 3
        assert again.tables.replaced_since(NAME, 3)


def data_of_first(root: Path) -> Path:
    return min(folder(root).glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)


def test_a_version_before_the_damage_can_be_read(ws, root):
    newest = max(folder(root).glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)
    newest.unlink()
    with LocalWorkspace.open(root=root) as again:
        assert again.tables.to_arrow(NAME, version=2, at_most=10**6).num_rows == 2 * ROWS
        with pytest.raises(DamagedTableError, match="last good version is 2"):
            again.tables.to_arrow(NAME, version=3, at_most=10**6)


def test_a_file_that_goes_while_a_table_is_open_is_named_too(ws, root):
    rows(ws)
    frame = ws.frames.read(NAME)
    data(folder(root)).unlink()
    with pytest.raises(DamagedTableError, match="is gone"), explained(ws):
        ws.frames.count(frame)
    with pytest.raises(DamagedTableError, match="is gone"), explained(ws):
        rows(ws)


def test_an_error_that_has_nothing_to_do_with_files_stays_what_it_is(ws, root):
    flip(data(folder(root)), 0.2)
    with pytest.raises(TableError) as raised, explained(ws):
        ws.tables.to_arrow("dev.shop.nothing", at_most=1)
    assert not isinstance(raised.value, DamagedTableError)
    with pytest.raises(KeyboardInterrupt), explained(ws):
        raise KeyboardInterrupt


@pytest.mark.parametrize("what", ["is gone", "cut off", "flipped", "of nobody"])
def test_a_damaged_journal_makes_no_table_damaged(ws, root, what):
    expected, journal = rows(ws), folder(root) / JOURNAL
    {
        "is gone": journal.unlink,
        "cut off": lambda: cut(journal, 0.6),
        "flipped": lambda: flip(journal, 0.5),
        "of nobody": lambda: journal.write_text("nothing\n"),
    }[what]()
    with LocalWorkspace.open(root=root) as again:
        assert rows(again).equals(expected)
        assert not again.maintenance.inspect(NAME).damages
        again.tables.append(NAME, pa.table({"id": [10**6], "note": ["new"]}, schema=SCHEMA))
    # What is written from then on is known again.
    cut(entry(folder(root), -1), 0)
    with LocalWorkspace.open(root=root) as again, pytest.raises(DamagedTableError):
        rows(again)


def test_a_table_made_again_in_the_same_place_is_not_held_against_the_one_before(ws, root):
    ws.tables.drop(NAME)
    ws.tables.create(NAME, SCHEMA, primary_keys=("id",))
    with LocalWorkspace.open(root=root) as again:
        assert rows(again).num_rows == 0


def test_files_that_no_version_names_are_told_and_put_aside_once_they_are_old(ws, root):
    orphan = folder(root) / "part-00000-nobody.parquet"
    shutil.copy(data(folder(root)), orphan)
    assert ws.maintenance.inspect(NAME).orphans == ()
    os.utime(orphan, (0, 0))
    assert ws.maintenance.inspect(NAME).orphans == (orphan.name,)
    ws.maintenance.mend(NAME, keep="rows", aside="first")
    assert not orphan.exists()
    assert list((root / "aside").rglob(orphan.name))


def test_checkpoints_that_are_damaged_are_put_aside(ws, root):
    ws.tables.open(NAME).create_checkpoint()
    expected = rows(ws)
    (checkpoint,) = (folder(root) / "_delta_log").glob("*.checkpoint.parquet")
    for share in (0.5, 0):
        cut(checkpoint, share)
        with LocalWorkspace.open(root=root) as again, pytest.raises(DamagedTableError) as raised:
            rows(again)
        assert "checkpoint" in raised.value.message
        assert raised.value.last_good == 3
    with LocalWorkspace.open(root=root) as again:
        assert again.maintenance.mend(NAME, keep="rows", aside="first")
        assert rows(again).equals(expected)


def test_a_larger_table_is_read_without_its_checksums_and_the_inspection_finds_the_bit(ws, root, monkeypatch):
    from mlplatform.workspace.local import health

    monkeypatch.setattr(health, "CHECKED_BYTES", 100)
    flip(data(folder(root)), 0.2)
    with LocalWorkspace.open(root=root) as again:
        again.tables.version(NAME)
        (damage,) = again.maintenance.inspect(NAME).damages
        assert "checksum differs" in damage.what


def test_functions_and_feature_specs_that_are_damaged_are_named(ws, root):
    functions = root / "functions.json"
    for content in ("", "{", "[]", '{"a.b.c": 3}', '{"a.b.c": {"returns": "int"}}', b"\xff\xfe"):
        functions.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(PlatformError, match="does not hold the registered functions"):
            ws.functions.get("dev.shop.price")
    assert [damage.file for damage in ws.maintenance.inspect_files()] == ["functions.json"]
    (root / "feature_specs").mkdir()
    spec = root / "feature_specs" / "dev.shop.spec.yaml"
    for content in ("", "{", "- 1", "input_columns: 3\n", "a: [", "\x00"):
        spec.write_text(content)
        with pytest.raises(PlatformError, match=r"feature spec|input_columns"):
            ws.fe.get_feature_spec(name="dev.shop.spec") if hasattr(ws.fe, "get_feature_spec") else read(spec)
    assert len(ws.maintenance.inspect_files()) == 2
    assert ws.maintenance.mend_files(aside="first")
    assert [damage.file for damage in ws.maintenance.inspect_files()] == ["feature_specs/dev.shop.spec.yaml"]
    assert (root / "aside" / "first" / "functions.json").exists()


def read(spec: Path) -> None:
    from mlplatform.workspace.local.feature_specs import read_spec

    read_spec(spec)
