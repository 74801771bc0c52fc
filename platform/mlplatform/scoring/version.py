"""Which version scores at a time: whom the alias named by then, and never one that was trained as of later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mlplatform.as_of import argument, shown
from mlplatform.errors import StageError
from mlplatform.gate import canary, decision_log, first_steps
from mlplatform.gate import champion as champions
from mlplatform.gate.champion import Standing
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.protocols.registry import ModelVersion
from mlplatform.training.version_tags import trained_as_of


@dataclass(frozen=True)
class Chosen:
    """The version that scores.

    Attributes:
        alias: As which it scores.
        version: The version.
        trained_later: As of when it was trained, where that is later than the scoring and was allowed; else None.
        shadow: The challenger that may score in its shadow; None: there is none, or it is not known who was.
        canary: The challenger that decides for a share of the entities; None: none does.
    """

    alias: str
    version: ModelVersion
    trained_later: datetime | None = None
    shadow: int | None = None
    canary: int | None = None


def choose(context: StageContext, alias: str | None = None, *, allow_later: bool = False) -> Chosen:
    """Return the version that scores at a run's time.

    The past sees no future: the champion is whom the decisions on record had made champion by then. In the present, as
    of which no later decision is on record, it is whom the registry names.

    Args:
        context: The run.
        alias: `champion` or `challenger`; None: the champion.
        allow_later: Take whom the registry names now, and let it score though it was trained as of later.

    Raises:
        StageError: If no version had the alias, it is gone, or it was trained as of later than the run's time.
        RegistryError: If the registry cannot be read.
    """
    ws, namespace = context.ws, context.namespace
    wanted, aliases = alias or CHAMPION, ws.registry.aliases(context.model)
    standing = Standing(aliases.get(CHAMPION))
    if wanted == CHAMPION:
        champions.require_known(ws, namespace, aliases)
        if not allow_later:
            standing = champions.standing(context)
    number = standing.number if wanted == CHAMPION else aliases.get(wanted)
    if number is None:
        if standing.later is not None:
            raise champions.not_yet(context, standing.later)
        raise first_steps.without(ws, namespace, wanted, so="nothing can score")
    version = champions.read(ws, namespace, wanted, number)
    trained = trained_as_of(version)
    if trained > context.as_of and not allow_later:
        raise StageError(too_late(context, version), hint=_way_out(context, alias))
    return Chosen(
        wanted,
        version,
        trained if trained > context.as_of else None,
        # Nobody recorded who was challenger when.
        _shadow(context, aliases) if alias is None and standing.later is None else None,
        _canary(context, aliases, standing) if alias is None and not allow_later else None,
    )


def too_late(context: StageContext, version: ModelVersion) -> str:
    """Return what is wrong with a version from later; empty where it was trained by the run's time."""
    trained = trained_as_of(version)
    if trained <= context.as_of:
        return ""
    return (
        f"Version {version.version} of {version.name} was trained as of {shown(trained)}, which is later than "
        f"{shown(context.as_of)}: nobody could have predicted with it then."
    )


def _shadow(context: StageContext, aliases: Mapping[str, int]) -> int | None:
    return aliases.get(CHALLENGER) if context.settings.scoring.shadow else None


def _canary(context: StageContext, aliases: Mapping[str, int], standing: Standing) -> int | None:
    """Return who decides for a share of the entities: as the events by then have it, and is challenger still."""
    if not context.settings.scoring.canary:
        return None
    current = canary.open_at(decision_log.events(context.ws, context.namespace), context.as_of)
    if current is None or current.champion != standing.number:
        return None
    if standing.later is None and aliases.get(CHALLENGER) != current.version:
        return None  # the alias was moved or taken away, and the gate has not looked since
    return current.version


def _way_out(context: StageContext, alias: str | None) -> str:
    given = f" --alias {alias}" if alias else ""
    return (
        f"To replay history, use a workspace of its own: mlplatform --home PATH simulate {context.name} (on "
        "Databricks: --prefix). To score this time with that version on purpose, on record, and not counted as "
        f"performance: mlplatform score {context.name} --as-of {argument(context.as_of)}{given} --allow-later-model"
    )
