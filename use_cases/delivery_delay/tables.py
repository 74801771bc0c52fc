"""Bronze sources, silver tables with their expectations, and the label spine."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mlplatform import Column, Expectation, LabelSpine, SilverTable, Source, WorkspaceAsOf

from .replay import ArrivalReports, WeatherReports

LEG = ("year", "month", "day", "carrier", "flight", "origin")
_DATE = "make_date(try_cast(year AS int), try_cast(month AS int), try_cast(day AS int))"
_HHMM = "try_cast(sched_dep_time AS int)"
# `time_hour` is the UTC hour of the planned departure; 515 is five hours and fifteen minutes on the local clock.
_DEPARTS_AT = f"try_to_timestamp(time_hour) + make_dt_interval(0, 0, {_HHMM} % 100)"
_MINUTE_OF_DAY = f"double({_HHMM} div 100 * 60 + {_HHMM} % 100)"
_REPORTED_AT = "try_to_timestamp(reported_at)"

LEG_ID = Column(
    "leg_id",
    "string",
    "Local date of the planned departure, carrier and flight, origin",
    nullable=False,
    sql=f"concat_ws(' ', date_format({_DATE}, 'yyyy-MM-dd'), carrier || flight, origin)",
)
CARRIER = Column("carrier", "string", "Two-letter carrier code", nullable=False)
ORIGIN = Column("origin", "string", "EWR, JFK or LGA", nullable=False)
DESTINATION = Column("dest", "string", "Destination", nullable=False)
ROUTE = Column("route", "string", "Origin and destination, as in JFK-LAX", nullable=False, sql="origin || '-' || dest")
FLIGHT = Column("flight", "string", "Carrier and number, as in UA1545", nullable=False, sql="carrier || flight")
REPORTED_IN_ITS_DROP = Expectation("reported_in_its_drop", "reported_at <= _available_at")


class ScheduleDrops(Source):
    """The planned legs of a month, published before it begins."""

    name = "schedule"
    files = "schedule/schedule_*.csv.gz"
    available = "period_start"
    columns = (*LEG, "dest", "sched_dep_time", "sched_arr_time", "distance", "time_hour")


class ArrivalDrops(Source):
    """What happened to the legs, by the day on which they arrived."""

    name = "arrivals"
    replay = ArrivalReports
    files = "arrivals_*.csv"
    available = "period_end"
    columns = (*LEG, "tailnum", "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "reported_at")


class WeatherDrops(Source):
    """Hourly observations at the origins."""

    name = "weather"
    replay = WeatherReports
    files = "weather_*.csv"
    available = "period_end"
    columns = (
        "origin", "year", "month", "day", "hour", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust",
        "precip", "pressure", "visib", "time_hour", "reported_at",
    )  # fmt: skip


class Schedule(SilverTable):
    """The plan: everything here is known in advance."""

    name = "schedule"
    source = ScheduleDrops
    keys = ("leg_id",)
    known_at = "published_at"
    columns = (
        LEG_ID,
        Column("published_at", "timestamp", "When the plan was published", nullable=False, sql="_available_at"),
        Column("departs_at", "timestamp", "Planned departure, UTC", nullable=False, sql=_DEPARTS_AT),
        Column(
            "predicted_at", "timestamp", "Two hours before", nullable=False, sql=f"{_DEPARTS_AT} - INTERVAL 2 HOURS"
        ),
        CARRIER,
        ORIGIN,
        DESTINATION,
        ROUTE,
        FLIGHT,
        Column("distance", "double", "Distance, in miles"),
        Column("minute_of_day", "double", "Planned departure, in minutes after local midnight", sql=_MINUTE_OF_DAY),
        Column(
            "weekday",
            "double",
            "1 Sunday to 7 Saturday, local",
            sql=f"dayofweek({_DATE})",
        ),
    )
    expectations = (
        Expectation("departs_in_its_month", "departs_at >= published_at"),
        Expectation("clock_is_a_time", "minute_of_day >= 0 AND minute_of_day < 1440"),
        Expectation("distance_is_positive", "distance > 0"),
    )


class Arrivals(SilverTable):
    """What happened, when it was known. The aircraft (`tailnum`) stays in bronze: it is empty for cancelled legs."""

    name = "arrivals"
    source = ArrivalDrops
    keys = ("leg_id",)
    known_at = "reported_at"
    columns = (
        LEG_ID,
        Column("reported_at", "timestamp", "The arrival, else a day after plan", nullable=False, sql=_REPORTED_AT),
        CARRIER,
        ORIGIN,
        FLIGHT,
        Column("dep_delay", "bigint", "Minutes late at departure, negative when early"),
        Column("arr_delay", "bigint", "Minutes late at arrival, negative when early; null: never arrived as planned"),
    )
    expectations = (
        REPORTED_IN_ITS_DROP,
        Expectation("delay_is_a_number", "(raw.arr_delay IS NULL) = (arr_delay IS NULL)"),
        Expectation("arrived_means_departed", "arr_delay IS NULL OR dep_delay IS NOT NULL"),
        Expectation("delay_is_plausible", "arr_delay IS NULL OR (arr_delay >= -180 AND arr_delay <= 2880)"),
    )


class Weather(SilverTable):
    """Observations, usable one hour after their stamp."""

    name = "weather"
    source = WeatherDrops
    keys = ("origin", "reported_at")
    known_at = "reported_at"
    columns = (
        ORIGIN,
        Column("reported_at", "timestamp", "The stamp and one hour", nullable=False, sql=_REPORTED_AT),
        Column("temperature", "double", "Degrees Fahrenheit", sql="try_cast(temp AS double)"),
        Column("humidity", "double", "Percent", sql="try_cast(humid AS double)"),
        Column("wind_direction", "double", "Degrees", sql="try_cast(wind_dir AS double)"),
        Column("wind_speed", "double", "Miles an hour"),
        Column("precipitation", "double", "Inches", sql="try_cast(precip AS double)"),
        Column("pressure", "double", "Millibars; missing in a tenth of the rows"),
        Column("visibility", "double", "Miles", sql="try_cast(visib AS double)"),
    )
    expectations = (
        REPORTED_IN_ITS_DROP,
        # One observation of 1,048 mph is a recording error of the source.
        Expectation("wind_is_possible", "wind_speed IS NULL OR (wind_speed >= 0 AND wind_speed < 200)"),
        Expectation("visibility_is_possible", "visibility IS NULL OR visibility >= 0"),
    )


class PlannedLegs(LabelSpine):
    """Each leg is predicted two hours before its planned departure, the cancelled ones too: nobody knows yet."""

    table = Schedule
    entity_keys = ("leg_id",)
    prediction_time = "predicted_at"
    label = "arrival_delay"
    inputs = ("silver_schedule", "silver_arrivals")

    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """Minutes late, known at the arrival. Cancelled and diverted legs never get a label."""
        legs = ws.read("silver_schedule").select("leg_id", "predicted_at")
        arrived = ws.read("silver_arrivals").where(F.col("arr_delay").isNotNull())
        return legs.join(arrived, on="leg_id").select(
            "leg_id",
            "predicted_at",
            F.col("arr_delay").cast("double").alias(self.label),
            F.col("reported_at").alias("label_known_at"),
        )
