"""What becomes of each landed row of a silver table: it goes on, is quarantined, repeats another, or is none of its."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, MOST_FILES, ROW
from mlplatform.ingest.quarantine import CONTENT, REASON, quarantine_schema
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter
from mlplatform.refine.expectations import REASONS
from mlplatform.refine.landed_rows import LANDED_TEXT, OURS, LandedRows
from mlplatform.refine.silver import CORRECTED_AT, DELIVERY

DUPLICATE = "duplicate_key"
_ROWS, _NTH, _SAME = "__rows", "__nth", "__same"
_LEAST, _MOST = "__least_{}", "__most_{}"
_FIRST, _SEEN, _IS_SEEN = "__first_{}", "__seen_{}", "__is_seen"
_LEFT_ALONE = (nw.String, nw.Decimal)
# Of these types a range of keys lets files be left out when keys are looked for.
_RANGED = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_integer, pa.types.is_string)


@dataclass
class FateCounts:
    """How many rows came to which fate.

    Attributes:
        good: Rows that go on.
        corrections: Those among them that correct an earlier row of their key.
        bad: File and reason -> rows that are quarantined.
        repeated: Rows that exist already.
        left_out: Rows of the source that are not the table's.
    """

    good: int = 0
    corrections: int = 0
    bad: dict[tuple[str, str], int] = field(default_factory=dict)
    repeated: int = 0
    left_out: int = 0

    @property
    def quarantined(self) -> int:
        """The number of rows that are quarantined."""
        return sum(self.bad.values())

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return self.good + self.quarantined + self.repeated + self.left_out

    @classmethod
    def sum(cls, counts: Iterable[FateCounts]) -> FateCounts:
        """Return the counts of all rows of some."""
        total = cls()
        for item in counts:
            total.good += item.good
            total.corrections += item.corrections
            total.bad |= item.bad
            total.repeated += item.repeated
            total.left_out += item.left_out
        return total


@dataclass(frozen=True)
class Fates:
    """Landed rows by what becomes of them; computed once, so that all who read them see the same.

    Attributes:
        good: Rows that go on: typed columns and provenance; where the table keeps corrections, also `_corrected_at`.
        bad: Rows that are quarantined, as the quarantine holds them.
        counts: How many there are of each fate.
        landed: Where they come from.
        by_file: File -> how many there are of each fate.
    """

    good: Frame
    bad: Frame
    counts: FateCounts
    landed: LandedRows
    by_file: Mapping[str, FateCounts] = field(default_factory=dict)


@contextmanager
def fates(landed: LandedRows, *, beside: Sequence[str] | None) -> Iterator[Fates]:
    """Read landed rows by the table's SQL, and tell what becomes of each.

    Keys are compared among the rows that pass everything else (their keys are not null): a faulty row does not make the
    repaired one that is delivered after it a duplicate. A row whose key exists already, in the table or in a row
    before it, is `repeated` where the same content is known again later, and quarantined otherwise.

    In a table that keeps corrections it is held against the row that is the newest before it, by when the two could be
    known: with the same content it is `repeated`, and with another one it goes on, as a correction.

    Args:
        landed: The rows.
        beside: Keys are compared with the rows that the silver table holds of other files than these; None: with all.
            Where it keeps corrections, none of those may be newer than the rows.

    Raises:
        StageError: If an expression of the table cannot be computed.
    """
    frames, keeps_corrections = landed.ws.frames, landed.silver.corrections is not None
    with ExitStack() as stack:
        rows = stack.enter_context(landed.judged())
        by_file, span = _count(landed, rows)
        good, failed = rows.filter(_passes()), rows.filter(nw.col(OURS) & (nw.col(REASONS) != ""))
        bad = as_quarantined(failed, nw.col(REASONS))
        repeats = _Repeats(landed, good, span, beside)
        if any(counts.good for counts in by_file.values()) and repeats.exist():
            again = stack.enter_context(frames.staged(repeats.rows()))
            existing = _count_again(landed, again)
            for (file, same), number in existing.items():
                counts = by_file[file]
                if same or not keeps_corrections:
                    counts.good -= number
                if same:
                    counts.repeated = number
                elif keeps_corrections:
                    counts.corrections = number
                else:
                    counts.bad[file, DUPLICATE] = counts.bad.get((file, DUPLICATE), 0) + number
            if keeps_corrections:
                good = _with_corrections(good, again, landed.silver.known_at)
            else:
                good = good.join(again.select(FILE, ROW), on=[FILE, ROW], how="anti")
                if any(not same for _, same in existing):
                    twice = stack.enter_context(as_duplicates(landed, again.filter(~nw.col(_SAME))))
                    bad = nw.concat([bad, twice], how="vertical")
        elif keeps_corrections:
            good = good.with_columns(_time_of_correction(nw.lit(value=False), landed.silver.known_at))
        yield Fates(good.drop(OURS, REASONS, LANDED_TEXT), bad, FateCounts.sum(by_file.values()), landed, by_file)


def going_on(landed: LandedRows, rows: Frame) -> Frame:
    """Return the judged rows that go on where nothing but them is looked at, as where a table is refined whole.

    Args:
        landed: Where they come from.
        rows: As `LandedRows.judged` gives them.
    """
    good, keys = rows.filter(_passes()).drop(OURS, REASONS, LANDED_TEXT), list(landed.silver.primary_keys)
    if landed.silver.corrections is None:
        return _numbered(good, keys).filter(nw.col(_NTH) == 1).drop(_NTH)
    numbered = _numbered(_content_as_written(landed, good), keys)
    again = _beside_those_before(numbered, keys, _content(landed))
    return _with_corrections(good, again, landed.silver.known_at)


def newest(rows: Frame, keys: Sequence[str]) -> Frame:
    """Return of each key the row that was delivered last: the one that holds, where all corrections are known.

    Args:
        rows: Rows of a silver table.
        keys: What identifies a record.
    """
    numbered = _numbered(rows, keys)
    last = nw.col(_NTH).max().over(*keys).alias(_ROWS)
    return numbered.with_columns(last).filter(nw.col(_NTH) == nw.col(_ROWS)).drop(_NTH, _ROWS)


def first_delivered(rows: Frame, keys: Sequence[str]) -> Frame:
    """Return of each key the row that was delivered first: where the others correct it, its time is theirs.

    Args:
        rows: Rows of a silver table.
        keys: What identifies a record.
    """
    return _numbered(rows, keys).filter(nw.col(_NTH) == 1).drop(_NTH)


@contextmanager
def as_duplicates(landed: LandedRows, rows: Frame) -> Iterator[Frame]:
    """Give rows whose key another one has, as the quarantine holds them.

    Args:
        landed: Where they come from.
        rows: Their provenance.
    """
    with landed.landed_texts(rows) as texts:
        joined = rows.select(FILE, ROW, AVAILABLE_AT).join(texts, on=[FILE, ROW], how="left")
        yield as_quarantined(joined, nw.lit(DUPLICATE))


def as_quarantined(rows: Frame, reason: nw.Expr) -> Frame:
    """Return rows with their landed text as the quarantine holds them."""
    columns = (FILE, ROW, AVAILABLE_AT, reason.alias(REASON), nw.col(LANDED_TEXT).alias(CONTENT))
    return rows.select(*columns).select(*quarantine_schema().names)


def _numbered(rows: Frame, keys: Sequence[str]) -> Frame:
    """Number the rows of each key from 1 in the order in which they could be known."""
    nth = nw.col(ROW).cum_count().over(*keys, order_by=list(DELIVERY))
    return rows.with_columns(nth.cast(nw.Int64()).alias(_NTH))


def _content(landed: LandedRows) -> list[str]:
    # The same content, known again later, is no other row.
    identity = (*landed.silver.primary_keys, landed.silver.known_at)
    return [column.name for column in landed.silver.columns if column.name not in identity]


def _content_as_written(landed: LandedRows, rows: Frame) -> Frame:
    """Give rows the values that the table will hold: else what is rounded there would be corrected by itself.

    A number as text is left alone, for engines write it differently; what is held is read as a number then.
    """
    declared, kinds = nw.Schema.from_arrow(landed.silver.schema()), rows.collect_schema()
    other = [name for name in _content(landed) if kinds[name] != declared[name] and declared[name] not in _LEFT_ALONE]
    return rows.with_columns(*(nw.col(name).cast(declared[name]) for name in other)) if other else rows


def _beside_those_before(
    numbered: Frame, keys: Sequence[str], content: Sequence[str], held: Frame | None = None
) -> Frame:
    """Hold rows against the one before them of their key; return the provenance of those that have one, and `__same`.

    Args:
        numbered: The rows, with `__nth`.
        keys: What identifies a record.
        content: The columns that are compared.
        held: What comes before all of them, one row for each key.
    """
    columns = [*keys, *content]
    one = nw.lit(1, nw.Int64())
    before = numbered.select(*columns, (nw.col(_NTH) + one).alias(_NTH))
    if held is not None:
        before = nw.concat([before, held.select(*columns, one.alias(_NTH))], how="vertical")
    before = before.select(*keys, _NTH, *_renamed(content, _SEEN))
    joined = numbered.join(before, on=[*keys, _NTH], how="inner")
    return joined.select(FILE, ROW, AVAILABLE_AT, _all_equal(content, _SEEN).alias(_SAME))


def _renamed(content: Sequence[str], names: str) -> list[nw.Expr]:
    return [nw.col(name).alias(names.format(place)) for place, name in enumerate(content)]


def _all_equal(content: Sequence[str], names: str) -> nw.Expr:
    same = nw.lit(value=True)
    for place, name in enumerate(content):
        same = same & _equal(nw.col(names.format(place)), nw.col(name))
    return same


def _with_corrections(good: Frame, again: Frame, known_at: str) -> Frame:
    """Take out of rows those that are repeated, and say of the others whether they correct an earlier one.

    Args:
        good: The rows.
        again: The provenance of those whose key has an earlier row, and whether it is the `__same`.
        known_at: The column that says when a row was known.
    """
    marked = good.join(again.select(FILE, ROW, _SAME), on=[FILE, ROW], how="left")
    new = marked.filter(nw.col(_SAME).is_null() | ~nw.col(_SAME))
    return new.with_columns(_time_of_correction(~nw.col(_SAME).is_null(), known_at)).drop(_SAME)


def _time_of_correction(is_correction: nw.Expr, known_at: str) -> nw.Expr:
    """Return since when a correction holds: the file could be known, and so could what it says."""
    known = nw.max_horizontal(nw.col(AVAILABLE_AT), nw.col(known_at))
    return nw.when(is_correction).then(known).alias(CORRECTED_AT)


def _passes() -> nw.Expr:
    return nw.col(OURS) & (nw.col(REASONS) == "")


def _count(landed: LandedRows, rows: Frame) -> tuple[dict[str, FateCounts], list[Filter]]:
    """Count rows of each file by what they fail, and return the range in which the keys of those that pass lie."""
    keys = _ranged_keys(landed)
    grouped = rows.group_by(FILE, OURS, REASONS).agg(
        nw.len().alias(_ROWS),
        *(nw.col(key).min().alias(_LEAST.format(place)) for place, key in enumerate(keys)),
        *(nw.col(key).max().alias(_MOST.format(place)) for place, key in enumerate(keys)),
    )
    what = f"counts of rows of {landed.bronze} by file and reason"
    by_file: dict[str, FateCounts] = defaultdict(FateCounts)
    groups = landed.ws.frames.collect(grouped, at_most=MOST_FILES, what=what)
    for group in groups.select([FILE, OURS, REASONS, _ROWS]).to_pylist():
        counts = by_file[group[FILE]]
        if not group[OURS]:
            counts.left_out += group[_ROWS]
        elif group[REASONS]:
            counts.bad[group[FILE], group[REASONS]] = group[_ROWS]
        else:
            counts.good += group[_ROWS]
    passing = groups.filter(pc.and_(groups.column(OURS), pc.equal(groups.column(REASONS), pa.scalar(""))))
    span: list[Filter] = []
    for place, key in enumerate(keys) if passing.num_rows else ():
        try:
            least = pc.min(passing.column(_LEAST.format(place))).as_py()
            most = pc.max(passing.column(_MOST.format(place))).as_py()
        except (OverflowError, ValueError):
            continue  # a time that Python does not know, as of the year 0; the range only lets files be left out
        span += [(key, ">=", least), (key, "<=", most)]
    return by_file, span


def _ranged_keys(landed: LandedRows) -> list[str]:
    kinds = {column.name: column.field().type for column in landed.silver.columns}
    return [key for key in landed.silver.primary_keys if any(test(kinds[key]) for test in _RANGED)]


class _Repeats:
    """Rows whose key exists already: in a row before them, or in the silver table."""

    def __init__(
        self, landed: LandedRows, passing: Frame, span: Sequence[Filter], beside: Sequence[str] | None
    ) -> None:
        """Take the rows that pass all else, and the range of their keys; `beside` as for `fates`."""
        silver = landed.silver
        self._frames, self._keys, self._content = landed.ws.frames, list(silver.primary_keys), _content(landed)
        self._keeps_corrections = silver.corrections is not None
        rows = _content_as_written(landed, passing) if self._keeps_corrections else passing
        self._rows = rows.select(*self._keys, *self._content, FILE, ROW, AVAILABLE_AT)
        self._held = _held(landed, self._rows, span, beside)
        twice = self._rows.group_by(*self._keys).agg(nw.len().alias(_ROWS)).filter(nw.col(_ROWS) > 1)
        self._twice = twice.select(*self._keys)

    def exist(self) -> bool:
        """Tell whether there is any; most files have none, and then nothing need be put in order and compared."""
        first = [
            self._seen().select(*self._keys).head(1),
            self._twice.head(1),
        ]
        return self._frames.count(nw.concat(first, how="vertical")) > 0

    def rows(self) -> Frame:
        """Return their provenance, and whether the content is the `__same`."""
        keys, content = self._keys, self._content
        seen = self._seen()
        # Few rows are left here, as a rule: only they are put in order and compared.
        concerned = nw.concat([self._twice, seen.select(*keys)], how="vertical")
        numbered = _numbered(self._rows.join(concerned, on=keys, how="semi"), keys)
        if self._keeps_corrections:
            return _beside_those_before(numbered, keys, content, newest(seen, keys))
        first = numbered.filter(nw.col(_NTH) == 1).select(*keys, *_renamed(content, _FIRST))
        numbered = numbered.join(first, on=keys, how="left")
        earlier = seen.select(*keys, *_renamed(content, _SEEN), nw.lit(value=True).alias(_IS_SEEN))
        joined = numbered.join(earlier, on=keys, how="left")
        is_seen = ~nw.col(_IS_SEEN).is_null()
        same = nw.lit(value=True)
        for place, name in enumerate(content):
            known = nw.when(is_seen).then(nw.col(_SEEN.format(place))).otherwise(nw.col(_FIRST.format(place)))
            same = same & _equal(known, nw.col(name))
        existing = joined.filter(is_seen | (nw.col(_NTH) > 1))
        return existing.select(FILE, ROW, AVAILABLE_AT, same.alias(_SAME))

    def _seen(self) -> Frame:
        """Return what the silver table holds of the rows' keys."""
        return self._held.join(self._rows.select(*self._keys), on=self._keys, how="semi")


