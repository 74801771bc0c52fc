"""Histories of the legs that had ARRIVED by then, by hours, days or weeks, and the weather."""

from pyspark.sql import DataFrame

from mlplatform import Column, FeatureTable, RollingFeatureTable, WorkspaceAsOf

from .tables import Arrivals, Schedule, Weather

# Minutes: that one leg arrives half a day late says nothing about the next.
_CLIPPED = "greatest(least({}, 180), -60) AS {}".format
_MEAN = "{}_{{window}} / nullif(legs_{{window}}, 0)".format


class _ArrivedLegs(RollingFeatureTable):
    """Means of the legs that arrived in each window; null without one."""

    measures = ("legs", "arrival", "departure", "late")
    values = (
        Column("{table}_arrival_delay_{window}", "double", "Minutes late at arrival {within}", sql=_MEAN("arrival")),
        Column("{table}_departure_delay_{window}", "double", "The same at departure {within}", sql=_MEAN("departure")),
        Column("{table}_late_{window}", "double", "Share more than 15 minutes late {within}", sql=_MEAN("late")),
    )

    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """The legs that arrived, at the moment they did."""
        plan = ws.read(Schedule).select("leg_id", "dest", "route")
        arrived = ws.read(Arrivals).where("arr_delay IS NOT NULL").join(plan, on="leg_id")
        delays = _CLIPPED("arr_delay", "arrival"), _CLIPPED("dep_delay", "departure")
        late = "int(arr_delay > 15) AS late"
        return arrived.selectExpr(*self.keys, "reported_at AS known_at", "1 AS legs", *delays, late)


class OriginFeatures(_ArrivedLegs, keys=("origin",), grid="1 hour", windows=("3 hours", "1 day")):
    """What the last hours were like at the origin."""


class CarrierFeatures(_ArrivedLegs, keys=("carrier",), grid="6 hours", windows=("1 day", "7 days", "28 days")):
    """How the carrier has been doing."""


class DestinationFeatures(_ArrivedLegs, keys=("dest",), grid="6 hours", windows=("6 hours", "1 day")):
    """What it was like to arrive there today."""


class RouteFeatures(_ArrivedLegs, keys=("route",), grid="1 day", windows=("7 days", "28 days")):
    """How the route has been doing."""


class FlightFeatures(_ArrivedLegs, keys=("flight", "origin"), grid="1 week", windows=("28 days",)):
    """How the flight number has been doing."""


class WeatherFeatures(FeatureTable, table=Weather):
    """The observations as they stand, each known an hour after its stamp."""
