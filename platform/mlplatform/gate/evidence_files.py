"""Keeping the evidence of a decision with the challenger's run: without it nothing is promoted but by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from mlplatform import stopping
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.checks.base import CheckResult, Evidence
from mlplatform.gate.decision import Decision, decision_id
from mlplatform.gate.judgement import Judgement
from mlplatform.ops.context import StageContext
from mlplatform.ops.stage import Action
from mlplatform.protocols.registry import ModelVersion
from mlplatform.statistics import metrics
from mlplatform.statistics.class_metrics import loggable

Render = Callable[[Decision, Evidence | None, UseCaseSettings, str], Mapping[str, str]]
"""Gives the files of a decision, by name: of its evidence, the use case's settings, and the model's name."""


class NotStoredError(Exception):
    """The evidence could not be stored; carries the rejection that goes on record in place of the decision."""

    def __init__(self, rejection: Decision) -> None:
        """Take the rejection."""
        super().__init__(rejection.reason)
        self.rejection = rejection


def storing(context: StageContext, challenger: ModelVersion, judgement: Judgement, render: Render) -> list[Action]:
    """Return the actions that keep the evidence of a decision.

    Carried out, they raise `NotStoredError` if it cannot be stored; of a promotion by hand, what kept it from it.
    """
    decision, registry = judgement.decision, context.ws.registry
    folder = f"gate/{decision.decision_id}"

    def guarded(store: Callable[[], None]) -> Callable[[], None]:
        def act() -> None:
            try:
                store()
            except Exception as error:
                stopping.check()
                if decision.kind == "override":
                    raise
                raise NotStoredError(_rejection(decision, error)) from error

        return act

    def store() -> None:
        files = render(decision, judgement.evidence, context.settings, str(context.model))
        registry.log_files(challenger, folder, files)

    def log() -> None:
        registry.log_metrics(challenger, measured(judgement, context.settings), decision.as_of)

    return [
        Action(f"store the evidence with the run of version {challenger.version}, in {folder}", guarded(store)),
        Action(f"log what was measured on the model of version {challenger.version}", guarded(log)),
    ]


def measured(judgement: Judgement, settings: UseCaseSettings) -> dict[str, float]:
    """Return what the gate measured of the challenger: its metrics on the frame, and the value of each check."""
    evidence = judgement.evidence
    values = {f"gate_check_{it.name}": float(it.value) for it in judgement.decision.checks if it.value is not None}
    known = evidence is not None and evidence.labels.size and not evidence.expected
    if evidence is not None and known and np.isfinite(evidence.challenger).all():
        on_frame = metrics.evaluate(
            settings.kind_of_task, evidence.labels, evidence.challenger, event_above=settings.label.event_above
        )
        on_frame = loggable(on_frame, settings.kind_of_task.classes)
        values |= {f"gate_{name}": value for name, value in on_frame.items()}
    return values


def _rejection(decision: Decision, error: Exception) -> Decision:
    why = f"the evidence could not be stored: {error}"
    return replace(
        decision,
        # Another id: once it can be stored, the same question is to be decided anew.
        decision_id=decision_id(decision.decision_id, decision.challenger_version, None, None, why),
        outcome="rejected",
        reason=f"{why}; {decision.reason}" if decision.outcome != "promoted" else why,
        evaluation={**decision.evaluation, "error": why},
        checks=[*decision.checks, CheckResult("stored_evidence", "fail", why)],
    )
