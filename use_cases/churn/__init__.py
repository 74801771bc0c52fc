"""Churn: which of the customers who bought in the last 90 days will buy nothing in the next 60?"""

from mlplatform import UseCase


class Churn(UseCase):
    """Its parts are in `tables`, `features`, `model` and `gate`."""
