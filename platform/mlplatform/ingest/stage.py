"""Ingest: each landed file that was available by `as_of` becomes rows of its bronze table, exactly once."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import narwhals as nw

from mlplatform.errors import StageError
from mlplatform.ingest.again import check_named, named, take_again, was_interrupted
from mlplatform.ingest.delivery import DueFile, FileCounts, FileDelivery
from mlplatform.ingest.landing import FolderLanding, Landing, dealt_out, open_landing
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, held_files
from mlplatform.ingest.quarantine import LargeQuarantine, QuarantineDetails, quarantine_schema
from mlplatform.ingest.reading import reading_of, told
from mlplatform.ingest.seen import Seen, looked_at, now_seen
from mlplatform.ingest.source import Source, shown_path
from mlplatform.ingest.stamp import Stamp
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.declared_table import declare, sentences
from mlplatform.ops.kept import KeptParts, nothing
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage import Stage
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.tables import Widening

NAME = "ingest"
_SHOWN = 3


class IngestDetails(QuarantineDetails):
    """What an ingestion says of itself.

    Attributes:
        changed_after_ingestion: Files whose content is another one than when they were ingested.
        schema_changed: File -> columns of its header that the source does not declare.
        taken_again: File whose rows were replaced -> digest of what it held.
        seen: Bronze table -> what was seen of the files that hold what it took.
        read_as: Bronze table -> how files became cells: delimiter, encoding, whether values go over several lines.
    """

    internal: ClassVar[frozenset[str]] = QuarantineDetails.internal | {"taken_again", "seen", "read_as"}

    changed_after_ingestion: Sequence[str] = ()
    schema_changed: Mapping[str, Sequence[str]] = {}
    taken_again: Mapping[str, str] = {}
    seen: Mapping[str, Seen] = {}
    read_as: Mapping[str, Mapping[str, str]] = {}


@dataclass(frozen=True)
class Ingest(Stage[IngestDetails]):
    """Landed files become bronze rows.

    Attributes:
        sources: The sources.
        landing: The folder where files land.
        refined_into: Source -> names of the silver tables that are made from it: what they hold cannot be made again
            without its files.
        kept: Gives what is ingested on as earlier code declares it, for models in use.
        again: Files that are taken once more, whatever is on record of them: as the platform names them, or by path.
    """

    name: ClassVar[str] = NAME

    sources: tuple[type[Source], ...]
    landing: Path
    refined_into: Mapping[type[Source], tuple[str, ...]] = field(default_factory=dict)
    kept: KeptParts = nothing
    again: tuple[str, ...] = ()

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
            UsageError: If no source has a file that is to be taken again.
        """
        result = StageResult(details=IngestDetails(), rows_in=0, rows_out=0, rows_quarantined=0)
        if self.again:
            files = [
                file
                for source in self.sources
                for file in _Ingestion(context, source(), self.landing, (), result).listed()
            ]
            check_named(self.again, named(self.again, files), (file.name for file in files))
        for source in self.sources:
            _Ingestion(context, source(), self.landing, self.refined_into.get(source, ()), result).run(self.again)
        for kept in self.kept(context):
            with kept.installed():
                for source in kept.sources:
                    into = tuple(table.name for table in kept.silver if table.source is source)
                    _Ingestion(kept.context, source(), self.landing, into, result).run(self.again)
        if not result.rows_in and not result.details.shown():
            result.skipped = "no new file"
        return result


