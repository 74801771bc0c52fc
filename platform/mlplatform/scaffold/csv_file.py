"""Reading the CSV file that a use case is made from: what it is by its content, its header, names for its columns."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
_OTHER = {
    b"PK\x03\x04": "a ZIP archive, as spreadsheets are",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"%PDF": "a PDF",
    b"SQLite format 3": "a SQLite database",
}
RESERVED = frozenset(
    {
        "known_at",
        "label_known_at",
        "prediction",
        "probabilities",
        "seen_at",
        "label",
        "as_of",
        "model_version",
        "alias",
        "scored_at",
    }
    | {"decided", "run_id", "raw", "reported_in", "reported_at", "row_id"}
    | {"cases_recent", "mean_recent", "cases_ever", "mean_ever"}  # the history's features
)


@dataclass(frozen=True)
class CsvFile:
    """What was read.

    Attributes:
        path: Where from.
        content: The file's bytes, unpacked.
        rows: All text; empty cells are missing.
        names: Each column's name in the tables, by its name in the file.
    """

    path: Path
    content: bytes
    rows: pd.DataFrame
    names: dict[str, str]

    @property
    def newlines_in_values(self) -> bool:
        """Whether a value goes over several lines."""
        return any(bool(self.rows[name].str.contains("[\r\n]", regex=True, na=False).any()) for name in self.rows)

    @property
    def header(self) -> tuple[str, ...]:
        """The columns as in the file."""
        return tuple(self.names)

    def column(self, wanted: str, option: str) -> str:
        """Return the header of the column that an option names, whatever invisible characters the file has in it.

        Raises:
            UsageError: If there is none; the message gives similar names.
        """
        if wanted in self.names:
            return wanted
        matches = [column for column in self.names if visible(column) == visible(wanted)]
        if len(matches) != 1:
            shown = {visible(column): None for column in self.names}
            raise UsageError(
                f"{self.path} has no column {wanted!r} ({option}).", hint=did_you_mean(visible(wanted), shown)
            )
        return matches[0]


def read_csv(path: Path) -> CsvFile:
    """Read a CSV file, plain or packed by gzip, bzip2 or xz: the content says which, not the name.

    Raises:
        UsageError: If it is not such a file, or its header cannot be used; the message says what is wrong, and where.
    """
    import pandas as pd

    content = _unpacked(path)
    try:
        rows = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8")
        # As it stands in the file: pandas tells columns of the same name apart by a number.
        first = io.BytesIO(content)
        header = pd.read_csv(first, dtype=str, keep_default_na=False, encoding="utf-8", header=None, nrows=1).iloc[0]
    except (ValueError, pd.errors.ParserError) as error:
        raise UsageError(f"{path} is no CSV file that can be read: {error}", hint="UTF-8, commas, a header.") from None
    names = [str(name) for name in header]
    _check_header(path, names)
    if len(rows.columns) != len(names) or not isinstance(rows.index, pd.RangeIndex):
        raise UsageError(
            f"{path} has rows of more values than its header names.", hint="Name every column in the first line."
        )
    rows.columns = pd.Index(names)
    return CsvFile(path, content, rows, _names(names))


def visible(name: str) -> str:
    r"""Return a header as one sees it: without zero-width characters, and with plain spaces.

    Examples:
        >>> visible("\ufeffUnit\u00a0price ")
        'Unit price'
    """
    seen = "".join(sign for sign in name if unicodedata.category(sign) != "Cf")
    return re.sub(r"\s+", " ", seen).strip()


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
            raise UsageError(f"{path} is no CSV file: it is {what}.", hint="Export it as CSV, in UTF-8.")
    if b"\x00" in content:
        raise UsageError(f"{path} is no CSV file: it holds bytes that no text has.", hint="Export it as CSV, in UTF-8.")
    return content


def _check_header(path: Path, header: list[str]) -> None:
    unnamed = sum(not visible(name) for name in header)
    if unnamed:
        raise UsageError(f"{path} has {unnamed} column(s) without a name.", hint="Give every column a header.")
    lower: dict[str, str] = {}
    for name in header:
        if name.lower() in lower:
            other = lower[name.lower()]
            same = f"called {name}" if name == other else f"called {other} and {name}; case does not count"
            raise UsageError(f"{path} has several columns {same}.", hint="Rename all but one of each.")
        lower[name.lower()] = name
    ours = [name for name in header if name.startswith("_")]
    if ours:
        raise UsageError(
            f"{path}: names that begin with an underscore are the platform's own ({', '.join(ours)}).",
            hint="Rename the columns.",
        )
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        raise UsageError(
            f"{path} is not separated by commas: its header is the one column {header[0]!r}.",
            hint="Export it with commas.",
        )
    broken = [name for name in header if re.search(r"[\x00-\x1f\x7f]", name)]
    if broken:
        raise UsageError(
            f"{path}: {', '.join(map(repr, broken))} holds a line's end, a tab or another control character.",
            hint="Rename the columns.",
        )


def _names(header: list[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for number, column in enumerate(header, start=1):
        # Accents come off (größe: grosse); of a script without Latin letters nothing is left but the place.
        signs = unicodedata.normalize("NFKD", visible(column).casefold())
        plain = "".join(sign for sign in signs if not unicodedata.combining(sign))
        name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or f"column_{number}"
        if not name[0].isalpha() or name in RESERVED:
            name = f"the_{name}"
        taken = set(names.values())
        names[column] = next(
            free for free in (name, *(f"{name}_{again}" for again in range(2, len(header) + 2))) if free not in taken
        )
    return names
