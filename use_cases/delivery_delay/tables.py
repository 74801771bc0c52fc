"""Bronze sources, silver tables with their expectations, and the label spine."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mlplatform import (
    Column,
    Expectation,
    LabelSpine,
    SilverTable,
    Source,
    WorkspaceAsOf,
    end_of_period,
    start_of_period,
)

from .replay import ZONES, ArrivalReports, WeatherReports

SHORTEST_BLOCK_MINUTES = 15
LEG = ("year", "month", "day", "carrier", "flight", "origin")
LEG_ID = Column("leg_id", "string", "Local date of the planned departure, carrier, flight, origin", nullable=False)
CARRIER = Column("carrier", "string", "Two-letter carrier code", nullable=False)
ORIGIN = Column("origin", "string", "EWR, JFK or LGA", nullable=False)


class ScheduleDrops(Source):
    """The planned legs of a month, published before it begins."""

    name = "schedule"
    files = "schedule/schedule_*.csv.gz"
    description = "Planned legs as landed, one drop a month"
    columns = (*LEG, "dest", "sched_dep_time", "sched_arr_time", "distance", "time_hour")

    def available_at(self, path: Path) -> datetime:
        """The plan of a month is known when it begins."""
        return start_of_period(path)


class ArrivalDrops(Source):
    """What happened to the legs, by the day on which they arrived."""

    name = "arrivals"
    replay = ArrivalReports
    files = "arrivals_*.csv"
    description = "Arrived, cancelled and diverted legs as reported, one drop a day"
    columns = (*LEG, "tailnum", "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "reported_at")

    def available_at(self, path: Path) -> datetime:
        """A drop is complete when its day is over."""
        return end_of_period(path)


class WeatherDrops(Source):
    """Hourly observations at the origins."""

    name = "weather"
    replay = WeatherReports
    files = "weather_*.csv"
    description = "Weather observations as reported, one drop a day"
    columns = (
        *("origin", "year", "month", "day", "hour", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust"),
        *("precip", "pressure", "visib", "time_hour", "reported_at"),
    )

    def available_at(self, path: Path) -> datetime:
        """A drop is complete when its day is over."""
        return end_of_period(path)


class Schedule(SilverTable):
    """The plan, on one clock: everything here is known in advance."""

    name = "schedule"
    source = ScheduleDrops
    keys = ("leg_id",)
    known_at = "published_at"
    description = "One row a planned leg"
    columns = (
        LEG_ID,
        Column("published_at", "timestamp", "When the plan was published", nullable=False),
        Column("departs_at", "timestamp", "Planned departure, UTC", nullable=False),
        CARRIER,
        ORIGIN,
        Column("dest", "string", "Destination", nullable=False),
        Column("route", "string", "Origin and destination, as in JFK-LAX", nullable=False),
        Column("flight", "string", "Carrier and flight number, as in UA1545", nullable=False),
        Column("distance", "double", "Distance, in miles"),
        Column("minute_of_day", "double", "Planned departure on the local clock, in minutes after midnight"),
        Column("weekday", "double", "1 Sunday to 7 Saturday, local"),
        Column("block_minutes", "double", "Planned minutes from departure to arrival"),
    )
    expectations = (
        Expectation("departs_in_its_month", "departs_at >= published_at"),
        Expectation("clock_is_a_time", "minute_of_day >= 0 AND minute_of_day < 1440"),
        Expectation("destination_has_a_time_zone", "block_minutes IS NOT NULL"),
        Expectation("block_time_is_plausible", "block_minutes >= 15 AND block_minutes <= 900"),
        Expectation("distance_is_positive", "distance > 0"),
    )

    def select(self) -> dict[str, SparkColumn]:
        """Read the landed text: HHMM is no number of minutes, and planned arrivals stand on the destination's clock."""
        departs_at = F.try_to_timestamp("time_hour") + _minutes(_int("sched_dep_time") % 100)
        date = F.make_date(_int("year"), _int("month"), _int("day"))
        arrives = date.cast("timestamp") + _minutes(_minute_of_day("sched_arr_time"))
        zones = F.create_map(*(F.lit(item) for pair in ZONES.items() for item in pair))
        arrives_at = F.to_utc_timestamp(arrives, zones[F.col("dest")])
        block = (F.unix_timestamp(arrives_at) - F.unix_timestamp(departs_at)) / 60
        return {
            "leg_id": _leg_id(),
            "published_at": F.col("_available_at"),
            "departs_at": departs_at,
            "carrier": F.col("carrier"),
            "origin": F.col("origin"),
            "dest": F.col("dest"),
            "route": F.concat_ws("-", "origin", "dest"),
            "flight": F.concat("carrier", "flight"),
            "distance": F.col("distance").try_cast("double"),
            "minute_of_day": _minute_of_day("sched_dep_time").cast("double"),
            "weekday": F.dayofweek(date).cast("double"),
            # Under a quarter of an hour: it arrives on the next day.
            "block_minutes": F.when(block < SHORTEST_BLOCK_MINUTES, block + 24 * 60).otherwise(block),
        }


