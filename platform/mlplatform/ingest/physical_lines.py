"""Physical lines of a landed file: counted here, and not by the parser of CSV, which quotes can lead astray.

A line ends with a line feed, a carriage return, or both in this order. Each is blank, belongs to a record that can be
parsed, or is kept apart with the reason why not; so that one stray quote costs its own line, and never swallows the
lines after it into one value.

Where values hold no newlines, a line is a record. A quote that is opened and not closed in its line faults the line. If
it is properly closed further down, nobody can tell whether what lies between are records or a text: all these lines
are kept apart, for a text must not pass as a record. Where values may hold newlines, such lines are one record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlplatform.ingest.encoded_file import Readable

BLOCK_BYTES = 1024**2
"""So much is read at a time."""
MOST_LINES = 10_000
"""A quote that is not closed within so many lines was not meant to be: a value has no more."""
LONGEST = 64 * 1024**2
"""The bytes that a line, or a record of several lines, may have."""

NOT_CLOSED = "a quote is not closed"
SPANS_LINES = "a quoted value goes over several lines"
TEXT_AFTER_QUOTE = "text after a closing quote"
NUL = "a NUL byte"
NUL_SHOWN = "\\x00"

_LF, _CR, _QUOTE = 10, 13, 34
_COMMA = b","
_ONE, _TOP, _ALL = np.uint64(1), np.uint64(63), np.uint64(2**64 - 1)
_BOM = b"\xef\xbb\xbf"

Places = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint64]


class MalformedLine(NamedTuple):
    """A physical line that is no record.

    Attributes:
        text: The line, without its end.
        reason: Why it is none.
        number: Its number in the file; the first line is 1.
    """

    text: str
    reason: str
    number: int


class LineTooLongError(ValueError):
    """A line, or what looks like one, has more than `LONGEST` bytes."""


class HeaderError(ValueError):
    """The header's quotes are no good."""


@dataclass(frozen=True)
class Block:
    """Some of a file's lines, told apart.

    Attributes:
        text: The records, to be parsed; every line in it belongs to one, or is blank.
        records: How many records there are.
        blank: How many blank lines.
        lines: How many lines, of all kinds.
        kept_apart: How many lines are kept apart.
        told: Tells the lines apart one by one.
    """

    text: bytes
    records: int
    blank: int
    lines: int
    kept_apart: int
    told: Callable[[], ToldApart]

    def malformed(self, refused: Mapping[int, str]) -> list[MalformedLine]:
        """Return the lines that are kept apart, in their order.

        Args:
            refused: Records that the parser refused, by their number from 0 -> why.
        """
        return self.told().malformed(refused) if refused or self.kept_apart else []


class ToldApart:
    """Lines one by one: which begin a record, which go on with one, which are blank, and which are kept apart."""

    def __init__(self, data: bytes, places: Places, before: int, inner: Marks, reasons: Mapping[int, str]) -> None:
        """Take the lines.

        Args:
            data: Bytes that begin with the first line.
            places: Of each line, where it begins, where its text stops, and where the next one begins.
            before: How many lines of the file come before.
            inner: Which lines go on with the record of the line before.
            reasons: Lines that are kept apart -> why.
        """
        self._data, self._places, self._before, self._inner, self._reasons = data, places, before, inner, reasons
        starts, stops, _ = places
        self._is_apart = np.zeros(starts.size, bool)
        self._is_apart[list(reasons)] = True
        self._is_blank = (stops == starts) & ~inner & ~self._is_apart
        self._first = np.flatnonzero(~self._is_blank & ~inner & ~self._is_apart)

    def block(self) -> Block:
        """Return them as a block."""
        starts, _, nexts = self._places
        text = self._data[: int(nexts[-1])]
        if self._reasons:
            kept = np.flatnonzero(~self._is_apart)
            runs = np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1) if kept.size else []
            text = b"".join(self._data[int(starts[run[0]]) : int(nexts[run[-1]])] for run in runs)
        return Block(
            text=text,
            records=int(self._first.size),
            blank=int(self._is_blank.sum()),
            lines=int(starts.size),
            kept_apart=len(self._reasons),
            told=lambda: self,
        )

    def malformed(self, refused: Mapping[int, str]) -> list[MalformedLine]:
        """Return the lines that are kept apart, and those of records that the parser refused, in their order."""
        reasons = dict(self._reasons)
        starts, stops, _ = self._places
        for record, reason in refused.items():
            line = int(self._first[record])
            reasons[line] = reason
            while (line := line + 1) < starts.size and self._inner[line]:
                reasons[line] = reason
        return [
            MalformedLine(
                self._data[int(starts[line]) : int(stops[line])].decode().replace("\0", NUL_SHOWN),
                reasons[line],
                self._before + line + 1,
            )
            for line in sorted(reasons)
        ]


