"""A backfill puts a range of a feature table in place of what is there: late data and mended code; and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F  # noqa: N812

from mlplatform import Column
from mlplatform.as_of import parse_as_of
from mlplatform.errors import PlatformError, TableError, UsageError
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.pipeline import Pipeline
from mlplatform.reporting import timeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.state import table_rows
from tests.support.tiny_runs import clone, run_tiny
from tests.support.tiny_use_case import NAME, Cancellations, RegionHistory, Tiny, write_drop, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlplatform.ops.stage_runs import StageRun
    from mlplatform.use_case import UseCase
    from tests.support.tiny_use_case import TinyFolder

CATALOGS = iter(f"catalog{number}" for number in range(1000))
START, END, TODAY = "2020-03-01", "2020-05-01", "2020-07-01"
LATE = ("2020-03-15", "2020-03-16", "2020-06-16")


@dataclass
class Here:
    """A workspace in which the tiny use case has its features up to today."""

    ws: LocalWorkspace
    tiny: TinyFolder

    def backfill(
        self, table: str = "region", start: str = START, end: str = END, *, dry_run: bool = False, **parts: Any
    ) -> StageRun:
        use_case = type("Changed", (Tiny,), parts).open(NAME, self.tiny.folder, self.ws)
        pipeline = Pipeline(self.ws, use_case, parse_as_of(end))
        return pipeline.backfill(table, parse_as_of(start), dry_run=dry_run)

    def run(self, as_of: str, *stages: str) -> None:
        run_tiny(self.ws, self.tiny.folder, as_of, stages)

    def land_late(self) -> None:
        """Cancellations of March and June that land in July only."""
        landed = [path.read_text(encoding="utf-8") for path in (self.tiny.data / "cancellations").iterdir()]
        accounts = [f"202001{row:04d}" for row in range(40)]
        staying = [account for account in accounts if not any(account in text for text in landed)]
        rows = [list(row) for row in zip(staying, LATE, strict=False)]
        write_drop(self.tiny.data / "cancellations" / "cancellations_2020-07.csv", Cancellations.columns, rows)
        self.run("2020-08-01", "ingest", "refine")

    @property
    def use_case(self) -> UseCase:
        return self.tiny.open(self.ws)

    def versions(self) -> dict[str, int]:
        catalog = self.ws.catalog
        names = [
            f"{catalog}.{schema}.{table}" for schema in (NAME, "ops") for table in self.ws.tables.list(catalog, schema)
        ]
        return {name: self.ws.tables.version(name) for name in names}

    def region(self) -> list[dict[str, Any]]:
        rows = self.ws.tables.to_arrow(f"{self.ws.catalog}.{NAME}.features_region", at_most=10**6)
        return rows.sort_by([("known_at", "ascending"), ("region", "ascending")]).to_pylist()

    def within(self) -> list[dict[str, Any]]:
        return [row for row in self.region() if parse_as_of(START) <= row["known_at"] <= parse_as_of(END)]

    def outside(self) -> list[dict[str, Any]]:
        inside = self.within()
        return [row for row in self.region() if row not in inside]

    def runs(self) -> list[dict[str, Any]]:
        return [vars(record) for record in STAGE_RUNS.read(self.ws, self.use_case.namespace)]


@pytest.fixture
def empty(ws: LocalWorkspace, tmp_path: Path) -> Here:
    ws.catalog = next(CATALOGS)
    return Here(ws, write_tiny_use_case(tmp_path, months=6, rows_a_month=40))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with all features up to today."""
    folder = tmp_path_factory.mktemp("base")
    tiny = write_tiny_use_case(folder / "use_cases", months=6, rows_a_month=40)
    with LocalWorkspace.open(root=folder / "home") as ws:
        run_tiny(ws, tiny.folder, TODAY, ["ingest", "refine", "features"])
    return folder / "home"


@pytest.fixture
def here(base: Path, tmp_path: Path) -> Iterator[Here]:
    tiny = write_tiny_use_case(tmp_path, months=6, rows_a_month=40)
    with LocalWorkspace.open(root=clone(base, tmp_path / "home")) as ws:
        yield Here(ws, tiny)


def counts(run: StageRun) -> tuple[int, ...]:
    return tuple(getattr(run.result.details, key) for key in ("before", "after", "added", "removed", "changed"))


