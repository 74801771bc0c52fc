"""Judging a challenger: the decision, what it was made on, and what kept the gate from looking; writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mlplatform import stopping
from mlplatform.errors import PlatformError
from mlplatform.features.functions import FeatureFunctionSpec
from mlplatform.gate import decision_log, evaluation, judged
from mlplatform.gate.champion_gate import ChampionGate
from mlplatform.gate.checks.base import CheckResult, Evidence
from mlplatform.gate.decision import Decision, decision_id, limits_text
from mlplatform.gate.spending import of_decision
from mlplatform.ops.context import StageContext
from mlplatform.protocols.registry import ModelVersion
from mlplatform.refine.spine import LabelSpine
from mlplatform.training.outcomes import Basis


@dataclass(frozen=True)
class Judgement:
    """A decision, what it was made on, and what kept the gate from looking.

    Attributes:
        decision: The decision.
        evidence: Both models' predictions on the frozen label frame; None if they could not be gathered.
        error: Why they could not.
    """

    decision: Decision
    evidence: Evidence | None = None
    error: Exception | None = None


def judge(
    context: StageContext,
    gate: type[ChampionGate],
    spine: LabelSpine,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    *,
    functions: Sequence[FeatureFunctionSpec] = (),
    trusted_types: Collection[str] = (),
    bases: Mapping[str, Basis] | None = None,
) -> Judgement:
    """Score both on the same frozen rows and decide; whatever keeps the gate from looking rejects.

    Args:
        context: The run.
        gate: The use case's.
        spine: Its label spine.
        challenger: The version to decide about.
        champion: The champion, or None if the registry says that there is none.
        functions: The use case's feature functions.
        trusted_types: Types that its stored models may hold beyond the platform's own.
        bases: Where the outcomes come from that a recalibrated challenger is judged by, by name; None: labels.
    """
    checks, limits = gate(context.settings), limits_text(context.settings.gate)
    number, other = challenger.version, champion.version if champion else None
    digest = ""
    try:
        # Read once: the files that are scored now are those that score later.
        digest = judged.digest_to_judge(context.ws, challenger)
        gathered = evaluation.gather(
            context,
            spine,
            challenger,
            champion,
            digest=digest,
            functions=functions,
            trusted_types=trusted_types,
            **({} if bases is None else {"bases": bases}),
        )
        # What it is judged by beside the gate's limits; a decision about any other version keeps its id.
        beside = [context.settings.recalibration.model_dump_json()] if gathered.evidence.recalibration else []
        identity = decision_id(str(context.model), number, other, context.as_of, gathered.digest, limits, *beside)
        recorded = decision_log.events(context.ws, context.namespace)
        spending = of_decision(context.settings.gate, recorded, identity, context.as_of)
        evidence = replace(gathered.evidence, spending=spending)
        decision = checks.decide(evidence, identity=identity, challenger=number, champion=other, as_of=context.as_of)
        decision = replace(decision, decided_by=context.ws.user, artifact_digest=digest)
        return Judgement(decision, evidence)
    except Exception as error:  # noqa: BLE001  (whatever it is, the gate could not look: closed)
        stopping.check()  # a Ctrl-C is no reason to reject a version
        return could_not_look(context, challenger, other, error)


def could_not_look(
    context: StageContext, challenger: ModelVersion, champion: int | None, error: Exception
) -> Judgement:
    """Return the rejection of a challenger that the gate could not look at; no digest: its files were not judged."""
    limits = limits_text(context.settings.gate)
    message = error.message if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"
    why = f"the gate could not look: {message}"
    rejected = Decision(
        decision_id=decision_id(str(context.model), challenger.version, champion, context.as_of, why, limits),
        outcome="rejected",
        reason=why,
        challenger_version=challenger.version,
        champion_version=champion,
        as_of=context.as_of,
        evaluation={"error": message},
        checks=[CheckResult("evaluation", "fail", why)],
        decided_by=context.ws.user,
    )
    return Judgement(rejected, error=error)


def overridden(context: StageContext, decision: Decision, reason: str) -> Decision:
    """Return the promotion by hand of a version, whatever the checks said of it."""
    applied = sum(event.event == "applied" for event in decision_log.events(context.ws, context.namespace))
    version = context.ws.registry.get(context.model, decision.challenger_version)
    return replace(
        decision,
        # By hand the files are taken as they are said to be, where nobody could look: scoring holds them against it.
        artifact_digest=decision.artifact_digest or judged.digest_to_judge(context.ws, version),
        decision_id=decision_id(
            str(context.model),
            decision.challenger_version,
            decision.champion_version,
            None,
            "override",
            reason,
            str(applied),
        ),
        spending=None,  # it promises nothing, and what the checks saw of it decided nothing
        outcome="promoted",
        reason=f"manual override: {reason} (the gate: {decision.outcome}, {decision.reason})",
        kind="override",
    )