class LineReader:
    """Reads a file block by block, each of whole records.

    Attributes:
        header: The first line that is not blank, without its end; empty where there is none.
    """

    def __init__(self, file: Readable, *, newlines_in_values: bool, delimiter: bytes = _COMMA) -> None:
        """Read the header.

        Args:
            file: The file, at its beginning.
            newlines_in_values: Whether quoted values may hold newlines.
            delimiter: What separates values.

        Raises:
            HeaderError: If a quote in the header is not closed.
            LineTooLongError: If the first line has more than `LONGEST` bytes.
        """
        self._file, self._spans, self._delimiter = file, newlines_in_values, delimiter
        self._rest, self._is_over, self._lines = b"", False, 0
        self._more(BLOCK_BYTES)
        self._rest = self._rest.removeprefix(_BOM)
        self.header = self._take_header()

    def blocks(self) -> Iterator[Block]:
        """Yield what follows the header.

        Raises:
            LineTooLongError: If a line has more than `LONGEST` bytes.
        """
        while self._rest or not self._is_over:
            block, taken = _block(self._rest, self._lines, self._delimiter, spans=self._spans, is_last=self._is_over)
            if block is None:
                self._more(max(BLOCK_BYTES, len(self._rest)))
                continue
            self._rest = self._rest[taken:]
            self._lines += block.lines
            yield block
            if len(self._rest) < BLOCK_BYTES:
                self._more(BLOCK_BYTES)

    def _more(self, size: int) -> None:
        if self._is_over:
            return
        parts = [self._rest]
        while size > 0 and (part := self._file.read(size)):
            parts.append(bytes(part))
            size -= len(part)
        self._is_over = size > 0
        self._rest = b"".join(parts)

    def _take_header(self) -> bytes:
        while True:
            starts, stops, nexts = _lines(self._rest, is_last=self._is_over)
            filled = np.flatnonzero(stops > starts)
            if filled.size:
                first = int(filled[0])
                end = _record(self._rest, first, starts, stops, self._delimiter, is_last=self._is_over)
                if end.kind is _Kind.WHOLE and (self._spans or end.line == first):
                    header = self._rest[int(starts[first]) : int(stops[end.line])]
                    self._rest = self._rest[int(nexts[end.line]) :]
                    self._lines = end.line + 1
                    return header
                if end.kind is not _Kind.UNKNOWN:
                    raise HeaderError(
                        TEXT_AFTER_QUOTE if end.kind is _Kind.TEXT_AFTER and end.line == first else NOT_CLOSED
                    )
            if self._is_over:
                return b""
            if len(self._rest) > LONGEST:
                raise LineTooLongError
            self._more(max(BLOCK_BYTES, len(self._rest)))


class _Kind(Enum):
    WHOLE = "closed at the end of a line"
    OPEN = "a quote is not closed"
    TEXT_AFTER = "text follows a closing quote"
    UNKNOWN = "more has to be read"


class _End(NamedTuple):
    """How a record ends, and in which line."""

    kind: _Kind
    line: int


