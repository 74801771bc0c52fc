"""The bronze source, the silver table of purchases, and the label spine: active customers at monthly cut-offs."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mlplatform import Column, Duration, Expectation, LabelSpine, SilverTable, Source, WorkspaceAsOf

from .purchases import PurchaseReports

ACTIVE_DAYS = 90
# Dollars in those days: under the first is the lower half of the customers, over the second the top sixth.
MIDDLE_VALUE, HIGH_VALUE = 40, 90

KNOWN_AT = "try_to_timestamp(reported_at) - INTERVAL 1 MICROSECOND"
CUSTOMER_ID = Column("customer_id", "string", "Number of the customer, five digits", nullable=False)
CUTOFF = Column("cutoff", "timestamp", "First of a month, 00:00 UTC: what lies before is known", nullable=False)


class PurchasesSource(Source, replay=PurchaseReports, available="period_end"):
    """Purchases by month."""

    columns = ("purchase_id", "customer_id", "date", "number_of_cds", "dollar_value", "reported_at")


class Purchases(SilverTable, source=PurchasesSource, keys=("purchase_id",)):
    """Purchases, with the day of each; several of a customer's on one day are several."""

    columns = (
        Column("purchase_id", "string", "Running number"),
        CUSTOMER_ID,
        # There is no time of day: a purchase is known at the end of its day, so that a cut-off at midnight knows it.
        Column("known_at", "timestamp", "The last moment of its day", nullable=False, sql=KNOWN_AT),
        Column("day", "date", "Day of the purchase", nullable=False, sql="to_date(try_to_timestamp(date, 'yyyyMMdd'))"),
        Column("cds", "bigint", "Number of discs", sql="try_cast(number_of_cds AS bigint)"),
        Column("cents", "bigint", "Value, in cents", sql="bigint(round(try_cast(dollar_value AS double) * 100))"),
    )
    expectations = (
        Expectation("customer_id_is_five_digits", "customer_id RLIKE '^[0-9]{5}$'"),
        Expectation("purchased_before_the_drop", "known_at < _available_at"),
        Expectation("cds_are_counted", "cds >= 1"),
        Expectation("value_is_no_credit", "cents >= 0"),  # 80 purchases cost nothing
    )


def at_cutoffs(purchases: DataFrame) -> DataFrame:
    """Return each purchase once for every cut-off within the `ACTIVE_DAYS` after it."""
    first = F.add_months(F.trunc("day", "month"), 1)
    months = F.array(*(F.add_months(first, ahead).cast("timestamp") for ahead in range(ACTIVE_DAYS // 28 + 1)))
    every = purchases.withColumn("cutoff", F.explode(months)).withColumn("days_before", F.datediff("cutoff", "day"))
    return every.where(F.col("days_before") <= ACTIVE_DAYS)


class ActiveCustomers(LabelSpine, label="churned"):
    """Whoever bought in the 90 days before the first of a month is predicted on that day."""

    key_columns = (CUSTOMER_ID, CUTOFF)
    columns = (
        Column("spent_90d", "double", "Dollars spent in the 90 days before: what is at stake", nullable=False),
        Column("value_segment", "string", "low, middle or high by what was spent", nullable=False),
    )

    def spine(self, ws: WorkspaceAsOf) -> DataFrame:
        """The active customers of each cut-off."""
        spent = F.col("spent_90d")
        segment = F.when(spent < MIDDLE_VALUE, "low").when(spent < HIGH_VALUE, "middle").otherwise("high")
        active = at_cutoffs(ws.read(Purchases)).groupBy(*self.primary_keys)
        return active.agg((F.sum("cents") / 100).alias("spent_90d")).withColumn("value_segment", segment)

    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """1 without a purchase from the cut-off up to the horizon; known when the drop that holds its end landed."""
        # Purchases are delivered by month: a label known any earlier would call those churned who bought at the end.
        purchases, horizon = ws.read(Purchases), Duration.parse(self.settings.label.horizon)
        midnight = F.add_months(F.col("cutoff").cast("date"), horizon.months).cast("timestamp")
        ends = midnight + F.make_dt_interval(secs=F.lit(int(horizon.seconds)))
        active = at_cutoffs(purchases).select(*self.primary_keys, ends.alias("ends")).distinct()
        # The first of a month at or after the end: the day before the end, and on to the next month.
        last_day = (F.col("ends") - F.expr("INTERVAL 1 MICROSECOND")).cast("date")
        complete = F.add_months(F.trunc(last_day, "month"), 1).cast("timestamp")
        later = purchases.select("customer_id", F.col("day").cast("timestamp").alias("bought_at"))
        within = (F.col("bought_at") >= F.col("cutoff")) & (F.col("bought_at") < F.col("ends"))
        stayed = active.join(later, on="customer_id").where(within).select(*self.primary_keys).distinct()
        labels = active.join(stayed.withColumn(self.label, F.lit(0.0)), on=list(self.primary_keys), how="left")
        return labels.fillna(1.0, self.label).select(*self.primary_keys, self.label, complete.alias("label_known_at"))
