"""Delivery delay: how many minutes late will a delivery leg arrive, asked two hours before its planned departure?"""

from mlplatform import UseCase


class DeliveryDelay(UseCase):
    """Its parts are in `tables`, `features` and `model`."""