def _lines(data: bytes, *, is_last: bool) -> tuple[Places, Places, Places]:
    """Return where the whole lines of data begin, where their text stops, and where the next one begins."""
    codes = np.frombuffer(data, np.uint8)
    is_end = codes == _LF
    if b"\r" in data:
        is_return = codes == _CR
        # The return of a pair belongs to the end that the other one is. One at the very end may have its pair still to
        # come.
        is_return[:-1] &= ~is_end[1:]
        is_return[-1] &= is_last
        is_end = is_end | is_return
    nexts = np.flatnonzero(is_end).astype(np.int64) + 1
    stops = nexts - 1
    in_pairs = (stops > 0) & (codes[stops] == _LF) & (codes[np.maximum(stops - 1, 0)] == _CR) if nexts.size else False
    stops = stops - in_pairs
    if is_last and data and (not nexts.size or nexts[-1] < len(data)):
        nexts, stops = np.append(nexts, len(data)), np.append(stops, len(data))
    starts = np.concatenate([np.zeros(1, np.int64), nexts[:-1]]) if nexts.size else nexts
    return starts, stops, nexts


def _irregular(data: bytes, starts: Places, stops: Places, delimiter: bytes = _COMMA) -> list[int]:
    """Return the lines whose quotes are other than `"..."` around fields, with those inside doubled.

    The quotes of any other line open and close fields in turn, all within the line. Most files have quotes in each line
    or in none, so this looks at 64 places at a time: one bit for each byte.
    """
    if not stops.size or b'"' not in data:
        return []
    end = int(stops[-1])
    codes = np.frombuffer(data, np.uint8)[:end]
    # One place more: the last line may stop where the data does.
    quotes, delimiters = (_bits(codes == sign, end + 1) for sign in (_QUOTE, delimiter[0]))
    is_within = _parity(quotes)
    at_stops = is_within[stops >> 6] >> (stops & 63).astype(np.uint64) & _ONE
    is_odd = np.diff(at_stops, prepend=np.uint64(0)) != 0
    if is_odd.any():
        # Whatever a line leaves open ends with it, as if its end were the quote that lacks.
        is_within = _parity(quotes | _at(stops[is_odd], end + 1))
    beside = quotes | delimiters
    may_open = _moved_on(beside) | _at(starts, end + 1)
    may_close = _moved_back(beside | _at(stops, end + 1))
    wrong = quotes & ((is_within & ~may_open) | (~is_within & ~may_close))
    lines = np.flatnonzero(is_odd)
    if wrong.any():
        places = np.flatnonzero(np.unpackbits(wrong.view(np.uint8), bitorder="little"))
        lines = np.union1d(lines, np.searchsorted(stops, places, side="right"))
    return [int(line) for line in lines]


