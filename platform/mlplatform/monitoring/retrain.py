"""Retraining: by schedule, by age, or on alarm, with a cool-down, whether a challenger is due; then it is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field

from mlplatform.as_of import Duration
from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.config.recalibration import RecalibrationSettings
from mlplatform.errors import UsageError
from mlplatform.gate import champion as champions
from mlplatform.gate import decision_log
from mlplatform.monitoring import alerts, details
from mlplatform.monitoring.details import MonitorDetails
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, Moment, StageResult
from mlplatform.ops.stage import Stage
from mlplatform.ops.stage_runs import DONE, ENDED_WELL, RunLog
from mlplatform.recalibration import details as recalibration_details
from mlplatform.recalibration.details import RecalibrationDetails
from mlplatform.recalibration.stage import Recalibrate
from mlplatform.training.stage import NAME as TRAIN
from mlplatform.training.stage import Train, TrainDetails
from mlplatform.training.version_tags import TRAINED_AS_OF_TAG, fitted_as_of

NAME = "retrain"
Cure = Literal["train", "recalibrate"]
TRAINING: Cure = "train"
RECALIBRATION: Cure = "recalibrate"
OF_CALIBRATION = ("calibration", "immature_calibration")
"""Kinds of alarms that a recalibration may cure."""
# So many monitorings for each window that counts: not every one judges every kind.
_LOOKED_AT = 50
# Of these, only windows that the newest one's version scored count: a new champion starts anew.
_OF_ONE_VERSION = (alerts.DRIFT, alerts.PREDICTION_DRIFT, alerts.IMMATURE_CALIBRATION, alerts.IMMATURE_PERFORMANCE)

Windows = Mapping[str, Sequence[tuple[datetime, bool]]]
"""Kind -> the judged windows, oldest first: when, and whether they were in violation."""


@dataclass(frozen=True)
class RetrainDecision:
    """Whether to retrain at a time, and why (or why not).

    Attributes:
        due: Whether to.
        reasons: Each begins with its kind and a colon, as `schedule: ...`.
        held_until: End of the cool-down that holds an alarm back; None when none does.
        cure: What is due: a training, or a recalibration of the champion.
    """

    due: bool
    reasons: tuple[str, ...]
    held_until: datetime | None = None
    cure: Cure = TRAINING


@dataclass(frozen=True)
class Recalibrations:
    """Whether alarms recalibrate the champion, and the last recalibration up to now.

    Attributes:
        settings: When, and how often at most.
        at: As of when the last one was; None: there was none.
        took: Whether its version became champion; else there was nothing to move, or the gate rejected it.
    """

    settings: RecalibrationSettings
    at: datetime | None = None
    took: bool = False


def decide(  # noqa: PLR0913  (all but the first by keyword, and each of its own kind)
    as_of: datetime,
    last_trained: datetime | None,
    alarms: Sequence[str],
    limits: MonitoringSettings,
    *,
    windows: Windows | None = None,
    monitored_at: datetime | None = None,
    champion_trained: datetime | None = None,
    unknown: str = "",
    recalibrations: Recalibrations | None = None,
) -> RetrainDecision:
    """Decide whether to retrain.

    Due is a retraining by the schedule, whatever else; and, once the cool-down has passed, when realised performance
    is under its floor, when `violated_windows` of the last `of_windows` windows of a kind are in violation and the
    newest one is, or when the champion is older than `max_model_age`.

    Args:
        as_of: Now.
        last_trained: `as_of` of the last training up to now; None when there was none.
        alarms: What realised performance said when it was monitored last.
        limits: Schedule, cool-down, k and n.
        windows: The judged windows up to now, of the kinds to look at.
        monitored_at: When it was monitored last; default: now.
        champion_trained: When the champion was trained; None when unknown.
        unknown: What could not be judged, in words: then "no alarm" is not said.
        recalibrations: Whether an alarm that is about calibration alone recalibrates the champion; None: it trains.

    Examples:
        >>> from mlplatform.as_of import parse_as_of
        >>> decide(parse_as_of("2007-01-01"), parse_as_of("2006-01-01"), [], MonitoringSettings()).reasons
        ('schedule: 12 months since the training at 2006-01-01',)
    """
    if last_trained is None:
        return RetrainDecision(due=True, reasons=("untrained: there is no trained model",))
    if last_trained == as_of:
        return RetrainDecision(due=False, reasons=("trained at this time",))
    reasons = (
        *alarms,
        *_violated(monitored_at or as_of, windows or {}, limits),
        *_age(as_of, champion_trained, limits),
    )
    if Duration.parse(limits.retrain_every).after(last_trained) <= as_of:
        schedule = f"schedule: {limits.retrain_every} since the training at {last_trained:%Y-%m-%d}"
        return RetrainDecision(due=True, reasons=(schedule, *reasons))
    if not reasons:
        why = f"unknown: {unknown}; the schedule is not due" if unknown else "no alarm, and the schedule is not due"
        return RetrainDecision(due=False, reasons=(why,))
    if recalibrations is not None and recalibrations.settings.when == "on_alarm" and _of_calibration(reasons):
        moving = _recalibrate(as_of, reasons, recalibrations)
        if moving is not None:
            return moving
    until = Duration.parse(limits.cooldown).after(last_trained)
    if until <= as_of:
        return RetrainDecision(due=True, reasons=reasons)
    held = f"cool-down: {limits.cooldown} since the training at {last_trained:%Y-%m-%d}"
    return RetrainDecision(due=False, reasons=(held, *reasons), held_until=until)


def _of_calibration(reasons: Sequence[str]) -> bool:
    return all(reason.partition(":")[0] in OF_CALIBRATION for reason in reasons)


def _recalibrate(as_of: datetime, reasons: tuple[str, ...], last: Recalibrations) -> RetrainDecision | None:
    """Return that a recalibration is due or held back; None where the last one did not help, and a training is to."""
    settings = last.settings
    if last.at is None:
        return RetrainDecision(due=True, reasons=reasons, cure=RECALIBRATION)
    if last.at == as_of:
        return RetrainDecision(due=False, reasons=("recalibrated at this time",), cure=RECALIBRATION)
    until = Duration.parse(settings.cooldown).after(last.at)
    if until <= as_of:
        return RetrainDecision(due=True, reasons=reasons, cure=RECALIBRATION)
    if not last.took:
        return None
    held = f"cool-down: {settings.cooldown} since the recalibration at {last.at:%Y-%m-%d}"
    return RetrainDecision(due=False, reasons=(held, *reasons), held_until=until, cure=RECALIBRATION)


def _violated(monitored_at: datetime, windows: Windows, limits: MonitoringSettings) -> list[str]:
    reasons = []
    for kind in limits.retrain_on:
        last = list(windows.get(kind, ()))[-limits.of_windows :]
        count = sum(violated for _, violated in last)
        if last and last[-1] == (monitored_at, True) and count >= limits.violated_windows:
            reasons.append(
                f"{kind}: {count} of the last {len(last)} windows in violation, the newest too "
                f"({limits.violated_windows} of {limits.of_windows} needed)"
            )
    return reasons


def _age(as_of: datetime, trained: datetime | None, limits: MonitoringSettings) -> list[str]:
    if limits.max_model_age is None or trained is None:
        return []
    if Duration.parse(limits.max_model_age).after(trained) > as_of:
        return []
    return [f"age: the champion was trained at {trained:%Y-%m-%d}, over {limits.max_model_age} ago"]


class StartedJob(BaseModel):
    """The run of the job that retrains.

    Attributes:
        name: The job's id or name.
        run_id: Of the job service.
        state: In which state it was found.
        url: Where to watch it.
        message: What the job service says of it.
    """

    name: str
    run_id: str
    state: str
    url: str = ""
    message: str = ""


class RetrainDetails(Details):
    """What was decided about retraining.

    Attributes:
        due: Whether to retrain.
        reasons: Why, or why not; each begins with its kind and a colon.
        held_until: End of the cool-down that holds an alarm back; None when none does.
        token: What makes starting the retraining of one `as_of` idempotent where a job service runs it.
        job: The run that was started; None where this process retrains.
        cure: What was due: `train`, or `recalibrate`; not set in what was recorded before there were two.
    """

    due: bool = False
    reasons: list[str] = Field(default_factory=list)
    held_until: Moment | None = None
    token: str = ""
    job: StartedJob | None = None
    cure: str = TRAINING


@dataclass(frozen=True)
class Retrain(Stage[RetrainDetails]):
    """What was monitored decides whether a new challenger is trained.

    Attributes:
        then: The stages of a retraining: training, and the gate.
        recalibrating: The stages of a recalibration: making a version of the champion, and the gate.
        start_job: A retraining that is due starts this job, by its id or name, instead of running in this process.
        recalibrate_job: So does a recalibration this one.
        only_end: There was no champion to decide about: what is recorded is that the step has ended.
    """

    name: ClassVar[str] = NAME

    then: tuple[Stage[Any], ...] = ()
    recalibrating: tuple[Stage[Any], ...] = ()
    start_job: str | None = None
    recalibrate_job: str | None = None
    only_end: bool = False

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return what the stages of a retraining write."""
        return tuple(table for stage in self.then for table in stage.writes(names))

    def due(self, context: StageContext) -> Self | None:
        """The decision is due once for each `as_of` as of which there was a champion; without one the step ends."""
        recorded = context.log.ended_well_at(NAME, context.as_of)
        if any(record.status == DONE for record in recorded):
            return None
        if champions.standing(context).number is not None:
            return self
        return None if recorded else replace(self, only_end=True)

    def run(self, context: StageContext) -> StageResult[RetrainDetails]:
        """Decide, and retrain where it is due; recorded last, so that a retraining that was killed is due again.

        Raises:
            DeploymentError: If the job does not exist, or cannot be started; run again to start it.
        """
        if self.only_end:
            return StageResult(details=RetrainDetails(), skipped="there is no champion yet")
        if self.start_job is not None:
            return StageResult(details=_started(context, self.start_job, self.recalibrate_job))
        # One process at a time decides and retrains: the next one finds that it has been done.
        with context.ws.lock(f"retrain {context.model}"):
            decision = decide_now(context)
            then = self.recalibrating if decision.cure == RECALIBRATION else self.then
            begun = None if decision.due else _begun(context)
            if begun is not None:
                decision = begun
                then = tuple(stage for stage in self.then if not isinstance(stage, Train | Recalibrate))
            if decision.due:
                doing = "recalibrating" if decision.cure == RECALIBRATION else "retraining"
                context.progress(f"{doing}: {'; '.join(decision.reasons)}")
                for stage in then:
                    if isinstance(stage, Train | Recalibrate):
                        context.execute(replace(stage, asked_for=decision.reasons))
                    else:
                        context.execute(stage)
            return StageResult(details=details_of(context, decision))


