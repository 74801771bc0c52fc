"""The record of runs: one row for each stage, written when the stage ends, also when it fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic

from mlplatform.naming import Namespace
from mlplatform.ops.record_table import MOST_RECORDS
from mlplatform.ops.records import STAGE_RUNS, StageRecord
from mlplatform.ops.result import D, Details, StageResult
from mlplatform.ops.schema_mark import platform_version
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace

DONE = "done"
SKIPPED = "skipped"
FAILED = "failed"
ENDED_WELL = (DONE, SKIPPED)
RECENT = 1000
"""How many runs are looked at, of all stages together or, where there are more, of each."""
BACKFILL = "backfill"
ADOPT = "adopt"
MAINTENANCE = "maintenance"
REPAIR = "repair"


@dataclass(frozen=True)
class StageRun(Generic[D]):
    """A stage that ran, as it is on record.

    Attributes:
        run_id: Of the run that it was part of.
        use_case: The use case's name.
        stage: The stage's name.
        as_of: The time of the run.
        status: `done`, `skipped` or `failed`.
        started_at: By the wall clock.
        seconds: How long it took.
        result: What it did.
        message: Why it failed.
    """

    run_id: str
    use_case: str
    stage: str
    as_of: datetime
    status: str
    started_at: datetime
    seconds: float
    result: StageResult[D]
    message: str = ""

    @property
    def details(self) -> D:
        """What the stage said of itself."""
        return self.result.details

    @property
    def ended_well(self) -> bool:
        """Whether it was done, or found nothing to do."""
        return self.status in ENDED_WELL


class RunLog:
    """The record of one use case's runs, read as far as it is asked for, and kept up to date by what is recorded.

    A short record is read at once. Of a longer one the newest `RECENT` runs of each stage that is asked for are read,
    however long it has become.
    """

    def __init__(self, ws: Workspace, namespace: Namespace) -> None:
        """Keep the log of a use case; nothing is read yet."""
        self._ws = ws
        self._namespace = namespace
        self._newest: list[StageRecord] | None = None
        self._by_stage: dict[str, list[StageRecord]] = {}
        self._whole = False
        self._version: int | None = None

    def look_again(self) -> None:
        """Read the record anew where others have written to it since it was read."""
        if self._newest is not None and self._version != self._table_version():
            self._newest, self._by_stage, self._whole = None, {}, False

    def records(
        self, stage: str | None = None, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[StageRecord]:
        """Return the newest rows of the record as they are, oldest first.

        Args:
            stage: Of this stage; None: of all.
            since: With an `as_of` from here on.
            until: With an `as_of` up to here.
        """
        return [
            record
            for record in self._read(stage)
            if (since is None or record.as_of >= since) and (until is None or record.as_of <= until)
        ]

    def runs(self, stage: str | None = None) -> list[StageRun[Details]]:
        """Return the recorded runs of one stage or of all, oldest first, with what all stages say of themselves."""
        return [as_run(record, Details) for record in self.records(stage)]

    def runs_of(
        self,
        stage: str,
        details: type[D],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        newest: int | None = None,
    ) -> list[StageRun[D]]:
        """Return the recorded runs of one stage, oldest first.

        Args:
            stage: The stage's name.
            details: The type of its details.
            since: Runs with an `as_of` from here on.
            until: Runs with an `as_of` up to here.
            newest: Only the newest so many of them.
        """
        records = self.records(stage, since=since, until=until)
        return [as_run(record, details) for record in (records if newest is None else records[-newest:])]

    def ended_well_at(self, stage: str, as_of: datetime) -> list[StageRecord]:
        """Return the rows of a stage that ended well at a time, however long ago that is on record, oldest first."""
        records = self.all_records(stage, since=as_of, until=as_of)
        return [record for record in records if record.status in ENDED_WELL]

    def all_records(
        self, stage: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[StageRecord]:
        """Return the rows of one stage, oldest first, also those that a long record's newest rows do not hold.

        Of more than `MOST_RECORDS` the newest so many are returned.

        Args:
            stage: The stage's name.
            since: With an `as_of` from here on.
            until: With an `as_of` up to here.
        """
        if self.is_whole(stage):
            return self.records(stage, since=since, until=until)
        filters: list[Filter] = [("stage", "=", stage)]
        if since is not None:
            filters.append(("as_of", ">=", since))
        if until is not None:
            filters.append(("as_of", "<=", until))
        return STAGE_RUNS.newest(self._ws, self._namespace, MOST_RECORDS, filters)

    def between(self, first: datetime, last: datetime) -> list[StageRecord]:
        """Return all rows with an `as_of` of a stretch, both ends included, oldest first."""
        if self.is_whole():
            return self.records(since=first, until=last)
        return STAGE_RUNS.read(self._ws, self._namespace, [("as_of", ">=", first), ("as_of", "<=", last)])

    def is_whole(self, stage: str | None = None) -> bool:
        """Tell whether `records` gives every row, of one stage or of all; where not, older ones exist."""
        self._read_newest()
        return self._whole or (stage is not None and len(self._read(stage)) < RECENT)

    def record(self, run: StageRun[Any]) -> None:
        """Append a stage's row."""
        newest = max((item.started_at for item in self._newest), default=None) if self._newest else None
        (record,) = STAGE_RUNS.in_order(self._ws, self._namespace, [_record(run)], newest)
        version = STAGE_RUNS.append(self._ws, self._namespace, [record], newest=newest).version
        # Of others who wrote meanwhile, what was read does not know.
        self._version = version if self._version == version - 1 else None
        kept = STAGE_RUNS.decode(STAGE_RUNS.encode(record))
        if self._newest is not None:
            self._newest.append(kept)
        if record.stage in self._by_stage:
            self._by_stage[record.stage].append(kept)

    def _read(self, stage: str | None) -> list[StageRecord]:
        newest = self._read_newest()
        if stage is None:
            return newest
        if self.is_whole():
            return [record for record in newest if record.stage == stage]
        if stage not in self._by_stage:
            self._by_stage[stage] = STAGE_RUNS.newest(self._ws, self._namespace, RECENT, [("stage", "=", stage)])
        return self._by_stage[stage]

    def _read_newest(self) -> list[StageRecord]:
        if self._newest is None:
            self._version = self._table_version()
            self._newest = STAGE_RUNS.newest(self._ws, self._namespace, RECENT)
            self._whole = len(self._newest) < RECENT
        return self._newest

    def _table_version(self) -> int | None:
        name = STAGE_RUNS.full_name(self._namespace)
        return self._ws.tables.version(name) if self._ws.tables.exists(name) else None


