"""The champion as the registry and the record of decisions have it, and the way out where they do not agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mlplatform.as_of import argument, shown
from mlplatform.errors import MissingVersionError, RegistryError, StageError
from mlplatform.gate import decision_log, promotion
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import GateEvent
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace


@dataclass(frozen=True)
class Incumbent:
    """The champion that a challenger is compared with.

    Attributes:
        number: The version that the alias names; None: the registry has no alias champion.
        version: That version, read; None where there is none, or it cannot be read.
        trouble: Why it cannot be compared with, though there is or was one; empty when all is well.
    """

    number: int | None = None
    version: ModelVersion | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Standing:
    """Who is champion as of a time.

    Attributes:
        number: The version; None: there was none by then.
        later: The newest decision that made a champion as of a later time; None: there is none, so that the time is
            the present, in which the registry itself says who is champion.
    """

    number: int | None
    later: GateEvent | None = None


def in_the_past(recorded: Sequence[GateEvent], moment: datetime) -> Standing | None:
    """Return who was champion as of a time after which another one was made; None: it is not in the past.

    Args:
        recorded: Events, oldest first.
        moment: The time, in data time.
    """
    later = [event for event in recorded if event.event == "applied" and event.as_of > moment]
    if not later:
        return None
    line = decision_log.line_of_champions(event for event in recorded if event.as_of <= moment)
    return Standing(line[-1] if line else None, later[-1])


def standing(context: StageContext) -> Standing:
    """Return who is champion as of a run's time: aliases are read as of a time, as tables are.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    past = in_the_past(decision_log.events(context.ws, context.namespace), context.as_of)
    return past or Standing(context.ws.registry.aliases(context.model).get(CHAMPION))


def not_yet(context: StageContext, later: GateEvent) -> StageError:
    """Return the error of a run at a time as of which there was no champion, though there is one as of later."""
    then = shown(context.as_of)
    return StageError(
        f"As of {then} {context.model} had no champion: version {later.challenger_version} became it as of "
        f"{shown(later.as_of)}, by decision {later.decision_id}. What was trained then would have taken a later "
        "champion's place, and what it predicted nobody could have predicted.",
        hint=f"To replay history, use a workspace of its own: mlplatform --home PATH simulate {context.name} (on "
        "Databricks: --prefix). To score that time with the present champion on purpose, on record, and not counted as "
        f"performance: mlplatform score {context.name} --as-of {argument(context.as_of)} --allow-later-model",
    )


def look(ws: Workspace, namespace: Namespace, aliases: Mapping[str, int], *, forced: bool = False) -> Incumbent:
    """Read the champion, and notice one that is gone: never to be taken for "there is none yet".

    Args:
        ws: The workspace.
        namespace: The use case's.
        aliases: Of the model, just read.
        forced: The champion is not to be compared with: that it cannot be read is no obstacle.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    number = aliases.get(CHAMPION)
    if number is None:
        return Incumbent(trouble=vanished(ws, namespace, aliases))
    try:
        version = ws.registry.get(namespace.model, number)
        trouble = _displaced(ws, namespace, version)
    except MissingVersionError:
        return Incumbent(number, trouble=_dangling(namespace, number))
    except RegistryError as error:
        if not forced:
            raise
        return Incumbent(number, trouble=error.message)
    return Incumbent(number, None if trouble else version, trouble)


def vanished(ws: Workspace, namespace: Namespace, aliases: Mapping[str, int]) -> str:
    """Return what is wrong when the decisions have a champion on record, and the registry none; else empty."""
    if CHAMPION in aliases:
        return ""
    line = decision_log.line_of_champions(decision_log.events(ws, namespace))
    if not line:
        return ""
    return (
        f"the decisions on record have version {line[-1]} of {namespace.model} as champion, but the registry "
        "answers that no version is: its alias, its version or the whole model was deleted"
    )


def require_known(ws: Workspace, namespace: Namespace, aliases: Mapping[str, int]) -> None:
    """Refuse to go on where the registry and the decisions on record do not have the same champion.

    Args:
        ws: The workspace.
        namespace: The use case's.
        aliases: Of the model, just read.

    Raises:
        StageError: If the champion on record is gone, or another model has its number.
        RegistryError: If the registry cannot be read.
    """
    trouble = look(ws, namespace, aliases).trouble
    if trouble:
        raise lost(namespace, trouble)


def read(ws: Workspace, namespace: Namespace, alias: str, number: int) -> ModelVersion:
    """Return the version that an alias names.

    Raises:
        StageError: If the version does not exist, with the commands that lead out.
        RegistryError: If the registry cannot be read.
    """
    try:
        return ws.registry.get(namespace.model, number)
    except MissingVersionError as error:
        raise lost(namespace, _dangling(namespace, number, alias)) from error


def lost(namespace: Namespace, trouble: str) -> StageError:
    """Return an error that says what is wrong with the champion, and which commands lead out."""
    return StageError(f"{trouble[:1].upper()}{trouble[1:]}.", hint=way_out(namespace))


def way_out(namespace: Namespace) -> str:
    """Return the commands that make a version champion without reading the present one."""
    name = namespace.use_case
    return (
        f"Bring back one that was champion: mlplatform rollback {name} --to VERSION --reason WHY; or make another one "
        f"champion by hand: mlplatform promote {name} --version VERSION --force --reason WHY. Where there is no "
        f"version, train one first: mlplatform run {name} --stage train. Where its models are gone for good, and the "
        f"next champion is to be a first one: mlplatform begin-anew {name} --reason WHY. Who was champion: mlplatform "
        f"history {name}"
    )


def _dangling(namespace: Namespace, number: int, alias: str = CHAMPION) -> str:
    return (
        f"the alias {alias} of {namespace.model} names version {number}, and the registry answers that there "
        "is no such version"
    )


def _displaced(ws: Workspace, namespace: Namespace, version: ModelVersion) -> str:
    """Return what is wrong where the registry has a champion, and the decisions on record are about another one."""
    recorded, model = decision_log.events(ws, namespace), namespace.model
    if not promotion.is_of(version, recorded):
        return (
            f"version {version.version} of {model} was registered at {version.created_at:%Y-%m-%d %H:%M} UTC, after "
            f"the decision that made version {version.version} champion: another model has its number, as after a "
            "registry was deleted and made again"
        )
    line = decision_log.line_of_champions(recorded)
    if not line or line[-1] == version.version:
        return ""
    why = promotion.missing(ws, model, line[-1], recorded)
    if not why:
        return ""  # somebody moved the alias, which they may
    return (
        f"the decisions on record have version {line[-1]} of {model} as champion, of which {why}; the registry has "
        f"version {version.version} as champion, as after a backup from before was restored"
    )


def version_or_none(ws: Workspace, namespace: Namespace) -> int | None:
    """Return the champion's version; None where there has never been one.

    Raises:
        StageError: If the champion on record is gone: training anew as if there had been none would end at the gate's
            milder rule.
        RegistryError: If the registry cannot be read.
    """
    aliases = ws.registry.aliases(namespace.model)
    require_known(ws, namespace, aliases)
    return aliases.get(CHAMPION)
