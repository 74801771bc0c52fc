"""Orders: will an order be returned within 14 days? Generated data of the references' shapes, of any size."""

from mlplatform import UseCase


class Orders(UseCase):
    """Its parts are in `tables`, `features` and `model`."""
