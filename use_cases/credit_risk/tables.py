"""Bronze sources, silver tables with their expectations, and the label spine."""

from mlplatform import Column, EventSpine, Expectation, SilverTable, Source

# SQL that reads landed text; what cannot be read (2-Jan-03 can) becomes null, and an expectation says whether it may.
_day = "try_to_timestamp({}, 'd-MMM-yy')".format
_money = "try_cast(regexp_replace({}, '[$, ]', '') AS double)".format
_number = "try_cast(trim({}) AS double)".format

LOAN_ID = Column("loan_id", "string", "Loan number with check digit", sql="trim(LoanNr_ChkDgt)")
KNOWN_AT = f"coalesce({_day('ChgOffDate')}, _available_at)"
TEN_DIGITS = Expectation("loan_id_is_ten_digits", "loan_id RLIKE '^[0-9]{10}$'")


class LoansSource(Source, files="loans/loans_*.csv.gz", available="period_end"):
    """Loans by quarter of approval."""

    columns = (
        "LoanNr_ChkDgt", "City", "State", "Zip", "Bank", "BankState", "NAICS", "ApprovalDate", "ApprovalFY", "Term",
        "NoEmp", "NewExist", "CreateJob", "RetainedJob", "FranchiseCode", "UrbanRural", "RevLineCr", "LowDoc",
        "DisbursementDate", "DisbursementGross", "BalanceGross", "GrAppv", "SBA_Appv",
    )  # fmt: skip


class OutcomesSource(Source, files="outcomes/outcomes_*.csv.gz", available="period_end"):
    """Outcomes by the quarter in which they became known."""

    columns = ("LoanNr_ChkDgt", "MIS_Status", "ChgOffDate", "ChgOffPrinGr")


class Loans(SilverTable, source=LoansSource, keys=("loan_id",), known_at="approved_at"):
    """Applications: only what was known at approval.

    Term, disbursement and balance are left in bronze on purpose: they were not known then (see the README).
    """

    columns = (
        LOAN_ID,
        Column("approved_at", "timestamp", "Day of approval, 00:00 UTC", nullable=False, sql=_day("ApprovalDate")),
        Column("lender", "string", "Bank that holds the loan, at extraction: for history", sql="trim(Bank)"),
        Column("lender_state", "string", "State of the bank", sql="trim(BankState)"),
        Column("state", "string", "State of the borrower", sql="trim(State)"),
        Column("industry", "string", "First three digits of the NAICS code", sql="substring(NAICS, 1, 3)"),
        Column("sector", "string", "First two digits of the NAICS code", sql="substring(NAICS, 1, 2)"),
        Column("amount", "double", "Amount approved, in dollars", sql=_money("GrAppv")),
        Column("guaranteed_amount", "double", "Amount that the SBA guarantees, in dollars", sql=_money("SBA_Appv")),
        Column("employees", "double", "Employees of the business", sql=_number("NoEmp")),
        Column("jobs_created", "double", "Jobs expected to be created", sql=_number("CreateJob")),
        Column("jobs_retained", "double", "Jobs expected to be retained", sql=_number("RetainedJob")),
        # Franchise codes 0 and 1 both mean none; of NewExist, 2 is new, 1 existing and 0 unknown.
        Column("is_franchise", "double", "1 for a franchise", sql=f"double({_number('FranchiseCode')} > 1)"),
        Column("is_new_business", "double", "1 for a new business", sql=f"double({_number('NewExist')} = 2)"),
        Column("urban_rural", "double", "1 urban, 2 rural, 0 undefined", sql=_number("UrbanRural")),
        Column("revolving_line", "string", "Revolving credit: Y or N, recoded over the years", sql="trim(RevLineCr)"),
        Column("low_doc", "string", "LowDoc programme: Y or N; died out in 2005", sql="trim(LowDoc)"),
    )
    expectations = (
        TEN_DIGITS,
        # Two-digit years: a loan of 1968 would parse as 2068.
        Expectation("approved_before_the_drop", "approved_at < _available_at"),
        Expectation("approved_after_1950", "approved_at >= timestamp '1950-01-01 00:00:00'"),
        Expectation("amount_is_positive", "amount > 0"),
        Expectation("guarantee_within_amount", "guaranteed_amount >= 0 AND guaranteed_amount <= amount"),
        Expectation("employees_is_a_number", "employees >= 0"),
        Expectation("jobs_are_numbers", "jobs_created >= 0 AND jobs_retained >= 0"),
    )


class Outcomes(SilverTable, source=OutcomesSource, keys=("loan_id",)):
    """Charge-offs by date. A loan paid in full has none; its status says so only at extraction, and is not used."""

    columns = (
        LOAN_ID,
        Column("known_at", "timestamp", "The charge-off, else the drop", nullable=False, sql=KNOWN_AT),
        Column("charged_off_at", "timestamp", "Day of the charge-off, 00:00 UTC", sql=_day("ChgOffDate")),
        Column("charged_off_amount", "double", "Principal charged off, in dollars", sql=_money("ChgOffPrinGr")),
    )
    expectations = (
        TEN_DIGITS,
        Expectation("charge_off_date_parses", "raw.ChgOffDate IS NULL OR charged_off_at IS NOT NULL"),
        Expectation("charged_off_before_the_drop", "charged_off_at IS NULL OR charged_off_at < _available_at"),
    )


class ApprovedLoans(EventSpine, table=Loans, label="charged_off", event_table=Outcomes, event_at="charged_off_at"):
    """Each loan is predicted at its approval: will it be charged off within `label.horizon`?

    A loan that is paid in full can no longer be charged off. It goes on to the horizon without the event: its end is
    neither an event nor the end of its observation, and its date, which the source does not have, is not needed.
    """
