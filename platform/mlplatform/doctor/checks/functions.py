"""Functions: each that the use case declares is registered, and what the workspace keeps beside tables can be read."""

from __future__ import annotations

from collections.abc import Iterator

from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.errors import PlatformError
from mlplatform.ops.stage_runs import ENDED_WELL

CHECK = "functions and feature specs"


def look(subject: Subject) -> Iterator[Finding]:
    """Read what is kept beside tables, then each function."""
    ws, names = subject.ws, subject.context.namespace
    damages = ws.maintenance.inspect_files()
    mended = ws.maintenance.mend_files(aside="doctor", dry_run=True)
    for damage in damages:
        by_repair = any(text.startswith(damage.file) for text in mended)
        way_out = (
            f"mlplatform repair {subject.name}"
            if by_repair
            else "Restore it from a backup, or put it aside and create it again with ws.fe.create_feature_spec."
        )
        yield Finding(CHECK, damage.file, "problem", f"it {damage.what}.", way_out)
    if damages:
        return
    missing = []
    used = any(record.stage == "train" and record.status in ENDED_WELL for record in subject.context.log.records())
    for function in subject.use_case.functions if used else ():
        name = names.table(function.name)
        try:
            ws.functions.get(name)
        except PlatformError as error:
            missing.append(name)
            way_out = f"mlplatform repair {subject.name}, or the next run: it registers them"
            yield Finding(CHECK, str(name), "problem", error.message, way_out)
    if not missing:
        yield Finding(CHECK, "", "ok", f"{len(subject.use_case.functions)} function(s) can be read.")
