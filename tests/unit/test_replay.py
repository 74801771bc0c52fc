"""A replay deals an extract out in drops: each record once, in the drop of the day that ends with or after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import pytest

from mlplatform import Replay, end_of_period
from mlplatform.errors import IngestError

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
    with pytest.raises(IngestError, match=r"1 record\(s\) of the replay for x_\*.csv do not say when"):
        replay_of(MIDNIGHT, None).deal_out(tmp_path, tmp_path / "out", "x_*.csv")
    assert list(tmp_path.iterdir()) == []
