"""Carrying a decision out: recorded, version tagged, previous champion, champion, read back, marked applied.

Interrupted anywhere, `apply` run again finishes it. A decision is applied once; if the champion is no longer the one
the challenger was compared with, nothing is moved and the decision is recorded as stale. What is done comes from one
list of actions, which a dry run prints and a real run carries out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from mlplatform.errors import MissingVersionError, RegistryError
from mlplatform.gate.decision import MOVES, Decision
from mlplatform.gate.decision_log import Event, events, line_of_champions, recording
from mlplatform.gate.details import GateDetails
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION, Namespace, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import GateEvent
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Action, Plan
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace

APPROVAL_TAG, APPROVED = "Approval_Check", "Approved"
WAITING = "waiting for approval"
# Of the clocks of the registry and of whoever recorded a decision.
_SKEW = timedelta(minutes=1)


class ChampionMovedError(Exception):
    """What a decision, on record by now, rests on has changed: the champion is another one, or the approval is gone."""

    def __init__(self, decision: Decision) -> None:
        """Take the decision."""
        super().__init__(decision.decision_id)
        self.decision = decision


@dataclass(frozen=True)
class Change:
    """A plan about the champion, and the error that it ends with.

    Attributes:
        plan: The plan.
        error: Raised when the plan has been carried out, or in place of showing it; None: there is none.
    """

    plan: Plan[GateDetails]
    error: Exception | None = None

    def planned(self) -> Plan[GateDetails]:
        """Return the plan, or raise its error."""
        if self.error is not None:
            raise self.error
        return self.plan

    def carry_out(self, context: StageContext) -> StageResult[GateDetails]:
        """Do what is planned, and return the result, or raise the error that it ends with."""
        result, done = self.plan.result, list[str]()
        for action in self.plan.actions:
            try:
                action.act()
            except ChampionMovedError as error:
                # The plan no longer holds: what is left of the decision that it recorded is planned anew.
                result = plan(context, error.decision, dry_run=False).carry_out()
                result.details.steps = [*done, *result.details.steps]
                break
            done.append(action.text)
        if self.error is not None:
            raise self.error
        return result


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
    """Tell whether a version exists: an alias or a decision may name one that was deleted.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    try:
        ws.registry.get(model, version)
    except MissingVersionError:
        return False
    return True


def is_of(version: ModelVersion, recorded: Iterable[GateEvent]) -> bool:
    """Tell whether a version is the one that became champion under its number, and no other one has the number now.

    Where a model is deleted and made again, or a registry is restored from an older backup, numbers are given again.

    Args:
        version: As the registry has it.
        recorded: Events.
    """
    applied = [
        event.recorded_at
        for event in recorded
        if event.event == "applied" and event.challenger_version == version.version
    ]
    return not applied or version.created_at <= max(applied) + _SKEW


def missing(ws: Workspace, model: ObjectName, version: int, recorded: Iterable[GateEvent]) -> str:
    """Return why a version that was champion cannot be champion again; empty where it is still there.

    Args:
        ws: The workspace.
        model: The registered model.
        version: The version's number.
        recorded: Events.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    try:
        found = ws.registry.get(model, version)
    except MissingVersionError:
        return "the registry answers that it is gone"
    if is_of(found, recorded):
        return ""
    return f"another model has its number now, registered at {found.created_at:%Y-%m-%d %H:%M} UTC"


def has_approval(tags: Mapping[str, str]) -> bool:
    """Tell whether a version's tags say that somebody approved it, in whatever case."""
    return tags.get(APPROVAL_TAG, "").casefold() == APPROVED.casefold()


