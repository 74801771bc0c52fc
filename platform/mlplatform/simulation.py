"""Replaying history: the pipeline at each step, seeing only what was known by then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from mlplatform.as_of import parse_as_of
from mlplatform.ops import stage_runs, timeline
from mlplatform.ops.timeline import Step
from mlplatform.pipeline import ORDER, Pipeline
from mlplatform.stages.context import Progress, silent
from mlplatform.use_case import UseCase
from mlplatform.workspace.protocols import Workspace


def simulate(
    ws: Workspace,
    use_case: UseCase,
    moments: Sequence[datetime],
    *,
    on_step: Callable[[int, Step], None] | None = None,
    progress: Progress = silent,
) -> list[Step]:
    """Run the pipeline at each of the moments, in order.

    Resumable: a step whose last stage has been recorded is not run again, so that a simulation that was stopped goes on
    where it stopped.

    Args:
        ws: The workspace.
        use_case: The use case.
        moments: The `as_of` times, ascending.
        on_step: Called after each step with its number and what happened.
        progress: Takes lines about what is being done.

    Returns:
        The steps.
    """
    metric = use_case.settings.training.metric
    for number, moment in enumerate(moments):
        if not _done(ws, use_case, moment):
            Pipeline(ws, use_case, moment, progress).run()
        if on_step is not None:
            on_step(number, _steps(ws, use_case, [moment], metric)[0])
    return _steps(ws, use_case, moments, metric)


def _done(ws: Workspace, use_case: UseCase, moment: datetime) -> bool:
    return any(
        row["status"] == stage_runs.DONE and parse_as_of(row["as_of"]) == moment
        for row in stage_runs.read(ws, use_case.namespace, stage=ORDER[-1])
    )


def _steps(ws: Workspace, use_case: UseCase, moments: Sequence[datetime], metric: str) -> list[Step]:
    wanted = set(moments)
    return [step for step in timeline.read(ws, use_case.namespace, metric) if step.as_of in wanted]
