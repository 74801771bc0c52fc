"""Repair: what is damaged is put aside, and what follows from the rest is computed again; where that is safe.

Safe is what loses nothing that was whole: putting copies back, going back to a last good version of what is computed
again, leaving a damaged file out. Files are moved, never removed. What only people can decide is told: who is champion,
which backup is the right one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from mlplatform.doctor.checks import computed, existing, files, landed, refined
from mlplatform.doctor.checks.landed import gone_files, refined_and_gone
from mlplatform.doctor.examination import examine, subject_of
from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.errors import DamagedTableError, PlatformError
from mlplatform.features.adopted import was_adopted
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import stage_runs
from mlplatform.ops.context import Progress, silent
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.ops.records import TABLES as RECORDS
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage_runs import DONE, REPAIR, StageRun
from mlplatform.pipeline import Pipeline
from mlplatform.protocols.maintenance import Keeping, explained
from mlplatform.protocols.workspace import Workspace
from mlplatform.scoring import lost_predictions
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.use_case import UseCase

Opener = Callable[[Workspace], UseCase]
_COMPUTED_AGAIN = frozenset({refined.CHECK, computed.GOLD, computed.FEATURE})


class RepairDetails(Details):
    """What a repair says of itself in its record.

    Attributes:
        done: What was done, a sentence each.
        left: What is left to people.
        aside: Name of the folder that took what was damaged.
    """

    done: Sequence[str] = ()
    left: Sequence[str] = ()
    aside: str = ""


@dataclass
class Repaired:
    """What a repair came to.

    Attributes:
        done: What was done, or would be, a sentence each.
        findings: What all checks find afterwards; in a dry run, what would not be mended, as far as that can be said.
        aside: Name of the folder that took what was damaged.
    """

    aside: str
    done: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def left(self) -> list[Finding]:
        """What is left to people."""
        return [finding for finding in self.findings if finding.state == "problem"]


def repair(
    ws: Workspace,
    name: str,
    opener: Opener,
    run_id: str,
    progress: Progress = silent,
    *,
    dry_run: bool = False,
) -> Repaired:
    """Mend what is damaged of a use case, compute again what followed, and put it on record.

    Args:
        ws: The workspace.
        name: The use case's name.
        opener: Opens it: it reads tables, which may be damaged.
        run_id: Of the repair.
        progress: Takes lines about what is being done.
        dry_run: Only say what would be done.

    Raises:
        PlatformError: If the use case cannot be opened, or what followed cannot be computed; what was mended stays so.
    """
    namespace = Namespace(ws.catalog, name, ws.prefix)
    with nullcontext() if dry_run else ws.lock(f"repair {namespace.model}"):
        return _Repair(ws, namespace, opener, run_id, progress, dry_run=dry_run).run()


class _Repair:
    def __init__(
        self, ws: Workspace, namespace: Namespace, opener: Opener, run_id: str, progress: Progress, *, dry_run: bool
    ) -> None:
        self._ws, self._namespace, self._opener, self._progress = ws, namespace, opener, progress
        self._dry_run, self._run_id = dry_run, run_id
        self._started, self._before = stage_runs.utc_now(), time.perf_counter()
        self._repaired = Repaired(f"{namespace.use_case}-{run_id}")

    def run(self) -> Repaired:
        """Mend files first, the platform's own tables before all: without them no use case can be opened."""
        tables = files.tables_on_disk(self._ws, self._namespace)
        ops = self._namespace.ops("x").schema
        for table in (table for table in tables if table.schema == ops):
            self._mend(table, "rows")
        if self._dry_run and self._repaired.done:
            self._repaired.done.append("what else there is shows once that is done")
            return self._repaired
        self._repaired.done += self._ws.maintenance.mend_files(aside=self._repaired.aside, dry_run=self._dry_run)
        use_case = self._opener(self._ws)
        for records in RECORDS:
            repeated = records.drop_repeated(self._ws, self._namespace, dry_run=self._dry_run)
            if repeated:
                name = records.full_name(self._namespace)
                self._repaired.done.append(f"{name}: {repeated} record(s) removed that were there more than once")
        subject = subject_of(self._ws, use_case, self._run_id)
        for table in (table for table in tables if table.schema != ops):
            self._mend(table, self._keeping(subject, table))
        if subject is None:
            return self._repaired
        if self._dry_run:
            self._say_computed(subject)
            return self._repaired
        self._compute(use_case, subject)
        self._record(use_case)
        return self._repaired

    def _mend(self, table: ObjectName, keep: Keeping) -> None:
        self._progress(f"files of {table.name}")
        done = self._ws.maintenance.mend(table, keep=keep, aside=self._repaired.aside, dry_run=self._dry_run)
        self._repaired.done += [f"{table}: {text}" for text in done]

    def _keeping(self, subject: Subject | None, table: ObjectName) -> Keeping:
        """Return what mending keeps of a table of the use case: by who makes its rows again."""
        if subject is None or table == subject.context.namespace.gold(PREDICTIONS):
            return "rows"
        written = {name for stage in existing.COMPUTED for name in subject.written(stage)}
        if table not in written or was_adopted(subject.context, table):
            return "rows"
        if table.name.startswith("quarantine_"):
            return "nothing"
        for source in subject.use_case.sources:
            if table == subject.context.namespace.bronze(source.name):
                good = self._ws.maintenance.inspect(table).last_good
                if good is None:
                    return "history"
                try:
                    # Later rows as well: to go back would lose those that no landed file gives again.
                    gone = gone_files(subject, source(), version=good) or refined_and_gone(subject, source())
                except DamagedTableError:
                    return "rows"
                return "rows" if gone else "history"
        return "history"

    def _say_computed(self, subject: Subject) -> None:
        if not self._repaired.done:
            # Files are whole, so that the tables can be read: what they hold may be wrong all the same.
            self._examine()
            self._repaired.done += [f"{name}: computed whole" for name in existing.lost_tables(subject)]
            self._repaired.done += [f"{name}: rebuilt" for name in self._wrong()]
            mended = {*_COMPUTED_AGAIN, existing.CHECK}
            self._repaired.findings = [item for item in self._repaired.findings if item.check not in mended]
        if self._repaired.done:
            self._repaired.done.append(f"what follows from these tables is computed again, as of {subject.at}")

    def _compute(self, use_case: UseCase, subject: Subject) -> None:
        """Compute again what is lost, or not as its inputs give it; by the stages, as any run does."""
        as_of, done = subject.context.as_of, self._repaired.done
        lost = existing.lost_tables(subject) or existing.missing_records(subject)
        if done or lost or lost_predictions.find(subject.context):
            try:
                done += Pipeline(self._ws, use_case, as_of, self._progress).run(list(existing.COMPUTED)).notes()
                self._score_again(use_case)
            except PlatformError as error:
                # What was mended stays so; what is missing is found below.
                done.append(f"what follows could not be computed again: {error.message}")
        use_case.register_functions(self._ws)
        self._examine()
        tables = self._wrong()
        if tables:
            try:
                done += Pipeline(self._ws, use_case, as_of, self._progress).rebuild(tables).notes()
            except PlatformError as error:
                done.append(f"{', '.join(tables)} could not be rebuilt: {error.message}")
            self._examine()

    def _wrong(self) -> list[str]:
        """Return the tables whose rows are not what their inputs give; none while bronze itself lacks rows."""
        if any(item.check == landed.CHECK for item in self._repaired.left):
            return []
        wrong = [item for item in self._repaired.left if item.check in _COMPUTED_AGAIN]
        return sorted({name for item in wrong for name in _rebuilt(item.way_out)})

    def _score_again(self, use_case: UseCase) -> None:
        """Make predictions again that are gone, by the versions that made them."""
        subject = subject_of(self._ws, use_case, self._run_id)
        if subject is None or not lost_predictions.find(subject.context):
            return
        pipeline = Pipeline(self._ws, use_case, subject.context.as_of, self._progress)
        try:
            run = pipeline.execute(replace(subject.score, restore_only=True))
        except PlatformError as error:
            self._repaired.done.append(f"predictions that are gone could not be made again: {error.message}")
            return
        self._repaired.done += run.details.notes

    def _examine(self) -> None:
        with explained(self._ws):
            self._repaired.findings = examine(self._ws, self._namespace.use_case, self._opener, self._progress)

    def _record(self, use_case: UseCase) -> None:
        """Put on record what was done; nothing where nothing was."""
        if not self._repaired.done:
            return
        subject = subject_of(self._ws, use_case, self._run_id)
        if subject is None or not self._ws.tables.exists(STAGE_RUNS.full_name(self._namespace)):
            return
        left = [f"{item.about or item.check}: {item.found}" for item in self._repaired.left]
        details = RepairDetails(done=self._repaired.done, left=left, aside=self._repaired.aside)
        subject.context.log.record(
            StageRun(
                run_id=self._run_id,
                use_case=use_case.name,
                stage=REPAIR,
                as_of=subject.context.as_of,
                status=DONE,
                started_at=self._started,
                seconds=time.perf_counter() - self._before,
                result=StageResult(details),
            )
        )


def _rebuilt(way_out: str) -> list[str]:
    """Return the tables that a way out rebuilds."""
    words = way_out.split()
    return [words[place + 1] for place, word in enumerate(words[:-1]) if word == "--table"]