def actions(
    ws: Workspace, namespace: Namespace, decision: Decision, approval: str, *, hold: bool = False
) -> tuple[Event, list[Action]]:
    """Return what a decision will have come to, and what is left to do for it; nothing is changed.

    Args:
        ws: The workspace.
        namespace: The use case's.
        decision: Recorded, or about to be.
        approval: The setting `gate.approval`.
        hold: Let a promotion wait, approved or not: a later step carries it out.

    Returns:
        `applied`; `stale` if somebody else's champion is in place now; `waiting` for approval; `decided` if the
        decision changes no alias. With it the actions, in order.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    recorded = events(ws, namespace)
    settled = {event.event for event in recorded if event.decision_id == decision.decision_id}
    if "applied" in settled:
        return "applied", []
    if "stale" in settled:
        return "stale", []
    if decision.outcome not in MOVES:
        return "decided", [_tag(ws, namespace, decision, decision.outcome)]
    aliases = ws.registry.aliases(namespace.model)
    changed = _changed(decision, aliases)
    if changed:
        return "stale", [
            _tag(ws, namespace, decision, "stale"),
            recording(ws, namespace, decision, "stale", changed),
        ]
    if hold or not approved(ws, namespace, decision, approval):
        return "waiting", [_tag(ws, namespace, decision, WAITING)]
    moves = _moves(ws, namespace, decision, aliases, recorded)
    moves[0] = _confirmed(ws, namespace, decision, approval, moves[0])
    return "applied", [*moves, recording(ws, namespace, decision, "applied")]


def plan(
    context: StageContext, decision: Decision, *, hold: bool = False, first: Sequence[Action] = (), dry_run: bool
) -> Plan[GateDetails]:
    """Return the plan to do what is left of a decision.

    Args:
        context: The run.
        decision: Recorded, or to be recorded by the actions that come first.
        hold: Let a promotion wait, approved or not.
        first: What is done before.
        dry_run: What the details say.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    ws, namespace = context.ws, context.namespace
    event, todo = actions(ws, namespace, decision, context.settings.gate.approval, hold=hold)
    outcome: str = decision.outcome
    reason, number = decision.reason, decision.challenger_version
    if event == "stale":
        outcome, reason = "rejected", f"another champion was set meanwhile; decision {decision.decision_id} is stale"
    elif event == "waiting":
        outcome = WAITING
        reason = (
            f"the checks passed; set the tag {APPROVAL_TAG}={APPROVED} on version {number}, "
            f"then run the gate again ({reason})"
        )
    elif event == "applied" and not todo and ws.registry.aliases(namespace.model).get(CHAMPION) != number:
        outcome = "rejected"
        reason = (
            f"decision {decision.decision_id} was applied before, and version {number} has been replaced since; "
            "a decision is applied once"
        )
    details = GateDetails(
        decision_id=decision.decision_id,
        kind=decision.kind,
        outcome=outcome,
        reason=reason,
        challenger=number,
        champion=decision.champion_version,
        rows_from=decision.evaluation.get("rows_from"),
        rows=decision.evaluation.get("rows"),
        known_rows=decision.evaluation.get("known_rows"),
        checks=[check.to_record(histogram=False) for check in decision.checks],
        spending=decision.spending,
        steps=[action.text for action in (*first, *todo)],
        dry_run=dry_run,
    )
    return Plan(StageResult(details, rows_in=decision.evaluation.get("rows")), (*first, *todo))


def gone(ws: Workspace, namespace: Namespace, begun: Decision) -> str:
    """Return why a change that was begun cannot be finished: its version was deleted; empty while it exists."""
    number = begun.challenger_version
    if exists(ws, namespace.model, number):
        return ""
    return f"version {number} was deleted before it became champion"


def _changed(decision: Decision, aliases: Mapping[str, int]) -> str:
    """Return how the champion differs from the one that was compared with; empty if it does not."""
    champion = aliases.get(CHAMPION)
    if champion in (decision.champion_version, decision.challenger_version):
        return ""
    compared = _named(decision.champion_version)
    return f"the champion is {_named(champion)}, but the challenger was compared with {compared}"


def _confirmed(ws: Workspace, namespace: Namespace, decision: Decision, approval: str, action: Action) -> Action:
    """Return an action that first looks whether the plan still holds: storing the evidence takes a while.

    That is, whether the champion is the one that was compared with, and nobody took the approval back.
    """

    def act() -> None:
        changed = _changed(decision, ws.registry.aliases(namespace.model))
        if changed or not approved(ws, namespace, decision, approval):
            raise ChampionMovedError(decision)
        action.act()

    return Action(action.text, act)


