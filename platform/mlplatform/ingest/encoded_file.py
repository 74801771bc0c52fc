"""A file of bytes in a declared encoding, read as UTF-8: what does not fit is an error that names the line.

Lines are counted after it, on UTF-8: so they are the same lines in every encoding.
"""

from __future__ import annotations

import codecs
import re
from typing import Protocol

from mlplatform.ingest.dialect import Encoding

_LONGEST_MARK = 4
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CODECS = {"utf-8": "utf-8", "latin-1": "latin-1", "windows-1252": "cp1252", "utf-16": "utf-16"}
_NAMES = {"utf-8": "UTF-8", "latin-1": "Latin-1", "windows-1252": "Windows-1252", "utf-16": "UTF-16"}
# Between the letters of Latin-1 lie characters that control devices of old: no text has them, Windows-1252 has letters.
_CONTROL = re.compile(rb"[\x80-\x9f]")
_LETTER = re.compile(rb"[\x80-\xff]")


class Readable(Protocol):
    """A file of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes; none at the end."""
        ...


class EncodingError(ValueError):
    """Bytes that are not of the declared encoding.

    Attributes:
        line: The number of the line that they stand in; the first is 1.
        hint: What they may be instead.
    """

    def __init__(self, line: int, what: str, hint: str) -> None:
        """Say what stands where.

        Args:
            line: The number of the line.
            what: What is wrong in it.
            hint: What the file may be.
        """
        super().__init__(f"line {line} {what}")
        self.line, self.hint = line, hint


class EncodedFile:
    """Reads a file of one of the supported encodings as UTF-8."""

    def __init__(self, file: Readable, encoding: Encoding) -> None:
        """Take a file at its beginning.

        Args:
            file: The file.
            encoding: What its bytes are declared to be.
        """
        self._file, self._encoding = file, encoding
        self._decoder = codecs.getincrementaldecoder(_CODECS[encoding])()
        # Text of one byte a letter fits any bytes: that the file is UTF-8 after all is seen by looking at it as such.
        self._as_utf8 = codecs.getincrementaldecoder("utf-8")() if encoding in ("latin-1", "windows-1252") else None
        self._first_letter = 0  # the number of its line
        self._lines, self._ends_with_return = 1, False
        self._is_first, self._is_over = True, False

    def read(self, size: int, /) -> bytes:
        """Return some bytes of UTF-8, up to about so many; none at the end.

        Raises:
            EncodingError: If the file's bytes are not of the declared encoding.
        """
        while not self._is_over:
            raw = bytes(self._file.read(size))
            self._is_over = not raw
            if self._is_first:
                while len(raw) < _LONGEST_MARK and (more := bytes(self._file.read(size))):
                    raw += more
                self._look_at_the_beginning(raw)
                self._is_first = False
            text = self._decoded(raw)
            self._count(text)
            if text:
                return text
        return b""

    def _look_at_the_beginning(self, raw: bytes) -> None:
        if self._encoding != "utf-16" and raw.startswith(_UTF_16):
            raise self._error(1, "begins as UTF-16 does", "utf-16")
        if self._encoding != "utf-8" and raw.startswith(codecs.BOM_UTF8):
            raise self._error(1, "begins as UTF-8 does (with a byte order mark)", "utf-8")
        if self._encoding == "utf-16" and raw and not raw.startswith(_UTF_16):
            raise self._error(1, "does not begin as UTF-16 does (with a byte order mark)")

    def _decoded(self, raw: bytes) -> bytes:
        if self._encoding == "utf-8" and raw.isascii() and not self._decoder.getstate()[0]:
            return raw
        if self._as_utf8 is not None:
            self._look_for_utf8(raw)
        if self._encoding == "latin-1" and (found := _CONTROL.search(raw)):
            line = self._line_after(raw[: found.start()])
            what = f"holds the byte {found[0][0]:#x}, which is no letter of Latin-1"
            raise self._error(line, what, "windows-1252" if self._as_utf8 is None else "utf-8")
        pending = self._decoder.getstate()[0]
        try:
            text = self._decoder.decode(raw, self._is_over)
        except UnicodeDecodeError as error:
            before, byte = bytes(error.object[: error.start]), error.object[error.start]
            if self._encoding == "utf-16":
                before = before.decode(error.encoding, "replace").encode()
            what = f"is not {_NAMES[self._encoding]} (the byte {byte:#x})"
            instead: tuple[str, ...] = ("latin-1", "windows-1252") if self._encoding == "utf-8" else ()
            if self._as_utf8 is not None:
                instead = ("utf-8",)
            raise self._error(self._line_after(before), what, *instead) from error
        is_whole = self._encoding == "utf-8" and not pending and not self._decoder.getstate()[0]
        return raw if is_whole else text.encode()

    def _look_for_utf8(self, raw: bytes) -> None:
        """Notice that text declared to have one byte a letter is UTF-8, which is known once the file is over."""
        assert self._as_utf8 is not None
        if not self._first_letter and not raw.isascii():
            before, *_ = _LETTER.split(raw, maxsplit=1)
            self._first_letter = self._line_after(before)
        try:
            self._as_utf8.decode(raw, self._is_over)
        except UnicodeDecodeError:
            self._as_utf8 = None
            return
        if self._is_over and self._first_letter:
            raise self._error(self._first_letter, "is UTF-8, as all others are", "utf-8")

    def _line_after(self, text: bytes) -> int:
        """Return the number of the line that is reached after some more text."""
        is_pair = self._ends_with_return and text.startswith(b"\n")  # two reads took it apart
        return self._lines + _ends(text) - is_pair

    def _count(self, text: bytes) -> None:
        self._lines = self._line_after(text)
        if text:
            self._ends_with_return = text.endswith(b"\r")

    def _error(self, line: int, what: str, *instead: str) -> EncodingError:
        declared = f"The source declares {_NAMES[self._encoding]}"
        if self._encoding == "utf-8":
            declared = "A source is UTF-8 unless its dialect says otherwise"
        ways = " or ".join(f'Dialect(encoding="{other}")' for other in instead)
        otherwise = f" If all its files are written so, declare {ways}." if ways else ""
        return EncodingError(line, what, f"{declared}.{otherwise}")


def _ends(text: bytes) -> int:
    """Return how many lines end in a text."""
    returns = text.count(b"\r")
    return text.count(b"\n") + (returns - text.count(b"\r\n") if returns else 0)
