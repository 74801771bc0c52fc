"""Plays the feeds: when the extract's monthly files of arrivals and weather would have been reported, record by record.

Planned departures stand on New York's clock, planned arrivals on the destination's: the instants are worked out here.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mlplatform import Replay, utc_from_local

KEY = ["year", "month", "day", "carrier", "flight", "origin"]
# A destination's local date is the departure's, or the next day's where that would leave less than this to get there.
SHORTEST_BLOCK = pd.Timedelta(minutes=15)
# A leg that never arrived, or somewhere else, is written off this long after its planned departure.
WRITTEN_OFF_AFTER = pd.Timedelta(hours=24)

_DESTINATIONS = {
    "America/New_York": "ACK ALB ATL AVL BDL BGR BOS BTV BUF BWI CAE CAK CHO CHS CLE CLT CMH CRW CVG DAY DCA DTW EYW "
    "FLL GRR GSO GSP IAD ILM IND JAX LEX LGA MCO MHT MIA MVY MYR ORF PBI PHL PIT PVD PWM RDU RIC ROC RSW SAV SBN SDF "
    "SRQ SYR TPA TVC TYS",
    "America/Chicago": "AUS BHM BNA DFW DSM HOU IAH MCI MDW MEM MKE MSN MSP MSY OKC OMA ORD SAT STL TUL XNA",
    "America/Denver": "ABQ BZN DEN EGE HDN JAC MTJ SLC",
    "America/Los_Angeles": "BUR LAS LAX LGB OAK PDX PSP SAN SEA SFO SJC SMF SNA",
    "America/Phoenix": "PHX",  # no daylight saving
    "America/Anchorage": "ANC",
    "Pacific/Honolulu": "HNL",
    "America/Puerto_Rico": "BQN PSE SJU STT",
}
ZONES = {destination: zone for zone, listed in _DESTINATIONS.items() for destination in listed.split()}


class ArrivalReports(Replay):
    """A leg is reported when it arrives: planned arrival and delay; dep_time and arr_time carry no date."""

    every = "day"

    def records(self, extract: Path) -> pd.DataFrame:
        """Return the arrivals with the instant of each, in UTC."""
        arrivals = self.read(extract, "arrivals/*.csv.gz")
        plan = with_planned_times(self.read(extract, "schedule/*.csv.gz"))
        legs = arrivals.merge(plan[[*KEY, "departs_at", "arrives_at"]], on=KEY, how="left", validate="1:1")
        late = pd.to_timedelta(pd.to_numeric(legs["arr_delay"]), unit="min")
        legs["reported_at"] = (legs["arrives_at"] + late).fillna(legs["departs_at"] + WRITTEN_OFF_AFTER)
        return legs.drop(columns=["departs_at", "arrives_at"])


class WeatherReports(Replay):
    """An observation is usable one hour after its stamp."""

    every = "day"

    def records(self, extract: Path) -> pd.DataFrame:
        """Return the observations with their stamp plus one hour."""
        weather = self.read(extract, "weather/*.csv.gz")
        weather["reported_at"] = pd.to_datetime(weather["time_hour"], utc=True) + pd.Timedelta(hours=1)
        return weather


def with_planned_times(plan: pd.DataFrame) -> pd.DataFrame:
    """Return the plan with `departs_at` and `arrives_at` in UTC; 515 is five hours and fifteen minutes."""
    departs_at = pd.to_datetime(plan["time_hour"], utc=True) + _minutes(plan["sched_dep_time"].astype(int) % 100)
    hhmm = plan["sched_arr_time"].astype(int)
    local = pd.to_datetime(plan[["year", "month", "day"]].astype(int)) + _minutes(hhmm // 100 * 60 + hhmm % 100)
    zones = plan["dest"].map(ZONES)
    same_day, next_day = (utc_from_local(local + pd.Timedelta(days=days), zones) for days in (0, 1))
    arrives_at = same_day.where(same_day - departs_at >= SHORTEST_BLOCK, next_day)
    return plan.assign(departs_at=departs_at, arrives_at=arrives_at)


def _minutes(count: pd.Series[int]) -> pd.Series[pd.Timedelta]:
    return pd.to_timedelta(count, unit="min")