def _moves(
    ws: Workspace, namespace: Namespace, decision: Decision, aliases: dict[str, int], recorded: Sequence[GateEvent]
) -> list[Action]:
    """Return what is left to tag and to move; what is already as it should be is left out."""
    model, registry = namespace.model, ws.registry
    version, champion = decision.challenger_version, decision.champion_version
    had, previous, line = aliases.get(PREVIOUS_CHAMPION), champion, line_of_champions(recorded)
    gone = champion is not None and not exists(ws, model, champion)
    if decision.kind == "rollback":
        todo = [_tag(ws, namespace, decision, "rolled back to")]
        if champion is not None and not gone:
            left = {"gate_outcome": "rolled back", "rolled_back_by": decision.decision_id}
            text = f"tag version {champion} as rolled back"
            todo.append(Action(text, lambda: registry.set_tags(model, champion, left)))
        # Where the next rollback would go: the one that this version had replaced.
        before = line[: _last(line, version)] if version in line else line
        previous = _newest_existing(ws, model, before, version, recorded)
        if previous is None and had is not None:
            todo.append(_take_away(ws, model, PREVIOUS_CHAMPION))
    else:
        todo = [_tag(ws, namespace, decision, decision.outcome)]
        if gone:
            # An alias cannot be set to a version that was deleted: the next rollback goes to one that exists.
            previous = _newest_existing(ws, model, line, version, recorded)
            if previous is None and had is not None:
                todo.append(_take_away(ws, model, PREVIOUS_CHAMPION))
    if previous is not None and had != previous:
        todo.append(_move(ws, model, PREVIOUS_CHAMPION, previous))
    if aliases.get(CHAMPION) != version:
        todo.append(_move(ws, model, CHAMPION, version))
    if aliases.get(CHALLENGER) == version:
        todo.append(_take_away_from(ws, model, CHALLENGER, version))
    expected = {CHAMPION: version} | ({PREVIOUS_CHAMPION: previous} if previous is not None else {})
    todo.append(Action("read the aliases back", lambda: _read_back(ws, model, expected)))
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
        What it came to, as `actions` says.

    Raises:
        RegistryError: If the registry fails, or does not read back what was set; run again to finish.
    """
    event, todo = actions(ws, namespace, decision, approval, hold=hold)
    try:
        for action in todo:
            action.act()
    except ChampionMovedError:
        return apply(ws, namespace, decision, approval=approval, hold=hold)
    return event


def _tag(ws: Workspace, namespace: Namespace, decision: Decision, outcome: str) -> Action:
    version = decision.challenger_version
    tags = {"gate_decision": decision.decision_id, "gate_outcome": outcome}
    return Action(
        f"tag version {version} with the decision: {outcome}",
        lambda: ws.registry.set_tags(namespace.model, version, tags),
    )


def _move(ws: Workspace, model: ObjectName, alias: str, version: int) -> Action:
    return Action(f"set {alias} to version {version}", lambda: ws.registry.set_alias(model, alias, version))


def _take_away(ws: Workspace, model: ObjectName, alias: str) -> Action:
    return Action(f"take the alias {alias} away", lambda: ws.registry.delete_alias(model, alias))


def _take_away_from(ws: Workspace, model: ObjectName, alias: str, version: int) -> Action:
    def act() -> None:
        # A training may have given it to another version meanwhile.
        if ws.registry.aliases(model).get(alias) == version:
            ws.registry.delete_alias(model, alias)

    return Action(f"take the alias {alias} away", act)


def _read_back(ws: Workspace, model: ObjectName, expected: dict[str, int]) -> None:
    after = ws.registry.aliases(model)
    if any(after.get(alias) != version for alias, version in expected.items()):
        raise RegistryError(
            f"The aliases of {model} read {after} instead of {expected}.",
            hint="Run the command again: it finishes what is left, or finds the decision stale.",
        )


def _newest_existing(
    ws: Workspace, model: ObjectName, line: list[int], version: int, recorded: Sequence[GateEvent]
) -> int | None:
    others = (item for item in reversed(line) if item != version)
    return next((item for item in others if not missing(ws, model, item, recorded)), None)


def _last(line: list[int], version: int) -> int:
    return len(line) - 1 - line[::-1].index(version)


def _named(version: int | None) -> str:
    return f"version {version}" if version is not None else "none"
