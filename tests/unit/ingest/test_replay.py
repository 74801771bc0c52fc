"""A replay deals an extract out in drops: each record once, in the drop of the day that ends with or after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import ClassVar, Literal
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform import Replay, end_of_period
from mlplatform.errors import StageError
from mlplatform.ingest.replay import utc_from_local

MIDNIGHT = datetime(2013, 3, 2, tzinfo=UTC)


class Made(Replay):
    """Replays a frame, and counts how often it was asked for it."""

    frame: ClassVar[pd.DataFrame]
    asked: ClassVar[int] = 0

    def records(self, extract: Path) -> pd.DataFrame:
        type(self).asked += 1
        return self.frame


def replay_of(*moments: datetime | None, every: Literal["day", "month"] = "day") -> Made:
    frame = pd.DataFrame(
        {"id": [str(n) for n in range(len(moments))], "reported_at": pd.to_datetime(list(moments), utc=True)}
    )
    return type("Replayed", (Made,), {"frame": frame, "asked": 0, "every": every})()


def ids(folder: Path) -> dict[str, list[str]]:
    return {path.name: list(pd.read_csv(path, dtype=str)["id"]) for path in sorted(folder.glob("x_*.csv"))}


def test_a_record_lies_in_the_drop_that_is_complete_when_it_is_known(tmp_path: Path) -> None:
    second = timedelta(seconds=1)
    replay_of(MIDNIGHT + second, MIDNIGHT, MIDNIGHT - second).deal_out(tmp_path, tmp_path / "out", "x_*.csv")
    assert ids(tmp_path / "out") == {"x_2013-03-01.csv": ["2", "1"], "x_2013-03-02.csv": ["0"]}
    assert end_of_period(tmp_path / "x_2013-03-01.csv") == MIDNIGHT


def test_months(tmp_path: Path) -> None:
    replay_of(MIDNIGHT, MIDNIGHT - timedelta(days=2), every="month").deal_out(tmp_path, tmp_path / "out", "x_*.csv")
    assert ids(tmp_path / "out") == {"x_2013-02.csv": ["1"], "x_2013-03.csv": ["0"]}


def test_the_time_is_written_as_silver_reads_it(tmp_path: Path) -> None:
    replay_of(MIDNIGHT).deal_out(tmp_path, tmp_path / "out", "x_*.csv")
    assert (tmp_path / "out" / "x_2013-03-01.csv").read_text() == "id,reported_at\n0,2013-03-02T00:00:00Z\n"


def test_it_is_dealt_out_once_and_again_when_the_extract_changes(tmp_path: Path) -> None:
    extract = tmp_path / "extract"
    extract.mkdir()
    replay = replay_of(MIDNIGHT)
    for _ in range(2):
        replay.deal_out(extract, tmp_path / "out", "x_*.csv")
    assert replay.asked == 1
    (extract / "more.csv").write_text("id\n1\n")
    type(replay).frame = replay_of(MIDNIGHT, MIDNIGHT + timedelta(days=1)).frame
    replay.deal_out(extract, tmp_path / "out", "x_*.csv")
    assert replay.asked == 2
    assert sorted(ids(tmp_path / "out")) == ["x_2013-03-01.csv", "x_2013-03-02.csv"]


def test_a_record_without_a_time_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"1 record\(s\) of the replay for x_\*.csv do not say when"):
        replay_of(MIDNIGHT, None).deal_out(tmp_path, tmp_path / "out", "x_*.csv")
    assert list(tmp_path.iterdir()) == []


NEW_YORK = "America/New_York"


def utc(*clocks: str, zone: str = NEW_YORK) -> list[str]:
    local = pd.Series(pd.to_datetime(list(clocks)))
    return list(utc_from_local(local, pd.Series([zone] * len(clocks))).dt.strftime("%m-%d %H:%M"))


def test_what_the_clock_skips_in_spring_is_the_next_time_there_is() -> None:
    assert utc("2013-03-10 01:59", "2013-03-10 02:00", "2013-03-10 02:59", "2013-03-10 03:00", "2013-03-10 03:01") == [
        "03-10 06:59",
        "03-10 07:00",
        "03-10 07:00",
        "03-10 07:00",
        "03-10 07:01",
    ]


def test_what_the_clock_shows_twice_in_autumn_is_the_second() -> None:
    assert utc("2013-11-03 00:59", "2013-11-03 01:00", "2013-11-03 01:59", "2013-11-03 02:00") == [
        "11-03 04:59",
        "11-03 06:00",
        "11-03 06:59",
        "11-03 07:00",
    ]


def test_a_clock_that_is_not_changed_is_the_same_on_both_days() -> None:
    assert utc("2013-03-10 02:30", "2013-11-03 01:30", zone="America/Phoenix") == ["03-10 09:30", "11-03 08:30"]


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(2013, 1, 1), datetime(2013, 12, 31)),  # noqa: DTZ001  (a clock has no zone)
            st.sampled_from([NEW_YORK, "America/Phoenix", "Europe/Prague", "Australia/Lord_Howe", "UTC"]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_each_time_is_read_on_its_own_clock_whatever_the_order_of_the_rows(
    rows: list[tuple[datetime, str]], order: Random
) -> None:
    index = list(range(len(rows)))
    order.shuffle(index)
    local = pd.Series(pd.to_datetime([clock for clock, _ in rows]), index=index)
    found = utc_from_local(local, pd.Series([zone for _, zone in rows], index=index))
    assert list(found.index) == index
    for (clock, zone), moment in zip(rows, found, strict=True):
        # The second of two is the one after the clock went back: fold 1. A clock that skips shows a later time.
        back = moment.tz_convert(zone).tz_localize(None)
        assert back >= clock.replace(microsecond=clock.microsecond)
        if back == clock:
            # In UTC: by PEP 495 a time that a clock shows twice equals none of another zone.
            assert moment == clock.replace(tzinfo=ZoneInfo(zone), fold=1).astimezone(UTC)
        else:
            assert back - clock <= timedelta(hours=1)


def test_a_missing_time_stays_missing() -> None:
    local = pd.Series(pd.to_datetime(["2013-07-01 08:00", None]))
    found = utc_from_local(local, pd.Series([NEW_YORK, NEW_YORK]))
    assert found.isna().tolist() == [False, True]


def test_a_time_without_a_zone_is_refused_with_how_many_there_are() -> None:
    local = pd.Series(pd.to_datetime(["2013-07-01 08:00"] * 3))
    with pytest.raises(StageError, match=r"^2 of 3 local times have no time zone"):
        utc_from_local(local, pd.Series([NEW_YORK, None, float("nan")], dtype=object))


def test_no_times_are_no_times() -> None:
    assert utc_from_local(pd.Series(pd.to_datetime([])), pd.Series([], dtype=object)).empty


def test_rows_whose_labels_repeat_are_told_apart() -> None:
    local = pd.Series(pd.to_datetime(["2013-07-01 08:00", "2013-07-01 08:00"]), index=[0, 0])
    found = utc_from_local(local, pd.Series(["America/Phoenix", NEW_YORK], index=[0, 0]))
    assert found.dt.hour.tolist() == [15, 12]


def test_a_zone_that_does_not_exist_is_refused_with_our_error() -> None:
    local = pd.Series(pd.to_datetime(["2013-07-01 08:00"]))
    with pytest.raises(StageError, match="Nowhere/Land"):
        utc_from_local(local, pd.Series(["Nowhere/Land"]))


def test_reading_an_extract_keeps_text_and_puts_its_files_together(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "b.csv").write_text("id,note\n03,\n")
    (tmp_path / "x" / "a.csv").write_text("id,note\n01,NA\n02,None\n")
    read = Replay.read(tmp_path, "x/*.csv")
    assert read["id"].tolist() == ["01", "02", "03"]
    # Only an empty cell is missing: NA is a text like any other.
    assert read["note"].fillna("missing").tolist() == ["NA", "None", "missing"]


@pytest.mark.parametrize("folder", [".", "absent"])
def test_reading_an_extract_without_files_is_refused_with_the_place(tmp_path: Path, folder: str) -> None:
    with pytest.raises(StageError, match=r"No file matches x/\*\.csv in"):
        Replay.read(tmp_path / folder, "x/*.csv")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_midnight_belongs_to_the_day_that_ends_with_it_whatever_the_precision(tmp_path: Path, unit: str) -> None:
    replay = replay_of(MIDNIGHT)
    type(replay).frame["reported_at"] = type(replay).frame["reported_at"].dt.as_unit(unit)
    replay.deal_out(tmp_path, tmp_path / "out", "x_*.csv")
    assert list(ids(tmp_path / "out")) == ["x_2013-03-01.csv"]


@given(st.lists(st.integers(-200_000, 200_000), min_size=1, max_size=20))
def test_each_record_lies_in_one_drop_in_the_order_of_reporting(seconds: list[int]) -> None:
    moments = [MIDNIGHT + timedelta(seconds=number) for number in seconds]
    with TemporaryDirectory() as made:
        folder = Path(made)
        replay_of(*moments).deal_out(folder, folder / "out", "x_*.csv")
        dealt = ids(folder / "out")
    assert sorted(int(number) for drop in dealt.values() for number in drop) == list(range(len(seconds)))
    for name, drop in dealt.items():
        mine = [moments[int(number)] for number in drop]
        assert mine == sorted(mine)
        end = end_of_period(Path(name))
        assert all(end - timedelta(days=1) < moment <= end for moment in mine)


class Dies(Exception):  # noqa: N818  (what is thrown is no error of ours)
    """The disk is full, or the process is killed."""


@pytest.mark.parametrize("before", [False, True], ids=["the first time", "with drops there"])
def test_dying_half_way_leaves_no_half_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    extract, out = tmp_path / "extract", tmp_path / "out"
    extract.mkdir()
    if before:
        replay_of(MIDNIGHT).deal_out(extract, out, "x_*.csv")
        (extract / "more.csv").write_text("more")
    dealt = ids(out)
    days = [MIDNIGHT + timedelta(days=number) for number in range(3)]
    written: list[Path] = []
    to_csv = pd.DataFrame.to_csv

    def second_fails(self: pd.DataFrame, path: Path, **how: object) -> None:
        if written:
            raise Dies
        written.append(path)
        to_csv(self, path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(pd.DataFrame, "to_csv", second_fails)
        with pytest.raises(Dies):
            replay_of(*days).deal_out(extract, out, "x_*.csv")
    assert ids(out) == dealt
    replay_of(*days).deal_out(extract, out, "x_*.csv")
    assert sorted(ids(out)) == ["x_2013-03-01.csv", "x_2013-03-02.csv", "x_2013-03-03.csv"]
    # The same process cleans up after itself.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["extract", "out"]


def test_a_folder_without_its_marker_is_dealt_out_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "x_1999-01-01.csv").write_text("id\n1\n")
    replay_of(MIDNIGHT).deal_out(tmp_path / "extract", out, "x_*.csv")
    assert list(ids(out)) == ["x_2013-03-01.csv"]


def test_what_a_killed_process_left_is_cleaned_up(tmp_path: Path) -> None:
    (tmp_path / "out.999999").mkdir()
    replay_of(MIDNIGHT).deal_out(tmp_path / "extract", tmp_path / "out", "x_*.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_extract_without_records_deals_nothing_out(tmp_path: Path) -> None:
    replay_of().deal_out(tmp_path / "extract", tmp_path / "out", "x_*.csv")
    assert ids(tmp_path / "out") == {}


def test_it_is_dealt_out_again_when_the_drops_are_to_be_called_otherwise(tmp_path: Path) -> None:
    for files in ("y_*.csv", "x_*.csv"):
        replay_of(MIDNIGHT).deal_out(tmp_path / "extract", tmp_path / "out", files)
    assert list(ids(tmp_path / "out")) == ["x_2013-03-01.csv"]


def test_a_time_of_another_zone_is_written_in_utc(tmp_path: Path) -> None:
    replay = replay_of(MIDNIGHT)
    type(replay).frame["reported_at"] = type(replay).frame["reported_at"].dt.tz_convert(NEW_YORK)
    replay.deal_out(tmp_path / "extract", tmp_path / "out", "x_*.csv")
    assert (tmp_path / "out" / "x_2013-03-01.csv").read_text() == "id,reported_at\n0,2013-03-02T00:00:00Z\n"


class ADayLater(Made):
    """The same extract, with a mended report time."""

    def records(self, extract: Path) -> pd.DataFrame:
        return self.frame.assign(reported_at=self.frame["reported_at"] + timedelta(days=1))


def test_it_is_dealt_out_again_when_its_code_changes(tmp_path: Path) -> None:
    for base in (Made, ADayLater):
        replay = type("Replayed", (base,), {"frame": replay_of(MIDNIGHT).frame})()
        replay.deal_out(tmp_path / "extract", tmp_path / "out", "x_*.csv")
    assert list(ids(tmp_path / "out")) == ["x_2013-03-02.csv"]
