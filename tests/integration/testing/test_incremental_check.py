"""The incremental check catches tables that cut off what later rows need, and does not pass without looking."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pyspark.sql import functions as F  # noqa: N812

from mlplatform import Column, FeatureTable, RollingFeatureTable
from mlplatform.as_of import parse_as_of
from mlplatform.errors import ContractError, TableError
from mlplatform.testing import check_incremental, check_table, check_table_incremental
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import RegionHistory, write_tiny_use_case

if TYPE_CHECKING:
    from mlplatform.use_case import UseCase
    from mlplatform.workspace.local.workspace import LocalWorkspace

MOMENTS = [parse_as_of(text) for text in ("2020-03-01", "2020-04-10T12:00", "2020-05-01")]


@pytest.fixture(scope="module")
def use_case(ws: LocalWorkspace, tmp_path_factory: pytest.TempPathFactory) -> UseCase:
    tiny = write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), months=6, rows_a_month=40)
    run_tiny(ws, tiny.folder, "2020-07-01", ["ingest", "refine"])
    return tiny.open(ws)


class Cut(RegionHistory):
    """Counts from `since` on only: its running counts begin anew with each step."""

    name = "cut"

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        rows = super().compute(ws, as_of, since)
        if since is None:
            return rows
        before = rows.where(F.col("known_at") < F.lit(since)).groupBy("region")
        lost = before.agg(F.max("region_cancellations").alias("lost"))
        return rows.join(lost, on="region", how="left").select(
            "region",
            "known_at",
            (F.col("region_cancellations") - F.coalesce("lost", F.lit(0))).alias("region_cancellations"),
        )


def test_a_table_that_counts_from_since_on_is_caught_with_an_example(ws: LocalWorkspace, use_case: UseCase) -> None:
    with pytest.raises(ContractError) as caught:
        check_table_incremental(ws, use_case, Cut(), MOMENTS)
    message = str(caught.value)
    assert (
        "Feature table cut computed step by step up to 2020-05-01 00:00 is not what it is computed at once" in message
    )
    assert "0 row(s) are missing, 0 are too many" in message
    assert "step by step {'region': " in message
    assert "at once {'region': " in message
    assert "must not cut off" in caught.value.hint


class Window(RegionHistory):
    """Cancellations of the last thirty days, of which `compute` reads from `since` on alone."""

    name = "window"
    days: ClassVar[int] = 0

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        accounts = ws.read("silver_signups").select("account", "region")
        events = ws.read("silver_cancellations").join(accounts, on="account").select("region", "cancelled_at")
        if since is not None:
            events = events.where(F.col("cancelled_at") >= F.lit(since - timedelta(days=self.days)))
        days = events.select("region", F.date_add(F.to_date("cancelled_at"), 1).alias("day")).distinct()
        pairs = days.join(events.withColumnRenamed("region", "r"), on=F.col("region") == F.col("r"))
        within = F.datediff("day", F.to_date("cancelled_at")).between(1, 30)
        return (
            pairs.where(within)
            .groupBy("region", F.col("day").cast("timestamp").alias("known_at"))
            .agg(F.count("*").alias("region_cancellations"))
        )


class LongEnough(Window):
    """Reads a month more, and two days for the grid."""

    name = "long_enough"
    days = 32


def test_a_window_that_begins_with_since_is_caught_and_one_that_reaches_back_is_not(
    ws: LocalWorkspace, use_case: UseCase
) -> None:
    check_table_incremental(ws, use_case, LongEnough(), MOMENTS)
    with pytest.raises(ContractError, match=r"Feature table window .* \d+ differ"):
        check_table_incremental(ws, use_case, Window(), MOMENTS)


class Later(RegionHistory):
    """Gives rows for all that came before only if it computes all."""

    name = "later"

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        rows = super().compute(ws, as_of, since)
        return rows if since is None else rows.where(F.col("region") != "north")


def test_rows_that_a_step_does_not_give_are_caught(ws: LocalWorkspace, use_case: UseCase) -> None:
    with pytest.raises(ContractError, match=r"[1-9]\d* row\(s\) are missing, 0 are too many") as caught:
        check_table_incremental(ws, use_case, Later(), MOMENTS)
    assert "only at once: {'region': 'north'" in str(caught.value)


class TooMany(RegionHistory):
    """Has a region in its steps that there is not."""

    name = "too_many"

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        rows = super().compute(ws, as_of, since)
        return rows if since is None else rows.union(rows.withColumn("region", F.lit("nowhere")).distinct())


def test_rows_that_only_a_step_gives_are_caught(ws: LocalWorkspace, use_case: UseCase) -> None:
    with pytest.raises((ContractError, TableError), match=r"are too many|repeat a key"):
        check_table_incremental(ws, use_case, TooMany(), MOMENTS)


class Monthly(RollingFeatureTable):
    """Cancellations of the last month, as the platform counts them."""

    name = "monthly"
    keys = ("region",)
    timeseries_column = "known_at"
    inputs = ("silver_signups", "silver_cancellations")
    grid = "1 day"
    windows: ClassVar = {"30d": "30 days", "ever": None}
    measures = ("gone",)
    columns = (
        *RegionHistory.columns[:2],
        Column("gone_30d", "bigint", "Cancellations of 30 days"),
        Column("gone_ever", "bigint", "Cancellations so far"),
    )

    def events(self, ws: Any) -> Any:
        accounts = ws.read("silver_signups").select("account", "region")
        rows = ws.read("silver_cancellations").join(accounts, on="account")
        return rows.select("region", F.col("cancelled_at").alias("known_at"), F.lit(1).cast("bigint").alias("gone"))

    def features(self, sums: Any) -> Any:
        return sums


def test_tables_that_are_right_pass_both_checks_in_any_order_of_moments(ws: LocalWorkspace, use_case: UseCase) -> None:
    check_incremental(ws, use_case, MOMENTS[::-1])
    for table in (RegionHistory(), Monthly()):
        check_table_incremental(ws, use_case, table, MOMENTS)
        check_table(ws, use_case, table, MOMENTS)


class Stale(RegionHistory):
    """Knows nothing after April's beginning."""

    name = "stale"

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        return super().compute(ws, as_of, since).where("known_at < '2020-03-01'")


