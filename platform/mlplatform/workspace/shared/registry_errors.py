"""What both homes say when the registry answers that something does not exist."""

from __future__ import annotations

from mlplatform.errors import MissingVersionError

MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
EXISTS = frozenset({"RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"})
MISSING_HINT = "The registry answered: it does not exist, and asking again gives the same."
NOTHING_ASSUMED = "Nothing was assumed about it; run again when the registry answers."


def code_of(error: BaseException) -> str:
    """Return the service's code of an error; empty when it gave none."""
    return str(getattr(error, "error_code", "") or "")


def missing_version(name: str, version: int) -> MissingVersionError:
    """Return the error about a version of which the registry says that it does not exist."""
    return MissingVersionError(
        f"Could not read version {version} of {name}: the registry answers that there is no such version.",
        hint="It was deleted, or an alias that names it was set by hand.",
    )
