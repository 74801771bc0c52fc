"""Refine: every bronze row of a file that was refined is in silver, in the quarantine, or need not be in either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import narwhals as nw

from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.ingest.provenance import FILE, MOST_FILES, ROW
from mlplatform.ingest.quarantine import MALFORMED, REASON
from mlplatform.naming import ObjectName
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.expectations import REASONS
from mlplatform.refine.landed_rows import OURS, LandedRows
from mlplatform.refine.silver import SilverTable
from mlplatform.refine.silver_refining import NAME, tables_of

CHECK = "refine: rows in = rows out + quarantined"
_ID = [FILE, ROW]


@dataclass(frozen=True)
class _Rest:
    """What becomes of the bronze rows that are in neither table, judged again.

    Attributes:
        left_out: Rows that are not the table's.
        repeated: Rows whose key the table holds.
        unquarantined: Rows that fail, and that the quarantine lacks.
        missing: Rows that pass, and that the table lacks.
    """

    left_out: int = 0
    repeated: int = 0
    unquarantined: int = 0
    missing: int = 0


def look(subject: Subject) -> Iterator[Finding]:
    """Look at each silver table."""
    for silver in subject.use_case.silver:
        target, _ = tables_of(silver, subject.context.namespace)
        bronze = subject.context.namespace.bronze(silver.source.name)
        if subject.holds(NAME, target) and subject.ws.tables.exists(bronze):
            yield _account(subject, silver(), bronze)


def _account(subject: Subject, silver: SilverTable, bronze: ObjectName) -> Finding:
    frames, tables = subject.ws.frames, subject.ws.tables
    target, quarantine = tables_of(type(silver), subject.context.namespace)
    version = tables.version(bronze)
    files = _refined(subject, silver, bronze, version)
    held = frames.read(target, columns=[*dict.fromkeys([*_ID, *silver.row_keys])])
    failed = _empty(frames.read(target, columns=_ID))
    if tables.exists(quarantine):
        failed = frames.read(quarantine, columns=[*_ID, REASON])
        failed = failed.filter(~nw.col(REASON).str.starts_with(MALFORMED)).select(*_ID)
    landed = frames.read(bronze, version=version, columns=_ID).filter(nw.col(FILE).is_in(files))
    ids = held.select(*_ID)
    rest = landed.join(ids, on=_ID, how="anti").join(failed, on=_ID, how="anti")
    out, bad = frames.count(held), frames.count(failed)
    strangers = frames.count(
        nw.concat([ids, failed], how="vertical").filter(nw.col(FILE).is_in(files)).join(landed, on=_ID, how="anti")
    )
    if strangers:
        # Not to be rebuilt: from what bronze holds they could not be made again.
        text = f"{strangers} row(s) of silver or the quarantine are not in bronze, though others of their files are."
        return Finding(CHECK, str(target), "problem", text, f"{bronze} lacks rows: mend it first; silver keeps them.")
    wrong = {
        "row(s) of silver are in it more than once": _repeats(frames.count, ids, _ID),
        "key(s) of silver are in it more than once": _repeats(frames.count, held, list(silver.row_keys)),
        "row(s) are in silver and in the quarantine": frames.count(ids.join(failed, on=_ID, how="semi")),
    }
    left = frames.count(rest)
    judged = _judge(subject, silver, rest, (target, bronze, version)) if left else _Rest()
    wrong["row(s) of bronze that fail are not in the quarantine"] = judged.unquarantined
    wrong["row(s) of bronze that pass are not in silver"] = judged.missing
    told = [f"{count} {what}" for what, count in wrong.items() if count]
    if told:
        way_out = f"mlplatform rebuild {subject.name} --table silver_{silver.name} --as-of {subject.at}"
        return Finding(
            CHECK, str(target), "problem", f"{'; '.join(told)}.", f"mlplatform repair {subject.name}, or {way_out}"
        )
    text = f"{frames.count(landed)} row(s) of {len(files)} file(s) in = {out} out + {bad} quarantined"
    for count, what in ((judged.repeated, "repeated"), (judged.left_out, "of no concern to the table")):
        text += f" + {count} {what}" if count else ""
    return Finding(CHECK, str(target), "ok", f"{text}.")


def _refined(subject: Subject, silver: SilverTable, bronze: ObjectName, version: int) -> list[str]:
    """Return the files of bronze that the silver table has taken."""
    frames, tables = subject.ws.frames, subject.ws.tables
    target, _ = tables_of(type(silver), subject.context.namespace)
    names = frames.read(bronze, version=version, columns=[FILE]).unique()
    files = frames.collect(names, at_most=MOST_FILES, what=f"the files of {bronze}").column(FILE).to_pylist()
    listed = sorted(map(str, files))
    taken = tables.committed(target, [Transaction(f"refine:{silver.name}:{file}") for file in listed])
    return [file for file, is_taken in zip(listed, taken, strict=True) if is_taken]


def _judge(subject: Subject, silver: SilverTable, rest: Frame, place: tuple[ObjectName, ObjectName, int]) -> _Rest:
    """Judge rows by the table's SQL, as refining does."""
    frames = subject.ws.frames
    names = frames.collect(rest.select(FILE).unique(), at_most=MOST_FILES, what="files with rows to be judged again")
    files = [str(name) for name in names.column(FILE).to_pylist()]
    target, bronze, version = place
    with frames.staged(rest) as these, LandedRows(subject.ws, silver, target, bronze, version, files).judged() as rows:
        judged = rows.join(these, on=_ID, how="semi")
        ours = judged.filter(nw.col(OURS))
        passing = ours.filter(nw.col(REASONS) == "")
        keys = list(silver.primary_keys)
        declared = nw.Schema.from_arrow(silver.schema())
        cast = passing.select(*(nw.col(key).cast(declared[key]) for key in keys))
        known = frames.read(target, columns=keys)
        missing = frames.count(cast.join(known, on=keys, how="anti"))
        passed, mine, total = frames.count(passing), frames.count(ours), frames.count(judged)
    return _Rest(left_out=total - mine, repeated=passed - missing, unquarantined=mine - passed, missing=missing)


def _repeats(count: object, rows: Frame, keys: Sequence[str]) -> int:
    several = rows.group_by(list(keys)).agg(nw.len().alias("__rows")).filter(nw.col("__rows") > 1)
    return int(count(several))  # type: ignore[operator]


def _empty(rows: Frame) -> Frame:
    return rows.head(0)
