"""Histories of the legs that had ARRIVED by then, by hours, days or weeks, and the weather."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mlplatform import Column, FeatureTable, RollingFeatureTable, WorkspaceAsOf

from .tables import CARRIER, DESTINATION, FLIGHT, ORIGIN, ROUTE, Weather

LATE = 15  # minutes
# Minutes: that one leg arrives half a day late says nothing about the next.
EARLIEST, LATEST = -60, 180
KNOWN_AT = Column("known_at", "timestamp", "The legs that had arrived before", nullable=False)


def _columns(name: str, windows: Mapping[str, str | None], *keys: Column) -> tuple[Column, ...]:
    values = []
    for suffix, window in windows.items():
        legs = f"of the legs that arrived within {window}; null without one"
        values += [
            Column(f"{name}_arrival_delay_{suffix}", "double", f"Mean minutes late at arrival {legs}"),
            Column(f"{name}_departure_delay_{suffix}", "double", f"Mean minutes late at departure {legs}"),
            Column(f"{name}_late_{suffix}", "double", f"Share more than {LATE} minutes late {legs}"),
        ]
    return (*keys, KNOWN_AT, *values)


class _ArrivedLegs(RollingFeatureTable):
    """Mean delays and share of late legs among those that arrived in each window."""

    timeseries_column = "known_at"
    inputs = ("silver_schedule", "silver_arrivals")
    measures = ("legs", "arrival", "departure", "late")

    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """The legs that arrived, at the moment they did."""
        plan = ws.read("silver_schedule").select("leg_id", "dest", "route")
        arrived = ws.read("silver_arrivals").where(F.col("arr_delay").isNotNull())
        return arrived.join(plan, on="leg_id").select(
            *self.keys,
            F.col("reported_at").alias(self.timeseries_column),
            F.lit(1).alias("legs"),
            F.greatest(F.least("arr_delay", F.lit(LATEST)), F.lit(EARLIEST)).alias("arrival"),
            F.greatest(F.least("dep_delay", F.lit(LATEST)), F.lit(EARLIEST)).alias("departure"),
            (F.col("arr_delay") > LATE).cast("int").alias("late"),
        )

    def features(self, sums: DataFrame) -> DataFrame:
        """Means; null where no leg arrived."""
        values = []
        for suffix in self.windows:
            legs = F.when(F.col(f"legs_{suffix}") > 0, F.col(f"legs_{suffix}"))
            values += [
                (F.col(f"arrival_{suffix}") / legs).alias(f"{self.name}_arrival_delay_{suffix}"),
                (F.col(f"departure_{suffix}") / legs).alias(f"{self.name}_departure_delay_{suffix}"),
                (F.col(f"late_{suffix}") / legs).alias(f"{self.name}_late_{suffix}"),
            ]
        return sums.select(*self.keys, self.timeseries_column, *values)


class OriginHistory(_ArrivedLegs):
    """What the last hours were like at the origin."""

    name = "origin"
    keys = ("origin",)
    grid = "1 hour"
    windows: ClassVar = {"3h": "3 hours", "1d": "1 day"}
    columns = _columns("origin", windows, ORIGIN)


class CarrierHistory(_ArrivedLegs):
    """How the carrier has been doing."""

    name = "carrier"
    keys = ("carrier",)
    grid = "6 hours"
    windows: ClassVar = {"1d": "1 day", "7d": "7 days", "28d": "28 days"}
    columns = _columns("carrier", windows, CARRIER)


class DestinationHistory(_ArrivedLegs):
    """What it was like to arrive there today."""

    name = "destination"
    keys = ("dest",)
    grid = "6 hours"
    windows: ClassVar = {"6h": "6 hours", "1d": "1 day"}
    columns = _columns("destination", windows, DESTINATION)


class RouteHistory(_ArrivedLegs):
    """How the route has been doing."""

    name = "route"
    keys = ("route",)
    grid = "1 day"
    windows: ClassVar = {"7d": "7 days", "28d": "28 days"}
    columns = _columns("route", windows, ROUTE)


class FlightHistory(_ArrivedLegs):
    """How the flight number has been doing."""

    name = "flight"
    keys = ("flight", "origin")
    grid = "1 week"
    windows: ClassVar = {"28d": "28 days"}
    columns = _columns("flight", windows, FLIGHT, ORIGIN)


class WeatherAtOrigin(FeatureTable):
    """The observations as they stand, each known an hour after its stamp."""

    name = "weather"
    table = Weather


FEATURES = (OriginHistory, CarrierHistory, DestinationHistory, RouteHistory, FlightHistory, WeatherAtOrigin)
