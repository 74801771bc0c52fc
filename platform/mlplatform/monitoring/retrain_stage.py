"""Retrain: from schedule, age and alarms, whether a challenger is due; the pipeline then trains and gates it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from mlplatform.as_of import parse_as_of
from mlplatform.monitoring import alerts, monitored
from mlplatform.monitoring.retrain import RetrainDecision
from mlplatform.monitoring.retrain import decide as decide_retrain
from mlplatform.naming import CHAMPION
from mlplatform.ops import stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.training import stage as train
from mlplatform.training.version_tags import TRAINED_AS_OF_TAG

NAME = "retrain"
# Of these, only windows that the newest one's version scored count: a new champion starts anew.
_OF_ONE_VERSION = (alerts.DRIFT, alerts.PREDICTION_DRIFT)


def decide(context: StageContext) -> RetrainDecision:
    """Decide whether to retrain at `as_of`; reads only what was recorded up to then."""
    # Read now, not when the run began: another process may have retrained meanwhile.
    rows = stage_runs.read(context.ws, context.namespace)
    trained = [
        parse_as_of(row["as_of"]) for row in rows if row["stage"] == train.NAME and row["status"] == stage_runs.DONE
    ]
    last_trained = max((moment for moment in trained if moment <= context.as_of), default=None)
    # What was found before the last training is what that training was for.
    found = {
        moment: details
        for moment, details in _monitored(rows, context.as_of).items()
        if last_trained is None or moment > last_trained or moment == context.as_of
    }
    newest = max(found, default=None)
    details = found[newest] if newest is not None else {}
    return decide_retrain(
        context.as_of,
        last_trained,
        list(details.get("alarms", [])),
        context.use_case.settings.monitoring,
        windows=_windows(_monitored(rows, context.as_of)),
        monitored_at=newest,
        champion_trained=_champion_trained(context),
        unknown=_unknown(newest, details),
    )


def _unknown(newest: datetime | None, details: dict[str, Any]) -> str:
    if newest is None:
        return "nothing has been monitored since the last training"
    if details.get("windows", {}).get(alerts.MONITOR, {}).get("violated"):
        return f"a check could not be made at {newest:%Y-%m-%d}, see the alert {alerts.MONITOR}"
    return ""


def result_of(context: StageContext, decision: RetrainDecision) -> StageResult[Any]:
    """Return a decision as a stage's result."""
    return StageResult(
        details={
            "due": decision.due,
            "reasons": list(decision.reasons),
            "held_until": decision.held_until.isoformat() if decision.held_until else None,
            "token": token(context),
        }
    )


def start_if_due(context: StageContext, job: str) -> StageResult[Any]:
    """Decide, and start the job that trains and gates; again, while it is due, finds the run that was started.

    Args:
        context: The run; its `as_of` and environment become the job's parameters.
        job: The job's id or name.

    Raises:
        DeploymentError: If the job does not exist, or cannot be started; run again to start it.
    """
    decision = decide(context)
    result = result_of(context, decision)
    if decision.due:
        context.progress(f"starting {job}: {'; '.join(decision.reasons)}")
        parameters = {"as_of": context.as_of.isoformat(), "env": context.ws.env}
        run = context.ws.jobs.run_now(job, parameters=parameters, token=token(context))
        result.details["job"] = {
            "name": job,
            "run_id": run.run_id,
            "state": run.state,
            "url": run.url,
            "message": run.message,
        }
    return result


def token(context: StageContext) -> str:
    """Return what makes starting the retraining of one `as_of` idempotent where a job service runs it."""
    text = f"retrain|{context.use_case.model}|{context.as_of.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _monitored(rows: list[dict[str, Any]], as_of: datetime) -> dict[datetime, dict[str, Any]]:
    """Return what the monitor recorded, by `as_of`, oldest first."""
    return {moment: row["details"] for moment, row in monitored.up_to(rows, as_of).items()}


def _windows(found: dict[datetime, dict[str, Any]]) -> dict[str, list[tuple[datetime, bool]]]:
    judged: dict[str, list[tuple[datetime, bool, Any]]] = {}
    for moment, details in found.items():
        for kind, window in details.get("windows", {}).items():
            judged.setdefault(kind, []).append((moment, window["violated"], window["model_version"]))
    return {
        kind: [
            (moment, violated)
            for moment, violated, version in windows
            if kind not in _OF_ONE_VERSION or version == windows[-1][2]
        ]
        for kind, windows in judged.items()
    }


def _champion_trained(context: StageContext) -> datetime | None:
    if context.use_case.settings.monitoring.max_model_age is None:
        return None
    registry, model = context.ws.registry, context.use_case.model
    number = registry.aliases(model).get(CHAMPION)
    tag = registry.get(model, number).tags.get(TRAINED_AS_OF_TAG) if number is not None else None
    return parse_as_of(tag) if tag else None


@dataclass(frozen=True)
class Retrain(Stage[Any]):
    """What was monitored decides whether a new challenger is trained.

    Attributes:
        then: The stages of a retraining: training, and the gate.
        start_job: A retraining that is due starts this job, instead of running in this process.
    """

    name: ClassVar[str] = NAME

    then: tuple[Stage[Any], ...] = ()
    start_job: str | None = None

    def due(self, context: StageContext) -> Self | None:
        """The decision is due once for each `as_of` while there is a champion."""
        champion = CHAMPION in context.ws.registry.aliases(context.model)
        return self if champion and not context.log.done_at(NAME, context.as_of) else None

    def run(self, context: StageContext) -> StageResult[Any]:
        """Decide, and retrain where it is due; recorded last, so that a retraining that was killed is due again."""
        if self.start_job is not None:
            return start_if_due(context, self.start_job)
        # One process at a time decides and retrains: the next one finds that it has been done.
        with context.ws.lock(f"retrain {context.model}"):
            decision = decide(context)
            if decision.due:
                context.progress(f"retraining: {'; '.join(decision.reasons)}")
                for stage in self.then:
                    context.execute(stage)
            return result_of(context, decision)
