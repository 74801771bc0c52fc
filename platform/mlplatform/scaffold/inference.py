"""What data say about the use case to be made of them: names, types, the label's values, the time covered."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mlplatform.config.task_rules import FEWEST_CLASSES, LONGEST_CLASS, MOST_CLASSES
from mlplatform.errors import UsageError
from mlplatform.ingest.dialect import PLAIN, Dialect
from mlplatform.refine.numbers import NO_NUMBER
from mlplatform.scaffold.csv_file import read_csv
from mlplatform.scaffold.day_forms import found_format, moments
from mlplatform.scaffold.given_data import GivenData
from mlplatform.scaffold.number_forms import Form, NoNumber, form_of
from mlplatform.scaffold.written import UNKNOWN, WrittenAs
from mlplatform.statistics import baseline, metrics
from mlplatform.task import Task, task_of

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["number", "category", "text"]

MOST_CATEGORIES = 50
LEAST_ROWS = 200
_TRUTHS = frozenset(["1", "+", "true", "t", "yes", "y", "on", "sim", "s", "si", "sí", "ja", "oui", "da", "tak"])
_BINARY, _SHOWN, _LARGEST = 2, 5, 1e15
_TEXTS = frozenset({"string", "large_string", "string_view"})


@dataclass(frozen=True)
class DataColumn:
    """One column of the file.

    Attributes:
        source: Its name in the file.
        name: Its name in the tables: lower case, letters, digits and underscores.
        role: A number, a category (text of few values), or other text, which the model does not get.
        form: Of a number: how it is written.
        in_dialect: Of a number: whether that is how the dialect of the file says.
        note: What one must know about how it is read; empty: nothing.
    """

    source: str
    name: str
    role: Role
    form: Form = field(default_factory=Form)
    note: str = ""
    in_dialect: bool = True


@dataclass(frozen=True)
class Inferred:
    """What was found in the data.

    Attributes:
        file: The data.
        dialect: How they are written.
        entities: The columns that name the entity; none: each row is its own, and named by its place.
        timestamp: The column that says when the prediction is made; None: the file has none.
        label: The label's column.
        positive: Of a classification: the label's value that means 1.
        negative: Of a classification: the value that means 0.
        classes: Of several classes: the label's values, numbers and texts in their order.
        numeric_label: Of a classification: whether those are numbers, so that 1 and 1.0 are the same.
        words_are_missing: Whether NA, null and the like mean that there is no label.
        facts: All other columns.
        history_by: The columns whose outcomes so far are looked up, a history each.
        rows: How many there are.
        labelled: How many have a label.
        rarer: Of a classification: rows of the rarest class.
        repeats: Whether an entity has several rows.
        start: The first time.
        end: The last time.
        off: What the best constant guess has in the task's primary metric; of two classes 0.
    """

    file: GivenData
    dialect: Dialect
    entities: tuple[DataColumn, ...]
    timestamp: DataColumn | None
    label: DataColumn
    positive: str
    negative: str
    classes: tuple[str, ...]
    numeric_label: bool
    words_are_missing: bool
    facts: tuple[DataColumn, ...]
    history_by: tuple[tuple[DataColumn, ...], ...]
    rows: int
    labelled: int
    rarer: int
    repeats: bool
    start: datetime
    end: datetime
    off: float


@dataclass(frozen=True)
class _Label:
    positive: str = ""
    negative: str = ""
    classes: tuple[str, ...] = ()
    numeric: bool = False
    form: Form = field(default_factory=Form)
    note: str = ""
    rarer: int = 0
    off: float = 0.0


# Without a time the rows are spread over a hundred made-up days, by their keys.
_PSEUDO = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 4, 9, tzinfo=UTC))


def infer(
    data: GivenData | Path,
    *,
    task: Task | str,
    entity: str | Sequence[str],
    label: str,
    timestamp: str | None,
    history_by: Sequence[str] = (),
    quantile: float | None = None,
    written: WrittenAs = UNKNOWN,
) -> Inferred:
    """Say what data hold.

    Args:
        data: The data, or the path of a CSV file.
        task: What is predicted, or its name.
        entity: The column that names the entity, or several that do so together; none: each row is its own.
        label: The label's column.
        timestamp: The time's column; None: the data have none.
        history_by: Columns whose outcomes so far are looked up; several that count together are joined by `+`.
        quantile: Which quantile is predicted, where one is.
        written: What is known of how they are written.

    Raises:
        UsageError: If the data cannot be read, lack a column, or do not fit the task; names what and where.
    """
    task = _at_level(task_of(task), quantile)
    file = data if isinstance(data, GivenData) else read_csv(data, written)
    origin, rows = file.origin, file.rows
    wanted = [("--entity", name) for name in ([entity] if isinstance(entity, str) else entity)]
    entities = [file.column(name, option) for option, name in wanted]
    label = file.column(label, "--label")
    timestamp = file.column(timestamp, "--timestamp") if timestamp else None
    named = [*entities, label, *([timestamp] if timestamp else [])]
    if len(set(named)) < len(named):
        raise UsageError("Entity, label and timestamp are different columns.", hint="Name each by its own option.")
    # First: of a column that holds no times, missing and repeated values would be told of instead.
    days = found_format(file, timestamp, written.date_format)
    _check_keys(origin, rows, entities, timestamp)
    labels, words_are_missing = _labels(rows[label], task)
    if len(labels) < LEAST_ROWS:
        raise UsageError(
            f"{origin} has {len(labels)} rows with a label; to train, hold out and judge takes at least {LEAST_ROWS}.",
            hint="Export more rows.",
        )
    histories = _histories(file, history_by, timestamp, label)
    by_history = {column for columns in histories for column in columns}
    others = [column for column in file.header if column not in named]
    forms = _forms(file, others, by_history)
    # What can be read in two ways is read as the other columns are written.
    decimals = {written.decimal} if written.decimal else _decimals(rows, forms)
    judged = _judged(origin, label, labels, task, decimals)
    has_classes = task.is_binary or task.is_multiclass
    if not written.decimal and not has_classes and _decided(judged.form, labels):
        decimals |= {judged.form.decimal}
    facts = _facts(file, others, forms, decimals)
    if not any(fact.role != "text" for fact in facts) and not histories:
        shown = ", ".join(named)
        raise UsageError(
            f"{origin} has no column to predict from: beside {shown} there is neither a number nor a category.",
            hint=f"A category is text of at most {MOST_CATEGORIES} values.",
        )
    start, end = moments(origin, rows[timestamp], timestamp, days.format) if timestamp else _PSEUDO
    number = [fact for fact in facts if fact.role == "number"]
    labelled = DataColumn(label, file.names[label], "number", judged.form, judged.note)
    forms_found = [fact.form for fact in [*number, *([] if has_classes else [labelled])]]
    decimal, thousands = _separators(forms_found, decimals)
    dialect = replace(file.dialect, decimal=decimal, thousands=thousands, date_format=days.format)
    facts = tuple(_placed(fact, rows, dialect) for fact in facts)
    as_columns = {fact.source: fact for fact in facts} | {
        column: DataColumn(column, file.names[column], "text") for column in entities
    }
    return Inferred(
        file=file,
        dialect=dialect,
        entities=tuple(as_columns[column] for column in entities),
        timestamp=DataColumn(timestamp, file.names[timestamp], "text", note=days.note) if timestamp else None,
        label=labelled if has_classes else _placed(labelled, rows, dialect),
        positive=judged.positive,
        negative=judged.negative,
        classes=judged.classes,
        numeric_label=judged.numeric,
        words_are_missing=words_are_missing,
        facts=facts,
        history_by=tuple(tuple(as_columns[column] for column in columns) for columns in histories),
        rows=len(rows),
        labelled=len(labels),
        rarer=judged.rarer,
        repeats=bool(entities) and bool(rows[entities].duplicated().any()),
        start=start,
        end=end,
        off=judged.off,
    )


def _at_level(task: Task, quantile: float | None) -> Task:
    if task.predicts_quantile and (quantile is None or not 0 < quantile < 1):
        raise UsageError(
            "Which quantile is predicted? " + ("--quantile is missing." if quantile is None else f"Not {quantile:g}."),
            hint="Give one between 0 and 1: --quantile 0.9 is what nine of ten labels stay at or below.",
        )
    if quantile is not None and not task.predicts_quantile:
        raise UsageError(f"--quantile means nothing for {task.noun}.", hint="Leave it out, or give --task quantile.")
    return replace(task, level=quantile)


def _check_keys(origin: str, rows: pd.DataFrame, entities: list[str], timestamp: str | None) -> None:
    keys = [*entities, *([timestamp] if timestamp else [])]
    if not keys:
        return
    whole, rows = rows, rows[keys].apply(lambda values: values.str.strip())  # as the tables read them
    for key in keys:
        missing = (rows[key].fillna("") == "").to_numpy()
        if missing.any():
            first = int(missing.argmax())
            values = ", ".join(whole.iloc[first].dropna().str.strip().head(_SHOWN)) or "nothing"
            raise UsageError(
                f"{origin}: {int(missing.sum())} row(s) have no {key}; the first is row {first + 1} ({values}).",
                hint="Every row needs its entity and time. Leave out totals and empty lines.",
            )
    twice = rows.duplicated(keys, keep=False)
    if entities and twice.any():
        example = ", ".join(f"{key} {rows.loc[twice, key].iloc[0]}" for key in keys)
        raise UsageError(
            f"{origin}: {int(twice.sum())} rows share {' and '.join(keys)} with another one, such as {example}.",
            hint="One row is one prediction: aggregate them, name the columns that tell them apart (--timestamp, "
            "--entity several times), or let each row stand for itself: --row-numbers.",
        )


def _histories(
    file: GivenData, history_by: Sequence[str], timestamp: str | None, label: str
) -> tuple[tuple[str, ...], ...]:
    if history_by and timestamp is None:
        raise UsageError("There is no history without a time.", hint="Give --timestamp, or leave --history-by out.")
    histories = []
    for together in history_by:
        columns = tuple(file.column(name.strip(), "--history-by") for name in together.split("+"))
        if label in columns or timestamp in columns or len(set(columns)) < len(columns):
            raise UsageError(
                f"--history-by {together}: neither the label nor the time has a history, and a column is named once.",
                hint="Name columns that several rows share, such as a customer or a branch.",
            )
        histories.append(columns)
    if len(set(histories)) < len(histories):
        raise UsageError("--history-by names the same columns twice.", hint="Once is enough.")
    return tuple(histories)


def _labels(values: pd.Series[str], task: Task) -> tuple[pd.Series[str], bool]:
    """The labels that are known, and whether NA and the like are none: of two classes `-` or `none` may be one."""
    import pandas as pd

    values = values.dropna().str.strip()
    values = values[values != ""]
    known = values[~values.str.lower().isin(NO_NUMBER)]
    classes = set(values.str.lower())
    words = task.is_binary and len(classes) == _BINARY and classes & NO_NUMBER
    numeric = pd.to_numeric(known, errors="coerce").notna().any()
    return (values, False) if words and not numeric else (known, True)


def _judged(origin: str, column: str, labels: pd.Series[str], task: Task, decimals: set[str]) -> _Label:
    if task.is_binary:
        return _two_classes(origin, column, labels, task)
    if task.is_multiclass:
        return _several_classes(origin, column, labels, task)
    return _numbers(origin, column, labels, task, decimals)


def _numbers(origin: str, column: str, labels: pd.Series[str], task: Task, decimals: set[str]) -> _Label:
    import pandas as pd

    form = form_of(labels, decimals)
    if isinstance(form, NoNumber):
        odd = labels[pd.to_numeric(labels, errors="coerce").isna()]
        seen = form.why or repr((odd if len(odd) else labels).iloc[0])
        few = labels.nunique()
        fits = "classification" if few == _BINARY else "multiclass" if few <= MOST_CLASSES else ""
        raise UsageError(
            f"{origin}: the label {column} holds {seen}, which is no number.",
            hint=f"Of {few} values one is predicted by --task {fits}." if fits else "Is --label the column meant?",
        )
    values = labels.map(form.value).to_numpy(dtype=np.float64)
    uncounted = (values < 0) | (values != np.floor(values))
    wrong = np.flatnonzero(uncounted & task.predicts_counts)
    if wrong.size:
        raise UsageError(
            f"{origin}: the label {column} is no count in {wrong.size} row(s), such as {labels.iloc[int(wrong[0])]!r}.",
            hint="Counts are whole numbers from 0 on; of other amounts the task is regression.",
        )
    metric = metrics.of(task)[0]
    off = metric.compute(values, np.full(values.size, baseline.best_constant(metric.name, values, task)))
    return _Label(form=form, note=form.doubt, off=off)


def _several_classes(origin: str, column: str, labels: pd.Series[str], task: Task) -> _Label:
    import pandas as pd

    numbers = pd.to_numeric(labels, errors="coerce")
    numeric = bool(numbers.abs().lt(_LARGEST).all())
    if numeric and not bool((numbers == np.floor(numbers)).all()):
        raise UsageError(
            f"{origin}: the label {column} holds numbers that are not whole, such as "
            f"{labels[numbers != np.floor(numbers)].iloc[0]}; classes are texts or whole numbers.",
            hint="Of amounts the task is regression.",
        )
    # As the table's SQL reads them: 1 and 1.0 are the same.
    named = numbers.astype("int64").astype(str) if numeric else labels
    counts = named.value_counts()
    classes = tuple(sorted(counts.index, key=int) if numeric else sorted(counts.index))
    shown = ", ".join(repr(value) for value in classes[:_SHOWN]) + (" and more" if len(classes) > _SHOWN else "")
    if not FEWEST_CLASSES <= len(classes) <= MOST_CLASSES:
        raise UsageError(
            f"{origin}: the label {column} has {len(classes)} values ({shown}); several classes are "
            f"{FEWEST_CLASSES} to {MOST_CLASSES}.",
            hint="Of two the task is classification, of amounts regression; values that are rare may be made one."
            if len(classes) < FEWEST_CLASSES
            else "Make rare values one, such as other; of amounts the task is regression.",
        )
    wrong = [name for name in classes if not name.isprintable() or len(name) > LONGEST_CLASS]
    if wrong:
        raise UsageError(
            f"{origin}: the label {column} has the value {wrong[0][:LONGEST_CLASS]!r}, which is no name of a class.",
            hint=f"Names are printable, and have at most {LONGEST_CLASS} characters.",
        )
    task = replace(task, classes=classes)
    values = named.map({name: place for place, name in enumerate(classes)}).to_numpy(dtype=np.float64)
    metric = metrics.of(task)[0]
    guess = baseline.for_all(baseline.best_constant(metric.name, values, task), values.size)
    off, rarer = metric.compute(values, guess), int(counts.min())
    return _Label(classes=classes, numeric=numeric, rarer=rarer, off=off)


def _two_classes(origin: str, column: str, labels: pd.Series[str], task: Task) -> _Label:
    import pandas as pd

    numbers = pd.to_numeric(labels, errors="coerce")
    numeric = bool(numbers.abs().lt(math.inf).all())  # NaN is not below, either
    # As the table's SQL compares them: 1 and 1.0, yes and YES are the same.
    same = numbers if numeric else labels.str.lower()
    counts = same.value_counts()
    if len(counts) != _BINARY:
        shown = ", ".join(repr(value) for value in labels.value_counts().index[:5])
        raise UsageError(
            f"{origin}: the label {column} has {len(counts)} values ({shown}); {task.noun} here is of two.",
            hint="Make it yes or no; use --task multiclass for several, or --task regression for a number.",
        )
    spelled = {key: str(labels[same == key].iloc[0]) for key in counts.index}
    if numeric:
        spelled = {key: repr(float(key)).removesuffix(".0") for key in counts.index}
    known = [key for key in counts.index if str(spelled[key]).lower() in _TRUTHS]
    # Where no value says yes, the rarer one is what people ask about.
    positive = known[0] if len(known) == 1 else counts.index[-1]
    (negative,) = (key for key in counts.index if key != positive)
    return _Label(spelled[positive], spelled[negative], numeric=numeric, rarer=int(counts.iloc[-1]))


def _forms(file: GivenData, columns: list[str], by_history: set[str]) -> dict[str, Form | NoNumber]:
    """How each column's numbers are written by themselves; text that is declared to be such holds none."""
    texts = by_history | {column for column, kind in file.types.items() if kind in _TEXTS}
    return {
        column: NoNumber() if column in texts else form_of(file.rows[column].dropna().unique()) for column in columns
    }


