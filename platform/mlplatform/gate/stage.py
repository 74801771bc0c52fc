"""Gate: a challenger against the champion on labels neither learned from; promotes, or says why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from mlplatform.errors import PlatformError
from mlplatform.features.functions import FeatureFunctionSpec
from mlplatform.gate import canary, decision_log, evidence_files, first_steps, judgement, promotion
from mlplatform.gate import champion as champions
from mlplatform.gate.champion_gate import ChampionGate
from mlplatform.gate.decision import Decision
from mlplatform.gate.details import GateDetails
from mlplatform.gate.judgement import Judgement
from mlplatform.gate.promotion import Change
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage
from mlplatform.protocols.registry import ModelVersion
from mlplatform.refine.spine import LABELS, SPINE, LabelSpine
from mlplatform.training.outcomes import Basis

NAME = "gate"
UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Gate(PlannedStage[GateDetails]):
    """A challenger is compared with the champion, and promoted or not.

    Whatever keeps the gate from looking at a known challenger (features, models, labels that cannot be read) rejects
    it, on record. What keeps it from knowing the challenger or the champion is raised. A champion that was deleted is
    not taken for "no champion" either: a challenger is rejected for it, on record, and an override goes on without
    reading it.

    Attributes:
        gate: Decides.
        spine: Whom to predict for, when, and the label.
        evidence: Gives the files that a decision leaves with the challenger's run.
        functions: The use case's feature functions.
        trusted_types: Types that its stored models may hold beyond the platform's own.
        bases: Where the outcomes come from that a recalibrated challenger is judged by, by name; None: labels.
        version: The version to decide about; None: the one with the alias challenger.
        override: Promote it whatever the checks say, for this reason; empty: no override.
        hold: Decide, and let a promotion wait, approved or not: a later step carries it out.
        only_undecided: As the pipeline does: leave a challenger alone that has been decided about, and raise what kept
            the gate from looking, so that the run fails and is run again.
    """

    name: ClassVar[str] = NAME

    gate: type[ChampionGate]
    spine: LabelSpine
    evidence: evidence_files.Render
    functions: tuple[FeatureFunctionSpec, ...] = ()
    trusted_types: tuple[str, ...] = ()
    bases: Mapping[str, Basis] | None = None
    version: int | None = None
    override: str = ""
    hold: bool = False
    only_undecided: bool = False

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the tables that the label frame is made of; the models name the feature tables."""
        return names.gold(SPINE), names.gold(LABELS)

    def due(self, context: StageContext) -> Self | None:
        """A challenger that nothing has been decided about is due, unless a champion was made as of a later time."""
        return None if champions.standing(context).later else replace(self, only_undecided=True)

    def plan(self, context: StageContext) -> Plan[GateDetails]:
        """Decide, and return what would be recorded and moved; changes nothing.

        Raises:
            StageError: If there is no challenger.
            RegistryError: If the registry cannot be read: never taken for "no champion".
        """
        return self._change(context, dry_run=True).planned()

    def run(self, context: StageContext) -> StageResult[GateDetails]:
        """Decide about a version, and promote it if it won.

        Raises:
            StageError: If there is no challenger.
            RegistryError: If the registry cannot be read, or fails; run again to finish.
        """
        with context.ws.lock(f"promote {context.model}"):
            change = self._change(context, dry_run=False)
            try:
                return change.carry_out(context)
            except evidence_files.NotStoredError as error:
                rejection = self._recorded(context, error.rejection, (), dry_run=False)
                rejection.result.details.hint = change.plan.result.details.hint
                return Change(rejection, change.error).carry_out(context)

    def _change(self, context: StageContext, *, dry_run: bool) -> Change:
        ws, namespace = context.ws, context.namespace
        aliases = ws.registry.aliases(context.model)
        number = self.version if self.version is not None else aliases.get(CHALLENGER)
        first: list[Action] = []
        begun = decision_log.pending(ws, namespace, until=context.as_of)
        if begun is not None:
            superseded = self._superseded(context, begun, number)
            if not superseded:
                context.progress(f"finishing what was begun with version {begun.challenger_version}")
                # Only what is asked about is held back.
                hold = self.hold and begun.challenger_version == number
                finishing = promotion.plan(context, begun, hold=hold, dry_run=dry_run)
                return _with_canary(context, aliases, Change(finishing))
            first = [decision_log.recording(ws, namespace, begun, "stale", superseded)]
        try:
            return _with_canary(context, aliases, self._decide(context, number, aliases, first, dry_run=dry_run))
        except PlatformError as error:
            # What was begun is given up, whatever keeps the gate from deciding anew.
            return Change(_skipped("", first), error)

    def _decide(
        self,
        context: StageContext,
        number: int | None,
        aliases: Mapping[str, int],
        first: Sequence[Action],
        *,
        dry_run: bool,
    ) -> Change:
        """Plan a new decision."""
        ws, namespace = context.ws, context.namespace
        if number is None:
            if self.only_undecided:
                return Change(_skipped("there is no challenger", first))
            raise first_steps.without(ws, namespace, CHALLENGER)
        challenger = ws.registry.get(context.model, number)
        if aliases.get(CHAMPION) == number:
            return Change(_unchanged(number, first, dry_run=dry_run))
        champion = champions.look(ws, namespace, aliases, forced=bool(self.override))
        if self.only_undecided and not champion.trouble and _decided_about(context, challenger):
            return Change(_skipped(f"version {number} has been decided about", first))
        verdict = self._judge(context, challenger, champion)
        plan = self._settled(context, challenger, verdict, first, dry_run=dry_run)
        if isinstance(verdict.error, PlatformError) and plan.result.details.outcome == "rejected":
            plan.result.details.hint = verdict.error.hint
        return Change(plan, verdict.error if self.only_undecided else None)

    def _judge(self, context: StageContext, challenger: ModelVersion, champion: champions.Incumbent) -> Judgement:
        """Judge a challenger; where the champion is gone it is rejected, and an override promotes it all the same."""
        if champion.trouble:
            error = champions.lost(context.namespace, champion.trouble)
            verdict = judgement.could_not_look(context, challenger, champion.number, error)
        else:
            verdict = judgement.judge(
                context,
                self.gate,
                self.spine,
                challenger,
                champion.version,
                functions=self.functions,
                trusted_types=self.trusted_types,
                bases=self.bases,
            )
        if self.override:
            return replace(verdict, decision=judgement.overridden(context, verdict.decision, self.override))
        return verdict

    def _settled(
        self,
        context: StageContext,
        challenger: ModelVersion,
        verdict: Judgement,
        first: Sequence[Action],
        *,
        dry_run: bool,
    ) -> Plan[GateDetails]:
        """Plan to store the evidence of a decision, record and carry it out; what is on record is carried out."""
        identity = verdict.decision.decision_id
        recorded = decision_log.decided(decision_log.events(context.ws, context.namespace, decision_id=identity))
        if recorded is not None:
            return promotion.plan(context, recorded, hold=self.hold, first=first, dry_run=dry_run)
        storing = evidence_files.storing(context, challenger, verdict, self.evidence)
        return self._recorded(context, verdict.decision, [*first, *storing], dry_run=dry_run)

    def _recorded(
        self, context: StageContext, decision: Decision, first: Sequence[Action], *, dry_run: bool
    ) -> Plan[GateDetails]:
        """Plan to record a decision, and only then to carry it out."""
        record = decision_log.recording(context.ws, context.namespace, decision, "decided")
        return promotion.plan(context, decision, hold=self.hold, first=[*first, record], dry_run=dry_run)

    def _superseded(self, context: StageContext, begun: Decision, number: int | None) -> str:
        """Return why a decision that waits for approval is given up; empty if it is to be finished."""
        gone = promotion.gone(context.ws, context.namespace, begun)
        if gone or promotion.approved(context.ws, context.namespace, begun, context.settings.gate.approval):
            return gone
        if self.override:
            return f"it waited for approval when version {number} was promoted by hand"
        if number is not None and number != begun.challenger_version:
            return f"it waited for approval when version {number} was put to the gate"
        return ""