def _bits(marks: Marks, size: int) -> Bits:
    """Return marks as bits, 64 to a word, the first one the lowest; those up to a size that there are none of are 0."""
    words = np.zeros(size // 64 + 1, "<u8")
    packed = np.packbits(marks, bitorder="little")
    words.view(np.uint8)[: packed.size] = packed
    return words


def _at(places: Places, size: int) -> Bits:
    """Return bits that are set at some places."""
    marks = np.zeros(size, bool)
    marks[places] = True
    return _bits(marks, size)


def _moved_on(bits: Bits) -> Bits:
    """Return each bit at the place after its own."""
    moved = bits << _ONE
    moved[1:] |= bits[:-1] >> _TOP
    return moved


def _moved_back(bits: Bits) -> Bits:
    """Return each bit at the place before its own."""
    moved = bits >> _ONE
    moved[:-1] |= bits[1:] << _TOP
    return moved


def _parity(bits: Bits) -> Bits:
    """Return for each place whether an odd number of bits is set up to it, itself included."""
    found = bits
    for step in (1, 2, 4, 8, 16, 32):
        found = found ^ (found << np.uint64(step))
    # The last place of a word tells whether all of the next word is turned.
    of_word = np.bitwise_xor.accumulate(found >> _TOP)
    found[1:] ^= of_word[:-1] * _ALL
    return found


def _record(data: bytes, first: int, starts: Places, stops: Places, delimiter: bytes, *, is_last: bool) -> _End:
    """Follow the quotes of a record from the beginning of a line on."""
    line, place = first, int(starts[first])
    last = min(first + MOST_LINES, stops.size) - 1
    limit = min(int(stops[last]), place + LONGEST)
    is_known = is_last or last - first + 1 == MOST_LINES or limit == place + LONGEST
    while True:
        if data[place : place + 1] == b'"' and place < stops[line]:
            close = data.find(b'"', place + 1, limit)
            while close >= 0 and data[close + 1 : close + 2] == b'"' and close + 1 < limit:
                close = data.find(b'"', close + 2, limit)
            if close < 0:
                return _End(_Kind.OPEN if is_known else _Kind.UNKNOWN, last)
            line = int(np.searchsorted(stops, close, side="right"))
            place = close + 1
            if place == stops[line]:
                return _End(_Kind.WHOLE, line)
            if data[place] != delimiter[0]:
                return _End(_Kind.TEXT_AFTER, line)
        else:
            place = data.find(delimiter, place, int(stops[line]))
            if place < 0:
                return _End(_Kind.WHOLE, line)
        place += 1


def _block(data: bytes, before: int, delimiter: bytes, *, spans: bool, is_last: bool) -> tuple[Block | None, int]:
    """Tell the lines of data apart; None where more has to be read for the first of them.

    Args:
        data: From the beginning of a line on.
        before: How many lines of the file come before.
        delimiter: What separates values.
        spans: Whether values may hold newlines.
        is_last: Whether the file ends with it.

    Returns:
        The lines, and how many bytes they are.
    """
    starts, stops, nexts = _lines(data, is_last=is_last)
    if not stops.size:
        if len(data) > LONGEST:
            raise LineTooLongError
        return None, 0
    reasons: dict[int, str] = {}
    with_nul = _holding(data, b"\0", stops)
    inner = np.zeros(stops.size, bool)
    total, free = int(stops.size), 0
    for first in _irregular(data, starts, stops, delimiter):
        if first < free:
            continue
        end = _record(data, first, starts, stops, delimiter, is_last=is_last)
        if end.kind is _Kind.UNKNOWN:
            if not first:
                return None, 0
            total = first
            break
        free = _judge(first, end, reasons, inner, spans=spans)
    if spans:
        with_nul = _whole_records(with_nul, inner)
    reasons |= {line: NUL for line in with_nul if line < total}
    lines = np.stack([starts, stops, nexts])[:, :total]
    return ToldApart(data, lines, before, inner[:total], reasons).block(), int(nexts[total - 1])


def _judge(first: int, end: _End, reasons: dict[int, str], inner: Marks, *, spans: bool) -> int:
    """Say what becomes of the lines of a record; return the line to go on with.

    Args:
        first: Its first line.
        end: How it ends, and where.
        reasons: Gets the lines that are kept apart.
        inner: Gets the lines that go on with a record.
        spans: Whether values may hold newlines.
    """
    is_one = end.line == first
    if end.kind is _Kind.WHOLE:
        if not is_one and spans:
            inner[first + 1 : end.line + 1] = True
        elif not is_one:
            reasons.update(dict.fromkeys(range(first, end.line + 1), SPANS_LINES))
        return end.line + 1
    if end.kind is _Kind.OPEN and spans:
        reasons.update(dict.fromkeys(range(first, end.line + 1), NOT_CLOSED))
        return end.line + 1
    reasons[first] = TEXT_AFTER_QUOTE if end.kind is _Kind.TEXT_AFTER and is_one else NOT_CLOSED
    return first + 1


def _holding(data: bytes, sign: bytes, stops: Places) -> set[int]:
    if sign not in data:
        return set()
    places = np.flatnonzero(np.frombuffer(data, np.uint8) == sign[0])
    lines = np.unique(np.searchsorted(stops, places, side="right"))
    return {int(line) for line in lines if line < stops.size}


def _whole_records(lines: set[int], inner: Marks) -> set[int]:
    """Return lines and those of the same records."""
    found: set[int] = set()
    for line in lines:
        first = last = line
        while inner[first]:
            first -= 1
        while last + 1 < inner.size and inner[last + 1]:
            last += 1
        found.update(range(first, last + 1))
    return found
