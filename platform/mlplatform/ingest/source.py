"""A source: files that land in a folder, as text, each ingested into bronze exactly once."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import pyarrow as pa

from mlplatform.as_of import Duration
from mlplatform.columns import Described
from mlplatform.derived_attributes import derived, named_after_class
from mlplatform.errors import ConfigError, StageError, did_you_mean
from mlplatform.ingest import provenance
from mlplatform.ingest.dialect import PLAIN, Dialect
from mlplatform.ingest.replay import Replay
from mlplatform.protocols.landing import LANDED_CORRUPT

INGESTED_AT = "_ingested_at"
RESCUED = "_rescued_data"
Available = Literal["always", "period_start", "period_end"]
Reader = Literal["files", "auto_loader"]
Format = Literal["csv", "parquet"]
_AVAILABLE: tuple[str, ...] = get_args(Available)
_READERS: tuple[str, ...] = get_args(Reader)
_FORMATS: tuple[str, ...] = get_args(Format)
_BRONZE = frozenset({INGESTED_AT, RESCUED, *(field.name for field in provenance.FIELDS)})
_TIMESTAMP = pa.timestamp("us", tz="UTC")


def _files(source: type[Source]) -> str:
    if source.replay is None:
        raise ConfigError(
            f"{source.__name__} declares no files.",
            hint="Name them by a glob below the landing folder, as in 'x/*.csv'.",
        )
    return f"{source.name}_*.csv"


class Source(Described):
    """Base class of a use case's sources.

    See the glossary: docs/glossary.md

    A subclass declares where its files land and which columns they have. Bronze keeps every value as the text that
    landed; typing is silver's job.

    Attributes:
        format: `csv`, or `parquet`: then bronze keeps the text of each value (days and times in ISO 8601), and silver
            reads it as it reads that of a CSV file.
        reader: `files` reads the files where they lie, the same in every workspace, so that replays are identical.
            `auto_loader` lets Databricks' Auto Loader find and land them, if the workspace has it (otherwise it is as
            `files`): for folders with so many files that listing them takes minutes. It does not notice a file that
            changed after it was ingested.
        replay: For history that comes as an extract instead of drops; None: files are delivered.
        name: Bronze table `bronze_<name>`; unless declared, the class's name without `Source`, as in `loans` of
            `LoansSource`.
        files: Glob below the landing folder, as in `loans/loans_*.csv.gz`. For a replay, unless declared,
            `<name>_*.csv`.
        available: When a file can be known, for a replay at an earlier `as_of` not to see it: at the end of the period
            that its name holds (a drop of what happened), at its start (what is published in advance), or always
            (files are there because they landed).
        newlines_in_values: Whether a value in quotes may go over several lines. Unless it may, each line is a row, and
            lines that such a value lies in are quarantined one by one: a quote that somebody forgot to close costs its
            line, and swallows none of those after it.
        dialect: How the files are written: what separates values, their encoding, and how numbers and dates stand in
            them. Unless declared: commas, UTF-8, points, ISO 8601. It is never guessed from a file.
        columns: The header. An additional column is kept in `_rescued_data` and reported; a missing one is an error.

    Examples:
        >>> class LoansSource(Source):
        ...     files = "loans/loans_*.csv"
        ...     available = "period_end"
        ...     columns = ("loan_id", "approved", "amount")
        >>> LoansSource.name, LoansSource().available_at(Path("loans_2020-03.csv")).date().isoformat()
        ('loans', '2020-04-01')
        >>> LoansSource().bronze_schema().names
        ['loan_id', 'approved', 'amount', '_rescued_data', '_file', '_row', '_available_at', '_ingested_at']
    """

    replay: ClassVar[type[Replay] | None] = None
    format: ClassVar[Format] = "csv"
    reader: ClassVar[Reader] = "files"
    name: ClassVar[str] = named_after_class("Source")
    files: ClassVar[str] = derived(_files)
    available: ClassVar[Available] = "always"
    newlines_in_values: ClassVar[bool] = False
    dialect: ClassVar[Dialect] = PLAIN
    columns: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **declared: Any) -> None:
        """Refuse a wrong availability or reader (it would be taken for another), and what bronze cannot hold."""
        super().__init_subclass__(**declared)
        names = [column.lower() for column in getattr(cls, "columns", ())]
        hint = "Leave it out of the columns: it is kept in `_rescued_data`, from where SQL can read it."
        for column in names:
            if column.startswith(("__", "_landed_")) or column == LANDED_CORRUPT:
                text = f"{cls.__name__}.columns: {column} is a name that the platform uses itself."
                raise ConfigError(text, hint=hint)
        for column in names:
            if names.count(column) > 1 or column in _BRONZE:
                why = "is what bronze adds itself" if column in _BRONZE else "is declared twice; case does not count"
                raise ConfigError(f"{cls.__name__}.columns: {column} {why}.", hint="Rename the column in the files.")
        if cls.available not in _AVAILABLE:
            raise ConfigError(
                f"{cls.__name__}.available is {cls.available!r}.", hint=did_you_mean(cls.available, _AVAILABLE)
            )
        if cls.reader not in _READERS:
            raise ConfigError(f"{cls.__name__}.reader is {cls.reader!r}.", hint=did_you_mean(cls.reader, _READERS))
        if cls.format not in _FORMATS:
            raise ConfigError(f"{cls.__name__}.format is {cls.format!r}.", hint=did_you_mean(cls.format, _FORMATS))
        _check_dialect(cls)

    def available_at(self, path: Path) -> datetime:
        """Return when the file could be known, by `available`; override it where a file's name says it otherwise.

        Raises:
            StageError: If the name holds no period where it should.
        """
        if self.available == "always":
            return datetime(1, 1, 1, tzinfo=UTC)
        return start_of_period(path) if self.available == "period_start" else end_of_period(path)

    def landed(self, landing: Path) -> list[Path]:
        """Return the files that lie in the landing folder, by the time they became available, then by name.

        Raises:
            StageError: If the folder does not exist, or holds no file of this source.
        """
        if not landing.is_dir():
            raise StageError(
                f"The landing folder {landing} does not exist.",
                hint="Set 'landing' in config.yml to the folder where files land, or put the data there.",
            )
        paths = [path for path in landing.glob(self.files) if path.is_file()]
        if not paths:
            raise StageError(f"No file matches {self.files} in {landing}.", hint="Is it the right landing folder?")
        return sorted(paths, key=lambda path: (self.available_at(path), path.name))

    def bronze_schema(self) -> pa.Schema:
        """Return the schema of the bronze table: the columns as text, and where each row came from."""
        return pa.schema(
            [
                *(pa.field(column, pa.string()) for column in self.columns),
                pa.field(
                    RESCUED, pa.string(), metadata={"comment": "JSON of columns that the source does not declare"}
                ),
                *provenance.FIELDS,
                pa.field(INGESTED_AT, _TIMESTAMP, nullable=False, metadata={"comment": "Wall clock of the ingestion"}),
            ]
        )


def _check_dialect(source: type[Source]) -> None:
    if not isinstance(source.dialect, Dialect):
        raise ConfigError(
            f"{source.__name__}.dialect is {source.dialect!r}, which is no Dialect.",
            hint='As in Dialect(delimiter=";", decimal=",").',
        )
    if source.format == "parquet" and (source.reader != "files" or source.replay or not source.dialect.is_plain):
        raise ConfigError(
            f"{source.__name__}: Parquet files are read where they lie, and have no dialect: they have types.",
            hint='Leave out reader, replay and dialect, or format = "parquet".',
        )
    if source.reader == "auto_loader" and source.dialect.encoding == "utf-16":
        raise ConfigError(
            f"{source.__name__}: Auto Loader does not read UTF-16 line by line.",
            hint='Leave out reader = "auto_loader", or have the files delivered in UTF-8.',
        )
    if source.replay is not None and not _has_plain_files(source.dialect):
        raise ConfigError(
            f"{source.__name__}: a replay deals its extract out with commas and in UTF-8.",
            hint="Leave delimiter and encoding out of the dialect; read the extract as it is written in records().",
        )


def _has_plain_files(dialect: Dialect) -> bool:
    return (dialect.delimiter, dialect.encoding) == (PLAIN.delimiter, PLAIN.encoding)


def shown_path(path: Path | str) -> str:
    r"""Return a path as a message or a table can hold it: a byte that is no UTF-8 stands as in `caf\xe9`.

    Examples:
        >>> shown_path(Path("loans_caf\udce9.csv"))
        'loans_caf\\xe9.csv'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