def _with_canary(context: StageContext, aliases: Mapping[str, int], change: Change) -> Change:
    """Return a change with what is recorded about the canary at its end."""
    plan = change.plan
    todo = canary.following(context, aliases, plan.result.details)
    plan.result.details.steps += [action.text for action in todo]
    return Change(Plan(plan.result, (*plan.actions, *todo)), change.error)


def _skipped(why: str, actions: Sequence[Action]) -> Plan[GateDetails]:
    return Plan(StageResult(GateDetails(), skipped=why), tuple(actions))


def _unchanged(number: int, actions: Sequence[Action], *, dry_run: bool) -> Plan[GateDetails]:
    details = GateDetails(
        decision_id=None,
        kind="gate",
        outcome=UNCHANGED,
        reason=f"version {number} is champion already",
        challenger=number,
        champion=number,
        rows_from=None,
        checks=[],
        steps=[action.text for action in actions],
        dry_run=dry_run,
    )
    return Plan(StageResult(details), tuple(actions))


def _decided_about(context: StageContext, version: ModelVersion) -> bool:
    """Tell whether the gate has looked at a version; a decision made because it could not look does not count.

    Nor does one from before the version was created: a model that was deleted and created again counts from 1 again.
    """
    return any(
        event.challenger_version == version.version
        and event.recorded_at >= version.created_at
        and event.kind not in ("rollback", canary.KIND)
        and "error" not in event.evaluation
        for event in decision_log.events(context.ws, context.namespace)
    )
