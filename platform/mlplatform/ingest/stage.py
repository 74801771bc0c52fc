"""Ingest: each landed file that was available by `as_of` becomes rows of its bronze table, exactly once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import narwhals as nw

from mlplatform.ingest.delivery import DueFile, FileCounts, FileDelivery
from mlplatform.ingest.landing import Landing, dealt_out, open_landing
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, held_files
from mlplatform.ingest.quarantine import LargeQuarantine, QuarantineDetails, quarantine_schema
from mlplatform.ingest.source import Source
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.declared_table import declare, sentences
from mlplatform.ops.kept import KeptParts, nothing
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage import Stage
from mlplatform.protocols.tables import Widening

NAME = "ingest"


class IngestDetails(QuarantineDetails):
    """What an ingestion says of itself.

    Attributes:
        changed_after_ingestion: Files whose content is another one than when they were ingested.
        schema_changed: File -> columns of its header that the source does not declare.
        looked_at: Bronze table -> month of becoming available -> digest of what the file system said of its files.
    """

    internal: ClassVar[frozenset[str]] = QuarantineDetails.internal | {"looked_at"}

    changed_after_ingestion: Sequence[str] = ()
    schema_changed: Mapping[str, Sequence[str]] = {}
    looked_at: Mapping[str, Mapping[str, str]] = {}


@dataclass(frozen=True)
class Ingest(Stage[IngestDetails]):
    """Landed files become bronze rows.

    Attributes:
        sources: The sources.
        landing: The folder where files land.
        refined_into: Source -> names of the silver tables that are made from it: what they hold cannot be made again
            without its files.
        kept: Gives what is ingested on as earlier code declares it, for models in use.
    """

    name: ClassVar[str] = NAME

    sources: tuple[type[Source], ...]
    landing: Path
    refined_into: Mapping[type[Source], tuple[str, ...]] = field(default_factory=dict)
    kept: KeptParts = nothing

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
        for kept in self.kept(context):
            with kept.installed():
                for source in kept.sources:
                    into = tuple(table.name for table in kept.silver if table.source is source)
                    _Ingestion(kept.context, source(), self.landing, into, result).run()
        if not result.rows_in and not result.details.shown():
            result.skipped = "no new file"
        return result


def _create(context: StageContext, source: Source) -> tuple[ObjectName, ObjectName, Widening]:
    ws, namespace = context.ws, context.namespace
    bronze, quarantine = namespace.bronze(source.name), namespace.quarantine(source.name)
    change = declare(ws, bronze, source.bronze_schema(), description=source.description)
    declare(ws, quarantine, quarantine_schema(), description=f"Rows of {source.name} that could not go on")
    return bronze, quarantine, change


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
        self._bronze, self._quarantine, change = _create(context, source)
        for text in sentences(self._bronze, change) if change else ():
            result.details.note(text)
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
        wanted = [file for file in due if not file.ingested or file.name in lacking]
        self._ingest(wanted)
        if quarantine_lost:
            self._refill_quarantine([file for file in due if file not in wanted])
        self._landing.forget([file.path for file in due])
        if bronze_lost:
            self._say_lost(len(wanted))
        details = self._result.details
        details.looked_at = {**details.looked_at, self._bronze.name: _states(due)}
        markers.keep(context, self._result, self._bronze)
        markers.keep(context, self._result, self._quarantine)

    def _due(self, landing: Landing) -> list[DueFile]:
        files = [
            DueFile(path, path.relative_to(self._folder).as_posix(), moment)
            for path, moment in ((path, self._source.available_at(path)) for path in landing.files())
            if moment <= self._context.as_of
        ]
        committed = self._context.ws.tables.committed
        taken = committed(self._bronze, [file.transaction for file in files])
        files = [replace(file, ingested=done) for file, done in zip(files, taken, strict=True)]
        files = [replace(file, state=_state(file.path)) for file in files]
        seen = self._looked_at_before(files)
        # Files that nobody touched since are not read: a step costs what is new.
        files = [
            replace(file, unchanged=True) if file.name in seen else replace(file, content=digest(file.path))
            for file in files
        ]
        known = [file for file in files if file.content]
        same = committed(self._bronze, [file.transaction_of_content for file in known])
        unchanged = {file.name for file, is_same in zip(known, same, strict=True) if is_same}
        return [replace(file, unchanged=file.unchanged or file.name in unchanged) for file in files]

    def _looked_at_before(self, files: Sequence[DueFile]) -> set[str]:
        """Return the names of files that the last run saw as they are now, and found unchanged.

        By what the file system says of a month's files, not by comparing times: a clock that was set back would let a
        file that changed pass for one that was looked at.
        """
        run = markers.last(self._context, NAME, self._bronze, IngestDetails)
        if run is None:
            return set()
        then = [file for file in files if file.ingested and file.available_at <= run.as_of]
        recorded = run.details.looked_at.get(self._bronze.name, {})
        same = {month for month, digest in _states(then).items() if recorded.get(month) == digest}
        changed = set(run.details.changed_after_ingestion)
        return {file.name for file in then if _month(file) in same and file.name not in changed}

    def _ingest(self, files: list[DueFile]) -> None:
        """Take files' rows; malformed lines are written first, for bronze's commit is what marks a file as done.

        Raises:
            StageError: If a file cannot be read; those before it stay ingested.
        """
        context, result = self._context, self._result
        with closing(self._landing.deliveries(files)) as deliveries:
            for delivery in deliveries:
                self._put_in_quarantine(delivery)
                new = [item.file for item in delivery.files if not item.file.ingested]
                marks = [mark for file in new for mark in (file.transaction, file.transaction_of_content)]
                context.progress(f"{self._bronze.name}: {len(delivery.files)} file(s)")
                context.ws.tables.append(self._bronze, delivery.rows, transactions=marks)
                for item in delivery.files:
                    self._count(item)
                    if item.added_columns:
                        changed = {**result.details.schema_changed, item.file.name: list(item.added_columns)}
                        result.details.schema_changed = changed

    def _count(self, item: FileCounts) -> None:
        """Add what a file held to the result, and say aloud if much of it was quarantined."""
        result, name = self._result, item.file.name
        if item.malformed:
            reasons = {(name, reason): number for reason, number in item.malformed.items()}
            size = {name: item.rows + item.quarantined}
            large = LargeQuarantine.find(self._quarantine.name, size, reasons)
            result.details.say_large(large, self._context.name)
        result.rows_in = (result.rows_in or 0) + item.rows + item.quarantined
        result.rows_out = (result.rows_out or 0) + item.rows
        result.rows_quarantined = (result.rows_quarantined or 0) + item.quarantined

    def _put_in_quarantine(self, delivery: FileDelivery) -> int:
        """Write the malformed lines of files of which the quarantine has none; return how many."""
        tables, frames = self._context.ws.tables, self._context.ws.frames
        soiled = [item for item in delivery.files if item.malformed]
        done = tables.committed(self._quarantine, [item.file.transaction for item in soiled])
        new = [item for item, is_taken in zip(soiled, done, strict=True) if not is_taken]
        if new:
            rows = delivery.malformed
            if len(new) < len(soiled):
                rows = frames.of(rows).filter(nw.col(FILE).is_in([item.file.name for item in new]))
            tables.append(self._quarantine, rows, transactions=[item.file.transaction for item in new])
        return sum(item.quarantined for item in new)

    def _refill_quarantine(self, files: list[DueFile]) -> None:
        """Put files' malformed lines into a quarantine that lost them."""
        with closing(self._landing.deliveries(files)) as deliveries:
            count = sum(self._put_in_quarantine(delivery) for delivery in deliveries)
        if count:
            self._result.details.note(f"{self._quarantine.name} was gone: {count} malformed line(s) are in it again.")

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


def _states(files: Sequence[DueFile]) -> dict[str, str]:
    """Return month -> digest of what the file system said of the files that became available in it."""
    months: dict[str, list[str]] = {}
    for file in files:
        months.setdefault(_month(file), []).append(f"{file.name}:{file.state}")
    return {
        month: hashlib.sha256("\n".join(sorted(states)).encode()).hexdigest()[:16]
        for month, states in sorted(months.items())
    }


def _month(file: DueFile) -> str:
    return f"{file.available_at:%Y-%m}"


def _state(path: Path) -> str:
    """Return what the file system says of a file; its time of change, unlike that of its content, cannot be set."""
    state = path.stat()
    return f"{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}"


def digest(path: Path) -> str:
    """Return a digest of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
