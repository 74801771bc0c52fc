"""Recalibrate: the champion's probabilities, moved to what outcomes say, become a version that the gate judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from mlplatform.as_of import shown
from mlplatform.errors import LabelError, StageError, UsageError, did_you_mean
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.gate import champion as champions
from mlplatform.gate import first_steps
from mlplatform.naming import CHAMPION, Namespace, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage
from mlplatform.protocols.registry import ModelVersion
from mlplatform.recalibration.details import STAGE, RecalibrationDetails
from mlplatform.recalibration.moving import CannotMoveError, Moving, hold_against
from mlplatform.recalibration.version import Registering
from mlplatform.refine.spine import LABELS, SPINE, LabelSpine
from mlplatform.statistics.recalibration import Method, describe, odds_of
from mlplatform.training.challenger import make_challenger
from mlplatform.training.outcomes import Basis
from mlplatform.training.recalibrated import recalibration_of
from mlplatform.training.version_tags import trained_as_of


@dataclass(frozen=True)
class Recalibrate(PlannedStage[RecalibrationDetails]):
    """The champion is held against outcomes of rows that it was not fitted on, and moved where it is surely off.

    What comes of it is a version of its own: the champion's files, and the moves of its probabilities beside them. It
    gets the alias challenger; the gate judges it by rows that nothing was learned from.

    Attributes:
        spine: The label spine.
        folder: The use case's, whose source version is recorded with the model.
        bases: Where outcomes come from, by name.
        functions: The feature functions.
        trusted_types: Types that stored models may hold beyond the platform's own.
        basis: Which of the bases; empty: as `recalibration.basis` says.
        method: How it may be moved; empty: as `recalibration.method` says.
        register_only: Leave the alias to whoever evaluates the version.
        asked_for: Why the stage `retrain` asks for it.
    """

    name: ClassVar[str] = STAGE

    spine: LabelSpine
    folder: Path
    bases: Mapping[str, Basis]
    functions: tuple[FeatureFunctionSpec, ...] = ()
    trusted_types: tuple[str, ...] = ()
    basis: str = ""
    method: Method | None = None
    register_only: bool = False
    asked_for: tuple[str, ...] = ()

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return spine and labels; the champion names the feature tables."""
        return names.gold(SPINE), names.gold(LABELS)

    def plan(self, context: StageContext) -> Plan[RecalibrationDetails]:
        """Hold the champion against outcomes, and return what is to be done; makes no version.

        Raises:
            UsageError: If the use case predicts no probabilities, or has no such basis.
            StageError: If there is no champion, another one was made as of later, or it cannot be recalibrated.
            LabelError: If too few outcomes are known.
            RegistryError: If the registry cannot be read.
        """
        basis = self._basis(context)
        origin = _champion(context)
        details = RecalibrationDetails(origin=origin.version, basis=basis.name, dry_run=True)
        if self.asked_for:
            details.asked_for = list(self.asked_for)
        result = StageResult(details)
        made = recalibration_of(origin)
        if made is not None and made.basis == basis.name and trained_as_of(origin) == context.as_of:
            details.why = f"version {origin.version} was recalibrated at this time"
            result.skipped = f"{details.why}, from version {made.origin}"
            return Plan(result)
        register_functions(context.ws, context.namespace, self.functions)
        method = self.method or context.settings.recalibration.method
        moving = hold_against(context, self.spine, origin, basis, method, self.trusted_types)
        _describe(details, moving)
        result.inputs = dict(moving.outcomes.frame.versions)
        result.rows_in = moving.outcomes.frame.known_rows
        result.rows_out = int(moving.learns.sum())
        if moving.fitted.move is None:
            result.skipped = f"nothing to move: {moving.fitted.why}"
            return Plan(result)
        registration = Registering(context, self.folder, moving, self.trusted_types)
        text = f"register version {origin.version}, recalibrated ({details.change}), as a version of {context.model}"
        role = "" if self.register_only else ", and make it challenger"
        return Plan(result, (Action(f"{text}{role}", lambda: self._make(context, registration, result)),))

    def run(self, context: StageContext) -> StageResult[RecalibrationDetails]:
        """Make the version, unless the same recalibration has been done before; or none, where nothing is off."""
        context.ws.registry.require_model(context.model)
        with context.ws.lock(f"train {context.model}"):
            try:
                plan = self.plan(context)
            except (LabelError, CannotMoveError) as error:
                if not self.asked_for:
                    raise
                # Asked for by an alarm: that it cannot be done is an answer, after which a training may be due.
                details = RecalibrationDetails(asked_for=list(self.asked_for), why=error.message)
                return StageResult(details, skipped=error.message)
            plan.result.details.dry_run = False
            return plan.carry_out()

    def _make(
        self, context: StageContext, registration: Registering, result: StageResult[RecalibrationDetails]
    ) -> None:
        details, version = result.details, registration.earlier()
        if version is None:
            version = registration.register()
        else:
            details.reused = True
        registration.finish(version)
        if not self.register_only:
            make_challenger(context.ws, context.model, version.version)
        details.version, details.run_id = version.version, version.run_id
        result.outputs = {str(context.model): version.version}

    def _basis(self, context: StageContext) -> Basis:
        task = context.settings.kind_of_task
        if not task.is_binary:
            raise UsageError(
                f"{context.name} is {task.noun}: it predicts no probability of an event to recalibrate.",
                hint=f"Train a new version: mlplatform run {context.name} --stage train",
            )
        name = self.basis or context.settings.recalibration.basis
        if name not in self.bases:
            raise UsageError(
                f"{context.name} has no {name} outcomes; it has: {', '.join(self.bases)}.",
                hint=did_you_mean(name, self.bases) or "Choose another --basis.",
            )
        return self.bases[name]


def _champion(context: StageContext) -> ModelVersion:
    champions.require_known(context.ws, context.namespace, context.ws.registry.aliases(context.model))
    standing = champions.standing(context)
    if standing.later is not None:
        raise StageError(
            f"Version {standing.later.challenger_version} became champion as of {shown(standing.later.as_of)}, later "
            f"than {shown(context.as_of)}: nothing is recalibrated behind a later decision.",
            hint="Choose a later --as-of; to replay history, use a workspace of its own (--home, or --prefix).",
        )
    if standing.number is None:
        raise first_steps.without(context.ws, context.namespace, CHAMPION, so="nothing can be recalibrated")
    return champions.read(context.ws, context.namespace, CHAMPION, standing.number)


def _describe(details: RecalibrationDetails, moving: Moving) -> None:
    """Write down what was found."""
    outcomes, learns, fitted = moving.outcomes, moving.learns, moving.fitted
    weights = outcomes.weights[learns]

    def mean(values: np.ndarray) -> float:
        return float(weights @ values[learns] / weights.sum())

    details.rows, details.learned_rows = int(learns.size), int(learns.sum())
    details.learned_events = fitted.events
    details.predicted, details.observed = mean(moving.scores), mean(outcomes.targets)
    details.why, details.p_values = fitted.why, fitted.p_values
    details.dataset_version = outcomes.digest
    if fitted.move is not None:
        details.moved = mean(moving.moved)
        details.method, details.change = moving.recalibration.method, describe((fitted.move,))
        details.odds = dict(odds_of((fitted.move,)))
        details.held_out = moving.held_out()
