"""Where a source's files land: a folder that is read as it is, or one that Auto Loader reads."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote

import narwhals as nw
import pyarrow as pa

from mlplatform.errors import StageError
from mlplatform.ingest.delivery import BATCH_BYTES, DueFile, FileCounts, FileDelivery, FileReading, Landed, SmallFiles
from mlplatform.ingest.landed_file import LandedFile
from mlplatform.ingest.landed_parquet import LandedParquet
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, MOST_FILES, ROW
from mlplatform.ingest.quarantine import CONTENT, MALFORMED, REASON, quarantine_schema
from mlplatform.ingest.source import INGESTED_AT, RESCUED, Source
from mlplatform.naming import ObjectName, quote
from mlplatform.ops.context import StageContext
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.frames import Frames
from mlplatform.protocols.landing import LANDED_CORRUPT, LANDED_FILE, LANDED_ORDER, LANDED_RESCUED, AutoLoader
from mlplatform.types import TIMESTAMP

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_FILE_PATH = "_file_path"
# Beside the source's own columns, none of which begins with two underscores.
_REASON, _CONTENT, _ADDED = "__reason", "__content", "__added_columns"
_JAVA = {"utf-8": "UTF-8", "latin-1": "ISO-8859-1", "windows-1252": "windows-1252"}
_UNPARSED = f"{MALFORMED}: Auto Loader could not parse it"
_UNDECODED = f"{MALFORMED}: bytes that are not of the declared encoding"
# What Spark puts in the place of bytes that it cannot decode; the row must not pass with it.
_REPLACED = "\ufffd"


class Landing(Protocol):
    """Where a source's files land."""

    def files(self) -> list[Path]:
        """Return the files, by the time they became available, then by name.

        Raises:
            StageError: If they cannot be found.
        """
        ...

    def deliveries(self, files: Sequence[DueFile]) -> Generator[FileDelivery]:
        """Yield the rows of files, as many files at a time as one commit should hold.

        Each is used before the next is asked for.

        Raises:
            StageError: If a file cannot be read; the files before it have been yielded.
        """
        ...

    def forget(self, paths: Sequence[Path]) -> None:
        """Drop what is kept of files that have been ingested."""
        ...

    def bring_all_again(self) -> None:
        """Offer all files once more: the table that they were brought to is gone."""
        ...


def open_landing(context: StageContext, source: Source, folder: Path) -> Landing:
    """Return where a source's files land, by the reader that it asks for, if this workspace has it.

    Args:
        context: The run.
        source: The source.
        folder: The folder that its glob looks into.
    """
    loader = context.ws.auto_loader if source.reader == "auto_loader" else None
    if loader is None:
        return FolderLanding(source, folder, context.ws.frames)
    return AutoLoaderLanding(context, source, folder, loader)


def dealt_out(context: StageContext, source: Source, landing: Path) -> Path:
    """Return the folder that the source's glob looks into: where files land, or where its replay puts them.

    Args:
        context: The run.
        source: The source; its replay, if it has one, deals the extract out.
        landing: The folder where files land.
    """
    if source.replay is None:
        return landing
    folder = context.ws.files("landing") / context.namespace.catalog / context.name / source.name
    with context.ws.lock(f"replay {context.name} {source.name}"):
        source.replay().deal_out(landing, folder, source.files)
    return folder


class FolderLanding:
    """Reads the files where they lie."""

    def __init__(self, source: Source, landing: Path, frames: Frames) -> None:
        """Take the source and its folder, and what spills large files to disk."""
        self._source, self._landing, self._frames = source, landing, frames

    def files(self) -> list[Path]:
        """Return the files in the folder."""
        return self._source.landed(self._landing)

    def deliveries(self, files: Sequence[DueFile]) -> Generator[FileDelivery]:
        """Read file after file: small ones are delivered together, a large one alone, by way of the disk."""
        small = SmallFiles()
        for file in files:
            try:
                reading = FileReading(_opened(file.path, self._source), file)
                batches = reading.batches()
                head, size = [], 0
                for batch in batches:
                    head.append(batch)
                    size += batch.nbytes
                    if size > BATCH_BYTES:
                        break
            except StageError:
                if small:
                    yield small.deliver()
                raise
            is_large = size > BATCH_BYTES
            if not is_large:
                small.add(reading, head)
            if small and (is_large or small.size > BATCH_BYTES):
                yield small.deliver()
            if is_large:
                # Nothing of the file is written before all of it could be read.
                reader = pa.RecordBatchReader.from_batches(reading.schema, chain(_emptied(head), batches))
                with self._frames.staged(reader) as rows:
                    yield FileDelivery([reading.counts()], rows, reading.malformed())
        if small:
            yield small.deliver()

    def forget(self, paths: Sequence[Path]) -> None:
        """Do nothing: bronze knows which files it has."""

    def bring_all_again(self) -> None:
        """Do nothing: the files are still where they landed."""


def _opened(path: Path, source: Source) -> Landed:
    return LandedParquet(path, source) if source.format == "parquet" else LandedFile(path, source)


