"""Delivery delay: how many minutes late will a delivery leg arrive, asked two hours before its planned departure?"""

from mlplatform import UseCase

from .features import FEATURES
from .model import DeliveryDelayMonitor, DeliveryDelayTrainer
from .tables import ArrivalDrops, Arrivals, PlannedLegs, Schedule, ScheduleDrops, Weather, WeatherDrops


class DeliveryDelay(UseCase):
    """The use case's parts."""

    sources = (ScheduleDrops, ArrivalDrops, WeatherDrops)
    silver = (Schedule, Arrivals, Weather)
    spine = PlannedLegs
    features = FEATURES
    trainer = DeliveryDelayTrainer
    monitor = DeliveryDelayMonitor
