"""Which privileges there are on what, and the statement that grants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlplatform.errors import DeploymentError, UsageError, did_you_mean
from mlplatform.naming import ObjectName, check_part, quote
from mlplatform.protocols.operations import SecurableKind

_OF_TABLES = ("SELECT", "MODIFY", "APPLY TAG", "MANAGE")
_OF_VOLUMES = ("READ VOLUME", "WRITE VOLUME", "APPLY TAG", "MANAGE")
_OF_FUNCTIONS = ("EXECUTE", "APPLY TAG", "MANAGE")
_OF_MODELS = ("EXECUTE", "CREATE MODEL VERSION", "APPLY TAG", "MANAGE")
_OF_SCHEMAS = (
    "USE SCHEMA",
    "CREATE TABLE",
    "CREATE VOLUME",
    "CREATE FUNCTION",
    "CREATE MODEL",
    # On a schema, what is below it takes them over.
    *dict.fromkeys((*_OF_TABLES, *_OF_VOLUMES, *_OF_FUNCTIONS, *_OF_MODELS)),
)

PRIVILEGES: Mapping[SecurableKind, Sequence[str]] = {
    "catalog": ("USE CATALOG", "CREATE SCHEMA", *_OF_SCHEMAS),
    "schema": _OF_SCHEMAS,
    "table": _OF_TABLES,
    "volume": _OF_VOLUMES,
    "function": _OF_FUNCTIONS,
    "model": _OF_MODELS,
}
# SQL knows no MODEL: a registered model is a kind of function, and granted on as one. Databricks' SQL reference,
# "GRANT" (sql/language-manual/security-grant) with "Privileges and securable objects in Unity Catalog"
# (sql/language-manual/sql-ref-privileges), and of models "Unity Catalog privileges and securable objects"
# (data-governance/unity-catalog/manage-privileges/privileges).
_WORDS: Mapping[SecurableKind, str] = {"model": "function"}
_LEVELS: Mapping[SecurableKind, int] = {"catalog": 1, "schema": 2}
_OF_OBJECTS = 3


def grant_statement(privileges: Sequence[str], kind: SecurableKind, name: str | ObjectName, principal: str) -> str:
    """Return the statement that grants privileges, its names checked and quoted.

    Raises:
        DeploymentError: If a privilege or kind is unknown, there are none, or the principal is empty.
        UsageError: If the name is none, or has not as many levels as its kind.

    Examples:
        >>> grant_statement(["EXECUTE"], "model", "dev.credit_risk.model", "scorers")
        'GRANT EXECUTE ON FUNCTION `dev`.`credit_risk`.`model` TO `scorers`'
    """
    if kind not in PRIVILEGES:
        raise DeploymentError(
            f"There is nothing of the kind {kind!r} to grant on.", hint=did_you_mean(kind, PRIVILEGES)
        )
    if not privileges:
        raise DeploymentError(
            f"No privilege on the {kind} {name} was named.", hint=f"Known: {', '.join(PRIVILEGES[kind])}."
        )
    for privilege in privileges:
        if privilege not in PRIVILEGES[kind]:
            raise DeploymentError(
                f"There is no privilege {privilege!r} on a {kind}.", hint=did_you_mean(privilege, PRIVILEGES[kind])
            )
    to = quote(check_principal(principal))
    return f"GRANT {', '.join(privileges)} ON {_WORDS.get(kind, kind).upper()} {_quoted(kind, name)} TO {to}"


def check_principal(principal: str) -> str:
    """Return the name of a group or user, or the application id of a service principal, if it can be one.

    Raises:
        DeploymentError: If it is empty, or holds control characters.
    """
    try:
        quote(principal)
    except UsageError:
        raise DeploymentError(
            f"{principal!r} is no principal.", hint="Name a group, a user, or a service principal by application id."
        ) from None
    return principal


def _quoted(kind: SecurableKind, name: str | ObjectName) -> str:
    parts = str(name).split(".")
    levels = _LEVELS.get(kind, _OF_OBJECTS)
    if len(parts) != levels:
        raise UsageError(f"{str(name)!r} cannot name a {kind}.", hint=f"Its name has {levels} level(s).")
    return ".".join(quote(check_part(part, of=str(name))) for part in parts)
