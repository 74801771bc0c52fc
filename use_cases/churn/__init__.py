"""Churn: which of the customers who bought in the last 90 days will buy nothing in the next 60?"""

from mlplatform import UseCase

from .features import FEATURES
from .gate import ChurnGate
from .model import ChurnMonitor, ChurnTrainer
from .tables import ActiveCustomers, PurchaseDrops, Purchases


class Churn(UseCase):
    """The use case's parts."""

    sources = (PurchaseDrops,)
    silver = (Purchases,)
    spine = ActiveCustomers
    features = FEATURES
    trainer = ChurnTrainer
    gate = ChurnGate
    monitor = ChurnMonitor