def read_otherwise(context: StageContext, source: Source) -> str:
    """Return a sentence where the files of a source that were taken last became cells in another way; else nothing."""
    bronze = context.namespace.bronze(source.name)
    run = markers.last(context, NAME, bronze, IngestDetails)
    # At its first version a table holds nothing: no file was read in any way.
    taken = run is not None and bool(run.result.outputs.get(str(bronze)))
    before = run.details.read_as.get(str(bronze), {}) if run is not None and taken else {}
    return told(bronze, before, reading_of(source), context.name)


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

    def listed(self) -> list[DueFile]:
        """Return the files in the folder that could be known by the time of the run, whatever is on record of them."""
        return self._known(self._source.landed(self._folder))

    def run(self, again: Sequence[str] = ()) -> None:
        """Ingest the files that are due, and those that are to be taken again."""
        context, tables = self._context, self._context.ws.tables
        bronze_lost = markers.lost(context, NAME, self._bronze)
        quarantine_lost = markers.lost(context, NAME, self._quarantine)
        first = markers.last(context, NAME, self._bronze, Details) is None and not tables.version(self._bronze)
        if bronze_lost or quarantine_lost or first:
            # What a landing remembers having brought is about the table that it brought it to.
            self._landing.bring_all_again()
        before = now_seen(utc_now())
        self._say_reading()
        due = self._due(self._landing)
        once_more = list(named(again, self.listed()).values()) if again else []
        names = {file.name for file in once_more}
        changed = [file.name for file in due if file.ingested and not file.unchanged and file.name not in names]
        if changed:
            self._say_changed(changed)
        if not once_more and was_interrupted(context.ws, self._bronze, self._quarantine):
            self._result.details.note(
                f"A process died that was taking a file of {self._bronze.name} again: {self._quarantine.name} holds "
                f"what is malformed in it now, {self._bronze.name} its earlier rows. Take it again once more: "
                f"mlplatform ingest {context.name} --again FILE"
            )
        # A table that was put back lacks files that it takes for ingested all the same.
        lacking = {file.name for file in due} - self._files_in_bronze() if bronze_lost else set()
        wanted = [file for file in due if not file.ingested or file.name in lacking]
        self._ingest(wanted)
        if once_more:
            new = {file.name for file in wanted if not file.ingested}
            self._take_again([file for file in once_more if file.name not in new])
        if quarantine_lost:
            taken_now = {file.name for file in wanted}
            self._refill_quarantine([file for file in due if file.name not in taken_now])
        self._landing.forget([file.path for file in due])
        if bronze_lost:
            self._say_lost(len(wanted))
        others = set(changed)
        seen = Seen.of((file for file in due if file.name not in others), before)
        self._result.details.seen = {**self._result.details.seen, str(self._bronze): seen}
        markers.keep(context, self._result, self._bronze)
        markers.keep(context, self._result, self._quarantine)

    def _say_reading(self) -> None:
        """Keep how files are read, and say if files that were taken before were read otherwise."""
        details = self._result.details
        if text := read_otherwise(self._context, self._source):
            details.note(text)
        details.read_as = {**details.read_as, str(self._bronze): reading_of(self._source)}

    def _due(self, landing: Landing) -> list[DueFile]:
        files = self._known(landing.files())
        committed = self._context.ws.tables.committed
        taken = committed(self._bronze, [file.transaction for file in files])
        files = [replace(file, ingested=done) for file, done in zip(files, taken, strict=True)]
        unread = self._looked_at_before(files)
        # Files that nobody touched since are not read: a step costs what is new.
        files = [
            replace(file, unchanged=True)
            if file.ingested and unread(file)
            else replace(file, content=digest(file.path))
            for file in files
        ]
        known = [file for file in files if file.content]
        same = committed(self._bronze, [file.transaction_of_content for file in known])
        newest = self._taken_again()
        unchanged = {
            file.name
            for file, is_same in zip(known, same, strict=True)
            if (newest[file.name] == file.content if file.name in newest else is_same)
        }
        return [replace(file, unchanged=file.unchanged or file.name in unchanged) for file in files]

    def _known(self, paths: Sequence[Path]) -> list[DueFile]:
        """Return the files that could be known by the time of the run.

        Raises:
            StageError: If two of them cannot be told apart by name.
        """
        moments = ((path, self._source.available_at(path)) for path in paths)
        files = [
            DueFile(path, shown_path(path.relative_to(self._folder).as_posix()), moment, stamp=Stamp.of(path))
            for path, moment in moments
            if moment <= self._context.as_of
        ]
        seen: dict[str, Path] = {}
        for file in files:
            if seen.setdefault(file.name, file.path) != file.path:
                raise StageError(
                    f"Two files in {shown_path(self._folder)} are both called {file.name}, for the name of one is not "
                    "UTF-8.",
                    hint="Rename one of them.",
                )
        return files

    def _taken_again(self) -> dict[str, str]:
        """Return what files held when they were taken again last: file -> digest.

        What bronze has ever taken of a file is on record in its log, in no order: a file that is again what it was at
        first would pass for unchanged.
        """
        taken: dict[str, str] = {}
        for record in self._context.log.records(NAME):
            if str(self._bronze) in record.outputs:
                taken |= record.details.get("taken_again") or {}
        return taken

    def _take_again(self, files: list[DueFile]) -> None:
        context, details = self._context, self._result.details
        files = [replace(file, content=digest(file.path)) for file in files]
        landing = FolderLanding(self._source, self._folder, context.ws.frames)
        for delivery, before in take_again(context, self._bronze, self._quarantine, landing, files):
            context.progress(f"{self._bronze.name}: {len(delivery.files)} file(s) again")
            for item in delivery.files:
                # Its rows came in before, and were counted then.
                self._say_large(item)
                name = item.file.name
                details.taken_again = {**details.taken_again, name: item.file.content}
                held = before[name].rows if name in before else 0
                details.note(
                    f"{name} was taken again: {self._bronze.name} holds {item.rows} row(s) of it instead of {held}. "
                    "Silver, gold and feature tables follow with the next refine and features; models that were "
                    "trained and predictions that were made before stay as they are."
                )

    def _say_changed(self, changed: list[str]) -> None:
        """Say which files changed after they were taken, and how to take them again."""
        details, name = self._result.details, self._context.name
        details.changed_after_ingestion = [*details.changed_after_ingestion, *changed]
        shown = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
        details.note(
            f"{len(changed)} file(s) changed after {self._bronze.name} took them, which holds what they were: {shown}. "
            f"To take one again: mlplatform ingest {name} --again {shlex.quote(changed[0])}"
        )

    def _looked_at_before(self, files: list[DueFile]) -> Callable[[DueFile], bool]:
        """Return what tells whether the last run saw a file as it is now, and found it unchanged."""
        run = markers.last(self._context, NAME, self._bronze, IngestDetails)
        if run is None:
            return lambda _: False
        return looked_at(
            files,
            as_of=run.as_of,
            started_at=run.started_at,
            changed=run.details.changed_after_ingestion,
            seen=run.details.seen.get(str(self._bronze)),
        )

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
                marks = [mark for file in new for mark in file.marks]
                context.progress(f"{self._bronze.name}: {len(delivery.files)} file(s)")
                written = context.ws.tables.append(self._bronze, delivery.rows, transactions=marks)
                if written.skipped:
                    continue  # another run took these files meanwhile, and counts them
                for item in delivery.files:
                    self._count(item)
                    if item.added_columns:
                        changed = {**result.details.schema_changed, item.file.name: list(item.added_columns)}
                        result.details.schema_changed = changed

    def _count(self, item: FileCounts) -> None:
        """Add what a file held to the result, and say aloud if much of it was quarantined."""
        result = self._result
        self._say_large(item)
        result.rows_in = (result.rows_in or 0) + item.rows + item.quarantined
        result.rows_out = (result.rows_out or 0) + item.rows
        result.rows_quarantined = (result.rows_quarantined or 0) + item.quarantined

    def _say_large(self, item: FileCounts) -> None:
        if item.malformed:
            name = item.file.name
            reasons = {(name, reason): number for reason, number in item.malformed.items()}
            large = LargeQuarantine.find(self._quarantine.name, {name: item.rows + item.quarantined}, reasons)
            self._result.details.say_large(large, self._context.name)

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


def digest(path: Path) -> str:
    """Return a digest of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
