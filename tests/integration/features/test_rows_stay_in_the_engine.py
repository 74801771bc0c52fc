"""Feature tables are computed once and written from there: no row of them comes into this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F  # noqa: N812

from mlplatform.as_of import parse_as_of
from mlplatform.features.backfill import Backfill
from mlplatform.pipeline import Pipeline
from mlplatform.protocols.frames import metered
from mlplatform.workspace.local import staging
from tests.support.crossed import every
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import NAME, RegionHistory, Tiny, write_tiny_use_case

if TYPE_CHECKING:
    from mlplatform.workspace.local.workspace import LocalWorkspace
    from tests.support.tiny_use_case import TinyFolder

CATALOGS = iter(f"engine{number}" for number in range(1000))


@pytest.fixture
def tiny(ws: LocalWorkspace, tmp_path: Path) -> TinyFolder:
    ws.catalog = next(CATALOGS)
    folder = write_tiny_use_case(tmp_path, months=4, rows_a_month=40)
    run_tiny(ws, folder.folder, "2020-05-01", ["ingest", "refine"])
    return folder


@pytest.fixture
def stagings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders into which rows are computed."""
    folders: list[Path] = []
    write = staging.write

    def counted(rows: Any, folder: Path) -> None:
        folders.append(folder)
        write(rows, folder)

    monkeypatch.setattr(staging, "write", counted)
    return folders


class Random(RegionHistory):
    """Another number each time it is computed."""

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        rows = super().compute(ws, as_of, since)
        return rows.withColumn("region_cancellations", (F.rand() * 1e15).cast("bigint"))


def at(ws: LocalWorkspace, tiny: TinyFolder, as_of: str, **parts: Any) -> Pipeline:
    return Pipeline(ws, type("Changed", (Tiny,), parts).open(NAME, tiny.folder, ws), parse_as_of(as_of))


@pytest.mark.parametrize("steps", every(2, [(["2020-03-01", "2020-05-01"],), (["2020-05-01"],)]))
def test_each_feature_table_is_computed_once_in_a_step(
    ws: LocalWorkspace, tiny: TinyFolder, stagings: list[Path], steps: list[str]
) -> None:
    for step in steps:
        at(ws, tiny, step).run(["features"])
    assert len(stagings) == len(steps)
    assert not any(folder.exists() for folder in stagings)


def test_a_backfill_writes_the_rows_that_it_compared(
    ws: LocalWorkspace, tiny: TinyFolder, stagings: list[Path]
) -> None:
    at(ws, tiny, "2020-05-01").run(["features"])
    stagings.clear()
    done = at(ws, tiny, "2020-05-01", features=(Random,)).backfill("region", parse_as_of("2020-03-01"))
    assert done.result.details.changed == done.result.details.after > 0
    assert len(stagings) == 1
    assert not any(folder.exists() for folder in stagings)


def test_a_plan_that_is_carried_out_later_computes_the_rows_again(
    ws: LocalWorkspace, tiny: TinyFolder, stagings: list[Path]
) -> None:
    at(ws, tiny, "2020-05-01").run(["features"])
    stagings.clear()
    as_of, table = parse_as_of("2020-05-01"), f"{ws.catalog}.{NAME}.features_region"
    version = ws.tables.version(table)
    plan = Backfill((Random,), "region", parse_as_of("2020-03-01")).plan(
        tiny.open(ws).context(ws, as_of, run_id="later")
    )
    assert (len(stagings), ws.tables.version(table)) == (1, version)
    result = plan.carry_out()
    assert (len(stagings), ws.tables.version(table)) == (2, version + 1)
    assert result.outputs[table] == version + 1
    assert not any(folder.exists() for folder in stagings)


def test_counts_alone_are_collected(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    with metered() as collected:
        at(ws, tiny, "2020-05-01").run(["features"])
        at(ws, tiny, "2020-05-01", features=(Random,)).backfill("region", parse_as_of("2020-03-01"))
    rows = ws.frames.count(ws.frames.read(f"{ws.catalog}.{NAME}.features_region"))
    large = [item.what for item in collected.collections if item.rows >= rows]
    assert not [what for what in large if "features_region" in what]
