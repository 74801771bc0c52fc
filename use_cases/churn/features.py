"""What a customer bought, by months and weeks, and how long ago that was for somebody who buys at that pace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mlplatform import Column, FeatureTable, RollingFeatureTable, WorkspaceAsOf

from .tables import CUSTOMER_ID, CUTOFF, at_cutoffs

KNOWN_AT = Column("known_at", "timestamp", "The days before are counted", nullable=False)


MEASURES = {"days": "Days with a purchase", "cds": "Discs bought", "cents": "Cents spent"}


class _PurchaseDays(RollingFeatureTable):
    """Days with a purchase, discs and cents in each window; several purchases on one day are one visit."""

    keys = ("customer_id",)
    timeseries_column = "known_at"
    inputs = ("silver_purchases",)
    measures = tuple(MEASURES)

    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """The customers' days."""
        days = ws.read("silver_purchases").groupBy("customer_id", "known_at")
        return days.agg(F.lit(1).alias("days"), F.sum("cds").alias("cds"), F.sum("cents").alias("cents"))

    def features(self, sums: DataFrame) -> DataFrame:
        """The sums as they are, and the shortest window as a share of the longest: the trend."""
        first, *_, last = self.windows
        for measure in ("days", "cents"):
            whole = F.when(F.col(f"{measure}_{last}") > 0, F.col(f"{measure}_{last}"))
            sums = sums.withColumn(f"{measure}_trend_{self.name}", F.col(f"{measure}_{first}") / whole)
        return sums


def _columns(name: str, windows: Mapping[str, str | None]) -> tuple[Column, ...]:
    first, *_, last = windows
    sums = [
        Column(f"{measure}_{suffix}", "bigint", f"{meaning} {f'within {window}' if window else 'so far'}")
        for suffix, window in windows.items()
        for measure, meaning in MEASURES.items()
    ]
    trends = [
        Column(f"{measure}_trend_{name}", "double", f"{MEASURES[measure]}: {first} by {last}; null for none")
        for measure in ("days", "cents")
    ]
    return (CUSTOMER_ID, KNOWN_AT, *sums, *trends)


class MonthlyPurchases(_PurchaseDays):
    """Frequency, value and trend by calendar months."""

    name = "monthly"
    grid = "1 month"
    windows: ClassVar = {"1m": "1 month", "3m": "3 months", "6m": "6 months", "ever": None}
    columns = _columns("monthly", windows)


class WeeklyPurchases(_PurchaseDays):
    """Frequency, value and trend of the last weeks, as of the last Thursday (weeks are counted from 1970-01-01)."""

    name = "weekly"
    grid = "1 week"
    windows: ClassVar = {"2w": "2 weeks", "6w": "6 weeks", "13w": "13 weeks"}
    columns = _columns("weekly", windows)


class Recency(FeatureTable):
    """How long ago the last purchase was, and how long it usually takes, for the active customers of each cut-off."""

    name = "recency"
    keys = ("customer_id",)
    timeseries_column = "cutoff"
    inputs = ("silver_purchases",)
    columns = (
        CUSTOMER_ID,
        CUTOFF,
        Column("days_since_last", "double", "Days since the last purchase, 1 for the day before"),
        Column("days_since_first", "double", "Days since the first purchase"),
        Column("usual_gap", "double", "Mean days from one day with a purchase to the next; null with one day"),
        Column("overdue", "double", "Days since the last purchase, by the usual gap; null with one day"),
    )

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> DataFrame:
        """A row at every cut-off that has the customer among the active ones."""
        del since  # the first purchase may lie before
        days = ws.read("silver_purchases").select("customer_id", "day").distinct()
        active = (
            at_cutoffs(days)
            .where(F.col("cutoff") <= F.lit(as_of))
            .groupBy("customer_id", "cutoff")
            .agg(F.min("days_before").cast("double").alias("days_since_last"))
        )
        before = active.join(days, on="customer_id").where(F.col("day").cast("timestamp") < F.col("cutoff"))
        first, count = F.max(F.datediff("cutoff", "day")).cast("double"), F.count("*")
        history = before.groupBy("customer_id", "cutoff", "days_since_last").agg(
            first.alias("days_since_first"), F.when(count > 1, count - 1).alias("gaps")
        )
        gap = (F.col("days_since_first") - F.col("days_since_last")) / F.col("gaps")
        history = history.withColumn("usual_gap", gap)
        return history.withColumn("overdue", F.col("days_since_last") / F.col("usual_gap")).drop("gaps")


FEATURES = (MonthlyPurchases, WeeklyPurchases, Recency)
