"""What was decided about edits: the changes on record, and which versions of tables follow from them."""

from __future__ import annotations

from collections.abc import Mapping

from mlplatform.naming import Namespace
from mlplatform.ops.records import CHANGES, ChangeRecord
from mlplatform.protocols.workspace import Workspace


def newest(ws: Workspace, namespace: Namespace) -> ChangeRecord | None:
    """Return the newest change of a use case; None: there was none."""
    found = CHANGES.newest(ws, namespace, 1)
    return found[-1] if found else None


def versions(ws: Workspace, namespace: Namespace) -> Mapping[str, str]:
    """Return declared name -> version, for the tables and functions of which a version is written.

    Args:
        ws: The workspace.
        namespace: The use case's.
    """
    change = newest(ws, namespace)
    return change.versions if change is not None else {}


def replaced(ws: Workspace, namespace: Namespace) -> set[str]:
    """Return the names of tables and functions that a version took the place of, and that are not written any more.

    Args:
        ws: The workspace.
        namespace: The use case's, with the versions of now.
    """
    current = dict(namespace.versions)
    names: set[str] = set()
    for change in CHANGES.read(ws, namespace):
        for declared, version in change.versions.items():
            names |= {declared, version} - {current.get(declared, declared)}
    return names