def _decimals(rows: pd.DataFrame, forms: Mapping[str, Form | NoNumber]) -> set[str]:
    return {form.decimal for column, form in forms.items() if isinstance(form, Form) and _decided(form, rows[column])}


def _facts(
    file: GivenData, columns: list[str], forms: Mapping[str, Form | NoNumber], decimals: set[str]
) -> tuple[DataColumn, ...]:
    facts = []
    for column in columns:
        values, form = file.rows[column].dropna(), forms[column]
        if isinstance(form, Form):
            again = form_of(values.unique(), decimals) if form.plain or form.doubt else form
            form = again if isinstance(again, Form) else form
            facts.append(DataColumn(column, file.names[column], "number", form, form.doubt))
            continue
        few = 0 < values.nunique() <= min(MOST_CATEGORIES, len(values) // 2)
        facts.append(DataColumn(column, file.names[column], "category" if few else "text", note=form.why))
    return tuple(facts)


def _separators(forms: list[Form], decimals: set[str]) -> tuple[str, str]:
    """What the dialect says of numbers: decimal commas, where all columns that show decimals have them."""
    if decimals != {","}:
        return PLAIN.decimal, PLAIN.thousands
    marks = {form.thousands for form in forms if form.decimal == "," and form.thousands}
    return ",", marks.pop() if len(marks) == 1 else ""


def _placed(column: DataColumn, rows: pd.DataFrame, dialect: Dialect) -> DataColumn:
    """Say whether a column's numbers are written as the dialect says; whole ones are in any."""
    if column.role != "number" or dialect.has_plain_numbers:
        return column
    form = column.form
    if form.plain:
        is_whole = not bool(rows[column.source].dropna().str.contains("[.eE]", regex=True).any())
        return replace(column, in_dialect=is_whole)
    return replace(column, in_dialect=form.decimal == "," and form.thousands in ("", dialect.thousands))


def _decided(form: Form, values: pd.Series[str]) -> bool:
    """Whether a column shows what separates the file's decimals: a sign that cannot be one of thousands."""
    if form.doubt:
        return False
    sign = re.escape(form.decimal)
    return bool(values.dropna().str.contains(rf"{sign}(?:\d{{1,2}}|\d{{4,}})(?!\d)", regex=True).any())
