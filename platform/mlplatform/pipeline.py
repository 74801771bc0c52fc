"""The stages in order: one run of a use case at one time, its record, and what a run again has to do."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlplatform import stopping
from mlplatform.as_of import parse_as_of
from mlplatform.change import adopt_model, adopt_table
from mlplatform.errors import PlatformError, UsageError, did_you_mean
from mlplatform.features import backfill
from mlplatform.features import stage as features
from mlplatform.gate import champion
from mlplatform.gate import stage as gate
from mlplatform.ingest import stage as ingest
from mlplatform.monitoring import retrain_stage as retrain
from mlplatform.monitoring import stage as monitor
from mlplatform.naming import CHAMPION
from mlplatform.ops import markers, schemas, stage_runs
from mlplatform.ops.context import Advance, Progress, StageContext, nowhere, silent
from mlplatform.ops.stage_runs import RunLog, StageResult, StageRun
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine import stage as refine
from mlplatform.scoring import lost_predictions
from mlplatform.scoring import stage as score
from mlplatform.training import stage as train
from mlplatform.use_case import UseCase

STAGES: dict[str, Callable[[StageContext], StageResult]] = {
    ingest.NAME: ingest.run,
    refine.NAME: refine.run,
    features.NAME: features.run,
    train.NAME: train.run,
    gate.NAME: gate.run,
    score.NAME: score.run,
    monitor.NAME: monitor.run,
}
ORDER = (*STAGES, retrain.NAME)
# What a stage records for the next run only.
_OWN = ("computed", markers.TABLES)
_WITHOUT = {
    gate.NAME: "The champion is whom the registry names; a rollback knows no earlier ones.",
    monitor.NAME: "The stage monitor measures a time again where it is asked to: mlplatform monitor, with its --as-of.",
}


@dataclass
class RunSummary:
    """What a run did, stage by stage."""

    run_id: str
    use_case: str
    as_of: datetime
    stages: list[StageRun] = field(default_factory=list)

    def details(self, stage: str) -> dict[str, Any]:
        """Return the details of a stage's last execution in this run; empty when it did not run."""
        found = [run.result.details for run in self.stages if run.stage == stage]
        return found[-1] if found else {}

    def notes(self) -> list[str]:
        """Return what the stages say aloud, each note once."""
        found = [note for run in self.stages for note in run.result.details.get(markers.NOTES, ())]
        return list(dict.fromkeys(found))

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
                    "details": {key: value for key, value in run.result.details.items() if key not in _OWN},
                }
                for run in self.stages
            ],
        }


