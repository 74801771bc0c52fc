"""Files that are taken again: bronze gets their new rows in place of the old, and what is refined is refined anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import narwhals as nw

from mlplatform.errors import UsageError, did_you_mean
from mlplatform.ingest.delivery import DueFile, FileDelivery
from mlplatform.ingest.landing import Landing
from mlplatform.ingest.provenance import FILE, MOST_FILES, HeldFile, held_files
from mlplatform.ingest.quarantine import MALFORMED, REASON
from mlplatform.naming import ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.protocols.tables import Transaction
from mlplatform.protocols.workspace import Workspace


def taken_again_since(ws: Workspace, bronze: ObjectName, version: int) -> bool:
    """Tell whether a file of a bronze table was taken again after a version of the table.

    Args:
        ws: The workspace.
        bronze: The table.
        version: A Delta version of it, as a run recorded it.
    """
    return ws.tables.committed(bronze, [_mark(version + 1)])[0]


def was_interrupted(ws: Workspace, bronze: ObjectName, quarantine: ObjectName) -> bool:
    """Tell whether a file was being taken again by a process that died: its malformed lines are new, its rows old."""
    return ws.tables.committed(quarantine, [_mark(ws.tables.version(bronze) + 1)])[0]


def named(given: Iterable[str], files: Sequence[DueFile]) -> dict[str, DueFile]:
    """Return those of a source's files that somebody named, by what they were given as.

    Args:
        given: Names below the landing folder, as the platform says them, or paths.
        files: The source's files.
    """
    by_name = {file.name: file for file in files}
    by_path = {file.path.resolve(): file for file in files}
    found = ((text, by_name.get(text) or by_path.get(Path(text).resolve())) for text in given)
    return {text: file for text, file in found if file is not None}


def check_named(given: Sequence[str], found: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that no source has a file for.

    Raises:
        UsageError: If there are any.
    """
    unknown = sorted(set(given).difference(found))
    if unknown:
        known = sorted(known)
        hint = did_you_mean(unknown[0], known) if known else "No file has landed that could be known by then."
        raise UsageError(f"No source has a file {', '.join(unknown)} that could be known by then.", hint=hint)


def take_again(
    context: StageContext, bronze: ObjectName, quarantine: ObjectName, landing: Landing, files: Sequence[DueFile]
) -> Iterable[tuple[FileDelivery, dict[str, HeldFile]]]:
    """Put what files hold now in place of what bronze and its quarantine hold of them.

    The quarantine first, as where files are taken for the first time; both the same again after a crash between them.
    Bronze's commit is one that refining finds, however it is begun.

    Args:
        context: The run.
        bronze: The bronze table.
        quarantine: Its quarantine.
        landing: Where the files lie.
        files: The files.

    Yields:
        What bronze took, and what it held of those files before.

    Raises:
        StageError: If a file cannot be read; nothing of it is replaced.
    """
    tables, frames = context.ws.tables, context.ws.frames
    with closing(landing.deliveries(files)) as deliveries:
        for delivery in deliveries:
            names = [item.file.name for item in delivery.files]
            before: dict[str, HeldFile] = {}
            for name in names:
                before |= held_files(frames, bronze, filters=[(FILE, "=", name)])
            mark = _mark(tables.version(bronze) + 1)
            _replace_malformed(context.ws, quarantine, delivery, names, mark)
            marks = [mark, *(each for item in delivery.files for each in item.file.marks)]
            tables.overwrite(bronze, delivery.rows, where={FILE: names}, transactions=marks)
            yield delivery, before


def _replace_malformed(
    ws: Workspace, quarantine: ObjectName, delivery: FileDelivery, names: list[str], mark: Transaction
) -> None:
    frames = ws.frames
    held = frames.read(quarantine, columns=[FILE, REASON])
    ours = held.filter(nw.col(FILE).is_in(names) & nw.col(REASON).str.starts_with(MALFORMED)).select(REASON).unique()
    what = f"reasons of lines in {quarantine}"
    reasons = set(frames.collect(ours, at_most=MOST_FILES, what=what).column(REASON).to_pylist())
    reasons.update(reason for item in delivery.files for reason in item.malformed)
    if reasons:
        # By reason: of the same files, the silver table of the source's name has its rows here, too.
        where = {FILE: names, REASON: sorted(map(str, reasons))}
        marks = [mark, *(item.file.transaction for item in delivery.files)]
        ws.tables.overwrite(quarantine, delivery.malformed, where=where, transactions=marks)


def _mark(version: int) -> Transaction:
    # Its number is the version that the commit makes: so a version alone tells whether it came after.
    return Transaction("ingest-again", version)