# Within no longer number: store_120412_2013-01 is of 2013.
_PERIOD = re.compile(r"(?<!\d)((?:1[6-9]|2\d)\d{2})[-_]?(?:Q([1-4])|(\d{2})(?:[-_]?(\d{2}))?)(?!\d)")


def start_of_period(path: Path) -> datetime:
    """Return the start of the quarter, month or day that a file's name holds: for what is published in advance.

    Args:
        path: A file such as `schedule_2013-01.csv.gz`.

    Raises:
        StageError: If the name holds no period.

    Examples:
        >>> start_of_period(Path("schedule_2013-12.csv.gz")).date().isoformat()
        '2013-12-01'
    """
    return _period(path)[0]


def end_of_period(path: Path) -> datetime:
    """Return the end of the quarter, month or day that a file's name holds: when a drop of it is complete.

    Args:
        path: A file such as `loans_2005Q1.csv.gz`, `arrivals_2013-01.csv.gz` or `events_2013-01-31.csv`.

    Raises:
        StageError: If the name holds no period.

    Examples:
        >>> end_of_period(Path("loans_2005Q1.csv.gz")).date().isoformat()
        '2005-04-01'
        >>> end_of_period(Path("arrivals_2013-12.csv.gz")).date().isoformat()
        '2014-01-01'
    """
    start, length = _period(path)
    return length.after(start)


def _period(path: Path) -> tuple[datetime, Duration]:
    match = _PERIOD.search(path.name)
    if not match:
        raise StageError(
            f"The name of {shown_path(path)} holds no period.", hint="Name drops by period, as in loans_2005Q1.csv.gz."
        )
    year, quarter, month, day = match[1], match[2], match[3], match[4]
    first = int(month) if month else (int(quarter) - 1) * 3 + 1
    try:
        start = datetime(int(year), first, int(day or 1), tzinfo=UTC)
    except ValueError as error:
        text = f"The period in the name of {shown_path(path)} is not one: {error}."
        raise StageError(text, hint="Rename the file.") from None
    length = "1 quarter" if quarter else ("1 day" if day else "1 month")
    return start, Duration.parse(length)
