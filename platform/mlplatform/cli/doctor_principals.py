"""Whether the service principals and groups that a bundle's target names are there, and belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlplatform.cli.findings import Finding
from mlplatform.errors import PlatformError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

    from mlplatform.workspace.databricks.principals import Principals

BUNDLE_FILE = "databricks.yml"
# The bundle's variables that name principals, and which of them have to belong to which group, and why.
_ROLES = ("deployer", "trainer", "promoter", "scorer")
_GROUPS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "model_owners": (("deployer", "promoter"), "only an owner moves the aliases of a model"),
    "readers": (("trainer", "promoter", "scorer"), "their tasks install the wheel"),
}


def principals(client: WorkspaceClient, env: str) -> Iterator[Finding]:
    """Look for what the target of an environment names, in the bundle of the folder in which we are."""
    from mlplatform.workspace.databricks.principals import Principals

    path = Path(BUNDLE_FILE)
    if not path.is_file():
        yield Finding("principals", well=True, found=f"not looked at: there is no {BUNDLE_FILE} here")
        return
    try:
        named = _variables(yaml.safe_load(path.read_text(encoding="utf-8")), env)
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, AttributeError) as error:
        yield Finding("principals", well=False, found=f"{path} cannot be read: {error}", mend="mend the file")
        return
    if named is None:
        yield Finding(
            "principals", well=True, found=f"not looked at: {BUNDLE_FILE} has no target for the environment {env}"
        )
        return
    there, ids = Principals(client), dict[str, str]()
    for role in _ROLES:
        yield from _role(there, role, named.get(role), ids)
    for variable, (members, why) in _GROUPS.items():
        if group := named.get(variable):
            yield from _group(there, str(group), {role: ids[role] for role in members if role in ids}, why)
    if not any(named.get(name) for name in (*_ROLES, *_GROUPS)):
        yield Finding("principals", well=True, found=f"the target for {env} names none: who deploys does it all")


def _variables(bundle: Any, env: str) -> dict[str, Any] | None:
    """Return a target's variables, defaults included; None: there is no such target."""
    targets = bundle.get("targets") or {}
    given = {name: dict((target or {}).get("variables") or {}) for name, target in targets.items()}
    name = next((name for name, variables in given.items() if variables.get("env", name) == env), None)
    if name is None:
        return None
    defaults = {key: (item or {}).get("default") for key, item in (bundle.get("variables") or {}).items()}
    return defaults | given[name]


def _role(there: Principals, role: str, named: Any, ids: dict[str, str]) -> Iterator[Finding]:
    lookup = (named.get("lookup") or {}).get("service_principal") if isinstance(named, dict) else None
    name = lookup or (named if isinstance(named, str) else "")
    if not name:
        return
    try:
        found = there.service_principal(name) if lookup else (name if there.kind(name) else None)
    except PlatformError as error:
        yield Finding(f"{role} {name}", well=False, found=error.message, mend=error.hint)
        return
    if found:
        ids[role] = found
    yield Finding(
        f"{role} {name}",
        well=bool(found),
        found=found or "the workspace has no such principal",
        mend=f"let an administrator create the service principal and assign it to the workspace, or change {role} in "
        f"{BUNDLE_FILE}",
    )


def _group(there: Principals, group: str, members: Mapping[str, str], why: str) -> Iterator[Finding]:
    try:
        outside = [role for role, name in members.items() if not there.is_member(name, group)]
        exists = there.kind(group) == "group"
    except PlatformError as error:
        yield Finding(f"group {group}", well=False, found=error.message, mend=error.hint)
        return
    if not exists:
        yield Finding(
            f"group {group}", well=False, found="the workspace has no such group", mend="let an administrator create it"
        )
        return
    found = f"without {', '.join(outside)}" if outside else f"with {', '.join(members) or 'nobody that is looked for'}"
    yield Finding(f"group {group}", not outside, found, f"make them members of it: {why}")
