"""The champion as the registry and the record of decisions have it, and the way out where they do not agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlplatform.errors import MissingVersionError, RegistryError, StageError
from mlplatform.gate import promotion
from mlplatform.naming import CHAMPION, Namespace
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
        return Incumbent(number, ws.registry.get(namespace.model, number))
    except MissingVersionError:
        return Incumbent(number, trouble=_dangling(namespace, number))
    except RegistryError as error:
        if not forced:
            raise
        return Incumbent(number, trouble=error.message)


def vanished(ws: Workspace, namespace: Namespace, aliases: Mapping[str, int]) -> str:
    """Return what is wrong when the decisions have a champion on record, and the registry none; else empty."""
    if CHAMPION in aliases:
        return ""
    line = promotion.line_of_champions(promotion.events(ws, namespace))
    if not line:
        return ""
    return (
        f"the decisions on record have version {line[-1]} of {namespace.model} as champion, but the registry "
        "answers that no version is: its alias, its version or the whole model was deleted"
    )


def require_known(ws: Workspace, namespace: Namespace, aliases: Mapping[str, int]) -> None:
    """Refuse to go on as if there had never been a champion.

    Args:
        ws: The workspace.
        namespace: The use case's.
        aliases: Of the model, just read.

    Raises:
        StageError: If the decisions have a champion on record, and the registry none.
    """
    trouble = vanished(ws, namespace, aliases)
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
        f"version, train one first: mlplatform run {name} --stage train. Who was champion: mlplatform history {name}"
    )


def _dangling(namespace: Namespace, number: int, alias: str = CHAMPION) -> str:
    return (
        f"the alias {alias} of {namespace.model} names version {number}, and the registry answers that there "
        "is no such version"
    )


def version_or_none(ws: Workspace, namespace: Namespace) -> int | None:
    """Return the champion's version; None where there has never been one.

    Raises:
        StageError: If the decisions have a champion on record, and the registry none: training anew as if there had
            been none would end at the gate's milder rule.
        RegistryError: If the registry cannot be read.
    """
    aliases = ws.registry.aliases(namespace.model)
    require_known(ws, namespace, aliases)
    return aliases.get(CHAMPION)
