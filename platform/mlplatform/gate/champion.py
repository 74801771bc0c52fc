"""The champion as the registry and the record of decisions have it, and the way out where they do not agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlplatform.errors import MissingVersionError, RegistryError, StageError
from mlplatform.gate import promotion
from mlplatform.naming import CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace
from mlplatform.use_case import UseCase


@dataclass(frozen=True)
class Champion:
    """What there is to compare a challenger with.

    Attributes:
        number: The version that the alias names; None: the registry has no alias champion.
        version: That version, read; None where there is none, or it cannot be read.
        trouble: Why it cannot be compared with, though there is or was one; empty when all is well.
    """

    number: int | None = None
    version: ModelVersion | None = None
    trouble: str = ""


def look(context: StageContext, aliases: Mapping[str, int], *, forced: bool = False) -> Champion:
    """Read the champion, and notice one that is gone: never to be taken for "there is none yet".

    Args:
        context: The run.
        aliases: Of the model, just read.
        forced: The champion is not to be compared with: that it cannot be read is no obstacle.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    model = context.use_case.model
    number = aliases.get(CHAMPION)
    if number is None:
        return Champion(trouble=vanished(context.ws, context.use_case, aliases))
    try:
        return Champion(number, context.ws.registry.get(model, number))
    except MissingVersionError:
        return Champion(number, trouble=_dangling(context, number))
    except RegistryError as error:
        if not forced:
            raise
        return Champion(number, trouble=error.message)


def vanished(ws: Workspace, use_case: UseCase, aliases: Mapping[str, int]) -> str:
    """Return what is wrong when the decisions have a champion on record, and the registry none; else empty."""
    if CHAMPION in aliases:
        return ""
    line = promotion.line_of_champions(promotion.events(ws, use_case.namespace))
    if not line:
        return ""
    return (
        f"the decisions on record have version {line[-1]} of {use_case.model} as champion, but the registry "
        "answers that no version is: its alias, its version or the whole model was deleted"
    )


def require_known(context: StageContext, aliases: Mapping[str, int]) -> None:
    """Refuse to go on as if there had never been a champion.

    Args:
        context: The run.
        aliases: Of the model, just read.

    Raises:
        StageError: If the decisions have a champion on record, and the registry none.
    """
    trouble = vanished(context.ws, context.use_case, aliases)
    if trouble:
        raise lost(context.use_case, trouble)


def read(context: StageContext, alias: str, number: int) -> ModelVersion:
    """Return the version that an alias names.

    Raises:
        StageError: If there is no such version, with the commands that lead out.
        RegistryError: If the registry cannot be read.
    """
    try:
        return context.ws.registry.get(context.use_case.model, number)
    except MissingVersionError as error:
        raise lost(context.use_case, _dangling(context, number, alias)) from error


def lost(use_case: UseCase, trouble: str) -> StageError:
    """Return an error that says what is wrong with the champion, and which commands lead out."""
    return StageError(f"{trouble[:1].upper()}{trouble[1:]}.", hint=way_out(use_case))


def way_out(use_case: UseCase) -> str:
    """Return the commands that make a version champion without reading the present one."""
    name = use_case.name
    return (
        f"Bring back one that was champion: mlplatform rollback {name} --to VERSION --reason WHY; or make another one "
        f"champion by hand: mlplatform promote {name} --version VERSION --force --reason WHY. Where there is no "
        f"version, train one first: mlplatform run {name} --stage train. Who was champion: mlplatform history {name}"
    )


def _dangling(context: StageContext, number: int, alias: str = CHAMPION) -> str:
    return (
        f"the alias {alias} of {context.use_case.model} names version {number}, and the registry answers that there "
        "is no such version"
    )


def version_or_none(context: StageContext) -> int | None:
    """Return the champion's version; None where there has never been one.

    Raises:
        StageError: If the decisions have a champion on record, and the registry none: training anew as if there had
            been none would end at the gate's milder rule.
        RegistryError: If the registry cannot be read.
    """
    aliases = context.ws.registry.aliases(context.model)
    if CHAMPION not in aliases:
        require_known(context, {})
    return aliases.get(CHAMPION)