def test_what_landed_after_the_range_counts_in_it(here: Here) -> None:
    within, outside = here.within(), here.outside()
    here.land_late()
    done = here.backfill()
    assert done.status == "done"
    before, after, added, removed, changed = counts(done)
    assert (before, after) == (len(within), len(here.within()))
    assert (added, removed) == (after - before, 0)
    assert changed > 0
    # Two late cancellations by the end of the range, whatever the regions.
    old, new = ({row["region"]: row["region_cancellations"] for row in rows} for rows in (within, here.within()))
    assert sum(new.values()) == sum(old.values()) + 2
    assert here.outside() == outside


def test_a_dry_run_says_the_same_and_writes_nothing_at_all(here: Here) -> None:
    here.land_late()
    before = here.versions()
    said = here.backfill(dry_run=True)
    assert here.versions() == before
    assert counts(said) == counts(here.backfill())
    assert {name for name, version in here.versions().items() if before[name] != version} == {
        f"{here.ws.catalog}.{NAME}.features_region",
        f"{here.ws.catalog}.ops.stage_runs",
    }


def test_again_changes_nothing_and_says_so(here: Here) -> None:
    here.land_late()
    here.backfill()
    table = f"{here.ws.catalog}.{NAME}.features_region"
    rows, version = table_rows(here.ws, table), here.ws.tables.version(table)
    again = here.backfill("features_region")
    assert (again.status, again.result.skipped) == ("skipped", "the range holds these rows already")
    assert counts(again)[2:] == (0, 0, 0)
    assert (table_rows(here.ws, table), here.ws.tables.version(table)) == (rows, version)


class OnlyNorth(RegionHistory):
    """The north alone."""

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        return super().compute(ws, as_of, since).where(F.col("region") == "north")


def test_rows_that_mended_code_no_longer_gives_are_gone_from_the_range_alone(here: Here) -> None:
    within, outside = here.within(), here.outside()
    done = here.backfill(features=(OnlyNorth,))
    expected = [row for row in within if row["region"] == "north"]
    assert counts(done) == (len(within), len(expected), 0, len(within) - len(expected), 0)
    assert here.within() == expected
    assert here.outside() == outside


def test_both_ends_of_the_range_belong_to_it(here: Here) -> None:
    row = here.within()[3]
    moment = row["known_at"].isoformat()
    same_moment = [item for item in here.region() if item["known_at"] == row["known_at"]]
    done = here.backfill(start=moment, end=moment)
    assert counts(done) == (len(same_moment), len(same_moment), 0, 0, 0)


def test_a_backfill_is_recorded_and_is_no_step_of_the_cycle(here: Here) -> None:
    steps = timeline.read(here.ws, here.use_case.namespace, "roc_auc")
    here.land_late()
    here.backfill()
    run = here.runs()[-1]
    assert (run["stage"], run["status"], run["as_of"]) == ("backfill", "done", parse_as_of(END))
    assert (run["rows_in"], run["rows_out"]) == (run["details"]["before"], run["details"]["after"])
    assert run["details"]["from"] == parse_as_of(START).isoformat()
    assert set(run["inputs"]) == {f"{here.ws.catalog}.{NAME}.silver_{name}" for name in ("signups", "cancellations")}
    after = timeline.read(here.ws, here.use_case.namespace, "roc_auc")
    assert [step.as_of for step in after] == [*(step.as_of for step in steps), parse_as_of("2020-08-01")]


def test_the_features_stage_goes_on_after_a_backfill_as_before_it(here: Here) -> None:
    here.land_late()
    here.backfill()
    here.run("2020-08-01", "features")
    grown = here.region()
    marker = here.runs()[-1]["details"]["computed"]["features_region"]
    assert marker["as_of"] == parse_as_of("2020-08-01").isoformat()
    # What is computed anew as a whole is what has come together: the check that nothing was lost.
    here.backfill(start="2019-01-01", end="2020-08-01")
    assert here.region() == grown


