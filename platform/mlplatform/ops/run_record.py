"""Running the stages of a run, and putting on record what became of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlplatform import no_space, stopping
from mlplatform.errors import PlatformError
from mlplatform.ops import stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage import Stage
from mlplatform.ops.stage_runs import StageRun
from mlplatform.protocols.frames import metered
from mlplatform.protocols.maintenance import explained

LOG = logging.getLogger(__name__)


@dataclass
class RunSummary:
    """What a run did, stage by stage."""

    run_id: str
    use_case: str
    as_of: datetime
    stages: list[StageRun[Any]] = field(default_factory=list)

    def details(self, stage: str) -> dict[str, Any]:
        """Return the details of a stage's last execution in this run, as plain data; empty when it did not run."""
        runs = [run for run in self.stages if run.stage == stage]
        return runs[-1].details.to_json() if runs else {}

    def notes(self) -> list[str]:
        """Return what the stages say aloud, each note once."""
        notes = [note for run in self.stages for note in run.details.notes]
        return list(dict.fromkeys(notes))

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        return {
            "run_id": self.run_id,
            "use_case": self.use_case,
            "as_of": self.as_of.isoformat(),
            "stages": [
                {
                    "stage": run.stage,
                    "status": run.status,
                    "seconds": round(run.seconds, 3),
                    "rows_in": run.result.rows_in,
                    "rows_out": run.result.rows_out,
                    "rows_quarantined": run.result.rows_quarantined,
                    "message": run.message or run.result.skipped,
                    "details": run.details.shown(),
                }
                for run in self.stages
            ],
        }


class Recorder:
    """Runs stages, one after the other, and records each.

    Attributes:
        summary: What the run did so far.
        place: Which of how many stages is next, for progress.
        notes: What the next record is to say, too.
    """

    def __init__(self, context: StageContext, summary: RunSummary) -> None:
        """Record a run.

        Args:
            context: What its stages are handed.
            summary: Takes what they did.
        """
        self.summary = summary
        self.place = ""
        self.notes: list[str] = []
        self._context = context
        self._recorded_error: BaseException | None = None

    def due(self, stage: Stage[Any]) -> Stage[Any] | None:
        """Return a stage as it is due; None where it is not.

        Raises:
            PlatformError: If that cannot be told; it is recorded.
        """
        started, before = stage_runs.utc_now(), time.perf_counter()
        try:
            with explained(self._context.ws):
                return stage.due(self._context)
        except PlatformError as error:
            seconds = time.perf_counter() - before
            empty: StageResult[Any] = StageResult(Details())
            self._record(self.stage_run(stage.name, stage_runs.FAILED, started, seconds, empty, error.message))
            raise

    @contextmanager
    def refusing(self, stage: Stage[Any]) -> Iterator[None]:
        """Put on record, as a stage that failed, what is refused before it runs."""
        started, before = stage_runs.utc_now(), time.perf_counter()
        try:
            yield
        except PlatformError as error:
            empty: StageResult[Any] = StageResult(Details())
            message = error.message.splitlines()[0]
            seconds = time.perf_counter() - before
            self._record(self.stage_run(stage.name, stage_runs.FAILED, started, seconds, empty, message))
            raise

    def run(self, stage: Stage[Any]) -> StageRun[Any]:
        """Run a stage, due or not.

        Raises:
            PlatformError: What the stage raised; it is recorded.
        """
        stopping.check()
        started, before = stage_runs.utc_now(), time.perf_counter()
        self._context.progress(f"{self.place}{stage.name}")
        try:
            with explained(self._context.ws), metered() as collected:
                result = stage.run(self._context)
            result.details.say_collected(collected)
        except BaseException as error:
            # What a stage ran as a part of itself has been recorded as what failed.
            if error is self._recorded_error:
                raise
            full = no_space.told(error, f"the stage {stage.name}", self._context.ws.where)
            told = full or error
            if stage.recorded:
                self._recorded_error = told
                message = told.message if isinstance(told, PlatformError) else f"{type(told).__name__}: {told}"
                seconds = time.perf_counter() - before
                empty: StageResult[Any] = StageResult(Details())
                failed = self.stage_run(stage.name, stage_runs.FAILED, started, seconds, empty, message)
                self._record_failure(failed, disk_is_full=full is not None)
            if full is not None:
                raise full from error
            raise
        status = stage_runs.SKIPPED if result.skipped else stage_runs.DONE
        run = self.stage_run(stage.name, status, started, time.perf_counter() - before, result)
        if stage.recorded:
            self._record(run)
        return run

    def _record_failure(self, run: StageRun[Any], *, disk_is_full: bool) -> None:
        """Record that a stage failed; where a full disk was why, it may have no room for the record either."""
        try:
            self._record(run)
        except Exception as error:
            if not (disk_is_full and no_space.lacks_space(error)):
                raise
            LOG.warning("%s: that the stage %s failed could not be recorded.", self._context.name, run.stage)

    def _record(self, run: StageRun[Any]) -> None:
        for text in self.notes:
            run.details.note(text)
        self.notes = []
        self.summary.stages.append(run)
        self._context.log.record(run)

    def stage_run(
        self, name: str, status: str, started: datetime, seconds: float, result: StageResult[Any], message: str = ""
    ) -> StageRun[Any]:
        """Return what became of a stage of this run, without recording it."""
        context = self._context
        return StageRun(
            run_id=context.run_id,
            use_case=context.name,
            stage=name,
            as_of=context.as_of,
            status=status,
            started_at=started,
            seconds=seconds,
            result=result,
            message=message,
        )