class Arrivals(SilverTable):
    """What happened, when it was known. The aircraft (`tailnum`) stays in bronze: it is empty for cancelled legs."""

    name = "arrivals"
    source = ArrivalDrops
    keys = ("leg_id",)
    known_at = "reported_at"
    description = "One row a leg that arrived, or was cancelled or diverted (no arrival delay)"
    columns = (
        LEG_ID,
        Column(
            "reported_at", "timestamp", "The arrival; of a leg that never arrived, a day after plan", nullable=False
        ),
        CARRIER,
        ORIGIN,
        Column("flight", "string", "Carrier and flight number, as in UA1545", nullable=False),
        Column("dep_delay", "bigint", "Minutes late at departure, negative when early"),
        Column("arr_delay", "bigint", "Minutes late at arrival, negative when early; null: never arrived as planned"),
    )
    expectations = (
        Expectation("reported_in_its_drop", "reported_at <= _available_at"),
        Expectation("delays_are_numbers", "(raw.arr_delay IS NULL) = (arr_delay IS NULL)"),
        Expectation("arrived_means_departed", "arr_delay IS NULL OR dep_delay IS NOT NULL"),
        Expectation("delay_is_plausible", "arr_delay IS NULL OR (arr_delay >= -180 AND arr_delay <= 2880)"),
    )

    def select(self) -> dict[str, SparkColumn]:
        """Read the landed text; times of day carry no date and are not used."""
        return {
            "leg_id": _leg_id(),
            "reported_at": F.try_to_timestamp("reported_at"),
            "carrier": F.col("carrier"),
            "origin": F.col("origin"),
            "flight": F.concat("carrier", "flight"),
            "dep_delay": _int("dep_delay"),
            "arr_delay": _int("arr_delay"),
        }


class Weather(SilverTable):
    """Observations, usable one hour after their stamp."""

    name = "weather"
    source = WeatherDrops
    keys = ("origin", "reported_at")
    known_at = "reported_at"
    description = "One row an origin and hour"
    columns = (
        ORIGIN,
        Column("reported_at", "timestamp", "The stamp and one hour", nullable=False),
        Column("temperature", "double", "Degrees Fahrenheit"),
        Column("humidity", "double", "Percent"),
        Column("wind_speed", "double", "Miles an hour"),
        Column("precipitation", "double", "Inches"),
        Column("pressure", "double", "Millibars; missing in a tenth of the rows"),
        Column("visibility", "double", "Miles"),
    )
    expectations = (
        Expectation("reported_in_its_drop", "reported_at <= _available_at"),
        # One observation of 1,048 mph is a recording error of the source.
        Expectation("wind_is_possible", "wind_speed IS NULL OR (wind_speed >= 0 AND wind_speed < 200)"),
        Expectation("visibility_is_possible", "visibility IS NULL OR visibility >= 0"),
    )

    def select(self) -> dict[str, SparkColumn]:
        """Read the landed text."""
        return {
            "origin": F.col("origin"),
            "reported_at": F.try_to_timestamp("reported_at"),
            "temperature": F.col("temp").try_cast("double"),
            "humidity": F.col("humid").try_cast("double"),
            "wind_speed": F.col("wind_speed").try_cast("double"),
            "precipitation": F.col("precip").try_cast("double"),
            "pressure": F.col("pressure").try_cast("double"),
            "visibility": F.col("visib").try_cast("double"),
        }


class PlannedLegs(LabelSpine):
    """Each leg is predicted two hours before its planned departure; its delay is known when it has arrived."""

    entity_keys = ("leg_id",)
    prediction_time = "predicted_at"
    label = "arrival_delay"
    inputs = ("silver_schedule", "silver_arrivals")
    description = "One row a planned leg: the facts of its plan"
    key_columns = (
        LEG_ID,
        Column("predicted_at", "timestamp", "Two hours before the planned departure, UTC", nullable=False),
    )
    columns = Schedule.columns[3:]

    def spine(self, ws: WorkspaceAsOf) -> DataFrame:
        """All planned legs, the cancelled ones too: nobody knows yet."""
        return ws.read("silver_schedule").select(
            "leg_id", _predicted_at(), *(column.name for column in PlannedLegs.columns)
        )

    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """Minutes late of the legs that arrived. Cancelled and diverted legs never get a label."""
        legs = ws.read("silver_schedule").select("leg_id", _predicted_at())
        arrived = ws.read("silver_arrivals").where(F.col("arr_delay").isNotNull())
        return legs.join(arrived, on="leg_id").select(
            "leg_id",
            "predicted_at",
            F.col("arr_delay").cast("double").alias(self.label),
            F.col("reported_at").alias("label_known_at"),
        )


def _predicted_at() -> SparkColumn:
    return (F.col("departs_at") - F.expr("INTERVAL 2 HOURS")).alias("predicted_at")


def _leg_id() -> SparkColumn:
    date = F.make_date(_int("year"), _int("month"), _int("day"))
    return F.concat_ws(" ", F.date_format(date, "yyyy-MM-dd"), F.concat("carrier", "flight"), "origin")


def _int(column: str) -> SparkColumn:
    return F.col(column).try_cast("int")


def _minutes(count: SparkColumn) -> SparkColumn:
    return F.make_dt_interval(mins=count)


def _minute_of_day(column: str) -> SparkColumn:
    hhmm = _int(column)
    return F.floor(hhmm / 100).cast("int") * 60 + hhmm % 100
