"""What a use case lacks before it can do what is asked, and the command that comes first."""

from __future__ import annotations

from mlplatform.errors import StageError, UsageError
from mlplatform.gate import champion
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.protocols.workspace import Workspace

_MOST = 10


def without(ws: Workspace, namespace: Namespace, alias: str, *, so: str = "") -> StageError:
    """Return the error of a stage that needs the version of an alias, and finds none: it says what to run first.

    Args:
        ws: The workspace.
        namespace: The use case's, whose model has no version of that alias.
        alias: `champion` or `challenger`.
        so: What cannot be done without it, for the end of the sentence: "nothing can score".

    Raises:
        RegistryError: If the registry cannot be read.
    """
    model, name = namespace.model, namespace.use_case
    gone = champion.vanished(ws, namespace, ws.registry.aliases(model)) if alias == CHAMPION else ""
    if gone:
        return champion.lost(namespace, gone)
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


def require_version(ws: Workspace, namespace: Namespace, version: int | None) -> None:
    """Refuse to go on about a version that does not exist, or about any while nothing has been trained.

    Args:
        ws: The workspace.
        namespace: The use case's.
        version: The version that is asked about; None: whichever exists.

    Raises:
        StageError: If nothing has been trained.
        UsageError: If the version does not exist.
        RegistryError: If the registry cannot be read.
    """
    model = namespace.model
    numbers = [item.version for item in ws.registry.versions(model)]
    if not numbers and not ws.registry.aliases(model):
        raise without(ws, namespace, CHAMPION)
    if version is not None and version not in numbers:
        more = f"the newest of its {len(numbers)} versions are" if len(numbers) > _MOST else "its versions are"
        raise UsageError(
            f"{model} has no version {version}; {more} {', '.join(map(str, numbers[-_MOST:]))}.",
            hint=f"What was decided about each: mlplatform history {namespace.use_case}",
        )
