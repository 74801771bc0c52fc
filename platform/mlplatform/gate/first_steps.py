"""What a use case lacks before it can do what is asked, and the command that comes first."""

from __future__ import annotations

from mlplatform.errors import StageError, UsageError
from mlplatform.gate import champion
from mlplatform.naming import CHAMPION
from mlplatform.protocols.workspace import Workspace
from mlplatform.use_case import UseCase

_MOST = 10


def without(alias: str, ws: Workspace, use_case: UseCase, *, so: str = "") -> StageError:
    """Return the error of a stage that needs the version of an alias, and finds none: what to run first.

    Args:
        alias: `champion` or `challenger`.
        ws: The workspace.
        use_case: The use case, whose model has no version of that alias.
        so: What cannot be done without it, for the end of the sentence: "nothing can score".

    Raises:
        RegistryError: If the registry cannot be read.
    """
    model, name = use_case.model, use_case.name
    gone = champion.vanished(ws, use_case, ws.registry.aliases(model)) if alias == CHAMPION else ""
    if gone:
        return champion.lost(use_case, gone)
    so = f"; {so}" if so else ""
    versions = ws.registry.versions(model)
    if not versions:
        return StageError(
            f"Nothing has been trained for {name} yet: {model} has no version.",
            hint=f"First: mlplatform run {name} --as-of TIME; it trains, and promotes what passes the gate.",
        )
    if alias != CHAMPION:
        return StageError(f"{model} has no {alias}{so}.", hint=f"Train one: mlplatform run {name} --stage train")
    newest = versions[-1].version
    return StageError(
        f"{model} has no champion, none of its {len(versions)} version(s) is promoted{so}.",
        hint=f"See why: mlplatform history {name}; to put the newest to the gate again: "
        f"mlplatform gate {name} --version {newest}",
    )


def require_version(ws: Workspace, use_case: UseCase, version: int | None) -> None:
    """Refuse to go on about a version that there is not, or about any while nothing has been trained.

    Args:
        ws: The workspace.
        use_case: The use case.
        version: The version that is asked about; None: whichever there is.

    Raises:
        StageError: If nothing has been trained.
        UsageError: If there is no such version.
        RegistryError: If the registry cannot be read.
    """
    model = use_case.model
    there = [item.version for item in ws.registry.versions(model)]
    if not there and not ws.registry.aliases(model):
        raise without(CHAMPION, ws, use_case)
    if version is not None and version not in there:
        more = f"the newest of its {len(there)} versions are" if len(there) > _MOST else "its versions are"
        raise UsageError(
            f"{model} has no version {version}; {more} {', '.join(map(str, there[-_MOST:]))}.",
            hint=f"What was decided about each: mlplatform history {use_case.name}",
        )