def as_run(record: StageRecord, details: type[D]) -> StageRun[D]:
    """Return a record with typed details."""
    skipped = record.message if record.status == SKIPPED else ""
    result = StageResult(
        details=details.model_validate(dict(record.details)),
        inputs=dict(record.inputs),
        outputs=dict(record.outputs),
        rows_in=record.rows_in,
        rows_out=record.rows_out,
        rows_quarantined=record.rows_quarantined,
        skipped=skipped,
    )
    return StageRun(
        run_id=record.run_id,
        use_case=record.use_case,
        stage=record.stage,
        as_of=record.as_of,
        status=record.status,
        started_at=record.started_at,
        seconds=record.seconds,
        result=result,
        message="" if skipped else record.message or "",
    )


def _record(run: StageRun[Any]) -> StageRecord:
    result = run.result
    return StageRecord(
        run_id=run.run_id,
        use_case=run.use_case,
        stage=run.stage,
        as_of=run.as_of,
        status=run.status,
        started_at=run.started_at,
        seconds=run.seconds,
        rows_in=result.rows_in,
        rows_out=result.rows_out,
        rows_quarantined=result.rows_quarantined,
        inputs=result.inputs,
        outputs=result.outputs,
        details=result.details.to_json(),
        message=run.message or result.skipped,
        platform_version=platform_version(),
    )


def of_the_cycle(records: Iterable[StageRecord]) -> list[StageRecord]:
    """Return the recorded stages without backfills, adoptions, maintenance and repairs: no steps of the cycle."""
    return [record for record in records if record.stage not in (BACKFILL, ADOPT, MAINTENANCE, REPAIR)]


def utc_now() -> datetime:
    """Return the wall clock, for records only: never for data."""
    return datetime.now(UTC)