def refused(act: Callable[[], object], kind: type[PlatformError], says: str, hint: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        act()
    assert hint in caught.value.hint


def test_a_table_that_there_is_not_is_refused_with_the_nearest(here: Here) -> None:
    before = table_rows(here.ws, f"{here.ws.catalog}.{NAME}.features_region")
    refused(lambda: here.backfill("regoin"), UsageError, "no feature table 'regoin'", "Did you mean region?")
    refused(lambda: here.backfill("", dry_run=True), UsageError, "no feature table ''", "region")
    assert table_rows(here.ws, f"{here.ws.catalog}.{NAME}.features_region") == before
    assert here.runs()[-1]["status"] == "failed"


def test_a_range_that_ends_before_it_starts_is_refused(here: Here) -> None:
    for dry_run in (False, True):
        refused(
            lambda dry_run=dry_run: here.backfill(start=END, end=START, dry_run=dry_run),  # type: ignore[misc]
            UsageError,
            "before it starts",
            "Swap --from and --to.",
        )


def test_a_range_before_all_data_holds_nothing_and_is_left_so(here: Here) -> None:
    done = here.backfill(start="2001-01-01", end="2002-01-01")
    assert (done.status, counts(done)) == ("skipped", (0, 0, 0, 0, 0))


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_table_that_was_never_computed_is_refused(empty: Here, dry_run: bool) -> None:
    empty.run(TODAY, "ingest", "refine")
    refused(lambda: empty.backfill(dry_run=dry_run), TableError, "features_region does not exist", "Run the stage that")
    assert not empty.ws.tables.exists(f"{empty.ws.catalog}.{NAME}.features_region")


def test_a_dry_run_in_a_new_workspace_leaves_it_new(empty: Here) -> None:
    with pytest.raises(TableError, match="does not exist"):
        empty.backfill(dry_run=True)
    assert empty.versions() == {}


class Repeats(RegionHistory):
    """Gives each row twice."""

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        rows = super().compute(ws, as_of, since)
        return rows.union(rows)


def test_rows_that_repeat_a_key_are_refused_and_nothing_is_written(here: Here) -> None:
    table = f"{here.ws.catalog}.{NAME}.features_region"
    version = here.ws.tables.version(table)
    refused(lambda: here.backfill(features=(Repeats,)), TableError, r"row\(s\) repeat a key", "region, known_at")
    assert here.ws.tables.version(table) == version


class Narrower(RegionHistory):
    """Declares a type that is narrower than the table's."""

    columns = (*RegionHistory.columns[:2], Column("region_cancellations", "int", "Cancellations so far"))


def test_another_declaration_than_the_tables_is_refused_with_our_error(here: Here) -> None:
    """A wider one is none: see tests/integration/test_more_columns.py."""
    with pytest.raises(PlatformError, match="region_cancellations is declared int, and is bigint in the table"):
        here.backfill(features=(Narrower,))


class Unknown(RegionHistory):
    """A share, that is not a number where there is nothing to share."""

    columns = (*RegionHistory.columns[:2], Column("share", "double", "Share"))
    value = "NaN"

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        rows = super().compute(ws, as_of, since)
        return rows.select("region", "known_at", F.lit(self.value).cast("double").alias("share"))


class Mended(Unknown):
    """The share is missing instead."""

    value = None


def test_null_in_place_of_nan_is_a_change(empty: Here) -> None:
    empty.run(TODAY, "ingest", "refine")
    use_case = type("Changed", (Tiny,), {"features": (Unknown,)}).open(NAME, empty.tiny.folder, empty.ws)
    Pipeline(empty.ws, use_case, parse_as_of(TODAY)).run(["features"])
    empty.backfill(features=(Mended,))
    assert {row["share"] for row in empty.within()} == {None}


def test_status_shows_the_newest_step_also_after_a_backfill(here: Here) -> None:
    from mlplatform.cli import status

    before = status._facts(here.ws, NAME)
    here.backfill()
    assert status._facts(here.ws, NAME) == before
    assert json.dumps(before)


def test_a_report_has_the_same_steps_after_a_backfill(here: Here) -> None:
    from mlplatform.reporting import facts

    def gathered() -> tuple[Any, ...]:
        use_case = here.use_case
        found = facts.gather(here.ws, use_case.namespace, use_case.label_spine(), use_case.settings)
        return [step.as_of for step in found.steps], [stage.stage for stage in found.newest_run]

    before = gathered()
    here.backfill()
    assert gathered() == before