@pytest.mark.parametrize("table", [Stale, RegionHistory])
def test_a_check_that_sees_nothing_new_does_not_pass(
    ws: LocalWorkspace, use_case: UseCase, table: type[FeatureTable]
) -> None:
    moments = MOMENTS if table is Stale else [parse_as_of("2019-01-01"), parse_as_of("2019-06-01")]
    with pytest.raises(ValueError, match=rf"Feature table {table.name} got no row after .* looked at nothing"):
        check_table_incremental(ws, use_case, table(), moments)


@pytest.mark.parametrize("moments", [[], MOMENTS[:1]])
def test_one_moment_is_no_step(ws: LocalWorkspace, use_case: UseCase, moments: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"at least two|not enough values"):
        check_table_incremental(ws, use_case, RegionHistory(), moments)


@pytest.mark.parametrize("check", [check_table, check_table_incremental])
def test_a_check_reads_declared_inputs_only_and_writes_nothing(
    ws: LocalWorkspace, use_case: UseCase, check: Any, tmp_path: Path
) -> None:
    before = {table: ws.tables.version(f"{ws.catalog}.tiny.{table}") for table in ws.tables.list(ws.catalog, "tiny")}
    narrow = type("Narrow", (RegionHistory,), {"inputs": ("silver_signups",)})
    with pytest.raises(TableError, match="silver_cancellations is read, but not declared"):
        check(ws, use_case, narrow(), MOMENTS)
    check(ws, use_case, RegionHistory(), MOMENTS)
    after = {table: ws.tables.version(f"{ws.catalog}.tiny.{table}") for table in ws.tables.list(ws.catalog, "tiny")}
    assert after == before
