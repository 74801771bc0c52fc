"""Three histories of charge-offs known by then (lender, industry, state), by month, and two feature functions."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from mlplatform import Column, FeatureFunctionSpec, FeatureTable, WorkspaceAsOf

# A key with few loans is pulled towards the portfolio: as if it had this many average loans more.
PRIOR_LOANS = 200.0
PRIOR_AMOUNT_LOANS = 20.0
# The portfolio itself starts from half a percent: 5 charge-offs in 1,000 loans.
PORTFOLIO_CHARGE_OFFS = 5.0
PORTFOLIO_LOANS = 1000.0


def guaranteed_share(guaranteed_amount: float | None, amount: float | None) -> float | None:
    """Share of the loan that the SBA guarantees, in [0, 1].

    Examples:
        >>> guaranteed_share(75.0, 100.0)
        0.75
    """
    if guaranteed_amount is None or amount is None or amount == 0:
        return None
    return guaranteed_amount / amount


def same_state(state: str | None, lender_state: str | None) -> float | None:
    """1 when borrower and lender sit in one state, 0 when not, null when unknown.

    Examples:
        >>> same_state("CA", "VA")
        0.0
    """
    if state is None or lender_state is None:
        return None
    return 1.0 if state == lender_state else 0.0


FUNCTIONS = (
    FeatureFunctionSpec(
        "guaranteed_share", guaranteed_share, (("guaranteed_amount", "double"), ("amount", "double")), "double"
    ),
    FeatureFunctionSpec("same_state", same_state, (("state", "string"), ("lender_state", "string")), "double"),
)


class _History(FeatureTable):
    """Monthly history of one key of the loans.

    A row at the first of a month, 00:00, counts only what is dated before it. `relative_risk` is the logarithm of the
    key's charge-offs of the last twelve months a loan approved so far, over the whole portfolio's, pulled towards it.
    """

    key: str
    timeseries_column = "known_at"
    inputs = ("silver_loans", "silver_outcomes")

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> DataFrame:
        """Count loans and charge-offs by month, add them up, and compare the key with the portfolio."""
        del since  # A month's row needs all the months before it; the platform keeps only those that changed.
        loans = ws.read("silver_loans").where(F.col(self.key).isNotNull())
        charge_offs = ws.read("silver_outcomes").where(F.col("charged_off_at").isNotNull())
        approved = loans.groupBy(F.col(self.key).alias("key"), _next_month("approved_at").alias("known_at")).agg(
            F.count("*").alias("loans"), F.sum("amount").alias("amount"), F.lit(0).alias("charge_offs")
        )
        charged = (
            charge_offs.join(loans.select("loan_id", self.key), on="loan_id")
            .groupBy(F.col(self.key).alias("key"), _next_month("charged_off_at").alias("known_at"))
            .agg(F.lit(0).alias("loans"), F.lit(0.0).alias("amount"), F.count("*").alias("charge_offs"))
        )
        events = (
            approved.unionByName(charged)
            .where(F.col("known_at") <= F.lit(as_of))  # the month that is running is not over yet
            .groupBy("key", "known_at")
            .agg(
                F.sum("loans").alias("loans"),
                F.sum("amount").alias("amount"),
                F.sum("charge_offs").alias("charge_offs"),
            )
        )
        counted = _running_totals(_every_month(events, as_of), "key")
        portfolio = _running_totals(
            counted.groupBy("known_at").agg(*(F.sum(name).alias(name) for name in ("loans", "amount", "charge_offs"))),
            None,
        ).select(
            "known_at", *(F.col(f"{name}_total").alias(f"all_{name}") for name in ("loans", "amount", "charge_offs"))
        )
        rate = (F.col("all_charge_offs") + PORTFOLIO_CHARGE_OFFS) / (F.col("all_loans") + PORTFOLIO_LOANS)
        smoothed = (F.col("charge_offs_total") + PRIOR_LOANS * rate) / (F.col("loans_total") + PRIOR_LOANS)
        mean_amount = F.col("all_amount") / F.col("all_loans")
        return counted.join(portfolio, on="known_at").select(
            F.col("key").alias(self.key),
            "known_at",
            F.col("loans_total").cast("bigint").alias(f"{self.name}_loans"),
            F.log(smoothed / rate).alias(f"{self.name}_relative_risk"),
            (
                (F.col("amount_total") + PRIOR_AMOUNT_LOANS * mean_amount) / (F.col("loans_total") + PRIOR_AMOUNT_LOANS)
            ).alias(f"{self.name}_mean_amount"),
        )


def _columns(name: str, key: str, comment: str) -> tuple[Column, ...]:
    return (
        Column(key, "string", comment, nullable=False),
        Column("known_at", "timestamp", "First of a month; counts what is dated before", nullable=False),
        Column(f"{name}_loans", "bigint", "Loans approved so far"),
        Column(f"{name}_relative_risk", "double", "Log ratio of the charge-off rate to the portfolio's, smoothed"),
        Column(f"{name}_mean_amount", "double", "Mean amount approved so far, in dollars, smoothed"),
    )


class LenderHistory(_History):
    """History of the lender."""

    name = "lender"
    key = "lender"
    keys = ("lender",)
    description = "Charge-offs known by then of the lender's loans, by month"
    columns = _columns("lender", "lender", "The bank")


class IndustryHistory(_History):
    """History of the industry (three digits of the NAICS code)."""

    name = "industry"
    key = "industry"
    keys = ("industry",)
    description = "Charge-offs known by then of the industry's loans, by month"
    columns = _columns("industry", "industry", "First three digits of the NAICS code")


class StateHistory(_History):
    """History of the borrower's state."""

    name = "state"
    key = "state"
    keys = ("state",)
    description = "Charge-offs known by then of the state's loans, by month"
    columns = _columns("state", "state", "State of the borrower")


def _next_month(column: str) -> SparkColumn:
    # What happens in a month is known at the first of the next.
    return F.add_months(F.date_trunc("month", F.col(column)).cast("date"), 1).cast("timestamp")


def _every_month(events: DataFrame, as_of: datetime) -> DataFrame:
    """Give each key a row for every month from its first on: the last twelve months move on without events too."""
    first = events.groupBy("key").agg(F.min("known_at").alias("first"))
    months = first.select(
        "key",
        F.explode(
            F.sequence(
                F.col("first").cast("date"),
                F.date_trunc("month", F.lit(as_of)).cast("date"),
                F.expr("INTERVAL 1 MONTH"),
            )
        )
        .cast("timestamp")
        .alias("known_at"),
    )
    filled = months.join(events, on=["key", "known_at"], how="left")
    return filled.na.fill(0, subset=["loans", "amount", "charge_offs"])


def _running_totals(frame: DataFrame, key: str | None) -> DataFrame:
    """Add up loans and amounts so far, and charge-offs over the last twelve months."""
    by = Window.partitionBy(key) if key else Window.partitionBy(F.lit(1))
    so_far = by.orderBy("known_at").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    last_year = by.orderBy("known_at").rowsBetween(-11, Window.currentRow)
    return frame.select(
        "*",
        F.sum("loans").over(so_far).alias("loans_total"),
        F.sum("amount").over(so_far).alias("amount_total"),
        F.sum("charge_offs").over(last_year).alias("charge_offs_total"),
    )
