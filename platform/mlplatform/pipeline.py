"""The loop: for each stage of a use case at one time, whether it is due, running it, recording it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

from mlplatform import no_space
from mlplatform.applying import Applied, decide
from mlplatform.as_of import parse_as_of, plausible
from mlplatform.change import deciding
from mlplatform.change.adopt_model import AdoptModel, AdoptModelDetails, ExistingVersion
from mlplatform.change.adopt_table import AdoptTable, AdoptTableDetails
from mlplatform.change.existing import live_versions
from mlplatform.change.plan import ChangePlan
from mlplatform.change.planning import plan_of
from mlplatform.errors import PlatformError, StageError, UsageError, did_you_mean
from mlplatform.features.backfill import Backfill
from mlplatform.features.functions import register_functions
from mlplatform.features.stage import Features
from mlplatform.features.table import FeatureTable
from mlplatform.gate.begin_anew import BeginAnew
from mlplatform.gate.canary import EndCanary
from mlplatform.gate.details import GateDetails
from mlplatform.gate.rollback import Rollback
from mlplatform.gate.stage import Gate
from mlplatform.ingest.stage import Ingest
from mlplatform.monitoring import steps
from mlplatform.monitoring.retrain import decide_now, details_of
from mlplatform.ops import markers, records, stage_runs
from mlplatform.ops.context import Advance, Progress, nowhere, silent
from mlplatform.ops.maintenance import MaintainTables, MaintenanceDetails
from mlplatform.ops.record_table import RecordTable
from mlplatform.ops.result import StageResult
from mlplatform.ops.run_record import Recorder, RunSummary
from mlplatform.ops.stage import PlannedStage, Stage
from mlplatform.ops.stage_runs import RunLog, StageRun
from mlplatform.protocols.workspace import Workspace
from mlplatform.recalibration.details import RecalibrationDetails
from mlplatform.recalibration.stage import Recalibrate
from mlplatform.refine.silver import SilverTable
from mlplatform.refine.stage import Refine
from mlplatform.scoring.stage import Score
from mlplatform.scoring.version import choose
from mlplatform.stages import ORDER, computing_of, declared_by, gate_of, keeper_of, recalibrate_of, stages_of
from mlplatform.statistics.recalibration import Method
from mlplatform.training.ablation import Ablation, ablate
from mlplatform.use_case import UseCase

LOG = logging.getLogger(__name__)
_COMPUTING = ("ingest", "refine", "features")
_MODEL = "train and decide"
# Stage -> the work that one run of a use case at a time is at. What somebody asks for by a command of its own waits for
# no training: the gate, a promotion and a rollback exclude each other by a lock of theirs.
_WORK = {
    **dict.fromkeys((*_COMPUTING, stage_runs.BACKFILL, stage_runs.MAINTENANCE), "compute tables"),
    **dict.fromkeys(("train", "gate", "retrain"), _MODEL),
    "score": "score",
    "monitor": "monitor",
}
_WITH_CHAMPION, _MAKING_ONE = frozenset({"score", "monitor", "retrain"}), frozenset({"train", "gate"})
_WITHOUT = {
    "gate": "The champion is whom the registry names; a rollback knows no earlier ones.",
    "monitor": "The stage monitor measures a time again where it is asked to: mlplatform monitor, with its --as-of.",
}


class Pipeline:
    """Runs the stages of one use case at one time.

    Each stage is idempotent, so that a run that was killed is completed by running again, and says itself when it is
    due: scoring, monitoring and the retrain decision once for each `as_of`, so that a run again after a promotion does
    not score the same rows with the new champion, nor decides about retraining twice.
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

        Raises:
            UsageError: If nobody can have meant that time: it would stay on record.
        """
        plausible(parse_as_of(as_of), what="as_of")
        self._context = use_case.context(
            ws,
            as_of,
            uuid.uuid4().hex[:12],
            progress=progress,
            advance=advance,
            shared_log=log,
            execute=self._run_within,
        )
        self._use_case = use_case
        self._keeper = keeper_of(use_case)
        self._stages = stages_of(use_case, self._keeper)
        self.summary = RunSummary(self._context.run_id, use_case.name, as_of)
        self._recorder = Recorder(self._context, self.summary)

    def run(
        self,
        only: Iterable[str] | None = None,
        *,
        alias: str | None = None,
        since: datetime | None = None,
        start_job: str | None = None,
        recalibrate_job: str | None = None,
        due: bool = False,
        register_only: bool = False,
        allow_later: bool = False,
    ) -> RunSummary:
        """Run what is due, or exactly the stages named.

        Args:
            only: Names of stages to run, whatever is due; default: all that are due, in order.
            alias: Score with this alias' version only; default: the champion, and the challenger in the shadow.
            since: Score what has a prediction time after this and no prediction, also from before the first scoring.
            start_job: A due retraining starts this job, instead of training in this process.
            recalibrate_job: Where a job is started, a recalibration that is due starts this one.
            due: Of the stages named, run only what is due.
            register_only: Train without setting the alias challenger: evaluating the version sets it.
            allow_later: Score with whom the alias names now, though it was trained as of later than `as_of`.

        Raises:
            UsageError: If a stage's name is unknown.
            PlatformError: What a stage raised; it is recorded, and the stages before it stay done.
        """
        options: dict[str, dict[str, Any]] = {
            "score": {"alias": alias, "since": since, "allow_later": allow_later},
            "train": {"register_only": register_only},
            "retrain": {"start_job": start_job, "recalibrate_job": recalibrate_job},
        }
        wanted = list(only) if only is not None else None
        for name in wanted or ():
            if name not in ORDER:
                raise UsageError(f"There is no stage {name!r}.", hint=did_you_mean(name, ORDER))
        with no_space.saying("the run", self._context.ws.where):
            self._run_stages(wanted, options, due=due)
        return self.summary

    def _run_stages(self, wanted: Sequence[str] | None, options: Mapping[str, dict[str, Any]], *, due: bool) -> None:
        self._recorder.notes = self._lost_records(records.ensure(self._context.ws, self._context.namespace))
        stages = [
            replace(stage, **options.get(stage.name, {}))  # type: ignore[type-var]
            for stage in self._stages
            if wanted is None or stage.name in wanted
        ]
        self._check_champion_for(stages, asked=wanted is not None and not due)
        self._check_changes_for(stages)
        self._register_kept_functions()
        for work, members in groupby(enumerate(stages, start=1), key=lambda member: _WORK.get(member[1].name, "")):
            with self._alone_at(work):
                for number, stage in members:
                    self._recorder.place = f"stage {number} of {len(stages)}: " if len(stages) > 1 else ""
                    todo = self._recorder.due(stage) if wanted is None or due else stage
                    if todo is not None:
                        self._recorder.run(todo)
        self._recorder.place = ""
        if wanted is None:
            self._look_after_files()

    def execute(self, stage: Stage[Any], *, dry_run: bool = False) -> StageRun[Any]:
        """Run one stage with its own options, whether it is due or not.

        Args:
            stage: The stage.
            dry_run: Return what it would do; nothing is changed and nothing recorded.

        Raises:
            UsageError: If the stage cannot say what it would do.
            PlatformError: What the stage raised.
        """
        if dry_run:
            if not isinstance(stage, PlannedStage):
                raise UsageError(f"The stage {stage.name} has no dry run.")
            started, before = stage_runs.utc_now(), time.perf_counter()
            result = stage.plan(self._context).result
            return self._recorder.stage_run(stage.name, stage_runs.DONE, started, time.perf_counter() - before, result)
        with no_space.saying(f"the stage {stage.name}", self._context.ws.where):
            records.ensure(self._context.ws, self._context.namespace)
            if isinstance(stage, Gate | Recalibrate | AdoptModel | Backfill):
                self.check_changes()
                self._register_kept_functions()
            work = _WORK.get(stage.name, "")
            with self._alone_at("" if work == _MODEL else work):
                return self._recorder.run(stage)

    def retrain_decision(self) -> dict[str, Any]:
        """Return what the retrain stage would decide now, in its record's form; changes nothing."""
        context = self._context
        return details_of(context, decide_now(context)).to_json()

    def plan(self) -> ChangePlan:
        """Return what the declarations change about what exists, by `as_of`; changes nothing."""
        return plan_of(self._context, declared_by(self._use_case), self._keeper)

    def ablate(self) -> Ablation:
        """Return what each lookup is worth, by training without it; see `mlplatform.training.ablation`."""
        use_case = self._use_case
        return ablate(self._context, use_case.model_trainer(), use_case.label_spine(), use_case.functions)

    def apply(self, *, reason: str = "", in_place: bool = False, dry_run: bool = False) -> Applied:
        """Do what an edit of the declarations does, on record, and bring all tables up to it.

        The decision is one commit. A run that is killed after it is completed by running again.

        Args:
            reason: Why something breaking is done.
            in_place: Models in use are given what the new declarations give, instead of what they were trained on.
            dry_run: Return what would be done; nothing is changed.

        Raises:
            BreakingChangeError: If something is breaking, and no reason is given.
            StageError: If the edit cannot be applied.
            UnavailableError: If another edit was applied meanwhile.
        """
        context, use_case, declared = self._context, self._use_case, declared_by(self._use_case)
        if not dry_run:
            records.ensure(context.ws, context.namespace)
        with context.ws.lock(f"apply {context.model}"):
            plan = plan_of(context, declared, self._keeper)
            deciding.check_decided(context, plan, reason)
            live, _ = live_versions(context)
            decided, given_up = decide(context, use_case, self._keeper, plan, live, in_place=in_place)
            applied = Applied(plan, use_case.namespace, decided.namespace)
            if dry_run or not (plan.changes or applied.versions or given_up):
                return applied
            deciding.record(context, declared_by(decided), plan, decided.namespace, reason, given_up)
        pipeline = Pipeline(context.ws, decided, context.as_of, context.progress, advance=context.advance)
        applied.summary = pipeline.run([stage.name for stage in computing_of(decided)])
        return applied

    def lost(self) -> list[str]:
        """Return the names of tables that earlier runs brought up to date, and that are gone or are other ones."""
        return markers.all_lost(self._context, ("ingest", "refine", "features", "score"))

    def backfill(self, table: str, start: datetime, *, dry_run: bool = False) -> StageRun[Any]:
        """Compute a feature table's rows of [start, as_of] anew; see `mlplatform.features.backfill`.

        Raises:
            BreakingChangeError: If code changed in a way that a run would refuse.
        """
        return self.execute(Backfill(self._use_case.features, table, start), dry_run=dry_run)

    def rebuild(self, tables: Iterable[str]) -> RunSummary:
        """Compute silver and feature tables whole, whatever is on record, and what follows from them.

        Args:
            tables: Their names, as `silver_loans` or `features_lender`.

        Raises:
            UsageError: If the use case has no such table.
            BreakingChangeError: If something breaking waits.
        """
        names = self._context.namespace
        declared = {table.bare: table for table in declared_by(self._use_case).tables(names)}
        computed = {bare for bare, table in declared.items() if isinstance(table.part, SilverTable | FeatureTable)}
        wanted = []
        for table in tables:
            if table not in computed:
                raise UsageError(f"{self._use_case.name} has no table {table!r}.", hint=did_you_mean(table, computed))
            wanted.append(declared[table].name.name)
        self._stages = tuple(
            replace(stage, rebuild=tuple(wanted)) if isinstance(stage, Refine | Features) else stage
            for stage in self._stages
        )
        return self.run(["refine", "features"])

    def ingest(self, again: Iterable[str] = ()) -> RunSummary:
        """Ingest what landed; files that are taken again are refined again, and feature tables follow.

        Args:
            again: Files to take once more, as the platform names them or by path.

        Raises:
            UsageError: If no source has such a file.
            BreakingChangeError: If something breaking waits.
        """
        files = tuple(again)
        if not files:
            return self.run(["ingest"])
        self._stages = tuple(
            replace(stage, again=files) if isinstance(stage, Ingest) else stage for stage in self._stages
        )
        return self.run(["ingest", "refine", "features"])

    def adopt_table(
        self, source: str, declared_as: str | None = None, *, dry_run: bool = False
    ) -> StageResult[AdoptTableDetails]:
        """Take over a feature table's rows; see `mlplatform.change.adopt_table`."""
        return self.execute(AdoptTable(self._use_case.features, source, declared_as), dry_run=dry_run).result

    def adopt_model(self, source: ExistingVersion, *, dry_run: bool = False) -> StageResult[AdoptModelDetails]:
        """Take over a model version; see `mlplatform.change.adopt_model`."""
        use_case = self._use_case
        stage = AdoptModel(use_case.label_spine(), use_case.functions, use_case.trainer.trusted_types, source)
        return self.execute(stage, dry_run=dry_run).result

    def gate(
        self, *, version: int | None = None, override: str = "", hold: bool = False, dry_run: bool = False
    ) -> StageResult[GateDetails]:
        """Put a version to the gate; the arguments are fields of `mlplatform.gate.stage.Gate`."""
        stage = replace(gate_of(self._use_case), version=version, override=override, hold=hold)
        return self.execute(stage, dry_run=dry_run).result

    def recalibrate(
        self, *, basis: str = "", method: Method | None = None, register_only: bool = False, dry_run: bool = False
    ) -> StageResult[RecalibrationDetails]:
        """Make a version of the champion whose probabilities are moved; see `mlplatform.recalibration.stage`."""
        stage = replace(recalibrate_of(self._use_case), basis=basis, method=method, register_only=register_only)
        return self.execute(stage, dry_run=dry_run).result

    def roll_back(self, *, to: int | None, reason: str, dry_run: bool) -> StageResult[GateDetails]:
        """Make an earlier champion champion again; see `mlplatform.gate.rollback`."""
        return self.execute(Rollback(reason, to), dry_run=dry_run).result

    def end_canary(self, *, reason: str, dry_run: bool = False) -> StageResult[GateDetails]:
        """Let the challenger decide for nobody any more; see `mlplatform.gate.canary`."""
        return self.execute(EndCanary(reason), dry_run=dry_run).result

    def begin_anew(self, *, reason: str, dry_run: bool = False) -> StageResult[GateDetails]:
        """Go on without the models on record, which are gone; see `mlplatform.gate.begin_anew`."""
        return self.execute(BeginAnew(reason), dry_run=dry_run).result

    def maintain(self, *, dry_run: bool = False) -> StageRun[MaintenanceDetails]:
        """Put small files together and remove old ones; see `mlplatform.ops.maintenance`."""
        return self.execute(MaintainTables(), dry_run=dry_run)

    def check_changes(self, *, on_record: bool = False) -> None:
        """Refuse to go on where an edit waits that somebody has to decide about.

        Args:
            on_record: What is harmless is put on record, for what follows does it.

        Raises:
            BreakingChangeError: If somebody has to decide; the message holds the plan.
        """
        context, declared = self._context, declared_by(self._use_case)
        if not deciding.is_waiting(context, declared):
            return
        context.progress("plan: what is declared has changed")
        # A run at an earlier time computes anew, too, what later runs computed.
        moments = [record.as_of for record in context.log.records("features") if record.status in stage_runs.ENDED_WELL]
        plan = plan_of(replace(context, as_of=max([context.as_of, *moments])), declared, self._keeper)
        deciding.check_harmless(context, plan)
        if on_record:
            with context.ws.lock(f"apply {context.model}"):
                self._keeper.note(context, deciding.record(context, declared, plan, context.namespace))

    def _run_within(self, stage: Stage[Any]) -> StageRun[Any]:
        """Run a stage as a part of another one."""
        return self._recorder.run(stage)

    def _check_changes_for(self, stages: Sequence[Stage[Any]]) -> None:
        """Check before stages run; a refusal is on record, as the first of them."""
        with self._recorder.refusing(stages[0]):
            self.check_changes(on_record=any(stage.name in _COMPUTING for stage in stages))

    def _check_champion_for(self, stages: Sequence[Stage[Any]], *, asked: bool) -> None:
        """Check before stages run that rely on the champion; a refusal is on record.

        Args:
            stages: Those that are to run.
            asked: They run because they are asked for, whatever is due.
        """
        relying = [stage for stage in stages if stage.name in _WITH_CHAMPION]
        if not relying or (asked and any(stage.name in _MAKING_ONE for stage in stages)):
            return
        for stage in relying if asked else relying[:1]:
            with self._recorder.refusing(stage):
                if not asked:
                    steps.check_may_run(self._context)
                elif isinstance(stage, Score):
                    choose(self._context, stage.alias, allow_later=stage.allow_later)
                else:
                    steps.check_champion(self._context)

    def _register_kept_functions(self) -> None:
        """Register functions that only models in use compute with, as the code on record declares them.

        Where that cannot be imported, who computes with them says so; all else goes on.
        """
        try:
            found = self._keeper.kept(self._context)
        except StageError as error:
            LOG.warning("%s: %s", self._context.name, error.message)
            return
        for kept in found:
            if kept.functions:
                with kept.installed():
                    register_functions(self._context.ws, kept.context.namespace, kept.functions)

    def _look_after_files(self) -> None:
        """Put small files together where a run is to do so: else each step adds some, and reading gets slower.

        All stages have succeeded by then: what goes wrong here is on record and said, and fails no run.
        """
        context = self._context
        if not (context.ws.maintenance.by_runs and context.settings.maintenance.after_runs):
            return
        try:
            with self._alone_at(_WORK[stage_runs.MAINTENANCE]):
                todo = self._recorder.due(MaintainTables(clean=False))
                if todo is not None:
                    self._recorder.run(todo)
        except PlatformError as error:
            note = f"Small files were not put together: {error.message} The next run tries again."
            LOG.warning("%s: %s", context.name, note)
            self.summary.stages[-1].details.note(note)

    def _lost_records(self, created: list[RecordTable[Any]]) -> list[str]:
        """Say which of the platform's own tables were gone: what they had recorded is not known any more."""
        if records.STAGE_RUNS in created:
            some = len(created) < len(records.TABLES)
            return ["ops.stage_runs was gone: what runs had recorded is lost, all is computed whole."] if some else []
        notes = []
        for table in created:
            stage = table.written_by
            runs = [run for run in self._context.log.runs(stage) if run.status == stage_runs.DONE] if stage else []
            if runs:
                notes.append(
                    f"ops.{table.name} was gone: what {len(runs)} run(s) of the stage {stage} had recorded there is "
                    f"lost. {_WITHOUT[stage]}"
                )
        return notes

    @contextmanager
    def _alone_at(self, work: str) -> Iterator[None]:
        """Let one run of the use case at a time do a work, and know by then what the others have done.

        Two at once would both count what only one of them writes, and each would record itself as up to date with
        tables that the other was still writing.
        """
        context = self._context
        if not work:
            yield
            return
        with context.ws.turn(f"{work} {context.namespace.catalog}.{context.namespace.use_case}"):
            context.log.look_again()
            yield
