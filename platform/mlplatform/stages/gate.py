"""Gate: the challenger against the champion on labels neither was trained on; promotes or says why not."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mlplatform.as_of import parse_as_of
from mlplatform.errors import LabelError, StageError
from mlplatform.models import promotion
from mlplatform.models.gate import Decision, Evidence, decision_id
from mlplatform.models.label_frame import LabelFrame, known_labels
from mlplatform.models.metrics import Vector
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.stage_runs import StageResult
from mlplatform.stages.context import StageContext
from mlplatform.stages.train import TRAINED_THROUGH_TAG
from mlplatform.workspace.protocols import ModelVersion

NAME = "gate"


def run(context: StageContext, *, only_undecided: bool = False) -> StageResult:
    """Decide about the challenger, and promote it if it won.

    Args:
        context: The run.
        only_undecided: Leave a challenger alone that has been decided about; as the pipeline does.

    Raises:
        StageError: If there is no challenger.
        RegistryError: If the registry cannot be read: never taken for "no champion".
    """
    ws, namespace, model = context.ws, context.namespace, context.use_case.model
    with ws.lock(f"promote {model}"):
        begun = promotion.pending(ws, namespace)
        if begun is not None:
            context.progress(f"finishing the promotion of version {begun.challenger_version}")
            return _result(begun, promotion.apply(ws, namespace, begun))
        aliases = ws.registry.aliases(model)
        if CHALLENGER not in aliases:
            if only_undecided:
                return StageResult(skipped="there is no challenger")
            raise StageError(
                f"{model} has no challenger.", hint=f"Train one: mlplatform run {namespace.use_case} --stage train"
            )
        challenger = ws.registry.get(model, aliases[CHALLENGER])
        champion = ws.registry.get(model, aliases[CHAMPION]) if CHAMPION in aliases else None
        if only_undecided and _decided_about(context, challenger.version):
            return StageResult(skipped=f"version {challenger.version} has been decided about")
        decision = decide(context, challenger, champion)
        earlier = promotion.decided(promotion.events(ws, namespace, decision_id=decision.decision_id))
        if earlier is None:
            promotion.record(ws, namespace, decision, "decided")
        else:
            # What is carried out is what is on record.
            decision = earlier
        if decision.outcome != "promoted":
            ws.registry.set_tags(
                model, challenger.version, {"gate_decision": decision.decision_id, "gate_outcome": decision.outcome}
            )
            return _result(decision, None)
        return _result(decision, promotion.apply(ws, namespace, decision))


def decide(context: StageContext, challenger: ModelVersion, champion: ModelVersion | None) -> Decision:
    """Score both on the same frozen rows and decide; writes nothing.

    Args:
        context: The run.
        challenger: The version to decide about.
        champion: The champion, or None when the registry says that there is none.
    """
    use_case = context.use_case
    trained_through = [_trained_through(version) for version in (challenger, champion) if version is not None]
    spine = use_case.label_spine()
    gate = use_case.gate(use_case.settings)
    number, other = challenger.version, champion.version if champion else None
    try:
        frame = known_labels(context.ws, context.namespace, spine, context.as_of, after=max(trained_through))
    except LabelError:
        # No label at all is the extreme of too little evidence: the gate says so itself.
        empty = np.array([])
        evidence = Evidence(empty, empty, None if champion is None else empty, {"rows": 0})
        frame_digest = "empty"
    else:
        context.progress(f"gate: {frame.rows.num_rows} labelled rows newer than both models' training data")
        evidence = Evidence(
            labels=frame.rows.column(spine.label).to_numpy().astype(np.float64),
            challenger=_score(context, challenger, frame),
            champion=_score(context, champion, frame) if champion else None,
            source={
                "tables": frame.versions,
                "digest": frame.digest,
                "after": max(trained_through).isoformat(),
            },
        )
        frame_digest = frame.digest
    return gate.decide(
        evidence,
        identity=decision_id(
            str(use_case.model), number, other, context.as_of, frame_digest, use_case.settings.gate.model_dump_json()
        ),
        challenger=number,
        champion=other,
        as_of=context.as_of,
    )


def _score(context: StageContext, version: ModelVersion, frame: LabelFrame) -> Vector:
    spine = context.use_case.label_spine()
    rows = frame.rows.drop_columns([spine.label])
    scored = context.ws.fe.score_batch_arrow(model_uri=version.uri, df=rows, result_type="double")
    if scored.num_rows != rows.num_rows:
        raise StageError(f"{version.uri} scored {scored.num_rows} of {rows.num_rows} rows.", hint="Report this.")
    # Scoring promises no order; the frame is sorted by these, and they are unique.
    order = [(spine.prediction_time, "ascending"), *((key, "ascending") for key in spine.entity_keys)]
    sorted_rows: pa.Table = scored.sort_by(order)
    return np.asarray(sorted_rows.column("prediction").to_numpy(), dtype=np.float64)


def _trained_through(version: ModelVersion) -> datetime:
    text = version.tags.get(TRAINED_THROUGH_TAG)
    if not text:
        raise StageError(
            f"Version {version.version} of {version.name} does not say through when it was trained.",
            hint="Only versions that the platform trained can be compared; train a new one.",
        )
    return parse_as_of(text)


def _decided_about(context: StageContext, version: int) -> bool:
    return any(row["challenger_version"] == version for row in promotion.events(context.ws, context.namespace))


def _result(decision: Decision, event: str | None) -> StageResult:
    details: dict[str, Any] = {
        "decision_id": decision.decision_id,
        "outcome": "rejected" if event == "stale" else decision.outcome,
        "reason": decision.reason if event != "stale" else "another champion was set meanwhile",
        "challenger": decision.challenger_version,
        "champion": decision.champion_version,
        "checks": [asdict(check) for check in decision.checks],
    }
    return StageResult(rows_in=decision.evaluation.get("rows"), details=details)
