"""Three histories of charge-offs known by then (lender, industry, state), by month, and two feature functions."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mlplatform import Column, FeatureFunctionSpec, RollingFeatureTable, WorkspaceAsOf

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


FUNCTIONS = (FeatureFunctionSpec.of(guaranteed_share), FeatureFunctionSpec.of(same_state))


class _History(RollingFeatureTable):
    """Monthly history of one key of the loans, beside the whole portfolio's.

    `relative_risk` is the logarithm of the key's charge-offs of the last twelve months a loan approved so far, over the
    whole portfolio's, pulled towards it.
    """

    timeseries_column = "known_at"
    inputs = ("silver_loans", "silver_outcomes")
    grid = "1 month"
    windows: ClassVar = {"year": "12 months", "ever": None}
    measures = ("loans", "amount", "charge_offs")

    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """Approvals and charge-offs, each on its day."""
        loans = ws.read("silver_loans")
        charge_offs = ws.read("silver_outcomes").where(F.col("charged_off_at").isNotNull())
        approved = loans.select(
            *self.keys,
            F.col("approved_at").alias("known_at"),
            F.lit(1).alias("loans"),
            "amount",
            F.lit(0).alias("charge_offs"),
        )
        charged = charge_offs.join(loans.select("loan_id", *self.keys), on="loan_id").select(
            *self.keys,
            F.col("charged_off_at").alias("known_at"),
            F.lit(0).alias("loans"),
            F.lit(0.0).alias("amount"),
            F.lit(1).alias("charge_offs"),
        )
        return approved.unionByName(charged)

    def features(self, sums: DataFrame) -> DataFrame:
        """Compare the key with the portfolio, which is the sum over all keys of the month."""
        portfolio = sums.groupBy("known_at").agg(
            F.sum("loans_ever").alias("all_loans"),
            F.sum("amount_ever").alias("all_amount"),
            F.sum("charge_offs_year").alias("all_charge_offs"),
        )
        rate = (F.col("all_charge_offs") + PORTFOLIO_CHARGE_OFFS) / (F.col("all_loans") + PORTFOLIO_LOANS)
        smoothed = (F.col("charge_offs_year") + PRIOR_LOANS * rate) / (F.col("loans_ever") + PRIOR_LOANS)
        mean_amount = F.col("all_amount") / F.col("all_loans")
        return sums.join(portfolio, on="known_at").select(
            *self.keys,
            "known_at",
            F.col("loans_ever").cast("bigint").alias(f"{self.name}_loans"),
            F.log(smoothed / rate).alias(f"{self.name}_relative_risk"),
            (
                (F.col("amount_ever") + PRIOR_AMOUNT_LOANS * mean_amount) / (F.col("loans_ever") + PRIOR_AMOUNT_LOANS)
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
    keys = ("lender",)
    columns = _columns("lender", "lender", "The bank")


class IndustryHistory(_History):
    """History of the industry (three digits of the NAICS code)."""

    name = "industry"
    keys = ("industry",)
    columns = _columns("industry", "industry", "First three digits of the NAICS code")


class StateHistory(_History):
    """History of the borrower's state."""

    name = "state"
    keys = ("state",)
    columns = _columns("state", "state", "State of the borrower")
