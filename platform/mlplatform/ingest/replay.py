"""Replaying a historical extract as the drops in which a feed would have delivered it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from mlplatform.code_digest import code_digest
from mlplatform.errors import StageError

if TYPE_CHECKING:
    import pandas as pd

REPORTED_AT = "reported_at"
_MARKER = ".extract.json"
_INSTANT = timedelta(microseconds=1)
_FORMATS = {"day": "%Y-%m-%d", "month": "%Y-%m"}


def utc_from_local(local: pd.Series[pd.Timestamp], zones: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Return times on local clocks as UTC.

    A time that a clock shows twice, when it is set back, is taken as the second one; a time that it skips, as the next
    one that it shows.

    Args:
        local: Times without a zone.
        zones: The zone of each, as in `America/New_York`; same index.

    Raises:
        StageError: If a zone is missing, or is not a time zone.

    Examples:
        >>> import pandas as pd
        >>> local = pd.Series(pd.to_datetime(["2013-07-01 08:00", "2013-07-01 08:00"]))
        >>> utc_from_local(local, pd.Series(["America/Phoenix", "America/New_York"])).dt.hour.tolist()
        [15, 12]
    """
    import pandas as pd

    without = int(zones.isna().sum())
    if without:
        raise StageError(f"{without} of {zones.size} local times have no time zone.", hint="Name the zone of each.")
    times = pd.Series(pd.NaT, index=range(local.size), dtype="datetime64[us, UTC]")
    # By position: an index may repeat a label.
    clocks, names = local.reset_index(drop=True), zones.reset_index(drop=True).astype(str)
    for zone, clock in clocks.groupby(names):
        try:
            zoned = clock.dt.tz_localize(zone, ambiguous=False, nonexistent="shift_forward")
        except (KeyError, ValueError) as error:
            raise StageError(f"{zone!r} is not a time zone: {error}", hint="As in America/New_York.") from error
        times.loc[clock.index] = zoned.dt.tz_convert("UTC").astype(times.dtype)
    return times.set_axis(local.index)


class Replay(ABC):
    r"""Base class of a source's replay: deals a historical extract out into drops by when each record was reported.

    See the glossary: docs/glossary.md

    In production a feed delivers files, and a source needs no replay. An extract of history comes in one piece, sorted
    by something else than time: ingested as it is, a run would see a month's outcomes with the month's first day. A
    drop holds the records reported in (start, end] of its day or month, so that it is complete at the end of it.

    Attributes:
        every: Length of a drop.

    Examples:
        >>> import tempfile
        >>> import pandas as pd
        >>> class Arrivals(Replay):
        ...     def records(self, extract):
        ...         rows = self.read(extract, "all.csv")
        ...         return rows.assign(reported_at=pd.to_datetime(rows["arrived"], utc=True))
        >>> with tempfile.TemporaryDirectory() as name:
        ...     extract, drops = Path(name, "extract"), Path(name, "drops")
        ...     extract.mkdir()
        ...     _ = Path(extract, "all.csv").write_text("flight,arrived\nB,2013-01-02 09:00\nA,2013-01-01 08:00\n")
        ...     Arrivals().deal_out(extract, drops, "arrivals_*.csv")
        ...     sorted(path.name for path in drops.glob("*.csv"))
        ['arrivals_2013-01-01.csv', 'arrivals_2013-01-02.csv']
    """

    every: ClassVar[Literal["day", "month"]] = "day"

    @abstractmethod
    def records(self, extract: Path) -> pd.DataFrame:
        """Return all records as text, with a column `reported_at` (UTC): when the feed would have sent each.

        Args:
            extract: The use case's folder of landed files (setting `landing`), for an extract that lies there.
        """

    @staticmethod
    def read(extract: Path, files: str) -> pd.DataFrame:
        """Return the rows of the extract's CSV files as text, empty cells as missing.

        Args:
            extract: The folder.
            files: Glob below it, as in `arrivals/*.csv.gz`.

        Raises:
            StageError: If there is no such file.
        """
        import pandas as pd

        paths = sorted(extract.glob(files))
        if not paths:
            raise StageError(f"No file matches {files} in {extract}.", hint="The replay deals an extract out.")
        parts = [pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""]) for path in paths]
        return pd.concat(parts, ignore_index=True)

    def deal_out(self, extract: Path, folder: Path, files: str) -> None:
        """Write the drops, unless they have been written from the same extract.

        Args:
            extract: Where the extract lies.
            folder: Where the drops go; it appears at once or not at all.
            files: The source's glob below the folder, such as `arrivals/arrivals_*.csv`; a drop's day takes the place
                of the star.

        Raises:
            StageError: If a record does not say when it was reported, in which zone.
        """
        import pandas as pd

        made_of = {"extract": _digests(extract), "every": self.every, "files": files, "code": code_digest(type(self))}
        marker = json.dumps(made_of, sort_keys=True)
        if (folder / _MARKER).is_file() and (folder / _MARKER).read_text(encoding="utf-8") == marker:
            return
        records = self.records(extract)
        missing = int(records[REPORTED_AT].isna().sum())
        if missing:
            raise StageError(
                f"{missing} record(s) of the replay for {files} do not say when they were reported.",
                hint=f"{type(self).__name__}.records gives every record a {REPORTED_AT}, unreadable ones too.",
            )
        if not isinstance(records[REPORTED_AT].dtype, pd.DatetimeTZDtype):
            raise StageError(
                f"{REPORTED_AT} of the replay for {files} is {records[REPORTED_AT].dtype}: no time with a zone.",
                hint="Use pd.to_datetime(..., utc=True), or utc_from_local.",
            )
        records = records.assign(**{REPORTED_AT: records[REPORTED_AT].dt.tz_convert("UTC")})
        for remnant in folder.parent.glob(f"{folder.name}.*"):
            shutil.rmtree(remnant, ignore_errors=True)  # of a process that was killed
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        unfinished.mkdir(parents=True)
        for period, drop in self._by_period(records):
            path = unfinished / files.replace("*", period)
            path.parent.mkdir(parents=True, exist_ok=True)
            drop.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ", lineterminator="\n")
        (unfinished / _MARKER).write_text(marker, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)

    def _by_period(self, records: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        # The moment before: what was reported at midnight completes the day that ends with it.
        day = (records[REPORTED_AT] - _INSTANT).dt.strftime(_FORMATS[self.every])
        return [(str(period), drop.sort_values(REPORTED_AT, kind="stable")) for period, drop in records.groupby(day)]


def _digests(extract: Path) -> dict[str, str]:
    if not extract.is_dir():
        return {}
    paths = sorted(path for path in extract.rglob("*") if path.is_file())
    return {path.relative_to(extract).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
