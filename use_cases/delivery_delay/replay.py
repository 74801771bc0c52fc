"""Plays the feeds: when the extract's monthly files of arrivals and weather would have been reported, record by record.

Planned departures stand on New York's clock, planned arrivals on the destination's: the instants are worked out here.
"""

from pathlib import Path

import pandas as pd

from mlplatform import Replay, utc_from_local

KEY = ["year", "month", "day", "carrier", "flight", "origin"]
# A destination's local date is the departure's, or the next day's where that would leave less than this to get there.
SHORTEST_BLOCK = pd.Timedelta(minutes=15)
# A leg that never arrived, or somewhere else, is written off this long after its planned departure.
WRITTEN_OFF_AFTER = pd.Timedelta(hours=24)


class ArrivalReports(Replay):
    """A leg is reported when it arrives: planned arrival and delay; dep_time and arr_time carry no date."""

    def records(self, extract: Path) -> pd.DataFrame:
        """Return the arrivals with the instant of each, in UTC."""
        zones = self.read(extract, "zones.csv").set_index("dest")["zone"]
        plan = with_planned_times(self.read(extract, "schedule/*.csv.gz"), zones)[[*KEY, "departs_at", "arrives_at"]]
        legs = self.read(extract, "arrivals/*.csv.gz").merge(plan, on=KEY, how="left", validate="1:1")
        late = pd.to_timedelta(pd.to_numeric(legs["arr_delay"]), unit="min")
        legs["reported_at"] = (legs["arrives_at"] + late).fillna(legs["departs_at"] + WRITTEN_OFF_AFTER)
        return legs.drop(columns=["departs_at", "arrives_at"])


class WeatherReports(Replay):
    """An observation is usable one hour after its stamp."""

    def records(self, extract: Path) -> pd.DataFrame:
        """Return the observations with their stamp plus one hour."""
        weather = self.read(extract, "weather/*.csv.gz")
        return weather.assign(reported_at=pd.to_datetime(weather["time_hour"], utc=True) + pd.Timedelta(hours=1))


def with_planned_times(plan: pd.DataFrame, zones: "pd.Series[str]") -> pd.DataFrame:
    """Return the plan with `departs_at` and `arrives_at` in UTC; 515 is five hours and fifteen minutes."""
    departure, arrival = plan["sched_dep_time"].astype(int), plan["sched_arr_time"].astype(int)
    departs_at = pd.to_datetime(plan["time_hour"], utc=True) + pd.to_timedelta(departure % 100, unit="min")
    local = pd.to_datetime(plan[["year", "month", "day"]].astype(int))
    local += pd.to_timedelta(arrival // 100 * 60 + arrival % 100, unit="min")
    places = plan["dest"].map(zones)
    same_day, next_day = (utc_from_local(local + pd.Timedelta(days=days), places) for days in (0, 1))
    arrives_at = same_day.where(same_day - departs_at >= SHORTEST_BLOCK, next_day)
    return plan.assign(departs_at=departs_at, arrives_at=arrives_at)