def decide_now(context: StageContext) -> RetrainDecision:
    """Decide whether to retrain at `as_of`; reads only what was recorded up to then."""
    standing = champions.standing(context)
    if standing.later is not None:
        later = standing.later
        why = f"later: version {later.challenger_version} became champion as of {later.as_of:%Y-%m-%d}, after this time"
        return RetrainDecision(due=False, reasons=(why,))
    log = context.log
    log.look_again()  # another process may have retrained since the run began
    trained = [run.as_of for run in log.runs(TRAIN) if run.status == DONE and run.as_of <= context.as_of]
    last_trained = max(trained, default=None)
    most = _LOOKED_AT * context.settings.monitoring.of_windows
    runs = log.runs_of(details.STAGE, MonitorDetails, until=context.as_of, newest=most)
    monitored = details.up_to(runs, context.as_of)
    # What was found before the last training is what that training was for.
    since = [moment for moment in monitored if last_trained is None or moment > last_trained or moment == context.as_of]
    newest = max(since, default=None)
    latest = monitored[newest].details if newest is not None else MonitorDetails()
    return decide(
        context.as_of,
        last_trained,
        latest.alarms,
        context.settings.monitoring,
        windows=_windows({moment: run.details for moment, run in monitored.items()}),
        monitored_at=newest,
        champion_trained=_champion_trained(context, standing.number),
        unknown=_unknown(newest, latest),
        recalibrations=_recalibrations(context, log),
    )


