"""The data that a use case is made from, whatever kind of file they came in: rows of text, a header, plain names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import UsageError, did_you_mean
from mlplatform.ingest.dialect import PLAIN, Dialect
from mlplatform.ingest.source import Format

if TYPE_CHECKING:
    import pandas as pd

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
_SHOWN = 10


@dataclass(frozen=True)
class GivenData:
    """What was read.

    Attributes:
        origin: Where from, as messages name it: a path, or a table.
        content: What the use case's own file is to hold.
        rows: All text, as bronze holds it; empty cells are missing.
        names: Each column's name in the tables, by its name in the file.
        format: Of the use case's own file.
        dialect: How it is written, as far as the reading of it shows: of a CSV file delimiter and encoding.
        types: Of data with types: each column's, as Arrow calls it. Of CSV: none.
        newlines_in_values: Whether a value goes over several lines.
        left_out: Columns that were left out, for their names are the platform's own.
    """

    origin: str
    content: bytes
    rows: pd.DataFrame
    names: dict[str, str]
    format: Format = "csv"
    dialect: Dialect = PLAIN
    types: Mapping[str, str] = field(default_factory=dict)
    newlines_in_values: bool = False
    left_out: tuple[str, ...] = ()

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
                f"{self.origin} has no column {wanted!r} ({option}).", hint=did_you_mean(visible(wanted), shown)
            )
        return matches[0]


def visible(name: str) -> str:
    r"""Return a header as one sees it: without zero-width characters, and with plain spaces.

    Examples:
        >>> visible("\ufeffUnit\u00a0price ")
        'Unit price'
    """
    seen = "".join(sign for sign in name if unicodedata.category(sign) != "Cf")
    return re.sub(r"\s+", " ", seen).strip()


def check_header(origin: Path | str, header: Sequence[str]) -> None:
    """Refuse a header that bronze cannot have.

    Raises:
        UsageError: Saying which names are wrong.
    """
    unnamed = sum(not visible(name) for name in header)
    if unnamed:
        raise UsageError(f"{origin} has {unnamed} column(s) without a name.", hint="Give every column a header.")
    lower: dict[str, str] = {}
    for name in header:
        if name.lower() in lower:
            other = lower[name.lower()]
            same = f"called {name}" if name == other else f"called {other} and {name}; case does not count"
            raise UsageError(f"{origin} has several columns {same}.", hint="Rename all but one of each.")
        lower[name.lower()] = name
    ours = [name for name in header if name.startswith("_")]
    if ours:
        raise UsageError(
            f"{origin}: names that begin with an underscore are the platform's own ({', '.join(ours)}).",
            hint="Rename the columns.",
        )
    broken = [name for name in header if re.search(r"[\x00-\x1f\x7f]", name)]
    if broken:
        raise UsageError(
            f"{origin}: {', '.join(map(repr, broken))} holds a line's end, a tab or another control character.",
            hint="Rename the columns.",
        )


def plain_names(header: Sequence[str]) -> dict[str, str]:
    """Return each column's name in the tables: lower case, letters, digits and underscores; none twice."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for number, column in enumerate(header, start=1):
        # Accents come off (größe: grosse); of a script without Latin letters nothing is left but the place.
        signs = unicodedata.normalize("NFKD", visible(column).casefold())
        plain = "".join(sign for sign in signs if not unicodedata.combining(sign))
        name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or f"column_{number}"
        if not name[0].isalpha() or name in RESERVED:
            name = f"the_{name}"
        names[column] = next(
            free for free in (name, *(f"{name}_{again}" for again in range(2, len(header) + 2))) if free not in taken
        )
        taken.add(names[column])
    return names


def shortened_list(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: of many the first ones, and how many more there are.

    Examples:
        >>> shortened_list([f"c{number}" for number in range(12)])
        'c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 2 more'
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
