"""Plays the feeds: when the extract's monthly files of arrivals and weather would have been reported, record by record.

Everything about clocks is here: planned times stand on the origin's and the destination's local clocks.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mlplatform import Replay

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
        arrivals = _read(extract, "arrivals")
        schedule = _read(extract, "schedule")
        schedule["departs_at"] = planned_departure(schedule)
        schedule["arrives_at"] = planned_arrival(schedule)
        legs = arrivals.merge(schedule[[*KEY, "departs_at", "arrives_at"]], on=KEY, how="left", validate="1:1")
        late = pd.to_timedelta(pd.to_numeric(legs["arr_delay"]), unit="min")
        legs["reported_at"] = (legs["arrives_at"] + late).fillna(legs["departs_at"] + WRITTEN_OFF_AFTER)
        return legs.drop(columns=["departs_at", "arrives_at"])


class WeatherReports(Replay):
    """An observation is usable one hour after its stamp."""

    every = "day"

    def records(self, extract: Path) -> pd.DataFrame:
        """Return the observations with their stamp plus one hour."""
        weather = _read(extract, "weather")
        weather["reported_at"] = pd.to_datetime(weather["time_hour"], utc=True) + pd.Timedelta(hours=1)
        return weather


def planned_departure(schedule: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """Return the planned departures in UTC: `time_hour` is their UTC hour, 515 is five hours and fifteen minutes."""
    minutes = pd.to_timedelta(schedule["sched_dep_time"].astype(int) % 100, unit="min")
    return pd.to_datetime(schedule["time_hour"], utc=True) + minutes


def planned_arrival(schedule: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """Return the planned arrivals in UTC, from the destination's clock.

    Args:
        schedule: With `departs_at`, the planned departure in UTC.
    """
    date = pd.to_datetime(schedule[["year", "month", "day"]].astype(int))
    hhmm = schedule["sched_arr_time"].astype(int)
    local = date + pd.to_timedelta(hhmm // 100 * 60 + hhmm % 100, unit="min")
    zone = schedule["dest"].map(ZONES)
    arrival = _in_utc(local, zone)
    too_short = arrival - schedule["departs_at"] < SHORTEST_BLOCK
    return arrival.mask(too_short, _in_utc(local + pd.Timedelta(days=1), zone))


def _in_utc(local: pd.Series[pd.Timestamp], zone: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    parts = [
        clock.dt.tz_localize(name, ambiguous=False, nonexistent="shift_forward").dt.tz_convert("UTC")
        for name, clock in local.groupby(zone)
    ]
    return pd.concat(parts).reindex(local.index)


def _read(extract: Path, name: str) -> pd.DataFrame:
    # As text: what is written out again is what stood there.
    files = sorted((extract / name).glob("*.csv.gz"))
    return pd.concat(
        [pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""]) for path in files], ignore_index=True
    )
