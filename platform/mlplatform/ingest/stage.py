"""Ingest: each landed file that was available by `as_of` becomes rows of its bronze table, exactly once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mlplatform.ingest.bronze import BronzeWriter, bronze_rows, malformed_rows
from mlplatform.ingest.landing import Landing, dealt_out, open_landing
from mlplatform.ingest.provenance import AVAILABLE_AT, held_files
from mlplatform.ingest.quarantine import REASON, LargeQuarantine, QuarantineDetails, quarantine_schema
from mlplatform.ingest.source import Source
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage import Stage
from mlplatform.protocols.tables import Transaction

NAME = "ingest"


class IngestDetails(QuarantineDetails):
    """What an ingestion says of itself.

    Attributes:
        changed_after_ingestion: Files whose content is another one than when they were ingested.
        schema_changed: File -> columns of its header that the source does not declare.
    """

    changed_after_ingestion: Sequence[str] = ()
    schema_changed: Mapping[str, Sequence[str]] = {}


@dataclass(frozen=True)
class Ingest(Stage[IngestDetails]):
    """Landed files become bronze rows.

    Attributes:
        sources: The sources.
        landing: The folder where files land.
        refined_into: Source -> names of the silver tables that are made from it: what they hold cannot be made again
            without its files.
    """

    name: ClassVar[str] = NAME

    sources: tuple[type[Source], ...]
    landing: Path
    refined_into: Mapping[type[Source], tuple[str, ...]] = field(default_factory=dict)

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the bronze tables and their quarantines."""
        return tuple(table(source.name) for source in self.sources for table in (names.bronze, names.quarantine))

    def create_tables(self, context: StageContext) -> None:
        """Create the bronze and quarantine tables of all sources if they do not exist."""
        for source in self.sources:
            _create(context, source())

    def run(self, context: StageContext) -> StageResult[IngestDetails]:
        """Ingest all sources.

        Raises:
            StageError: If a landed file cannot be read or lacks columns; files before it stay ingested.
        """
        result = StageResult(details=IngestDetails(), rows_in=0, rows_out=0, rows_quarantined=0)
        for source in self.sources:
            _Ingestion(context, source(), self.landing, self.refined_into.get(source, ()), result).run()
        if not result.rows_in and not result.details.shown():
            result.skipped = "no new file"
        return result


def _create(context: StageContext, source: Source) -> tuple[ObjectName, ObjectName]:
    tables, namespace = context.ws.tables, context.namespace
    bronze, quarantine = namespace.bronze(source.name), namespace.quarantine(source.name)
    tables.create(bronze, source.bronze_schema(), description=source.description)
    tables.create(quarantine, quarantine_schema(), description=f"Rows of {source.name} that could not go on")
    return bronze, quarantine


@dataclass(frozen=True)
class _Due:
    """A landed file that was available by the time of the run.

    Attributes:
        path: The file.
        name: The same, below the landing folder.
        content: Digest of what it holds.
        ingested: Whether bronze has taken it.
        unchanged: Whether bronze has taken it with this very content.
    """

    path: Path
    name: str
    content: str
    ingested: bool = False
    unchanged: bool = False

    @property
    def transaction(self) -> Transaction:
        """Marks the file as ingested, whatever it holds."""
        return Transaction(f"ingest:{self.name}")

    @property
    def transaction_of_content(self) -> Transaction:
        """Marks the file as ingested with this content."""
        return Transaction(f"ingest:{self.name}:{self.content}")


