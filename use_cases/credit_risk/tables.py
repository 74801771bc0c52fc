"""Bronze sources, silver tables with their expectations, and the label spine."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mlplatform import Column, Duration, Expectation, LabelSpine, SilverTable, Source, WorkspaceAsOf, end_of_period

NEW_BUSINESS = 2  # in NewExist; 1 is an existing business, 0 unknown


class LoanDrops(Source):
    """Loans by quarter of approval."""

    name = "loans"
    files = "loans/loans_*.csv.gz"
    description = "SBA loans as landed, one drop a quarter of approval"
    columns = (
        "LoanNr_ChkDgt",
        "City",
        "State",
        "Zip",
        "Bank",
        "BankState",
        "NAICS",
        "ApprovalDate",
        "ApprovalFY",
        "Term",
        "NoEmp",
        "NewExist",
        "CreateJob",
        "RetainedJob",
        "FranchiseCode",
        "UrbanRural",
        "RevLineCr",
        "LowDoc",
        "DisbursementDate",
        "DisbursementGross",
        "BalanceGross",
        "GrAppv",
        "SBA_Appv",
    )

    def available_at(self, path: Path) -> datetime:
        """A drop is complete when its quarter is over."""
        return end_of_period(path)


class OutcomeDrops(Source):
    """Outcomes by the quarter in which they became known."""

    name = "outcomes"
    files = "outcomes/outcomes_*.csv.gz"
    description = "Outcomes of loans as landed, one drop a quarter in which they became known"
    columns = ("LoanNr_ChkDgt", "MIS_Status", "ChgOffDate", "ChgOffPrinGr")

    def available_at(self, path: Path) -> datetime:
        """A drop is complete when its quarter is over."""
        return end_of_period(path)


class Loans(SilverTable):
    """Applications: only what was known at approval.

    Term, disbursement and balance are left in bronze on purpose: they were not known then (see the README).
    """

    name = "loans"
    source = LoanDrops
    keys = ("loan_id",)
    known_at = "approved_at"
    description = "One row a loan: the facts of its application"
    columns = (
        Column("loan_id", "string", "Loan number with check digit", nullable=False),
        Column("approved_at", "timestamp", "Day of approval, 00:00 UTC", nullable=False),
        Column("lender", "string", "Bank that holds the loan (at extraction; use for history, with care otherwise)"),
        Column("lender_state", "string", "State of the bank"),
        Column("state", "string", "State of the borrower"),
        Column("industry", "string", "First three digits of the NAICS code"),
        Column("sector", "string", "First two digits of the NAICS code"),
        Column("amount", "double", "Amount approved, in dollars"),
        Column("guaranteed_amount", "double", "Amount that the SBA guarantees, in dollars"),
        Column("employees", "double", "Employees of the business"),
        Column("jobs_created", "double", "Jobs expected to be created"),
        Column("jobs_retained", "double", "Jobs expected to be retained"),
        Column("is_franchise", "double", "1 for a franchise (codes 0 and 1 both mean none)"),
        Column("is_new_business", "double", "1 for a new business, 0 for an existing or unknown one"),
        Column("urban_rural", "double", "1 urban, 2 rural, 0 undefined"),
        Column(
            "revolving_line", "string", "Revolving line of credit: Y or N by the dictionary; recoded over the years"
        ),
        Column("low_doc", "string", "LowDoc programme: Y or N by the dictionary; died out in 2005"),
    )
    expectations = (
        Expectation("loan_id_is_ten_digits", "loan_id RLIKE '^[0-9]{10}$'"),
        # Two-digit years: a loan of 1968 would parse as 2068.
        Expectation("approved_before_the_drop", "approved_at < _available_at"),
        Expectation("approved_after_1950", "approved_at >= timestamp '1950-01-01 00:00:00'"),
        Expectation("amount_is_positive", "amount > 0"),
        Expectation("guarantee_within_amount", "guaranteed_amount >= 0 AND guaranteed_amount <= amount"),
        Expectation("employees_is_a_number", "employees >= 0"),
        Expectation("jobs_are_numbers", "jobs_created >= 0 AND jobs_retained >= 0"),
    )

    def select(self) -> dict[str, SparkColumn]:
        """Read the landed text: dates with two-digit years, money with dollar signs, categories as they stand."""
        return {
            "loan_id": F.trim("LoanNr_ChkDgt"),
            "approved_at": _date("ApprovalDate"),
            "lender": F.trim("Bank"),
            "lender_state": F.trim("BankState"),
            "state": F.trim("State"),
            "industry": F.substring("NAICS", 1, 3),
            "sector": F.substring("NAICS", 1, 2),
            "amount": _money("GrAppv"),
            "guaranteed_amount": _money("SBA_Appv"),
            "employees": _number("NoEmp"),
            "jobs_created": _number("CreateJob"),
            "jobs_retained": _number("RetainedJob"),
            "is_franchise": (_number("FranchiseCode") > 1).cast("double"),
            "is_new_business": (_number("NewExist") == NEW_BUSINESS).cast("double"),
            "urban_rural": _number("UrbanRural"),
            "revolving_line": F.trim("RevLineCr"),
            "low_doc": F.trim("LowDoc"),
        }


class Outcomes(SilverTable):
    """Charge-offs by date. A loan paid in full has none; its status says so only at extraction, and is not used."""

    name = "outcomes"
    source = OutcomeDrops
    keys = ("loan_id",)
    known_at = "known_at"
    description = "One row a loan with an outcome; charged_off_at is null for loans paid in full"
    columns = (
        Column("loan_id", "string", "Loan number with check digit", nullable=False),
        Column("known_at", "timestamp", "When the outcome was known: the charge-off, else the drop", nullable=False),
        Column("charged_off_at", "timestamp", "Day of the charge-off, 00:00 UTC; null without one"),
        Column("charged_off_amount", "double", "Principal charged off, in dollars"),
    )
    expectations = (
        Expectation("loan_id_is_ten_digits", "loan_id RLIKE '^[0-9]{10}$'"),
        Expectation("charge_off_date_parses", "raw.ChgOffDate IS NULL OR charged_off_at IS NOT NULL"),
        Expectation("charged_off_before_the_drop", "charged_off_at IS NULL OR charged_off_at < _available_at"),
    )

    def select(self) -> dict[str, SparkColumn]:
        """Read the landed text."""
        charged_off = _date("ChgOffDate")
        return {
            "loan_id": F.trim("LoanNr_ChkDgt"),
            "known_at": F.coalesce(charged_off, F.col("_available_at")),
            "charged_off_at": charged_off,
            "charged_off_amount": _money("ChgOffPrinGr"),
        }


class ApprovedLoans(LabelSpine):
    """Each loan is predicted at its approval; its label is mature `label.horizon` later, and not before."""

    entity_keys = ("loan_id",)
    prediction_time = "approved_at"
    label = "charged_off"
    inputs = ("silver_loans", "silver_outcomes")
    description = "One row an approved loan: the facts of its application"
    key_columns = (Loans.columns[0], Loans.columns[1])
    columns = Loans.columns[2:]

    def spine(self, ws: WorkspaceAsOf) -> DataFrame:
        """All loans approved by then."""
        return ws.read("silver_loans").select(*(column.name for column in Loans.columns))

    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """1 for a charge-off within the horizon, by date; 0 for none, known only once the horizon has passed."""
        months = Duration.parse(self.settings.label.horizon).months
        loans = ws.read("silver_loans").select("loan_id", "approved_at")
        charge_offs = ws.read("silver_outcomes").select("loan_id", "charged_off_at")
        mature_at = F.add_months(F.col("approved_at").cast("date"), months).cast("timestamp")
        return (
            loans.join(charge_offs, on="loan_id", how="left")
            .withColumn("label_known_at", mature_at)
            .select(
                "loan_id",
                "approved_at",
                F.coalesce(F.col("charged_off_at") <= F.col("label_known_at"), F.lit(False))
                .cast("double")
                .alias(self.label),
                "label_known_at",
            )
        )


def _date(column: str) -> SparkColumn:
    # A day such as 2-Jan-03; what is none becomes null, and an expectation says whether it may.
    return F.try_to_timestamp(F.col(column), F.lit("d-MMM-yy"))


def _money(column: str) -> SparkColumn:
    return F.regexp_replace(column, "[$, ]", "").try_cast("double")


def _number(column: str) -> SparkColumn:
    return F.trim(column).try_cast("double")
