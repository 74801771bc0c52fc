"""Bringing one silver table up to a run's time: new files, or all of them where what was refined holds no more."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import narwhals as nw

from mlplatform.code_digest import has_changed
from mlplatform.errors import StageError
from mlplatform.ingest.again import taken_again_since
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, MOST_FILES, ROW, HeldFile, held_files
from mlplatform.ingest.quarantine import MALFORMED, REASON, LargeQuarantine, quarantine_schema
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.declared_table import declare, sentences, to_compute, with_unwritten
from mlplatform.ops.result import StageResult
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Transaction, Widening
from mlplatform.refine.details import RefineDetails, RefinedMarker
from mlplatform.refine.fates import FateCounts, Fates, as_duplicates, fates
from mlplatform.refine.landed_rows import LandedRows
from mlplatform.refine.silver import BATCH, CORRECTED_AT, SilverTable

NAME = "refine"
_SHOWN = 3
_HELD_BATCH, _HELD_CORRECTED_AT, _HELD_TIME = "__held_batch", "__held_corrected_at", "__held_time"


def tables_of(silver: type[SilverTable], names: Namespace) -> tuple[ObjectName, ObjectName]:
    """Return a silver table and its quarantine."""
    return names.silver(silver.name), names.silver_quarantine(silver.name)


def create_silver(context: StageContext, silver: SilverTable) -> Widening:
    """Create a silver table and its quarantine, or make them as wide as declared; return what changed about silver."""
    target, quarantine = tables_of(type(silver), context.namespace)
    change = declare(
        context.ws,
        target,
        silver.schema(),
        primary_keys=silver.row_keys,
        timeseries_column=silver.known_at,
        description=silver.description,
    )
    description = f"Rows of {silver.name} that could not go on"
    declare(context.ws, quarantine, quarantine_schema(), description=description)
    return change


@dataclass(frozen=True)
class _Files:
    """The files of a bronze table, from a silver table's side.

    Attributes:
        held: File -> what bronze holds of it, of those known by the time of the run, and those refined at a later one.
        waiting: Files that have not been refined.
        refined: Files that have.
    """

    held: dict[str, HeldFile]
    waiting: list[str]
    refined: list[str]

    @property
    def sizes(self) -> dict[str, int]:
        """File -> its rows."""
        return {name: file.rows for name, file in self.held.items()}

    def after_the_first_waiting(self) -> list[str]:
        """Return the refined files that were known after one that waits: it came late."""

        def place(name: str) -> tuple[datetime, str]:
            return self.held[name].available_at, name

        first = min(map(place, self.waiting), default=None)
        return [name for name in self.refined if first is not None and place(name) > first]

    @property
    def all(self) -> list[str]:
        """All of them."""
        return sorted([*self.waiting, *self.refined])


class SilverRefining:
    """Refines one silver table in one run.

    A file is refined once, by its mark in Delta's log. A table that was lost, or was refined by another declaration, is
    refined again whole: its rows are replaced in one commit, so that readers see either all old rows or all new ones.

    Where the table keeps corrections, what a row is depends on those before it alone. So of a file that comes late, it
    and those known after it are refined, as if they had come in order.
    """

    def __init__(
        self,
        context: StageContext,
        silver: SilverTable,
        result: StageResult[RefineDetails],
        *,
        whole: bool = False,
    ) -> None:
        """Look at what exists; nothing is written but tables that do not, and columns that are new.

        Args:
            context: The run.
            silver: The silver table's declaration.
            result: What the stage did so far; added to.
            whole: Refine all files again, whatever is on record.
        """
        self._context, self._silver, self._result = context, silver, result
        self._tables, self._frames = context.ws.tables, context.ws.frames
        self._target, self._quarantine = tables_of(type(silver), context.namespace)
        self._widening = create_silver(context, silver)
        self._digest = silver.digest()
        # Looked at before anything is written: what is there now is what the last run left, or it is not.
        self._lost = markers.lost(context, NAME, self._target)
        self._quarantine_lost = markers.lost(context, NAME, self._quarantine)
        run = markers.last(context, NAME, self._target, RefineDetails)
        self._marker = run.details.refined.get(self._target.name) if run is not None else None
        self._largest: int = self._tables.largest(self._target, BATCH) or 0
        self._changed = to_compute(self._widening) or self._refined_otherwise()
        # By what a run refined that did not come to its record, nobody knows.
        self._unrecorded = run is None
        self._asked_for = whole
        self._moved = False
        self._bronze = context.namespace.bronze(silver.source.name)
        self._version = self._tables.version(self._bronze)
        seen = run.result.inputs.get(str(self._bronze)) if run is not None else None
        self._retaken = seen is not None and taken_again_since(context.ws, self._bronze, seen)
        anew = self._lost or self._changed or self._retaken
        self._whole = whole or anew or (self._unrecorded and self._largest > 0)

    def run(self) -> None:
        """Refine what waits, and all where it must be.

        Raises:
            StageError: If the SQL cannot be computed, or all is to be refined again and files are no longer in bronze.
        """
        # Of several tables that read it, the first may have seen less.
        self._result.inputs.setdefault(str(self._bronze), self._version)
        files = self._files()
        if self._quarantine_lost and not self._whole:
            self._refill_quarantine(files.refined)
        again = files.after_the_first_waiting() if self._silver.corrections and not self._whole else []
        pending = files.all if self._whole else sorted([*files.waiting, *again])
        if pending:
            self._context.progress(f"{self._target.name}: {len(pending)} file(s)")
            with fates(self._landed(pending), beside=pending) as rows:
                self._check_none_is_missing(rows.counts, sum(files.sizes[name] for name in pending))
                if again and self._moves_records(rows.good, again):
                    # What was computed of a record at the time that it had is to go: all is computed anew.
                    self._moved = self._whole = True
                    self.run()
                    return
                written = True
                if self._whole:
                    self._replace(rows, pending, files.waiting)
                else:
                    written = self._add(rows, files.waiting, again)
            if self._whole:
                self._say_whole(rows.counts, pending)
            if again:
                self._result.details.note(
                    f"{self._target.name}: {len(files.waiting)} file(s) came late: {len(again)} that were known after "
                    "the first of them were refined again, for what corrects what to hold."
                )
            # What is refined again has come in before, and was counted then.
            counts = FateCounts.sum(rows.by_file[name] for name in rows.by_file.keys() - set(again))
            self._say_large(counts, files)
            if written:  # else another run refined these files meanwhile, and counts them
                self._count(counts)
            if again:
                details = self._result.details
                details.again = {**details.again, self._target.name: rows.counts.rows - counts.rows}
        details = self._result.details
        batch = self._tables.largest(self._target, BATCH) or 0 if pending else self._largest
        marker = RefinedMarker(code=self._digest, batch=batch, newest=max(batch, self._newest()))
        details.refined = {**details.refined, self._target.name: marker}
        markers.keep(self._context, self._result, self._target)
        markers.keep(self._context, self._result, self._quarantine)

    def _refined_otherwise(self) -> bool:
        """Tell whether rows were refined by another declaration, also in a run that was killed before its record."""
        marker = self._marker
        if marker is None:
            return False
        if has_changed(marker.code, self._digest):
            return True
        if self._lost or 0 < self._largest <= marker.batch:
            return False
        if self._tables.largest(self._target, BATCH, filters=[(BATCH, "<=", marker.batch)]) is not None:
            return False
        # No row is left of what the record is about: all was replaced since, by whatever declaration.
        return marker.batch > 0 or self._largest > 0

    def _newest(self) -> int:
        """Return the highest batch number so far; a table that was put back, or emptied, holds lower ones."""
        if self._unrecorded:
            return 0  # nothing on record was computed from its batches: they are numbered as if there had been none
        recorded = max(self._marker.batch, self._marker.newest) if self._marker is not None else 0
        return max(self._largest, recorded)

    def _files(self) -> _Files:
        # Nothing may stay of another declaration, nor of what was refined at a later time than this.
        # Nor is what corrects what to be told without the later ones.
        everything = self._whole or self._silver.corrections is not None
        filters = [] if everything else [(AVAILABLE_AT, "<=", self._context.as_of)]
        landed = held_files(self._frames, self._bronze, version=self._version, filters=filters)
        names = list(landed)
        refined = dict(zip(names, self._tables.committed(self._target, self._marks(names)), strict=True))
        # A run that was killed while it refined all again has left rows of files that it did not come to mark.
        held = set(held_files(self._frames, self._target)) if self._whole else set()
        if self._changed or self._asked_for or self._moved:
            self._check_all_landed(held, set(landed))
        due = {name for name in names if landed[name].available_at <= self._context.as_of}
        looked_at = [name for name in names if name in due or name in held or refined[name]]
        return _Files(
            held={name: landed[name] for name in looked_at},
            waiting=[name for name in looked_at if not refined[name]],
            refined=[name for name in looked_at if refined[name]],
        )

    def _check_all_landed(self, held: set[str], landed: set[str]) -> None:
        missing = sorted(held - landed)
        if missing:
            by_another = self._changed and not self._asked_for
            why = "may have been refined by another declaration" if by_another else "is to be rebuilt"
            some = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
            raise StageError(
                f"{self._target.name} {why}, and {len(missing)} of its files are no longer in {self._bronze}: {some}.",
                hint="Nothing was written. Put the files back where they landed and ingest, or take the change back.",
            )

    def _moves_records(self, good: Frame, again: Sequence[str]) -> bool:
        """Tell whether records get another time, for a delivery that came late is now their first."""
        keys, time = list(self._silver.primary_keys), self._silver.known_at
        if time in keys:
            return False
        is_first = nw.col(CORRECTED_AT).is_null()
        held = self._frames.read(self._target, columns=[*keys, time, FILE, CORRECTED_AT])
        held = held.filter(nw.col(FILE).is_in(list(again)) & is_first).select(*keys, nw.col(time).alias(_HELD_TIME))
        both = held.join(good.filter(is_first).select(*keys, time), on=keys, how="inner")
        return self._frames.count(both.filter(nw.col(time) != nw.col(_HELD_TIME)).head(1)) > 0

    def _landed(self, files: list[str]) -> LandedRows:
        return LandedRows(self._context.ws, self._silver, self._target, self._bronze, self._version, files)

    def _marks(self, files: list[str]) -> list[Transaction]:
        return [Transaction(f"refine:{self._silver.name}:{file}") for file in files]

    def _batch_of(self, good: Frame, again: Sequence[str] = ()) -> Frame:
        """Return rows as the table holds them, in a batch of their own.

        Args:
            good: The rows.
            again: Of these files, rows that the table holds already stay in the batch that they came with.
        """
        names = (field.name for field in self._silver.schema() if field.name != BATCH)
        rows = good.select(*names, nw.lit(self._newest() + 1, nw.Int64()).alias(BATCH))
        if not again:
            return rows
        held = self._frames.read(self._target, columns=[FILE, ROW, CORRECTED_AT, BATCH])
        held = held.filter(nw.col(FILE).is_in(list(again))).select(
            FILE, ROW, nw.col(CORRECTED_AT).alias(_HELD_CORRECTED_AT), nw.col(BATCH).alias(_HELD_BATCH)
        )
        now, then = nw.col(CORRECTED_AT), nw.col(_HELD_CORRECTED_AT)
        is_same = ~nw.col(_HELD_BATCH).is_null() & ((now == then) | (now.is_null() & then.is_null()))
        batch = nw.when(is_same).then(nw.col(_HELD_BATCH)).otherwise(nw.col(BATCH))
        joined = rows.join(held, on=[FILE, ROW], how="left").with_columns(batch.alias(BATCH))
        return joined.drop(_HELD_CORRECTED_AT, _HELD_BATCH)

    def _add(self, rows: Fates, files: list[str], again: list[str]) -> bool:
        """Add new files' rows, and put those of files that are refined again in place of what they were.

        Returns whether silver took them now: not where another run brought them meanwhile.

        The quarantine first: silver's commit is what marks the files as refined. Of files that the quarantine took and
        silver did not, as after a crash between the two, the quarantine's rows are replaced: the declaration may have
        been mended since. What is refined again has its faulty rows there already: they have nothing to do with others.
        """
        marks = self._marks(files)
        done = self._tables.committed(self._quarantine, marks)
        taken = [name for name, is_taken in zip(files, done, strict=True) if is_taken]
        if taken:
            self._put_in_quarantine(rows.bad.filter(nw.col(FILE).is_in(taken)), taken)
        others = sorted({file for file, _ in rows.counts.bad}.difference(taken, again))
        if others:
            there = [*taken, *again]
            bad = rows.bad.filter(~nw.col(FILE).is_in(there)) if there else rows.bad
            self._tables.append(self._quarantine, bad, transactions=self._marks(others))
        good = self._batch_of(rows.good, again)
        if not again:
            return not self._tables.append(self._target, good, transactions=marks).skipped
        whole = self._with_unwritten(good)
        self._tables.overwrite(self._target, whole, where={FILE: [*files, *again]}, transactions=marks)
        return True

    def _with_unwritten(self, good: Frame) -> Frame:
        """Return rows with what the table holds of them in columns that are left out.

        Not since when they hold as corrections: where corrections are taken back, nothing is one.
        """
        kept = tuple(name for name in self._widening.unwritten if name != CORRECTED_AT)
        change = replace(self._widening, unwritten=kept)
        return with_unwritten(self._context.ws, self._target, good, [FILE, ROW], change)

    def _replace(self, rows: Fates, files: list[str], waiting: list[str]) -> None:
        """Put the rows of files in place of those that the table holds of them, in one commit.

        The same commit marks the files that were waiting: of another run that refines one of them at the same time,
        either the rows are replaced, or they are skipped. What it brings of other files stays.

        Silver first: that it holds none of the batches on record is how the next run knows that this one was killed.
        """
        good = self._batch_of(rows.good)
        whole = self._with_unwritten(good)
        self._tables.overwrite(self._target, whole, where={FILE: files}, transactions=self._marks(waiting))
        self._put_in_quarantine(rows.bad, files, self._marks(sorted({file for file, _ in rows.counts.bad})))

    def _put_in_quarantine(self, bad: Frame, files: list[str], transactions: Sequence[Transaction] = ()) -> None:
        """Make the rows that fail expectations all that the quarantine holds of files; malformed lines stay.

        In one commit, and the same again: what a crash left half done is done anew. The commit takes the transactions,
        so that another run that judged the same files at the same time does not append their rows once more.
        """
        held = self._frames.read(self._quarantine, columns=[FILE, REASON])
        ours = held.filter(nw.col(FILE).is_in(files) & ~nw.col(REASON).str.starts_with(MALFORMED))
        both = nw.concat([ours.select(REASON), bad.select(REASON)], how="vertical").unique()
        what = f"reasons of rows in {self._quarantine}"
        reasons: list[Any] = self._frames.collect(both, at_most=MOST_FILES, what=what).column(REASON).to_pylist()
        if reasons:
            # By reason, for malformed lines come from elsewhere, at any time.
            where = {FILE: files, REASON: sorted(reasons)}
            self._tables.overwrite(self._quarantine, bad, where=where, transactions=transactions)

    def _refill_quarantine(self, refined: list[str]) -> None:
        """Put what silver has not taken of refined files into a quarantine that is gone."""
        count = 0
        if refined:
            landed, ids = self._landed(refined), [FILE, ROW]
            # No row is quarantined for another one's sake where corrections are kept.
            alone = self._silver.corrections is not None
            held = self._frames.read(self._target, columns=ids)
            with ExitStack() as stack:
                # Beside all of silver, these files' own rows among them: they are what the others were compared with.
                rows = stack.enter_context(fates(landed, beside=refined if alone else None))
                missing = rows.bad.join(held, on=ids, how="anti")
                if not alone:
                    # Judged all at once now and file by file then, another of several rows of a key may have been the
                    # first.
                    good = rows.good.join(held, on=ids, how="anti")
                    duplicates = stack.enter_context(as_duplicates(landed, good))
                    missing = nw.concat([missing, duplicates], how="vertical")
                count = self._frames.count(missing)
                self._put_in_quarantine(missing, refined)
        self._result.details.note(
            f"{self._quarantine.name} was gone: {count} row(s) of {len(refined)} file(s) are in it again."
        )

    def _say_whole(self, counts: FateCounts, files: list[str]) -> None:
        details = self._result.details
        for text in sentences(self._target, self._widening):
            details.note(text)
        if self._quarantine_lost:
            details.note(f"{self._quarantine.name} was gone: {counts.quarantined} row(s) are in it again.")
        details.note(
            f"{self._target.name} {self._why_whole()}: all {len(files)} file(s) of {self._bronze.name} were refined "
            f"again, {counts.good} row(s)."
        )

    def _why_whole(self) -> str:
        if self._lost:
            return "was gone, or another table lay in its place"
        if to_compute(self._widening) or (self._marker is not None and has_changed(self._marker.code, self._digest)):
            return "is declared otherwise than before"
        if self._asked_for:
            return "is rebuilt"
        if self._retaken:
            return "holds rows of files that were taken again"
        if self._moved:
            return "holds records that had been delivered earlier than was known, as of another time"
        return "holds rows of a run that did not complete"

    def _say_large(self, counts: FateCounts, files: _Files) -> None:
        large = LargeQuarantine.find(self._quarantine.name, files.sizes, counts.bad)
        self._result.details.say_large(large, self._context.name)

    def _check_none_is_missing(self, counts: FateCounts, landed: int) -> None:
        """Refuse to write where a row that came in is unaccounted for.

        Raises:
            StageError: With the numbers.
        """
        if landed != counts.rows:
            raise StageError(
                f"{self._target}: {landed} rows came in, {counts.good} went on, {counts.repeated} existed already, "
                f"{counts.left_out} are not the table's, and {counts.quarantined} were quarantined.",
                hint="This is an error of the platform; please report it.",
            )

    def _count(self, counts: FateCounts) -> None:
        """Add what became of the rows that came in to the result."""
        result, details = self._result, self._result.details
        if counts.repeated:
            details.repeated = {**details.repeated, self._target.name: counts.repeated}
        if counts.corrections:
            details.corrections = {**details.corrections, self._target.name: counts.corrections}
        if counts.left_out:
            details.left_out = {**details.left_out, self._target.name: counts.left_out}
        # What is not the table's did not come in; what exists already has gone on before.
        result.rows_in = (result.rows_in or 0) + counts.rows - counts.left_out
        result.rows_out = (result.rows_out or 0) + counts.good + counts.repeated
        result.rows_quarantined = (result.rows_quarantined or 0) + counts.quarantined


def bring_up(
    context: StageContext, silver: SilverTable, result: StageResult[RefineDetails], *, whole: bool = False
) -> None:
    """Bring one silver table up to a run's time.

    One that keeps corrections by one run at a time: what corrects what is told by the rows of other files, and two runs
    would not see each other's.

    Args:
        context: The run.
        silver: The silver table's declaration.
        result: What the stage did so far; added to.
        whole: Refine all files again, whatever is on record.
    """
    target, _ = tables_of(type(silver), context.namespace)
    with context.ws.lock(f"refine {target}") if silver.corrections else nullcontext():
        SilverRefining(context, silver, result, whole=whole).run()
