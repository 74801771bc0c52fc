"""Credit risk: will an SBA-guaranteed loan be charged off within 36 months of its approval?"""

from mlplatform import UseCase

from .features import FUNCTIONS, IndustryHistory, LenderHistory, StateHistory
from .model import CreditRiskMonitor, CreditRiskScorer, CreditRiskTrainer
from .tables import ApprovedLoans, LoanDrops, Loans, OutcomeDrops, Outcomes


class CreditRisk(UseCase):
    """The use case's parts."""

    sources = (LoanDrops, OutcomeDrops)
    silver = (Loans, Outcomes)
    spine = ApprovedLoans
    features = (LenderHistory, IndustryHistory, StateHistory)
    functions = FUNCTIONS
    trainer = CreditRiskTrainer
    scorer = CreditRiskScorer
    monitor = CreditRiskMonitor
