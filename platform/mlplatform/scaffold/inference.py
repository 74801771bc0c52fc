"""What a CSV file says about the use case to be made of it: names, types, the label's values, the time covered."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlplatform.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["classification", "regression"]
Role = Literal["number", "category", "text"]

MOST_CATEGORIES = 50
LEAST_ROWS = 200
_TRUTHS = ("1", "true", "t", "yes", "y")
_RESERVED = frozenset(
    {"known_at", "label_known_at", "prediction", "seen_at", "label", "as_of", "model_version"}
    | {"cases_recent", "mean_recent", "cases_ever", "mean_ever"}  # the history's features
)
# What other programs write where a number is missing; read as a number it is null.
_NO_NUMBER = frozenset({"na", "n/a", "nan", "null", "none", "-", "?"})
_BINARY = 2
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?")


@dataclass(frozen=True)
class CsvColumn:
    """One column of the file.

    Attributes:
        source: Its name in the file.
        name: Its name in the tables: lower case, letters, digits and underscores.
        role: A number, a category (text of few values), or other text, which the model does not get.
    """

    source: str
    name: str
    role: Role


@dataclass(frozen=True)
class Inferred:
    """What was found in the file.

    Attributes:
        header: All columns, as in the file.
        entity: The column that names the entity.
        timestamp: The column that says when the prediction is made; None: there is none.
        label: The label's column.
        positive: Of a classification: the label's value that means 1.
        negative: Of a classification: the value that means 0.
        facts: All other columns.
        rows: How many there are.
        labelled: How many have a label.
        rarer: Of a classification: rows of the rarer class.
        repeats: Whether an entity has several rows.
        start: The first time.
        end: The last time.
        spread: Mean distance of the label from its median: what a regression's constant guess is wrong by.
    """

    header: tuple[str, ...]
    entity: CsvColumn
    timestamp: CsvColumn | None
    label: CsvColumn
    positive: str
    negative: str
    facts: tuple[CsvColumn, ...]
    rows: int
    labelled: int
    rarer: int
    repeats: bool
    start: datetime
    end: datetime
    spread: float


def infer(path: Path, *, task: Task, entity: str, label: str, timestamp: str | None) -> Inferred:
    """Read a CSV file, and say what it holds.

    Raises:
        UsageError: If the file cannot be read, lacks a column, or does not fit the task; names what and where.
    """
    rows = _read(path)
    header = tuple(str(name) for name in rows.columns)
    named = {"--entity": entity, "--label": label} | ({"--timestamp": timestamp} if timestamp else {})
    for option, column in named.items():
        if column not in header:
            raise UsageError(f"{path} has no column {column!r} ({option}).", hint=did_you_mean(column, header))
    if len(set(named.values())) < len(named):
        raise UsageError("Entity, label and timestamp are different columns.", hint="Name each by its own option.")
    names = _names(path, header)
    _check_keys(path, rows, entity, timestamp)
    labels = rows[label].dropna()
    if len(labels) < LEAST_ROWS:
        raise UsageError(
            f"{path} has {len(labels)} rows with a label; to train, hold out and judge takes at least {LEAST_ROWS}.",
            hint="Export more rows.",
        )
    (positive, negative), rarer, spread = _label(path, label, labels, task)
    start, end = _times(path, rows[timestamp], timestamp) if timestamp else _PSEUDO
    facts = tuple(
        CsvColumn(column, names[column], _role(rows[column])) for column in header if column not in named.values()
    )
    if not any(fact.role != "text" for fact in facts):
        raise UsageError(
            f"{path} has no column to predict from: beside {', '.join(named.values())} there is neither a number nor a "
            "category.",
            hint=f"A category is text of at most {MOST_CATEGORIES} values.",
        )
    return Inferred(
        header=header,
        entity=CsvColumn(entity, names[entity], "text"),
        timestamp=CsvColumn(timestamp, names[timestamp], "text") if timestamp else None,
        label=CsvColumn(label, names[label], "number"),
        positive=positive,
        negative=negative,
        facts=facts,
        rows=len(rows),
        labelled=len(labels),
        rarer=rarer,
        repeats=bool(rows[entity].duplicated().any()),
        start=start,
        end=end,
        spread=spread,
    )


# Without a time the rows are spread over a hundred made-up days, by their keys.
_PSEUDO = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 4, 9, tzinfo=UTC))


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise UsageError(f"There is no file {path}.", hint="--from-csv names a CSV file with a header.")
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8")
        # As it stands in the file: pandas tells columns of the same name apart by a number.
        header = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8", header=None, nrows=1).iloc[0]
    except (ValueError, pd.errors.ParserError) as error:
        raise UsageError(f"{path} is no CSV file that can be read: {error}", hint="UTF-8, commas, a header.") from None
    _check_header(path, [str(name) for name in header])
    return rows


def _check_header(path: Path, header: list[str]) -> None:
    unnamed = sum(not name.strip() for name in header)
    if unnamed:
        raise UsageError(f"{path} has {unnamed} column(s) without a name.", hint="Give every column a header.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UsageError(f"{path} has several columns called {', '.join(twice)}.", hint="Rename all but one of each.")
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


def _names(path: Path, header: tuple[str, ...]) -> dict[str, str]:
    names: dict[str, str] = {}
    for number, column in enumerate(header, start=1):
        # Accents come off (größe: grosse); of a script without Latin letters nothing is left but the place.
        signs = unicodedata.normalize("NFKD", column.casefold())
        plain = "".join(sign for sign in signs if not unicodedata.combining(sign))
        name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or f"column_{number}"
        if not name[0].isalpha() or name in _RESERVED:
            name = f"the_{name}"
        if name in names.values():
            other = next(source for source, taken in names.items() if taken == name)
            raise UsageError(
                f"{path}: the columns {other!r} and {column!r} would both be called {name}.", hint="Rename one of them."
            )
        names[column] = name
    return names


def _check_keys(path: Path, rows: pd.DataFrame, entity: str, timestamp: str | None) -> None:
    keys = [entity, *([timestamp] if timestamp else [])]
    rows = rows[keys].apply(lambda values: values.str.strip())  # as the tables read them
    for key in keys:
        missing = int((rows[key].fillna("") == "").sum())
        if missing:
            raise UsageError(f"{path}: {missing} row(s) have no {key}.", hint="Every row needs its entity and time.")
    twice = rows.duplicated(keys, keep=False)
    if twice.any():
        example = ", ".join(f"{key} {rows.loc[twice, key].iloc[0]}" for key in keys)
        raise UsageError(
            f"{path}: {int(twice.sum())} rows share {' and '.join(keys)} with another one, such as {example}.",
            hint="One row is one prediction: aggregate them, or name the column that tells them apart as --timestamp.",
        )


def _label(path: Path, column: str, labels: pd.Series[str], task: Task) -> tuple[tuple[str, str], int, float]:
    import pandas as pd

    if task == "regression":
        numbers = pd.to_numeric(labels, errors="coerce")
        if numbers.isna().any():
            bad = labels[numbers.isna()].iloc[0]
            raise UsageError(
                f"{path}: the label {column} is {bad!r} somewhere, which is no number.", hint="See --task."
            )
        return ("", ""), 0, float((numbers - numbers.median()).abs().mean())
    counts = labels.str.strip().value_counts()
    if len(counts) != _BINARY:
        shown = ", ".join(map(repr, counts.index[:5]))
        raise UsageError(
            f"{path}: the label {column} has {len(counts)} values ({shown}); a classification here is of two.",
            hint="Make it yes or no, or use --task regression for a number.",
        )
    known = [str(value) for value in counts.index if str(value).lower() in _TRUTHS]
    # Where no value says yes, the rarer one is what people ask about.
    positive = known[0] if len(known) == 1 else str(counts.index[-1])
    (negative,) = (str(value) for value in counts.index if str(value) != positive)
    return (positive, negative), int(counts.iloc[-1]), 0.0


def _times(path: Path, values: pd.Series[str], column: str) -> tuple[datetime, datetime]:
    times = []
    for value in values:
        try:
            # What both Python and the engine read; Python alone takes more.
            moment = datetime.fromisoformat(value.strip() if _TIME.fullmatch(value.strip()) else "")
        except ValueError:
            raise UsageError(
                f"{path}: {column} is {value!r} somewhere, which is no time in ISO 8601.",
                hint="Write 2024-01-31 or 2024-01-31T08:00:00.",
            ) from None
        times.append(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC))
    start, end = min(times), max(times)
    if end - start < timedelta(days=10):
        raise UsageError(
            f"{path}: {column} covers {start:%Y-%m-%d} to {end:%Y-%m-%d}; ten days are the least that can be split.",
            hint="Leave --timestamp out, if the order in time means nothing.",
        )
    return start, end


def _role(values: pd.Series[str]) -> Role:
    import pandas as pd

    known = values.dropna()
    numbers = known[~known.str.strip().str.lower().isin(_NO_NUMBER)]
    if len(numbers) and pd.to_numeric(numbers, errors="coerce").notna().all():
        return "number"
    return "category" if 0 < known.nunique() <= min(MOST_CATEGORIES, len(known) // 2) else "text"