def _held(landed: LandedRows, rows: Frame, span: Sequence[Filter], beside: Sequence[str] | None) -> Frame:
    """Return what the silver table holds within a range of keys, of other files than those; None: of all."""
    kinds = rows.collect_schema()
    declared = nw.Schema.from_arrow(landed.silver.schema())
    names = [name for name in kinds.names() if name not in DELIVERY]
    # SQL may give another type than is declared, which is cast where it is written.
    filters = [item for item in span if declared[item[0]] == kinds[item[0]]]
    delivery = DELIVERY if landed.silver.corrections else (FILE,)
    held = landed.ws.frames.read(landed.target, columns=[*names, *delivery], filters=filters)
    if beside is not None:
        held = held.filter(~nw.col(FILE).is_in(list(beside)))
    return held.select(
        *(nw.col(name) if declared[name] == kinds[name] else nw.col(name).cast(kinds[name]) for name in names),
        *delivery,
    )


def _equal(one: nw.Expr, other: nw.Expr) -> nw.Expr:
    """Compare values; a null equals a null."""
    return nw.when(one.is_null() | other.is_null()).then(one.is_null() & other.is_null()).otherwise(one == other)


def _count_again(landed: LandedRows, again: Frame) -> dict[tuple[str, bool], int]:
    """Return file and whether the content is the same -> rows whose key exists already."""
    grouped = again.group_by(FILE, _SAME).agg(nw.len().alias(_ROWS))
    what = f"counts of rows of {landed.bronze} whose keys exist, by file"
    groups = landed.ws.frames.collect(grouped, at_most=MOST_FILES, what=what).to_pylist()
    return {(group[FILE], group[_SAME]): group[_ROWS] for group in groups}
