"""Ingest: every row of every file that was taken is in bronze, once; malformed lines are in the quarantine."""

from __future__ import annotations

from collections.abc import Iterator

import narwhals as nw

from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.errors import StageError
from mlplatform.ingest.landing import open_landing
from mlplatform.ingest.provenance import FILE, MOST_FILES, ROW, held_files
from mlplatform.ingest.quarantine import MALFORMED, REASON
from mlplatform.ingest.source import Source
from mlplatform.ingest.stage import NAME

CHECK = "ingest: rows of landed files"
_SHOWN = 3


def look(subject: Subject) -> Iterator[Finding]:
    """Look at each source's bronze table."""
    for source in subject.use_case.sources:
        bronze = subject.context.namespace.bronze(source.name)
        if not subject.holds(NAME, bronze):
            continue
        yield from _rows(subject, source())
        yield from _landed(subject, source())


def _rows(subject: Subject, source: Source) -> Iterator[Finding]:
    """Tell whether the rows of each file are numbered from 0 without a gap, each once: none is missing or doubled."""
    names, frames = subject.context.namespace, subject.ws.frames
    bronze, quarantine = names.bronze(source.name), names.quarantine(source.name)
    rows = frames.read(bronze, columns=[FILE, ROW])
    once = rows.group_by(FILE, ROW).agg(nw.len().alias("times"))
    by_file = once.group_by(FILE).agg(
        nw.col("times").sum().alias("rows"),
        nw.len().alias("numbers"),
        nw.col(ROW).min().alias("first"),
        nw.col(ROW).max().alias("last"),
    )
    files = frames.collect(by_file, at_most=MOST_FILES, what=f"how many rows {bronze} holds of each file").to_pylist()
    doubled = [item[FILE] for item in files if item["rows"] != item["numbers"]]
    gaps = [item[FILE] for item in files if item["first"] != 0 or item["last"] + 1 != item["numbers"]]
    total = sum(item["rows"] for item in files)
    malformed = 0
    if subject.ws.tables.exists(quarantine):
        lines = frames.read(quarantine, columns=[REASON]).filter(nw.col(REASON).str.starts_with(MALFORMED))
        malformed = frames.count(lines)
    for these, what in ((doubled, "more than once"), (gaps, "only in part")):
        if these:
            some = ", ".join(sorted(these)[:_SHOWN]) + (" ..." if len(these) > _SHOWN else "")
            text = f"rows of {len(these)} file(s) are in it {what}: {some}."
            way_out = (
                "Do these files still lie where files land? Then drop the table, and the next run ingests them all: "
                f'ws.tables.drop("{bronze}"). Else restore it from a backup.'
            )
            yield Finding(CHECK, str(bronze), "problem", text, way_out)
    if not doubled and not gaps:
        text = f"{total} row(s) of {len(files)} file(s), each once and without a gap; {malformed} malformed line(s)."
        yield Finding(CHECK, str(bronze), "ok", text)


def _landed(subject: Subject, source: Source) -> Iterator[Finding]:
    """Tell whether bronze could be made again: the files that it holds still lie where files land."""
    gone = gone_files(subject, source)
    bronze = subject.context.namespace.bronze(source.name)
    if gone is None:
        return
    if gone:
        some = ", ".join(gone[:_SHOWN]) + (" ..." if len(gone) > _SHOWN else "")
        text = f"{len(gone)} file(s) are no longer where files land, and could not be ingested again: {some}."
        yield Finding(CHECK, str(bronze), "cannot say", text)


def gone_files(subject: Subject, source: Source, *, version: int | None = None) -> list[str] | None:
    """Return the files that bronze holds and that no longer lie where files land; None: they are dealt out anew.

    Args:
        subject: The use case.
        source: The source.
        version: Bronze's version that is asked; None: the newest.
    """
    if source.replay is not None:
        return None
    bronze = subject.context.namespace.bronze(source.name)
    held = subject.ws.frames.read(bronze, version=version, columns=[FILE]).unique()
    names = subject.ws.frames.collect(held, at_most=MOST_FILES, what=f"the files of {bronze}").column(FILE).to_pylist()
    return sorted({str(name) for name in names} - _present(subject, source))


def refined_and_gone(subject: Subject, source: Source) -> list[str]:
    """Return the files that silver tables hold rows of and that no longer lie where files land.

    Raises:
        DamagedTableError: If such a table cannot be read.
    """
    if source.replay is not None:
        return []
    frames, tables = subject.ws.frames, subject.ws.tables
    silver = [
        subject.context.namespace.silver(item.name) for item in subject.use_case.silver if item.source is type(source)
    ]
    names = {str(name) for table in silver if tables.exists(table) for name in held_files(frames, table)}
    return sorted(names - _present(subject, source))


def _present(subject: Subject, source: Source) -> set[str]:
    folder = subject.use_case.landing
    if not folder.is_dir():
        return set()
    landing = open_landing(subject.context, source, folder)
    try:
        return {path.relative_to(folder).as_posix() for path in landing.files()}
    except StageError:  # none is there
        return set()
