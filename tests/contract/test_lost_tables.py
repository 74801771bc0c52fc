"""A table that is gone, or was put back, is computed whole in either home; its id and its history tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import CONFIG_FILE, load_settings
from mlplatform.naming import Namespace
from mlplatform.pipeline import Pipeline
from tests.support.state import table_rows
from tests.support.tiny_use_case import Tiny, write_tiny_use_case

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

SCHEMA = "lost"
TABLES = ("bronze_signups", "silver_signups", "quarantine_signups", "gold_spine", "gold_labels", "features_region")


def full(name: str) -> str:
    return f"dev.{SCHEMA}.{name}"


@pytest.fixture(scope="module")
def run(ws: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), months=6, rows_a_month=6)
    folder.soil()
    config = folder.folder / CONFIG_FILE
    config.write_text(config.read_text(encoding="utf-8").replace("landing: data", f"landing: {folder.data}"), "utf-8")
    # Not by `open`, which registers functions: they are not what this is about.
    settings = load_settings(config, ws.env)
    use_case = Tiny(SCHEMA, folder.folder, settings, Namespace(ws.catalog, SCHEMA))

    def run_stages(as_of: str) -> list[str]:
        return Pipeline(ws, use_case, parse_as_of(as_of)).run(["ingest", "refine", "features"]).notes()

    for as_of in ("2020-04-01", "2020-05-01"):
        run_stages(as_of)
    return run_stages


def contents(ws: Workspace) -> dict[str, int | list[str]]:
    # Which batch refined a row is another matter, so silver is looked at through what is computed from it.
    held = {name: table_rows(ws, full(name)) for name in TABLES if name != "silver_signups"}
    return held | {"silver_signups": ws.tables.to_arrow(full("silver_signups"), at_most=10**6).num_rows}


def test_tables_that_are_gone_are_computed_whole(ws, run):
    before = contents(ws)
    assert all(before.values())
    for lost in (("features_region", "quarantine_signups"), ("silver_signups", "gold_labels"), TABLES):
        for name in lost:
            ws.tables.drop(full(name))
        notes = run("2020-05-01")
        assert contents(ws) == before
        assert {name for name in TABLES if any(note.startswith(f"{name} was gone") for note in notes)} >= set(lost)
    assert run("2020-05-01") == []


def test_a_table_that_was_put_back_is_computed_whole(ws, run):
    from tests.contract.test_tables import put_back

    before = contents(ws)
    for name in ("silver_signups", "features_region"):
        put_back(ws, full(name), 0)
        assert ws.tables.to_arrow(full(name), at_most=10**6).num_rows == 0
    run("2020-05-01")
    assert contents(ws) == before
    assert run("2020-05-01") == []