def _recalibrations(context: StageContext, log: RunLog) -> Recalibrations:
    """Return the last recalibration up to `as_of`, and whether its version became champion."""
    settings = context.settings.recalibration
    runs = log.runs_of(recalibration_details.STAGE, RecalibrationDetails, until=context.as_of)
    ended = [run for run in runs if run.status in ENDED_WELL]
    if not ended:
        return Recalibrations(settings)
    last = max(ended, key=lambda run: run.as_of)
    applied = [event for event in decision_log.events(context.ws, context.namespace) if event.event == "applied"]
    took = last.details.version is not None and any(
        event.challenger_version == last.details.version and event.as_of >= last.as_of for event in applied
    )
    return Recalibrations(settings, last.as_of, took)


def _begun(context: StageContext) -> RetrainDecision | None:
    """Return the retraining at `as_of` that was begun, and whose run ended before it could record so; None: none."""
    log, now = context.log, context.as_of
    log.look_again()
    if any(record.status == DONE for record in log.ended_well_at(NAME, now)):
        return None
    begun: dict[Cure, list[list[str]]] = {
        RECALIBRATION: [
            run.details.asked_for
            for run in log.runs_of(recalibration_details.STAGE, RecalibrationDetails, since=now, until=now)
            if run.status == DONE
        ],
        TRAINING: [
            run.details.asked_for
            for run in log.runs_of(TRAIN, TrainDetails, since=now, until=now)
            if run.status == DONE
        ],
    }
    for cure, asked in begun.items():
        if reasons := [why for why in asked if why]:
            return RetrainDecision(due=True, reasons=tuple(reasons[-1]), cure=cure)
    return None