class Pipeline:
    """Runs the stages of one use case at one time.

    Each stage is idempotent, so that a run that was killed is completed by running again. Scoring, monitoring and the
    retrain decision happen once an `as_of`: a run again after a promotion does not score the same rows with the new
    champion, nor decide about retraining twice.
    """

    def __init__(
        self,
        ws: Workspace,
        use_case: UseCase,
        as_of: datetime,
        progress: Progress = silent,
        *,
        advance: Advance = nowhere,
        log: RunLog | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            ws: The workspace.
            use_case: The use case.
            as_of: The time; nothing known later is looked at.
            progress: Takes lines about what is being done.
            advance: Takes how many rows of how many have been scored.
            log: The record of the use case's runs, where several runs share one; None: read when first needed.
        """
        self._context = StageContext(
            ws,
            use_case,
            as_of,
            run_id=uuid.uuid4().hex[:12],
            progress=progress,
            advance=advance,
            shared_log=log,
        )
        self._alias: str | None = None
        self._since: datetime | None = None
        self._notes: list[str] = []
        self._start_job: str | None = None
        self._register_only = False
        self._place = ""
        self.summary = RunSummary(self._context.run_id, use_case.name, as_of)

    def run(
        self,
        only: Iterable[str] | None = None,
        *,
        alias: str | None = None,
        since: datetime | None = None,
        start_job: str | None = None,
        due: bool = False,
        register_only: bool = False,
    ) -> RunSummary:
        """Run what is due, or exactly the stages named.

        Args:
            only: Names of stages to run, whatever is due; default: all that are due, in order.
            alias: Score with this alias' version only; default: the champion, and the challenger in the shadow.
            since: Score what has a prediction time after this and no prediction, also from before the first scoring.
            start_job: A due retraining starts this job, instead of training in this process.
            due: Of the stages named, run only what is due.
            register_only: Train without setting the alias challenger: evaluating the version sets it.

        Raises:
            UsageError: If a stage's name is unknown.
            PlatformError: What a stage raised; it is recorded, and the stages before it stay done.
        """
        wanted = list(only) if only is not None else None
        self._alias, self._start_job, self._register_only = alias, start_job, register_only
        self._since = since
        for name in wanted or ():
            if name not in ORDER:
                raise UsageError(f"There is no stage {name!r}.", hint=did_you_mean(name, ORDER))
        self._notes = self._lost_records(schemas.ensure(self._context.ws, self._context.namespace))
        names = [name for name in ORDER if wanted is None or name in wanted]
        for number, name in enumerate(names, start=1):
            self._place = f"stage {number} of {len(names)}: " if len(names) > 1 else ""
            if wanted is None or due:
                self._run_if_due(name)
            else:
                self._execute(name)
        self._place = ""
        return self.summary

    def retrain_decision(self) -> dict[str, Any]:
        """Return what the retrain stage would decide now, in its record's form; changes nothing."""
        context = self._context
        return retrain.result_of(context, retrain.decide(context)).details

    def lost(self) -> list[str]:
        """Return the names of tables that earlier runs brought up to date, and that are gone or are other ones."""
        return markers.all_lost(self._context, (ingest.NAME, refine.NAME, features.NAME, score.NAME))

    def backfill(self, table: str, start: datetime, *, dry_run: bool = False) -> StageRun:
        """Compute a feature table's rows of [start, as_of] anew; recorded as a stage of its own, a dry run is not.

        Args:
            table: The feature table's name.
            start: The first moment of the range, included.
            dry_run: Say what would change, and change nothing.

        Raises:
            UsageError: If there is no such table, or the range is empty.
        """
        if dry_run:
            started, before = stage_runs.utc_now(), time.perf_counter()
            result = backfill.run(self._context, table, start, dry_run=True)
            return self._stage_run(backfill.NAME, stage_runs.DONE, started, time.perf_counter() - before, result)
        schemas.ensure(self._context.ws, self._context.namespace)
        self._recorded(backfill.NAME, lambda context: backfill.run(context, table, start))
        return self.summary.stages[-1]

    def adopt_table(self, source: str, declared_as: str | None = None, *, dry_run: bool = False) -> StageResult:
        """Take over a feature table's rows; see `mlplatform.change.adopt_table`. A dry run is not recorded."""
        if dry_run:
            return adopt_table.run(self._context, source, declared_as, dry_run=True)
        schemas.ensure(self._context.ws, self._context.namespace)
        self._recorded(adopt_table.NAME, lambda context: adopt_table.run(context, source, declared_as))
        return self.summary.stages[-1].result

    def adopt_model(self, source: adopt_model.Source, *, dry_run: bool = False) -> StageResult:
        """Take over a model version; see `mlplatform.change.adopt_model`. A dry run is not recorded."""
        if dry_run:
            return adopt_model.run(self._context, source, dry_run=True)
        schemas.ensure(self._context.ws, self._context.namespace)
        self._recorded(adopt_model.NAME, lambda context: adopt_model.run(context, source))
        return self.summary.stages[-1].result

    def gate(self, request: gate.Request) -> StageResult:
        """Put a version to the gate, and record that as a run of the stage.

        Args:
            request: What is asked; a dry run records nothing.
        """
        if request.dry_run:
            return gate.run(self._context, request)
        schemas.ensure(self._context.ws, self._context.namespace)
        self._recorded(gate.NAME, lambda context: gate.run(context, request))
        return self.summary.stages[-1].result

    def roll_back(self, *, to: int | None, reason: str, dry_run: bool) -> StageResult:
        """Make an earlier champion champion again; see `mlplatform.gate.stage.roll_back`."""
        if not dry_run:
            schemas.ensure(self._context.ws, self._context.namespace)
        return gate.roll_back(self._context, to=to, reason=reason, dry_run=dry_run)

    def _lost_records(self, made: list[str]) -> list[str]:
        """Say which of the platform's own tables were gone: what they had recorded is not known any more."""
        if "stage_runs" in made:
            some = len(made) < len(schemas.TABLES)
            return ["ops.stage_runs was gone: what runs had recorded is lost, all is computed whole."] if some else []
        found = []
        for name in made:
            stage = schemas.WRITTEN_BY.get(name, "")
            rows = [row for row in self._context.log.rows(stage) if row["status"] == stage_runs.DONE] if stage else []
            if rows:
                found.append(
                    f"ops.{name} was gone: what {len(rows)} run(s) of the stage {stage} had recorded there is lost. "
                    + _WITHOUT[stage]
                )
        return found

    def _run_if_due(self, name: str) -> None:
        if name == train.NAME:
            if self._has_champion():
                return
            if champion.vanished(self._context.ws, self._context.use_case, {}):
                # Recorded as the gate's: training anew as if there had been no champion would end at its milder rule.
                self._recorded(gate.NAME, _refuse_without_champion)
        elif name == gate.NAME:
            self._recorded(name, lambda context: gate.run(context, only_undecided=True))
            return
        elif name in (score.NAME, monitor.NAME):
            if not self._has_champion():
                return
            if self._done_before(name):
                if name == score.NAME and lost_predictions.find(self._context):
                    self._recorded(name, lambda context: score.run(context, restore_only=True))
                return
        elif name == retrain.NAME and (not self._has_champion() or self._done_before(name)):
            return
        self._execute(name)

    def _execute(self, name: str) -> None:
        if name == score.NAME:
            self._recorded(name, lambda context: score.run(context, alias=self._alias, since=self._since))
            return
        if name == train.NAME:
            self._recorded(name, lambda context: train.run(context, register_only=self._register_only))
            return
        if name != retrain.NAME:
            self._recorded(name, STAGES[name])
            return
        job = self._start_job
        if job is not None:
            self._recorded(name, lambda context: retrain.start_if_due(context, job))
            return
        self._context.progress(f"{self._place}{name}")
        # One process at a time decides and retrains: the next one finds that it has been done.
        with self._context.ws.lock(f"retrain {self._context.use_case.model}"):
            # Recorded last: a retraining that was killed between training and gate is due again, and is completed.
            started, decision = stage_runs.utc_now(), retrain.decide(self._context)
            before = time.perf_counter()
            if decision.due:
                self._context.progress(f"retraining: {'; '.join(decision.reasons)}")
                self._recorded(train.NAME, train.run)
                self._recorded(gate.NAME, lambda context: gate.run(context, only_undecided=True))
            result = retrain.result_of(self._context, decision)
            self._record(name, stage_runs.DONE, started, time.perf_counter() - before, result)

    def _recorded(self, name: str, stage: Callable[[StageContext], StageResult]) -> None:
        stopping.check()
        started, before = stage_runs.utc_now(), time.perf_counter()
        self._context.progress(f"{self._place}{name}")
        try:
            result = stage(self._context)
        except BaseException as error:
            message = error.message if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"
            self._record(name, stage_runs.FAILED, started, time.perf_counter() - before, StageResult(), message)
            raise
        status = stage_runs.SKIPPED if result.skipped else stage_runs.DONE
        self._record(name, status, started, time.perf_counter() - before, result)

    def _record(
        self, name: str, status: str, started: datetime, seconds: float, result: StageResult, message: str = ""
    ) -> None:
        for text in self._notes:
            markers.note(result, text)
        self._notes = []
        run = self._stage_run(name, status, started, seconds, result, message)
        self.summary.stages.append(run)
        self._context.log.record(run)

    def _stage_run(
        self, name: str, status: str, started: datetime, seconds: float, result: StageResult, message: str = ""
    ) -> StageRun:
        context = self._context
        return StageRun(
            run_id=context.run_id,
            use_case=context.use_case.name,
            stage=name,
            as_of=context.as_of,
            status=status,
            started_at=started,
            seconds=seconds,
            result=result,
            message=message,
        )

    def _has_champion(self) -> bool:
        return CHAMPION in self._context.ws.registry.aliases(self._context.use_case.model)

    def _done_before(self, name: str) -> bool:
        return any(
            row["status"] in (stage_runs.DONE, stage_runs.SKIPPED)
            and parse_as_of(row["as_of"]) == self._context.as_of
            # What was asked for since a time is beside the scoring that is due.
            and not row["details"].get("since")
            for row in self._context.log.rows(name)
        )


def _refuse_without_champion(context: StageContext) -> StageResult:
    champion.require_known(context, context.ws.registry.aliases(context.use_case.model))
    return StageResult()
