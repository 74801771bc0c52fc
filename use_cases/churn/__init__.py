"""Churn: which of the customers who bought in the last 90 days will buy nothing in the next 60?"""

from typing import ClassVar

from mlplatform import Trainer, UseCase

from .model import ChurnTrainer


class Churn(UseCase):
    """Its parts are in `tables`, `features`, `model` and `gate`; one of its two trainers counts (see the README)."""

    trainer: ClassVar[type[Trainer]] = ChurnTrainer