def details_of(context: StageContext, decision: RetrainDecision) -> RetrainDetails:
    """Return a decision as it is recorded."""
    details = RetrainDetails(
        due=decision.due,
        reasons=list(decision.reasons),
        held_until=decision.held_until,
        token=_token(context, decision.cure),
    )
    if decision.cure != TRAINING:
        details.cure = decision.cure
    return details


def _unknown(newest: datetime | None, latest: MonitorDetails) -> str:
    if newest is None:
        return "nothing has been monitored since the last training"
    if latest.unchecked:
        return f"a check could not be made at {newest:%Y-%m-%d}, see the alert {alerts.MONITOR}"
    return ""


def _started(context: StageContext, job: str, recalibrate_job: str | None) -> RetrainDetails:
    """Decide, and start the job that trains and gates; again, while it is due, finds the run that was started.

    The run's `as_of` and environment become the job's parameters.

    Raises:
        UsageError: If a recalibration is due, and no job is named for it.
    """
    decision = decide_now(context)
    recorded = details_of(context, decision)
    if decision.due and decision.cure == RECALIBRATION:
        if recalibrate_job is None:
            raise UsageError(
                f"A recalibration is due, and no job is named that does it: {'; '.join(decision.reasons)}",
                hint="Give --recalibrate-job; `mlplatform bundle generate` writes it where recalibration.when is "
                "on_alarm.",
            )
        job = recalibrate_job
    if decision.due:
        context.progress(f"starting {job}: {'; '.join(decision.reasons)}")
        parameters = {"as_of": context.as_of.isoformat(), "env": context.ws.env}
        run = context.ws.jobs.run_now(job, parameters=parameters, token=recorded.token)
        recorded.job = StartedJob(name=job, run_id=run.run_id, state=run.state, url=run.url, message=run.message)
    return recorded


def _token(context: StageContext, cure: str) -> str:
    doing = "retrain" if cure == TRAINING else cure
    text = f"{doing}|{context.model}|{context.as_of.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _windows(monitored: Mapping[datetime, MonitorDetails]) -> Windows:
    """Return the judged windows of each kind, oldest first."""
    judged: dict[str, list[tuple[datetime, bool, int | None]]] = {}
    for moment, found in monitored.items():
        for kind, window in found.windows.items():
            judged.setdefault(kind, []).append((moment, window.violated, window.model_version))
    return {
        kind: [
            (moment, violated)
            for moment, violated, version in windows
            if kind not in _OF_ONE_VERSION or version == windows[-1][2]
        ]
        for kind, windows in judged.items()
    }


def _champion_trained(context: StageContext, number: int | None) -> datetime | None:
    if context.settings.monitoring.max_model_age is None or number is None:
        return None
    version = context.ws.registry.get(context.model, number)
    # A recalibration makes no model younger.
    return fitted_as_of(version) if TRAINED_AS_OF_TAG in version.tags else None
