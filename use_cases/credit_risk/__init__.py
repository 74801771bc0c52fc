"""Credit risk: will an SBA-guaranteed loan be charged off within 36 months of its approval?"""

from mlplatform import UseCase


class CreditRisk(UseCase):
    """Its parts are in `tables`, `features` and `model`."""
