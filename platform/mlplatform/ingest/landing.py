"""Where a source's files land: a folder that is read as it is, or one that Auto Loader reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import StageError
from mlplatform.ingest.landed_file import LandedFile, read_landed_file
from mlplatform.ingest.source import RESCUED, Source
from mlplatform.naming import ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.protocols.landing import LANDED_CORRUPT, LANDED_FILE, LANDED_ORDER, LANDED_RESCUED, AutoLoader

# What Auto Loader adds to the rescued columns.
_FILE_PATH = "_file_path"


class Landing(Protocol):
    """Where a source's files land."""

    def files(self) -> list[Path]:
        """Return the files, by the time they became available, then by name.

        Raises:
            StageError: If they cannot be found.
        """
        ...

    def read(self, path: Path) -> LandedFile:
        """Return what a file held.

        Raises:
            StageError: If it cannot be read.
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
        return FolderLanding(source, folder)
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

    def __init__(self, source: Source, landing: Path) -> None:
        """Take the source and its folder."""
        self._source, self._landing = source, landing

    def files(self) -> list[Path]:
        """Return the files in the folder."""
        return self._source.landed(self._landing)

    def read(self, path: Path) -> LandedFile:
        """Read a file."""
        return read_landed_file(path, self._source)

    def forget(self, paths: Sequence[Path]) -> None:
        """Do nothing: bronze knows which files it has."""

    def bring_all_again(self) -> None:
        """Do nothing: the files are still where they landed."""


class AutoLoaderLanding:
    """Reads what Auto Loader landed in the table `landed_<source>`, which holds only files still waiting."""

    def __init__(self, context: StageContext, source: Source, landing: Path, loader: AutoLoader) -> None:
        """Take the source and its folder."""
        self._context, self._source, self._landing, self._loader = context, source, landing, loader
        self._table: ObjectName = context.namespace.table(f"landed_{source.name}")
        self._paths: dict[Path, str] = {}

    def files(self) -> list[Path]:
        """Let Auto Loader fetch new files, and return all that wait to be ingested."""
        self._loader.land(self._landing, self._source.files, columns=self._source.columns, into=self._table)
        waiting = (
            self._context.ws.tables.to_arrow(self._table, at_most=10**9, columns=[LANDED_FILE])
            .column(LANDED_FILE)
            .unique()
        )
        self._paths = {self._path(text): text for text in cast("list[str]", waiting.to_pylist())}
        return sorted(self._paths, key=lambda path: (self._source.available_at(path), path.name))

    def read(self, path: Path) -> LandedFile:
        """Return a file's rows in their order."""
        filters = [(LANDED_FILE, "=", self._paths[path])]
        rows = self._context.ws.tables.to_arrow(self._table, at_most=10**9, filters=filters).sort_by(LANDED_ORDER)
        bad = pc.is_valid(rows.column(LANDED_CORRUPT))
        malformed = cast("list[str]", rows.filter(bad).column(LANDED_CORRUPT).to_pylist())
        good = rows.filter(pc.invert(bad))
        rescued = [self._rescued(text) for text in good.column(LANDED_RESCUED).to_pylist()]
        added = sorted({column for row in rescued for column in row})
        texts = [json.dumps(row, ensure_ascii=False) if row else None for row in rescued]
        return LandedFile(
            rows=good.select(list(self._source.columns)).append_column(RESCUED, pa.array(texts, pa.string())),
            malformed=[(text, "Auto Loader could not parse it") for text in malformed],
            added_columns=added,
        )

    def forget(self, paths: Sequence[Path]) -> None:
        """Remove the rows that bronze has."""
        self._loader.forget(self._table, [self._paths[path] for path in paths])

    def bring_all_again(self) -> None:
        """Let Auto Loader start over: its checkpoint belongs to the table that it lands files in."""
        if self._context.ws.tables.exists(self._table):
            self._context.ws.tables.drop(self._table)

    def _path(self, text: str) -> Path:
        # Spark writes `file:/a/b%20c`, `dbfs:/Volumes/...` or the bare path; below the landing folder they are alike.
        path, folder = unquote(text), f"{self._landing.as_posix().rstrip('/')}/"
        _, separator, relative = path.partition(folder)
        if not separator:
            raise StageError(f"{text} is not below {self._landing}.", hint="Set 'landing' as the volume's own path.")
        return self._landing / relative

    @staticmethod
    def _rescued(text: str | None) -> dict[str, str]:
        return {key: value for key, value in json.loads(text or "{}").items() if key != _FILE_PATH}
