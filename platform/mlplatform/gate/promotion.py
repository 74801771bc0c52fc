"""Carrying a decision out: recorded, version tagged, previous champion, champion, read back, marked applied.

Interrupted anywhere, `apply` run again finishes it. A decision is applied once; if the champion is no longer the one
the challenger was compared with, nothing is moved and the decision is recorded as stale. What is done comes from one
list of steps, which a dry run prints and a real run acts on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa

from mlplatform.errors import MissingVersionError, RegistryError
from mlplatform.gate.champion_gate import MOVES, Decision
from mlplatform.gate.checks.base import CheckResult
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION, Namespace, ObjectName, ops_table
from mlplatform.ops.records import GATE_DECISIONS
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace

Event = Literal["decided", "applied", "stale", "waiting"]
APPROVAL_TAG, APPROVED = "Approval_Check", "Approved"
WAITING = "waiting for approval"


@dataclass(frozen=True)
class Step:
    """One step of carrying a decision out: what it does, in words, and the doing."""

    text: str
    act: Callable[[], object]


def events(ws: Workspace, namespace: Namespace, *, decision_id: str | None = None) -> list[dict[str, Any]]:
    """Return the gate's events of a use case, oldest first, with JSON columns decoded."""
    filters: list[Filter] = [("use_case", "=", namespace.use_case)]
    if decision_id:
        filters.append(("decision_id", "=", decision_id))
    return _read(ws, namespace.ops("gate_decisions"), filters)


def find(ws: Workspace, decision_id: str) -> list[dict[str, Any]]:
    """Return the events of one decision of any use case of this environment, by its id or the beginning of it."""
    rows = _read(ws, ops_table(ws.catalog, "gate_decisions", ws.prefix), [])
    return [row for row in rows if row["decision_id"].startswith(decision_id)]


def _read(ws: Workspace, name: ObjectName, filters: list[Filter]) -> list[dict[str, Any]]:
    if not ws.tables.exists(name):
        return []
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
        "kind": decision.kind,
        "use_case": namespace.use_case,
        "model": str(namespace.model),
        "as_of": decision.as_of,
        "outcome": "rejected" if event == "stale" else decision.outcome,
        "reason": reason or decision.reason,
        "challenger_version": decision.challenger_version,
        "champion_version": decision.champion_version,
        "evaluation": json.dumps(_finite(decision.evaluation), default=str),
        "checks": json.dumps([_finite(asdict(check)) for check in decision.checks], default=str),
        "decided_by": decision.decided_by,
        "recorded_at": datetime.now(UTC),
    }
    ws.tables.append(namespace.ops("gate_decisions"), pa.Table.from_pylist([row], schema=GATE_DECISIONS.schema))


def _finite(value: Any) -> Any:
    """Return plain data in which what is not finite is null: JSON knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
                checks=[CheckResult(**check) for check in row["checks"]],
                kind=row["kind"],
                decided_by=row["decided_by"] or "",
            )
    return None


def pending(ws: Workspace, namespace: Namespace) -> Decision | None:
    """Return the newest change of champion that was decided and neither applied nor found stale; None: all settled."""
    settled = set()
    for row in reversed(events(ws, namespace)):
        if row["event"] in ("applied", "stale"):
            settled.add(row["decision_id"])
        elif row["outcome"] in MOVES and row["decision_id"] not in settled:
            return decided([row])
    return None


def line_of_champions(rows: list[dict[str, Any]]) -> list[int]:
    """Replay the applied events: the line of champions, the present one last, each after the one it replaced.

    A promotion appends. A rollback to a version in the line cuts everything behind it off; one to a version that had
    been cut off appends it again.

    Args:
        rows: Events, oldest first.
    """
    line: list[int] = []
    for row in rows:
        if row["event"] != "applied":
            continue
        version = row["challenger_version"]
        if row["kind"] == "rollback" and version in line:
            while line[-1] != version:
                line.pop()
        else:
            line.append(version)
    return line


def approved(ws: Workspace, namespace: Namespace, decision: Decision, approval: str) -> bool:
    """Tell whether a decision may be carried out: at once, by hand, or because the version's tag says so.

    Args:
        ws: The workspace.
        namespace: The use case's.
        decision: The decision.
        approval: The setting `gate.approval`.
    """
    if approval == "auto" or decision.kind != "gate":
        return True
    if not exists(ws, namespace.model, decision.challenger_version):
        return False
    return has_approval(ws.registry.get(namespace.model, decision.challenger_version).tags)


def exists(ws: Workspace, model: ObjectName, version: int) -> bool:
    """Tell whether there is a version: an alias or a decision may name one that was deleted.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    try:
        ws.registry.get(model, version)
    except MissingVersionError:
        return False
    return True


def has_approval(tags: Mapping[str, str]) -> bool:
    """Tell whether a version's tags say that somebody approved it, in whatever case."""
    return tags.get(APPROVAL_TAG, "").casefold() == APPROVED.casefold()


