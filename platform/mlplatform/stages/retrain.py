"""Retrain: decide, from schedule and alarms, whether a new challenger is due; the pipeline then trains and gates it."""

from __future__ import annotations

from mlplatform.as_of import parse_as_of
from mlplatform.monitoring.retrain import RetrainDecision
from mlplatform.monitoring.retrain import decide as decide_retrain
from mlplatform.ops import stage_runs
from mlplatform.ops.stage_runs import StageResult
from mlplatform.stages import monitor, train
from mlplatform.stages.context import StageContext

NAME = "retrain"


def decide(context: StageContext) -> RetrainDecision:
    """Decide whether to retrain at `as_of`; reads only what was recorded up to then."""
    trained = [
        row["as_of"]
        for row in context.log.rows(train.NAME)
        if row["status"] == stage_runs.DONE and parse_as_of(row["as_of"]) <= context.as_of
    ]
    alarms: list[str] = []
    for row in context.log.rows(monitor.NAME):
        if row["status"] == stage_runs.DONE and parse_as_of(row["as_of"]) == context.as_of:
            alarms = list(row["details"].get("alarms", []))
    return decide_retrain(
        context.as_of,
        max((parse_as_of(moment) for moment in trained), default=None),
        alarms,
        context.use_case.settings.monitoring,
    )


def result_of(decision: RetrainDecision) -> StageResult:
    """Return a decision as a stage's result."""
    return StageResult(details={"due": decision.due, "reasons": list(decision.reasons)})
