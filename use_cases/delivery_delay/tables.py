"""Bronze sources, silver tables with their expectations, and the label spine."""

from pyspark.sql import DataFrame

from mlplatform import Column, Expectation, LabelSpine, SilverTable, Source, WorkspaceAsOf

from .replay import ArrivalReports, WeatherReports

LEG = ("year", "month", "day", "carrier", "flight", "origin")
_DATE = "make_date(try_cast(year AS int), try_cast(month AS int), try_cast(day AS int))"
_HHMM = "try_cast(sched_dep_time AS int)"
# `time_hour` is the UTC hour of the planned departure; 515 is five hours and fifteen minutes on the local clock.
_DEPARTS_AT = f"try_to_timestamp(time_hour) + make_dt_interval(0, 0, {_HHMM} % 100)"
_MINUTE_OF_DAY = f"double({_HHMM} div 100 * 60 + {_HHMM} % 100)"
_LEG_ID = f"concat_ws(' ', date_format({_DATE}, 'yyyy-MM-dd'), carrier || flight, origin)"

LEG_ID = Column("leg_id", "string", "Local date of the planned departure, carrier and flight, origin", sql=_LEG_ID)
CARRIER = Column("carrier", "string", "Two-letter carrier code", nullable=False)
ORIGIN = Column("origin", "string", "EWR, JFK or LGA", nullable=False)
FLIGHT = Column("flight", "string", "Carrier and number, as in UA1545", nullable=False, sql="carrier || flight")
REPORTED_IN_ITS_DROP = Expectation("reported_in_its_drop", "reported_at <= _available_at")


class ScheduleSource(Source, files="schedule/schedule_*.csv.gz", available="period_start"):
    """The planned legs of a month, published before it begins."""

    columns = (*LEG, "dest", "sched_dep_time", "sched_arr_time", "distance", "time_hour")


class ArrivalsSource(Source, replay=ArrivalReports, available="period_end"):
    """What happened to the legs, by the day on which they arrived."""

    columns = (*LEG, "tailnum", "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "reported_at")


class WeatherSource(Source, replay=WeatherReports, available="period_end"):
    """Hourly observations at the origins."""

    columns = (
        "origin", "year", "month", "day", "hour", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust",
        "precip", "pressure", "visib", "time_hour", "reported_at",
    )  # fmt: skip


class Schedule(SilverTable, source=ScheduleSource, keys=("leg_id",), known_at="published_at"):
    """The plan: everything here is known in advance."""

    columns = (
        LEG_ID,
        Column("published_at", "timestamp", "When the plan was published", nullable=False, sql="_available_at"),
        Column("departs_at", "timestamp", "Planned departure, UTC", nullable=False, sql=_DEPARTS_AT),
        Column("predicted_at", "timestamp", "2 hours before", nullable=False, sql=f"{_DEPARTS_AT} - INTERVAL 2 HOURS"),
        CARRIER,
        ORIGIN,
        Column("dest", "string", "Destination", nullable=False),
        Column("route", "string", "Origin and destination, JFK-LAX", nullable=False, sql="origin || '-' || dest"),
        FLIGHT,
        Column("distance", "double", "Distance, in miles"),
        Column("minute_of_day", "double", "Planned departure, in minutes after local midnight", sql=_MINUTE_OF_DAY),
        Column("weekday", "double", "1 Sunday to 7 Saturday, local", sql=f"dayofweek({_DATE})"),
    )
    expectations = (
        Expectation("departs_in_its_month", "departs_at >= published_at"),
        Expectation("clock_is_a_time", "minute_of_day >= 0 AND minute_of_day < 1440"),
        Expectation("distance_is_positive", "distance > 0"),
    )


class Arrivals(SilverTable, source=ArrivalsSource, keys=("leg_id",), known_at="reported_at"):
    """What happened, when it was known. The aircraft (`tailnum`) stays in bronze: it is empty for cancelled legs."""

    columns = (
        LEG_ID,
        Column("reported_at", "timestamp", "The arrival, else a day after plan", nullable=False),
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


class Weather(SilverTable, source=WeatherSource, keys=("origin",), timeseries=True, known_at="reported_at"):
    """Observations, usable one hour after their stamp."""

    columns = (
        ORIGIN,
        Column("reported_at", "timestamp", "The stamp and one hour"),
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


class PlannedLegs(LabelSpine, table=Schedule, prediction_time="predicted_at", label="arrival_delay"):
    """Each leg is predicted two hours before its planned departure, the cancelled ones too: nobody knows yet."""

    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """Minutes late, known at the arrival. Cancelled and diverted legs never get a label."""
        arrived = ws.read(Arrivals).where("arr_delay IS NOT NULL")
        legs = ws.read(Schedule).select(*self.primary_keys).join(arrived, on="leg_id")
        label = f"double(arr_delay) AS {self.label}", "reported_at AS label_known_at"
        return legs.selectExpr(*self.primary_keys, *label)
