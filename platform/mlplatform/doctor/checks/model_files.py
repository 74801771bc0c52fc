"""Models: the files of the versions that are in use, or that a rollback leads to, are those that were registered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.errors import PlatformError
from mlplatform.features.artifacts import DIGEST_TAG, digest
from mlplatform.gate import decision_log, promotion

CHECK = "models: files as registered"


def look(subject: Subject) -> Iterator[Finding]:
    """Fetch the files of each version that has an alias or was champion, and compare their digest."""
    ws, names = subject.ws, subject.use_case.namespace
    line = decision_log.line_of_champions(decision_log.events(ws, names))
    numbers = sorted({*ws.registry.aliases(names.model).values(), *line})
    whole = 0
    for number in numbers:
        if not promotion.exists(ws, names.model, number):
            text = f"version {number} was champion, and does not exist any more: no rollback leads to it."
            yield Finding(CHECK, str(names.model), "cannot say", text)
            continue
        version = ws.registry.get(names.model, number)
        expected = version.tags.get(DIGEST_TAG, "")
        if not expected:
            text = f"no digest of version {number} is on record: it was adopted, or made by an early version."
            yield Finding(CHECK, str(names.model), "cannot say", text)
            continue
        way_out = (
            f"Restore its files from a backup; else go back to another version: mlplatform rollback {subject.name} "
            f"--to VERSION --reason WHY; or train again: mlplatform run {subject.name} --stage train"
        )
        try:
            with TemporaryDirectory() as folder:
                actual = digest(ws.registry.download(version, Path(folder)))
        except PlatformError as error:
            yield Finding(CHECK, str(names.model), "problem", f"version {number}: {error.message}", way_out)
            continue
        if actual != expected:
            text = f"the files of version {number} are not those registered: digest {actual[:12]}, not {expected[:12]}."
            yield Finding(CHECK, str(names.model), "problem", text, way_out)
        else:
            whole += 1
    yield Finding(CHECK, str(names.model), "ok", f"{whole} of {len(numbers)} version(s) are as they were registered.")