def _emptied(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches, and keep none that was yielded."""
    while batches:
        yield batches.pop(0)


class AutoLoaderLanding:
    """Moves on what Auto Loader landed in the table `landed_<source>`, which holds only files still waiting."""

    def __init__(self, context: StageContext, source: Source, landing: Path, loader: AutoLoader) -> None:
        """Take the source and its folder."""
        self._context, self._source, self._landing, self._loader = context, source, landing, loader
        self._table: ObjectName = context.namespace.table(f"landed_{source.name}")
        self._paths: dict[Path, str] = {}

    def files(self) -> list[Path]:
        """Let Auto Loader fetch new files, and return all that wait to be ingested."""
        self._loader.land(
            self._landing,
            self._source.files,
            columns=self._source.columns,
            into=self._table,
            newlines_in_values=self._source.newlines_in_values,
            delimiter=self._source.dialect.delimiter,
            encoding=_JAVA[self._source.dialect.encoding],
        )
        frames = self._context.ws.frames
        waiting = frames.read(self._table, columns=[LANDED_FILE]).unique()
        texts = frames.collect(waiting, at_most=MOST_FILES, what=f"the list of files of {self._table}").column(0)
        self._paths = {self._path(text): text for text in cast("list[str]", texts.to_pylist())}
        return sorted(self._paths, key=lambda path: (self._source.available_at(path), path.name))

    def deliveries(self, files: Sequence[DueFile]) -> Generator[FileDelivery]:
        """Yield all files at once: no row leaves Spark, and a job costs more than many files."""
        if not files:
            return
        frames = self._context.ws.frames
        with frames.staged(self._numbered(files)) as rows:
            groups = rows.group_by(FILE, _REASON, _ADDED).agg(nw.len().alias("rows"))
            what = f"counts of rows of {self._table} by file"
            counts = frames.collect(groups, at_most=MOST_FILES, what=what).to_pylist()
            good, bad = rows.filter(nw.col(_REASON).is_null()), rows.filter(~nw.col(_REASON).is_null())
            bad = bad.select(FILE, ROW, AVAILABLE_AT, nw.col(_REASON).alias(REASON), nw.col(_CONTENT).alias(CONTENT))
            by_file: dict[str, list[Mapping[str, Any]]] = {}
            for group in counts:
                by_file.setdefault(group[FILE], []).append(group)
            yield FileDelivery(
                [_counts_of(file, by_file.get(file.name, ())) for file in files],
                good.drop(_REASON, _CONTENT, _ADDED),
                bad.select(*quarantine_schema().names),
            )

    def forget(self, paths: Sequence[Path]) -> None:
        """Remove the rows that bronze has."""
        self._loader.forget(self._table, [self._paths[path] for path in paths])

    def bring_all_again(self) -> None:
        """Let Auto Loader start over: its checkpoint belongs to the table that it lands files in."""
        if self._context.ws.tables.exists(self._table):
            self._context.ws.tables.drop(self._table)

    def _numbered(self, files: Sequence[DueFile]) -> DataFrame:
        """Return the rows of files as bronze holds them, and beside them what the quarantine holds of malformed."""
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        ws = self._context.ws
        listed = pa.table(
            {
                LANDED_FILE: [self._paths[file.path] for file in files],
                FILE: [file.name for file in files],
                AVAILABLE_AT: pa.array([file.available_at for file in files], TIMESTAMP),
            }
        )
        landed = ws.tables.read(self._table).join(F.broadcast(ws.frames.to_spark(listed)), on=LANDED_FILE)
        columns = [F.col(quote(column)) for column in self._source.columns]
        is_unparsed = F.col(LANDED_CORRUPT).isNotNull()
        is_undecoded = F.coalesce(F.concat_ws("", *columns).contains(_REPLACED), F.lit(False))
        is_bad = is_unparsed | is_undecoded
        order = Window.partitionBy(LANDED_FILE, is_bad).orderBy(LANDED_ORDER)
        rescued = F.from_json(F.col(LANDED_RESCUED), "map<string,string>")
        # Auto Loader adds the path of the file to what it rescues.
        added = F.map_filter(rescued, lambda key, _: key != F.lit(_FILE_PATH))
        has_added = F.coalesce(F.size(added) > 0, F.lit(False)) & ~is_bad
        return landed.select(
            *columns,
            F.when(has_added, F.to_json(added)).alias(RESCUED),
            F.col(FILE),
            (F.row_number().over(order) - 1).cast("bigint").alias(ROW),
            F.col(AVAILABLE_AT),
            F.lit(utc_now()).alias(INGESTED_AT),
            F.when(is_unparsed, F.lit(_UNPARSED)).when(is_undecoded, F.lit(_UNDECODED)).alias(_REASON),
            F.coalesce(F.col(LANDED_CORRUPT), F.when(is_undecoded, F.to_json(F.struct(*columns)))).alias(_CONTENT),
            F.when(has_added, F.to_json(F.array_sort(F.map_keys(added)))).alias(_ADDED),
        )

    def _path(self, text: str) -> Path:
        # Spark writes `file:/a/b%20c`, `dbfs:/Volumes/...` or the bare path; below the landing folder they are alike.
        path, folder = unquote(text), f"{self._landing.as_posix().rstrip('/')}/"
        _, separator, relative = path.partition(folder)
        if not separator:
            raise StageError(f"{text} is not below {self._landing}.", hint="Set 'landing' as the volume's own path.")
        return self._landing / relative


def _counts_of(file: DueFile, mine: Sequence[Mapping[str, Any]]) -> FileCounts:
    added = {column for group in mine for column in json.loads(group[_ADDED] or "[]")}
    return FileCounts(
        file,
        rows=sum(group["rows"] for group in mine if group[_REASON] is None),
        malformed={group[_REASON]: group["rows"] for group in mine if group[_REASON] is not None},
        added_columns=sorted(added),
    )
