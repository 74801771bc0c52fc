"""The order of a promotion: decision recorded, version tagged, previous champion, champion, read back, marked applied.

Interrupted anywhere, `apply` run again finishes it. A decision is applied once; if the champion is no longer the one
the challenger was compared with, nothing is moved and the decision is recorded as stale.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa

from mlplatform.errors import RegistryError
from mlplatform.models.gate import Check, Decision
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION, Namespace
from mlplatform.ops.schemas import GATE_DECISIONS
from mlplatform.workspace.protocols import Filter, Workspace

Event = Literal["decided", "applied", "stale"]


def events(ws: Workspace, namespace: Namespace, *, decision_id: str | None = None) -> list[dict[str, Any]]:
    """Return the gate's events of a use case, oldest first, with JSON columns decoded."""
    name = namespace.ops("gate_decisions")
    if not ws.tables.exists(name):
        return []
    filters: list[Filter] = [("use_case", "=", namespace.use_case)]
    if decision_id:
        filters.append(("decision_id", "=", decision_id))
    rows: list[dict[str, Any]] = ws.tables.to_arrow(name, filters=filters).sort_by("recorded_at").to_pylist()
    for row in rows:
        row["evaluation"] = json.loads(row["evaluation"] or "{}")
        row["checks"] = json.loads(row["checks"] or "[]")
    return rows


def record(ws: Workspace, namespace: Namespace, decision: Decision, event: Event, reason: str = "") -> None:
    """Append an event to the decision table."""
    row = {
        "decision_id": decision.decision_id,
        "event": event,
        "use_case": namespace.use_case,
        "model": str(namespace.model),
        "as_of": decision.as_of,
        "outcome": "rejected" if event == "stale" else decision.outcome,
        "reason": reason or decision.reason,
        "challenger_version": decision.challenger_version,
        "champion_version": decision.champion_version,
        "evaluation": json.dumps(decision.evaluation, default=str),
        "checks": json.dumps([asdict(check) for check in decision.checks]),
        "recorded_at": datetime.now(UTC),
    }
    ws.tables.append(namespace.ops("gate_decisions"), pa.Table.from_pylist([row], schema=GATE_DECISIONS))


def decided(rows: list[dict[str, Any]]) -> Decision | None:
    """Return the decision that the events of one decision id hold, or None when there are none."""
    for row in rows:
        if row["event"] == "decided":
            return Decision(
                decision_id=row["decision_id"],
                outcome=row["outcome"],
                reason=row["reason"],
                challenger_version=row["challenger_version"],
                champion_version=row["champion_version"],
                as_of=row["as_of"],
                evaluation=row["evaluation"],
                checks=[Check(**check) for check in row["checks"]],
            )
    return None


def pending(ws: Workspace, namespace: Namespace) -> Decision | None:
    """Return the newest promotion that was decided and neither applied nor found stale; None when all are settled."""
    settled = set()
    for row in reversed(events(ws, namespace)):
        if row["event"] in ("applied", "stale"):
            settled.add(row["decision_id"])
        elif row["outcome"] == "promoted" and row["decision_id"] not in settled:
            return decided([row])
    return None


def apply(ws: Workspace, namespace: Namespace, decision: Decision) -> Event:
    """Carry a recorded decision out, or finish what was begun.

    Args:
        ws: The workspace.
        namespace: The use case's.
        decision: Recorded before, with outcome `promoted`.

    Returns:
        `applied`, or `stale` when somebody else's champion stands there now.

    Raises:
        RegistryError: If the registry fails, or does not read back what was set; run again to finish.
    """
    model, registry = namespace.model, ws.registry
    challenger, champion = decision.challenger_version, decision.champion_version
    settled = [row["event"] for row in events(ws, namespace, decision_id=decision.decision_id)]
    if "applied" in settled:
        return "applied"
    if "stale" in settled:
        return "stale"
    registry.set_tags(model, challenger, {"gate_decision": decision.decision_id, "gate_outcome": decision.outcome})
    aliases = registry.aliases(model)
    now = aliases.get(CHAMPION)
    if now not in (champion, challenger):
        reason = f"the champion is version {now}, but the challenger was compared with version {champion}"
        record(ws, namespace, decision, "stale", reason)
        return "stale"
    if now != challenger:
        if champion is not None:
            registry.set_alias(model, PREVIOUS_CHAMPION, champion)
        registry.set_alias(model, CHAMPION, challenger)
    if registry.aliases(model).get(CHALLENGER) == challenger:
        registry.delete_alias(model, CHALLENGER)
    after = registry.aliases(model)
    expected_previous = champion if champion is not None else after.get(PREVIOUS_CHAMPION)
    if after.get(CHAMPION) != challenger or after.get(PREVIOUS_CHAMPION) != expected_previous:
        raise RegistryError(
            f"After the promotion of {model} version {challenger} the aliases read {after}.",
            hint="Run the gate again: it finishes what is left, or finds the decision stale.",
        )
    record(ws, namespace, decision, "applied")
    return "applied"
