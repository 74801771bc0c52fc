"""Reading the CSV file that a use case is made from: what it is by its content, and how it is written."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import UsageError
from mlplatform.ingest.dialect import PLAIN, Dialect
from mlplatform.scaffold.csv_dialect import (
    decoded,
    found_delimiter,
    found_encoding,
    header_elsewhere,
    looks_like_a_row,
    sample,
)
from mlplatform.scaffold.given_data import GivenData, check_header, plain_names
from mlplatform.scaffold.written import WrittenAs

if TYPE_CHECKING:
    import pandas as pd

_PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
_OTHER = {
    b"PK\x03\x04": "a ZIP archive, as spreadsheets are",
    b"PAR1": "a Parquet file (--from-parquet)",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"%PDF": "a PDF",
    b"SQLite format 3": "a SQLite database",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_csv(path: Path, written: WrittenAs) -> GivenData:
    """Read a CSV file, plain or packed by gzip, bzip2 or xz: the content says which, not the name.

    Args:
        path: The file.
        written: What is known of how it is written; the rest is found out.

    Raises:
        UsageError: If it is not such a file, or its header cannot be used; the message says what is wrong, and where.
    """
    import pandas as pd

    content = _unpacked(path)
    encoding = written.encoding or found_encoding(content)
    text = decoded(path, content, encoding)
    if text.startswith("sep="):
        raise UsageError(
            f"{path} begins with {text[:5]!r}, which is a note to Excel and no header.",
            hint="Delete the first line, here and in files that land later.",
        )
    delimiter = written.delimiter or found_delimiter(text) or PLAIN.delimiter
    try:
        rows = pd.read_csv(io.StringIO(text), sep=delimiter, dtype=str, keep_default_na=False, na_values=[""])
        # As it stands in the file: pandas tells columns of the same name apart by a number.
        header = pd.read_csv(
            io.StringIO(text), sep=delimiter, dtype=str, keep_default_na=False, header=None, nrows=1
        ).iloc[0]
    except (ValueError, pd.errors.ParserError, csv.Error) as error:
        raise UsageError(
            f"{path} is no CSV file that can be read: {error}",
            hint=header_elsewhere(text)
            or "A header, then lines of as many values. --delimiter says what separates them.",
        ) from None
    names = [str(name) for name in header]
    check_header(path, names)
    if len(rows.columns) != len(names) or not isinstance(rows.index, pd.RangeIndex):
        raise UsageError(
            f"{path} has rows of more values than its header names, separated by {delimiter!r}.",
            hint=header_elsewhere(text)
            or "Name every column in the first line. --delimiter says what separates values.",
        )
    if looks_like_a_row(sample(text, delimiter)):
        raise UsageError(
            f"{path} has no header: its first line is a row ({', '.join(names[:5])}).",
            hint="Put the columns' names into the first line; where these are the names, let one begin with a letter.",
        )
    rows.columns = pd.Index(names)
    dialect: Dialect = replace(PLAIN, delimiter=delimiter, encoding=encoding)
    return GivenData(
        origin=str(path),
        content=content,
        rows=rows,
        names=plain_names(names),
        dialect=dialect,
        newlines_in_values='"' in text and _spans_lines(rows),
    )


def _spans_lines(rows: pd.DataFrame) -> bool:
    return any(bool(rows[name].str.contains("[\r\n]", regex=True, na=False).any()) for name in rows)


def _unpacked(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UsageError(f"There is no file {path}.", hint="--from-csv names a CSV file with a header.")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path!s:.200} cannot be read: {error.strerror}.", hint="Is it yours to read?") from None
    for start, unpack in _PACKED.items():
        if content.startswith(start):
            try:
                content = unpack(content)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise UsageError(f"{path} cannot be unpacked: {error}", hint="Is the file whole?") from None
            break
    for start, what in _OTHER.items():
        if content.startswith(start):
            raise UsageError(f"{path} is no CSV file: it is {what}.", hint="Export it as CSV.")
    if b"\x00" in content and not content.startswith(_UTF_16):
        raise UsageError(f"{path} is no CSV file: it holds bytes that no text has.", hint="Export it as CSV, in UTF-8.")
    return content
