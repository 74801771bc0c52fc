"""Replaying history: the pipeline at each step, seeing only what was known by then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from mlplatform.gate import decision_log
from mlplatform.monitoring import staleness, steps
from mlplatform.monitoring.staleness import Staleness
from mlplatform.ops.context import Progress, silent
from mlplatform.ops.stage_runs import RunLog
from mlplatform.pipeline import Pipeline
from mlplatform.protocols.workspace import Workspace
from mlplatform.reporting import timeline
from mlplatform.reporting.timeline import TimelineStep
from mlplatform.use_case import UseCase

NOTE = "Note: "
"""What a line of progress begins with that says what a step said aloud."""


STEPS_AN_ENGINE = 50
"""How many steps one engine is kept for: it holds a little of each, and takes a second to start."""


def simulate(
    ws: Workspace,
    use_case: UseCase,
    moments: Sequence[datetime],
    *,
    on_step: Callable[[int, TimelineStep], None] | None = None,
    progress: Progress = silent,
) -> list[TimelineStep]:
    """Run the pipeline at each of the moments, in order.

    Resumable: a step whose end is on record is not run again, so that a simulation that was stopped goes on where it
    stopped, and one that has ended changes nothing.

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
    # One record for all steps: reading it anew at each would cost more the longer the simulation gets.
    log = RunLog(ws, use_case.namespace)
    recorded = log.between(min(moments), max(moments)) if moments else []
    decisions = decision_log.events(ws, use_case.namespace)
    finished = {moment for moment in moments if steps.has_ended(recorded, decisions, moment)}
    # What is recorded as finished is so where what it made is there; else its last step brings it back.
    done = [moment for moment in moments if moment in finished]
    if done and Pipeline(ws, use_case, done[-1], progress, log=log).lost():
        finished.discard(done[-1])
    ran = 0
    for number, moment in enumerate(moments):
        if moment not in finished:
            for note in Pipeline(ws, use_case, moment, progress, log=log).run().notes():
                progress(f"{NOTE}{note}")
            ran += 1
            if ran % STEPS_AN_ENGINE == 0:
                ws.renew_engine()
        if on_step is not None:
            on_step(number, _steps(log, {moment}, metric)[0])
    return _steps(log, set(moments), metric)


def stale(
    ws: Workspace, use_case: UseCase, moments: Sequence[datetime], every: str, *, progress: Progress = silent
) -> Staleness:
    """Measure how fast the champions of a simulation grew stale; nothing in the workspace is changed.

    Args:
        ws: The workspace, in which the steps were simulated.
        use_case: The use case.
        moments: The steps, ascending; labels count as known by the last one.
        every: How far they are apart.
        progress: Takes lines about what is being done.

    Raises:
        PlatformError: If labels, decisions or the registry cannot be read.
    """
    return staleness.measure(
        use_case.context(ws, moments[-1], "staleness", progress=progress),
        use_case.label_spine(),
        moments,
        every,
        functions=use_case.functions,
        trusted_types=use_case.trainer.trusted_types,
    )


def _steps(log: RunLog, wanted: Collection[datetime], metric: str) -> list[TimelineStep]:
    recorded = log.between(min(wanted), max(wanted)) if wanted else []
    return timeline.steps([record for record in recorded if record.as_of in wanted], metric)