def steps(
    ws: Workspace, namespace: Namespace, decision: Decision, approval: str, *, hold: bool = False
) -> tuple[Event, list[Step]]:
    """Return what is left to do for a decision, and what it will have come to; nothing is changed.

    Args:
        ws: The workspace.
        namespace: The use case's.
        decision: Recorded, or about to be.
        approval: The setting `gate.approval`.
        hold: Let a promotion wait, approved or not: a later step carries it out.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    model, registry = namespace.model, ws.registry
    rows = events(ws, namespace)
    settled = {row["event"] for row in rows if row["decision_id"] == decision.decision_id}
    if "applied" in settled:
        return "applied", []
    if "stale" in settled:
        return "stale", []
    version, champion = decision.challenger_version, decision.champion_version
    if decision.outcome not in MOVES:
        return "decided", [_tag(ws, namespace, decision, decision.outcome)]
    aliases = registry.aliases(model)
    now = aliases.get(CHAMPION)
    if now not in (champion, version):
        reason = f"the champion is {_named(now)}, but the challenger was compared with {_named(champion)}"
        note = Step(
            f"record decision {decision.decision_id} as stale: {reason}",
            lambda: record(ws, namespace, decision, "stale", reason),
        )
        return "stale", [_tag(ws, namespace, decision, "stale"), note]
    if hold or not approved(ws, namespace, decision, approval):
        return "waiting", [_tag(ws, namespace, decision, WAITING)]
    todo = _moves(ws, namespace, decision, aliases, line_of_champions(rows))
    done = f"record decision {decision.decision_id} as applied"
    return "applied", [*todo, Step(done, lambda: record(ws, namespace, decision, "applied"))]


def _moves(
    ws: Workspace, namespace: Namespace, decision: Decision, aliases: dict[str, int], line: list[int]
) -> list[Step]:
    """Return what is left to tag and to move; what stands already as it should is left out."""
    model, registry = namespace.model, ws.registry
    version, champion = decision.challenger_version, decision.champion_version
    had, previous = aliases.get(PREVIOUS_CHAMPION), champion
    gone = champion is not None and not exists(ws, model, champion)
    if decision.kind == "rollback":
        todo = [_tag(ws, namespace, decision, "rolled back to")]
        if champion is not None and not gone:
            left = {"gate_outcome": "rolled back", "rolled_back_by": decision.decision_id}
            text = f"tag version {champion} as rolled back"
            todo.append(Step(text, lambda: registry.set_tags(model, champion, left)))
        # Where the next rollback would go: the one that this version had replaced.
        before = line[: _last(line, version)] if version in line else line
        previous = _newest_there(ws, model, before, version)
        if previous is None and had is not None:
            todo.append(_take_away(ws, model, PREVIOUS_CHAMPION))
    else:
        todo = [_tag(ws, namespace, decision, decision.outcome)]
        if gone:
            # An alias cannot be set to a version that was deleted: the next rollback goes to one that is there.
            previous = _newest_there(ws, model, line, version)
            if previous is None and had is not None:
                todo.append(_take_away(ws, model, PREVIOUS_CHAMPION))
    if previous is not None and had != previous:
        todo.append(_move(ws, model, PREVIOUS_CHAMPION, previous))
    if aliases.get(CHAMPION) != version:
        todo.append(_move(ws, model, CHAMPION, version))
    if aliases.get(CHALLENGER) == version:
        todo.append(_take_away(ws, model, CHALLENGER))
    expected = {CHAMPION: version} | ({PREVIOUS_CHAMPION: previous} if previous is not None else {})
    todo.append(Step("read the aliases back", lambda: _read_back(ws, model, expected)))
    return todo


def apply(
    ws: Workspace, namespace: Namespace, decision: Decision, *, approval: str = "auto", hold: bool = False
) -> Event:
    """Carry a recorded decision out, or finish what was begun.

    Args:
        ws: The workspace.
        namespace: The use case's.
        decision: Recorded before.
        approval: The setting `gate.approval`.
        hold: Let a promotion wait, approved or not.

    Returns:
        `applied`; `stale` when somebody else's champion stands there now; `waiting` for approval; `decided` when the
        decision changes no alias.

    Raises:
        RegistryError: If the registry fails, or does not read back what was set; run again to finish.
    """
    event, todo = steps(ws, namespace, decision, approval, hold=hold)
    for step in todo:
        step.act()
    return event


def _tag(ws: Workspace, namespace: Namespace, decision: Decision, outcome: str) -> Step:
    version = decision.challenger_version
    tags = {"gate_decision": decision.decision_id, "gate_outcome": outcome}
    return Step(
        f"tag version {version} with the decision: {outcome}",
        lambda: ws.registry.set_tags(namespace.model, version, tags),
    )


def _move(ws: Workspace, model: ObjectName, alias: str, version: int) -> Step:
    return Step(f"set {alias} to version {version}", lambda: ws.registry.set_alias(model, alias, version))


def _take_away(ws: Workspace, model: ObjectName, alias: str) -> Step:
    return Step(f"take the alias {alias} away", lambda: ws.registry.delete_alias(model, alias))


def _read_back(ws: Workspace, model: ObjectName, expected: dict[str, int]) -> None:
    after = ws.registry.aliases(model)
    if any(after.get(alias) != version for alias, version in expected.items()):
        raise RegistryError(
            f"The aliases of {model} read {after} instead of {expected}.",
            hint="Run the command again: it finishes what is left, or finds the decision stale.",
        )


def _newest_there(ws: Workspace, model: ObjectName, line: list[int], version: int) -> int | None:
    return next((item for item in reversed(line) if item != version and exists(ws, model, item)), None)


def _last(line: list[int], version: int) -> int:
    return len(line) - 1 - line[::-1].index(version)


def _named(version: int | None) -> str:
    return f"version {version}" if version is not None else "none"
