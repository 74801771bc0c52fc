"""What a customer bought, by months and weeks, and how long ago that was for somebody who buys at that pace."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mlplatform import Column, FeatureTable, RollingFeatureTable, WorkspaceAsOf

from .tables import CUSTOMER_ID, CUTOFF, Purchases, at_cutoffs


class _PurchaseDays(RollingFeatureTable):
    """What was bought in each window, and the first as a share of the last: the trend; two purchases a day are one."""

    keys = ("customer_id",)
    measures = (
        Column("days", "bigint", "Days with a purchase"), Column("cds", "bigint", "Discs bought"),
        Column("cents", "bigint", "Cents spent"),
    )  # fmt: skip
    values = (
        Column("days_trend_{table}", "double", "Days: {first} by {last}", sql="days_{first} / nullif(days_{last}, 0)"),
        Column(
            "cents_trend_{table}", "double", "Cents: {first} by {last}", sql="cents_{first} / nullif(cents_{last}, 0)"
        ),
    )

    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """The customers' days."""
        days = ws.read(Purchases).groupBy(*self.primary_keys)
        return days.agg(F.lit(1).alias("days"), F.sum("cds").alias("cds"), F.sum("cents").alias("cents"))


class MonthlyFeatures(_PurchaseDays, grid="1 month", windows=("1 month", "3 months", "6 months", None)):
    """Frequency, value and trend by calendar months."""


class WeeklyFeatures(_PurchaseDays, grid="1 week", windows=("2 weeks", "6 weeks", "13 weeks")):
    """Frequency, value and trend of the last weeks, as of the last Thursday (weeks are counted from 1970-01-01)."""


class RecencyFeatures(FeatureTable):
    """How long ago the last purchase was, and how long it usually takes, for the active customers of each cut-off."""

    keys = ("customer_id",)
    timeseries_column = "cutoff"
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
        days = ws.read(Purchases).select("customer_id", "day").distinct()
        cutoffs = at_cutoffs(days).where(F.col("cutoff") <= F.lit(as_of)).groupBy(*self.primary_keys)
        active = cutoffs.agg(F.min("days_before").cast("double").alias("days_since_last"))
        before = active.join(days, on="customer_id").where(F.col("day").cast("timestamp") < F.col("cutoff"))
        first, count = F.max(F.datediff("cutoff", "day")).cast("double"), F.count("*")
        history = before.groupBy(*self.primary_keys, "days_since_last").agg(
            first.alias("days_since_first"), F.when(count > 1, count - 1).alias("gaps")
        )
        history = history.withColumn("usual_gap", F.expr("(days_since_first - days_since_last) / gaps"))
        return history.withColumn("overdue", F.expr("days_since_last / usual_gap"))