class _Ingestion:
    """Brings one source's bronze table up to the time of a run."""

    def __init__(
        self,
        context: StageContext,
        source: Source,
        landing: Path,
        refined_into: tuple[str, ...],
        result: StageResult[IngestDetails],
    ) -> None:
        self._context, self._source, self._refined_into, self._result = context, source, refined_into, result
        self._bronze, self._quarantine = _create(context, source)
        self._folder = dealt_out(context, source, landing)
        self._landing = open_landing(context, source, self._folder)

    def run(self) -> None:
        """Ingest the files that are due."""
        context, tables = self._context, self._context.ws.tables
        bronze_lost = markers.lost(context, NAME, self._bronze)
        quarantine_lost = markers.lost(context, NAME, self._quarantine)
        first = markers.last(context, NAME, self._bronze, Details) is None and not tables.version(self._bronze)
        if bronze_lost or quarantine_lost or first:
            # What a landing remembers having brought is about the table that it brought it to.
            self._landing.bring_all_again()
        due = self._due(self._landing)
        changed = [file.name for file in due if file.ingested and not file.unchanged]
        if changed:
            details = self._result.details
            details.changed_after_ingestion = [*details.changed_after_ingestion, *changed]
        # A table that was put back lacks files that it takes for ingested all the same.
        lacking = {file.name for file in due} - self._files_in_bronze() if bronze_lost else set()
        refilled = 0
        writer = BronzeWriter(context, self._bronze)
        try:
            for file in due:
                if not file.ingested or file.name in lacking:
                    self._ingest(file, writer)
                elif quarantine_lost:
                    refilled += self._refill_quarantine(file)
        finally:
            # Also when a file cannot be read: those before it stay ingested.
            writer.commit()
        self._landing.forget([file.path for file in due])
        if bronze_lost:
            self._say_lost(sum(not file.ingested or file.name in lacking for file in due))
        if quarantine_lost and refilled:
            self._result.details.note(
                f"{self._quarantine.name} was gone: {refilled} malformed line(s) are in it again."
            )
        markers.keep(context, self._result, self._bronze)
        markers.keep(context, self._result, self._quarantine)

    def _due(self, landing: Landing) -> list[_Due]:
        paths = [path for path in landing.files() if self._source.available_at(path) <= self._context.as_of]
        files = [_Due(path, path.relative_to(self._folder).as_posix(), _digest(path)) for path in paths]
        committed = self._context.ws.tables.committed
        ingested = committed(self._bronze, [file.transaction for file in files])
        unchanged = committed(self._bronze, [file.transaction_of_content for file in files])
        return [
            _Due(file.path, file.name, file.content, taken, same)
            for file, taken, same in zip(files, ingested, unchanged, strict=True)
        ]

    def _ingest(self, file: _Due, writer: BronzeWriter) -> None:
        """Take a file's rows; its malformed lines are written first, for bronze's commit is what marks it as done."""
        available_at, result = self._source.available_at(file.path), self._result
        landed = self._landing.read(file.path)
        if landed.added_columns:
            result.details.schema_changed = {**result.details.schema_changed, file.name: landed.added_columns}
        rows, malformed = (make(landed, file.name, available_at) for make in (bronze_rows, malformed_rows))
        if malformed.num_rows:
            self._context.ws.tables.append(self._quarantine, malformed, transactions=[file.transaction])
            reasons = Counter((file.name, str(reason)) for reason in malformed.column(REASON).to_pylist())
            size = {file.name: rows.num_rows + malformed.num_rows}
            large = LargeQuarantine.find(self._quarantine.name, size, reasons)
            result.details.say_large(large, self._context.name)
        writer.add(rows, () if file.ingested else (file.transaction, file.transaction_of_content))
        result.rows_in = (result.rows_in or 0) + rows.num_rows + malformed.num_rows
        result.rows_out = (result.rows_out or 0) + rows.num_rows
        result.rows_quarantined = (result.rows_quarantined or 0) + malformed.num_rows

    def _refill_quarantine(self, file: _Due) -> int:
        """Put a file's malformed lines into a quarantine that lost them; return how many."""
        malformed = malformed_rows(self._landing.read(file.path), file.name, self._source.available_at(file.path))
        if malformed.num_rows:
            self._context.ws.tables.append(self._quarantine, malformed, transactions=[file.transaction])
        return int(malformed.num_rows)

    def _files_in_bronze(self) -> set[str]:
        return set(held_files(self._context.ws.frames, self._bronze))

    def _say_lost(self, count: int) -> None:
        """Say how many files were ingested again into a table that was gone, and what can no longer be."""
        tables, bronze = self._context.ws.tables, self._files_in_bronze()
        missing = 0
        for silver in map(self._context.namespace.silver, self._refined_into):
            if tables.exists(silver):
                filters = [(AVAILABLE_AT, "<=", self._context.as_of)]
                held = held_files(self._context.ws.frames, silver, filters=filters)
                missing = max(missing, len(set(held) - bronze))
        text = f"{self._bronze.name} was gone, or another table lay in its place: {count} file(s) were ingested again."
        if missing:
            text += (
                f" {missing} file(s) whose rows silver holds are no longer where files land: silver keeps these rows, "
                "and could not be made again without them. Put the files back."
            )
        self._result.details.note(text)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
