"""Whether the files of all tables are whole: each is read to its end, the log's among them."""

from __future__ import annotations

from collections.abc import Iterator

from mlplatform.doctor.finding import Finding
from mlplatform.naming import Namespace, ObjectName
from mlplatform.protocols.maintenance import Inspection
from mlplatform.protocols.workspace import Workspace

CHECK = "files of tables"
_SHOWN = 3


def tables_on_disk(ws: Workspace, namespace: Namespace) -> list[ObjectName]:
    """Return what is kept as tables of a use case, then of the platform's own, also what cannot be read as one."""
    places = namespace.table("x"), namespace.ops("x")
    return [
        ObjectName(place.catalog, place.schema, name)
        for place in places
        for name in ws.maintenance.folders(place.catalog, place.schema)
    ]


def look(ws: Workspace, namespace: Namespace) -> Iterator[Finding]:
    """Look into every file of every table; the use case need not be one that can be opened.

    Args:
        ws: The workspace.
        namespace: The use case's.
    """
    inspections = {table: ws.maintenance.inspect(table) for table in tables_on_disk(ws, namespace)}
    left_to = {item.left_to for item in inspections.values() if item.left_to}
    if left_to:
        found = f"{len(inspections)} table(s); their files are left to {', '.join(sorted(left_to))}."
        yield Finding(CHECK, "", "cannot say", found)
        return
    for table, item in inspections.items():
        yield from _damages(table, item, namespace)
    whole = [item for item in inspections.values() if not any(damage.current for damage in item.damages)]
    files, orphans = sum(item.files for item in whole), sum(len(item.orphans) for item in inspections.values())
    text = f"{len(whole)} of {len(inspections)} table(s) are whole, {files} data file(s)."
    if orphans:
        text += (
            f" {orphans} file(s) more that no version names, as of a process that was killed while it wrote: nobody "
            "reads them, and maintenance removes them."
        )
    yield Finding(CHECK, "", "ok", text)
    unmarked = [table for table, item in inspections.items() if item.unmarked]
    if unmarked:
        some = ", ".join(table.name for table in unmarked[:_SHOWN]) + (" ..." if len(unmarked) > _SHOWN else "")
        yield Finding(
            CHECK,
            "",
            "cannot say",
            f"{sum(inspections[table].unmarked for table in unmarked)} file(s) of {some} were written without a "
            "checksum, as by an earlier version: they can be read, and a value that changed would not show.",
        )


def _damages(table: ObjectName, item: Inspection, namespace: Namespace) -> Iterator[Finding]:
    current = [damage for damage in item.damages if damage.current]
    if current:
        more = f", and {len(current) - 1} more" if len(current) > 1 else ""
        good = "no version is whole" if item.last_good is None else f"the last good version is {item.last_good}"
        yield Finding(
            CHECK, str(table), "problem", f"{current[0]}{more}; {good}.", f"mlplatform repair {namespace.use_case}"
        )
    elif item.damages:
        text = f"{item.damages[0]}: the newest version is whole, and some older ones cannot be read any more."
        way_out = f"Where there is a copy, it is put back by: mlplatform repair {namespace.use_case}"
        yield Finding(CHECK, str(table), "cannot say", text, way_out)
