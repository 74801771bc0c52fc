"""Deciding about a rollback: which version was champion before, and whether there is anything to go back to."""

from __future__ import annotations

from datetime import datetime

from mlplatform.errors import UsageError
from mlplatform.gate import promotion
from mlplatform.gate.champion_gate import Decision, decision_id
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.protocols.workspace import Workspace


def decide(ws: Workspace, namespace: Namespace, *, to: int | None, reason: str, as_of: datetime) -> Decision:
    """Return the decision to make an earlier champion champion again; writes nothing.

    Args:
        ws: The workspace.
        namespace: The use case's.
        to: A version that was champion before; None: the one that the present champion replaced.
        reason: Why, for the record.
        as_of: The time, in data time.

    Raises:
        UsageError: If no reason is given, or there is nothing to go back to.
        RegistryError: If the registry cannot be read, or has no such version.
    """
    if not reason.strip():
        raise UsageError("A rollback needs a reason.", hint='Say why: --reason "predictions drifted after deployment".')
    model = namespace.model
    champion = ws.registry.aliases(model).get(CHAMPION)
    rows = promotion.events(ws, namespace)
    were = sorted({row["challenger_version"] for row in rows if row["event"] == "applied"})
    target = to if to is not None else _before(ws, champion, promotion.line_of_champions(rows), namespace)
    if target == champion:
        raise UsageError(f"Version {target} of {model} is champion already.", hint="There is nothing to roll back.")
    if target not in were:
        listed = ", ".join(map(str, were)) or "none"
        raise UsageError(
            f"Version {target} of {model} was never champion.",
            hint=f"Versions that were: {listed}. Another one becomes champion by: mlplatform promote "
            f"{namespace.use_case} --version {target}",
        )
    if not promotion.exists(ws, model, target):
        there = ", ".join(str(item) for item in were if promotion.exists(ws, model, item)) or "none"
        raise UsageError(
            f"Version {target} of {model} was champion, and the registry answers that it is gone.",
            hint=f"Versions that were champion and are there: {there}. Another one becomes champion by: mlplatform "
            f'promote {namespace.use_case} --version VERSION --force --reason "..."',
        )
    applied = sum(row["event"] == "applied" for row in rows)
    return Decision(
        # The same rollback asked for again, before anything else was applied, is the same decision.
        decision_id=decision_id(str(model), target, champion, None, "rollback", reason, str(applied)),
        outcome="rolled back",
        reason=reason,
        challenger_version=target,
        champion_version=champion,
        as_of=as_of,
        evaluation={},
        checks=[],
        kind="rollback",
        decided_by=ws.user,
    )


def _before(ws: Workspace, champion: int | None, line: list[int], namespace: Namespace) -> int:
    """Return the newest version that was champion before the present one, and is there."""
    if champion is None:
        raise UsageError(
            f"{namespace.model} has no champion to roll back.",
            hint=f"To bring one back, name it: --to VERSION. {_were(line)}",
        )
    earlier = line[: len(line) - 1 - line[::-1].index(champion)] if champion in line else line
    earlier = [version for version in earlier if version != champion]
    if not earlier:
        raise UsageError(
            f"There is nothing to roll back to: version {champion} of {namespace.model} replaced no champion.",
            hint=f"See who was champion when: mlplatform history {namespace.use_case}",
        )
    there = next((version for version in reversed(earlier) if promotion.exists(ws, namespace.model, version)), None)
    if there is None:
        raise UsageError(
            f"There is nothing to roll back to: the versions of {namespace.model} that were champion before "
            f"({', '.join(map(str, dict.fromkeys(earlier)))}) are gone from the registry.",
            hint=f"Make another one champion: mlplatform promote {namespace.use_case} --version VERSION --force "
            '--reason "...". Where there is no version, train one first: '
            f"mlplatform run {namespace.use_case} --stage train",
        )
    return there


def _were(line: list[int]) -> str:
    return f"Versions that were champion, the last one at the end: {', '.join(map(str, line))}." if line else ""
