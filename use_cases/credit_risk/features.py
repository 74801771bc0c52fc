"""Three histories of charge-offs known by then (lender, industry, state), by month, and two feature functions."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mlplatform import Column, FeatureFunctionSpec, RollingFeatureTable, WorkspaceAsOf

from .tables import Loans, Outcomes

# A key with few loans is pulled towards the portfolio: as if it had this many average loans more.
PRIOR_LOANS, PRIOR_AMOUNT_LOANS = 200.0, 20.0
# The portfolio itself starts from half a percent: 5 charge-offs in 1,000 loans.
PORTFOLIO_CHARGE_OFFS, PORTFOLIO_LOANS = 5.0, 1000.0


def guaranteed_share(guaranteed_amount: float | None, amount: float | None) -> float | None:
    """Share of the loan that the SBA guarantees, in [0, 1].

    Examples:
        >>> guaranteed_share(75.0, 100.0)
        0.75
    """
    return None if guaranteed_amount is None or not amount else guaranteed_amount / amount


def same_state(state: str | None, lender_state: str | None) -> float | None:
    """1 when borrower and lender are in the same state, 0 when they are not, null when unknown.

    Examples:
        >>> same_state("CA", "VA")
        0.0
    """
    return None if state is None or lender_state is None else float(state == lender_state)


GUARANTEED_SHARE = FeatureFunctionSpec.of(guaranteed_share)
SAME_STATE = FeatureFunctionSpec.of(same_state)


class _History(RollingFeatureTable):
    """Monthly history of one key of the loans, compared with the whole portfolio's.

    `relative_risk` is the logarithm of the key's charge-offs of the last twelve months per loan approved so far, over
    the whole portfolio's, pulled towards it.
    """

    grid = "1 month"
    windows = ("12 months", None)
    measures = ("loans", "amount", "charge_offs")
    values = (
        Column("{table}_loans", "bigint", "Loans approved so far"),
        Column("{table}_relative_risk", "double", "Log ratio of the charge-off rate to the portfolio's, smoothed"),
        Column("{table}_mean_amount", "double", "Mean amount approved so far, in dollars, smoothed"),
    )

    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """Approvals and charge-offs, each on its day."""
        loans = ws.read(Loans)
        charge_offs = ws.read(Outcomes).where(F.col("charged_off_at").isNotNull())
        approved = loans.selectExpr(*self.keys, "approved_at AS known_at", "1 AS loans", "amount", "0 AS charge_offs")
        charged = charge_offs.join(loans.select("loan_id", *self.keys), on="loan_id").selectExpr(
            *self.keys, "charged_off_at AS known_at", "0 AS loans", "0D AS amount", "1 AS charge_offs"
        )
        return approved.unionByName(charged)

    def features(self, sums: DataFrame) -> DataFrame:
        """Compare the key with the portfolio, which is the sum over all keys of the month."""
        portfolio = sums.groupBy("known_at").agg(
            F.sum("loans_ever").alias("all_loans"),
            F.sum("amount_ever").alias("all_amount"),
            F.sum("charge_offs_12m").alias("all_charge_offs"),
        )
        rate = (F.col("all_charge_offs") + PORTFOLIO_CHARGE_OFFS) / (F.col("all_loans") + PORTFOLIO_LOANS)
        smoothed = (F.col("charge_offs_12m") + PRIOR_LOANS * rate) / (F.col("loans_ever") + PRIOR_LOANS)
        prior_amount = PRIOR_AMOUNT_LOANS * (F.col("all_amount") / F.col("all_loans"))
        mean_amount = (F.col("amount_ever") + prior_amount) / (F.col("loans_ever") + PRIOR_AMOUNT_LOANS)
        return sums.join(portfolio, on="known_at").select(
            *self.primary_keys,
            F.col("loans_ever").cast("bigint").alias(f"{self.name}_loans"),
            F.log(smoothed / rate).alias(f"{self.name}_relative_risk"),
            mean_amount.alias(f"{self.name}_mean_amount"),
        )


class LenderFeatures(_History, keys=("lender",)):
    """History of the lender."""


class IndustryFeatures(_History, keys=("industry",)):
    """History of the industry (three digits of the NAICS code)."""


class StateFeatures(_History, keys=("state",)):
    """History of the borrower's state."""
