"""Writing the folder of a new use case from templates."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.as_of import Duration, plausible
from mlplatform.derived_attributes import snake_case
from mlplatform.errors import UsageError
from mlplatform.ingest.dialect import ISO, Dialect
from mlplatform.naming import quote
from mlplatform.scaffold.estimators import HISTGB, of_estimator
from mlplatform.scaffold.given_data import GivenData, visible
from mlplatform.scaffold.inference import DataColumn, Inferred, infer
from mlplatform.scaffold.layout import PythonCall, expectations, import_of, marked, text, tuple_of
from mlplatform.scaffold.names import check_new_name, class_name
from mlplatform.scaffold.written import UNKNOWN, WrittenAs, described
from mlplatform.task import Task, task_of

if TYPE_CHECKING:
    from jinja2 import Environment

FILES = ("__init__.py", "config.yml", "tables.py", "features.py", "model.py", "README.md", "test_use_case.py")
_PSEUDO_DAYS = 100
_LONG_SPAN = timedelta(days=400)
_START = 0.6  # the part of the time covered that lies before the first run
_LEARNED = 0.4  # the part whose labels are known then
_LEAST_LEARNED = 0.2
_MOST_SHARES = 10


@dataclass(frozen=True)
class Scaffolded:
    """What was written.

    Attributes:
        folder: The use case's folder.
        class_name: The use case's class.
        inferred: What was found in the file.
        horizon: Of the label.
        as_of: A time at which a first run has labels to train on, and rows to score.
        histories: The columns of each history that is looked up.
    """

    folder: Path
    class_name: str
    inferred: Inferred
    horizon: str
    as_of: str
    histories: tuple[tuple[str, ...], ...]


def new_use_case(  # noqa: PLR0913  (what the command takes)
    name: str,
    data: GivenData | Path | Callable[[], GivenData],
    *,
    into: Path,
    task: Task | str,
    entity: str | Sequence[str],
    label: str,
    timestamp: str | None = None,
    horizon: str | None = None,
    history_by: Sequence[str] = (),
    estimator: str = HISTGB,
    quantile: float | None = None,
    written: WrittenAs = UNKNOWN,
    dry_run: bool = False,
) -> Scaffolded:
    """Write `<into>/<name>`: package, settings, tests, README, and a copy of the data; all of it or nothing.

    Args:
        name: Of the use case.
        data: One row per prediction, with its label where it is known: read, or the path of a CSV file, or what reads
            them once all else has been looked at.
        into: The folder of use cases.
        task: What is predicted, or its name.
        entity: The column that names what is predicted for, or several that do so together; none: each row is its own.
        label: The label's column.
        timestamp: The column with the time of the prediction; None: the file has none.
        horizon: How long after the prediction its label is known, as in `30 days`; None: guessed from the time covered.
        history_by: Columns whose outcomes so far are looked up; several that count together are joined by `+`. None:
            the entity, where it has several rows.
        estimator: One of `ESTIMATORS`.
        quantile: Which quantile is predicted, where one is.
        written: What is known of how the data are written; the rest is found out.
        dry_run: Find out what would be written, and write nothing.

    Raises:
        UsageError: If the name cannot name a use case, the folder exists, or the data or the horizon cannot be used.
    """
    task = task_of(task)
    check_new_name(name)
    folder = into / name
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists already.", hint="Choose another name, or move the folder away.")
    if horizon is not None:
        length = Duration.parse(horizon)
        if not (length.months or length.seconds):
            raise UsageError(f"--horizon {horizon}: a label is known after its prediction.", hint="As in '30 days'.")
    inferred = infer(
        data() if callable(data) else data,
        task=task,
        entity=entity,
        label=label,
        timestamp=timestamp,
        history_by=history_by,
        quantile=quantile,
        written=written,
    )
    task = replace(task, level=quantile, classes=inferred.classes)
    values = _values(name, inferred, task, horizon) | of_estimator(estimator, task)
    histories = tuple(tuple(history["keys"]) for history in values["histories"])
    scaffolded = Scaffolded(folder, values["cls"], inferred, values["horizon"], values["first"], histories)
    if dry_run:
        return scaffolded
    unfinished = into / f".{name}.{os.getpid()}"
    try:
        (unfinished / "data").mkdir(parents=True)
        for file in FILES:
            path = unfinished / ("tests/test_contract.py" if file.startswith("test_") else file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_rendered(file, values), encoding="utf-8")
        (unfinished / "data" / f"{name}.{inferred.file.format}").write_bytes(inferred.file.content)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return scaffolded


def _rendered(file: str, values: dict[str, Any]) -> str:
    rendered = _environment().get_template(f"{file}.j2").render(values)
    return marked(rendered) if file.endswith(".py") else rendered


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # nosec B701  # noqa: S701  (Python and YAML, not HTML; every value passes a filter that quotes it)
        loader=PackageLoader("mlplatform", "scaffold/templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["text"] = text
    return environment


def _values(name: str, inferred: Inferred, task: Task, horizon: str | None) -> dict[str, Any]:
    histories, outcomes = _histories(inferred), _outcomes(inferred)
    used = {column.source for columns in inferred.history_by for column in columns}
    facts = [fact for fact in inferred.facts if fact.role != "text" or fact.source in used]
    span = inferred.end - inferred.start
    guess = f"{max(1, span.days // 10 if inferred.timestamp is None else span.days // 20)} days"
    every = max(1, span.days // 10)
    first = _first_run(inferred, Duration.parse(horizon or guess))
    plausible(first, what=f"With the horizon {horizon or guess} a first run at")
    entities = [entity.name for entity in inferred.entities] or ["row_id"]
    time = inferred.timestamp.name if inferred.timestamp else "seen_at"
    keys, timeseries = f"keys={tuple_of(entities)}", ["timeseries=True"] if inferred.timestamp else []
    grid = "1 day" if span <= _LONG_SPAN else "1 month"
    for history in histories:
        base = ["_History"] if len(histories) > 1 else ["RollingFeatureTable"]
        given = [f"keys={tuple_of(history['keys'])}", *([] if len(histories) > 1 else [f"grid={text(grid)}"])]
        history["head"] = _class(history["cls"], *base, *given)
    return {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "cls": class_name(name),
        "task": task,
        "metric": task.metrics[0],
        "inferred": inferred,
        "entities": entities,
        "entity_text": " and ".join(entities),
        "entity_columns": _entity_columns(inferred),
        "facts_head": _class("Facts", "SilverTable", "source=DropsSource", keys, *timeseries, f"known_at={text(time)}"),
        "cases_head": _class("Cases", "LabelSpine", "table=Facts", f"label={text(inferred.label.name)}"),
        "time": time,
        "label": inferred.label.name,
        "categories": [fact.name for fact in facts if fact.role == "category"],
        "source": lambda column: visible(column.source),
        "texts": [visible(fact.source) for fact in inferred.facts if fact.role == "text" and fact.source not in used],
        "not_inputs": [fact.name for fact in facts if fact.role == "text"],
        "columns": [_column(fact, inferred.dialect) for fact in facts],
        "imports": import_of(_imports(inferred, facts)),
        "key_tuple": tuple_of,
        "time_sql": _time_sql(inferred),
        "dialect": _dialect(inferred),
        "written": "" if inferred.dialect.is_plain else described(inferred.dialect),
        "day_sql": _day_sql(inferred),
        "labelled": _labelled(inferred),
        "time_column": _time_column(inferred, time),
        "label_column": _label_column(inferred),
        "fact_expectations": expectations([_readable(fact) for fact in facts if fact.role == "number"]),
        "label_expectations": expectations(_label_expectations(inferred, task)),
        "histories": histories,
        "all_by_entity": all(set(history["keys"]) <= set(entities) for history in histories),
        "outcomes": outcomes,
        "history_features": [
            f"{history['prefix']}{feature}" for history in histories for feature in _features(inferred)
        ],
        "history_grid": grid,
        "history_window": f"{every} days" if span <= _LONG_SPAN else f"{max(1, every // 30)} months",
        "horizon": horizon or guess,
        "horizon_given": horizon is not None,
        "every": f"{every} days",
        "first": _day(first),
        "labels_by": _day(Duration.parse(horizon or guess).after(inferred.end)),
        "last": _day(max(first, inferred.end)),
        "min_rows": max(50, inferred.labelled // 10),
        "gate_rows": max(20, inferred.labelled // 20),
        "gate_positives": max(1 if task.is_multiclass else 5, inferred.rarer // 20),
        "floor": 0.5 if task.is_binary else _round_up(inferred.off),
        "constant": _constant(task),
        "pseudo_days": _PSEUDO_DAYS,
    }


def _constant(task: Task) -> str:
    """Say what has the floor that the gate begins with."""
    if task.predicts_quantile:
        return f"the quantile {task.level:g} of all labels is off by so much"
    if task.is_multiclass:
        return "how frequent each class is has such a log loss"
    return (
        "the mean of all labels has such a deviance"
        if task.predicts_counts
        else "the median of all labels is wrong by so much"
    )


@dataclass(frozen=True)
class _Outcome:
    """What a history adds up of the label, and what of it becomes a feature.

    Attributes:
        measure: What is added up.
        feature: What becomes of it by its number of cases.
        comment: The feature's.
        of_class: The class that is counted; empty: the label itself is added up.
    """

    measure: str
    feature: str
    comment: str
    of_class: str = ""


def _outcomes(inferred: Inferred) -> list[_Outcome]:
    """Return what a history adds up: of several classes how often each came, as far as they are few."""
    if not inferred.classes:
        return [_Outcome("total", "mean", "Their mean")]
    return [
        _Outcome(f"of_{number}", f"share_{number}", f"Share of {name} among them", name)
        for number, name in enumerate(inferred.classes[:_MOST_SHARES], start=1)
    ]


def _features(inferred: Inferred) -> list[str]:
    of_label = [outcome.feature for outcome in _outcomes(inferred)]
    return [f"{feature}_{window}" for window in ("recent", "ever") for feature in ("cases", *of_label)]


def _histories(inferred: Inferred) -> list[dict[str, Any]]:
    """The feature tables: one of each list of columns asked for, else one of the entity, where it has several rows."""
    wanted = [tuple(column.name for column in columns) for columns in inferred.history_by]
    if not wanted and inferred.timestamp is not None and inferred.repeats:
        wanted = [tuple(entity.name for entity in inferred.entities)]
    if len(wanted) == 1:
        return [{"cls": "HistoryFeatures", "keys": wanted[0], "prefix": ""}]
    histories = []
    for keys in wanted:
        joined = "_".join(keys)
        cls = f"{''.join(part.capitalize() for part in joined.split('_'))}Features"
        prefix = f"{snake_case(cls.removesuffix('Features'))}_"
        histories.append({"cls": cls, "keys": keys, "prefix": prefix})
    ours = {f"{history['prefix']}{feature}" for history in histories for feature in _features(inferred)}
    taken = sorted(ours & set(inferred.file.names.values()))
    if taken or len({history["cls"] for history in histories}) < len(histories):
        raise UsageError(
            f"--history-by would make columns called as others are: {', '.join(taken) or 'two histories'}.",
            hint="Rename the columns in the file.",
        )
    return histories


def _class(name: str, *arguments: str) -> str:
    return PythonCall(f"class {name}", arguments).laid_out(0, after=":")


def _entity_columns(inferred: Inferred) -> list[dict[str, str]]:
    if not inferred.entities:
        comment = "The row's place: its file, and its number there"
        return [_entity_column("ENTITY", "row_id", comment, _entity_sql(inferred)[0])]
    many = len(inferred.entities) > 1
    return [
        _entity_column(
            f"ENTITY_{number}" if many else "ENTITY",
            entity.name,
            f"Names what is predicted for ({visible(entity.source)})",
            sql,
        )
        for number, (entity, sql) in enumerate(zip(inferred.entities, _entity_sql(inferred), strict=True), start=1)
    ]


def _entity_column(const: str, name: str, comment: str, sql: str) -> dict[str, str]:
    arguments = [text(name), '"string"', text(comment), "nullable=False", f"sql={text(sql)}"]
    return {"const": const, "declared": PythonCall(f"{const} = Column", arguments).laid_out(0, after="")}


def _time_column(inferred: Inferred, time: str) -> str:
    comment = (
        f"When the prediction is made ({visible(inferred.timestamp.source)})" if inferred.timestamp else "A made-up day"
    )
    arguments = [text(time), '"timestamp"', text(comment), "nullable=False", "sql=_TIME"]
    return PythonCall("TIME = Column", arguments).laid_out(0, after="")


def _label_column(inferred: Inferred) -> str:
    source = visible(inferred.label.source)
    arguments: list[str | PythonCall] = [text(inferred.label.name), '"string"' if inferred.classes else '"double"']
    if inferred.classes:
        arguments += [text(f"The class, as delivered in {source}"), f"sql={text(_class_sql(inferred))}"]
    elif inferred.positive:
        comment = f"1 where {source} is {inferred.positive}, 0 where {inferred.negative}"
        arguments += [text(comment), f"sql={text(_label_sql(inferred))}"]
    else:
        arguments += [text(f"As delivered in {source}"), _number_sql(inferred.label, inferred.dialect)]
    return PythonCall("Column", arguments).laid_out(8)


def _entity_sql(inferred: Inferred) -> list[str]:
    return [f"trim({quote(entity.source)})" for entity in inferred.entities] or ["concat(_file, ' ', _row)"]


def _imports(inferred: Inferred, facts: Sequence[DataColumn]) -> list[str]:
    numbers = any(fact.role == "number" for fact in facts)
    names = ["Column", "Expectation", "LabelSpine", "SilverTable", "Source", "WorkspaceAsOf", "label_horizon"]
    if inferred.classes:
        names += ["label_classes", "one_of_sql"]
    if numbers or not (inferred.positive or inferred.classes):
        names.append("number_sql")
    if inferred.words_are_missing:
        names.append("present_sql")
    if numbers:
        names.append("readable_sql")
    if not inferred.dialect.is_plain:
        names.append("Dialect")
    if inferred.timestamp and inferred.dialect.date_format != ISO:
        names.append("time_sql")
    return sorted(names)


def _first_run(inferred: Inferred, horizon: Duration) -> datetime:
    """When enough labels are known and rows are there to score; the latter give way where both cannot be."""
    if inferred.timestamp is None:
        return inferred.end
    span, first_known = inferred.end - inferred.start, horizon.after(inferred.start)
    wanted = max(inferred.start + _START * span, first_known + _LEARNED * span)
    enough = inferred.end >= first_known + _LEAST_LEARNED * span
    return min(wanted, inferred.end) if enough else wanted


def _day(moment: datetime) -> str:
    # The end of the day: midnight of the next one.
    return f"{moment + timedelta(days=1):%Y-%m-%d}"


def _round_up(value: float) -> float:
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return math.ceil(value * 10**digits) / 10**digits if digits >= 0 else float(math.ceil(value))


def _column(fact: DataColumn, dialect: Dialect) -> dict[str, str]:
    comment, note = f"As delivered in {visible(fact.source)}", ""
    sql: str | PythonCall = f"sql={text(f'trim({quote(fact.source)})')}"
    if fact.role == "number":
        if fact.form.unit:
            comment = f"{comment}, in {'percent: 40% is 40' if fact.form.unit == '%' else fact.form.unit}"
        sql = _number_sql(fact, dialect)
        note = fact.form.doubt if fact.form.doubt.isprintable() else ascii(fact.form.doubt)
    kind = "double" if fact.role == "number" else "string"
    declared = PythonCall("Column", [text(fact.name), text(kind), text(comment), sql]).laid_out(8)
    return {"declared": declared, "note": note}


def _readable(fact: DataColumn) -> PythonCall:
    condition = PythonCall("readable_sql", [text(quote(fact.name)), text(quote(fact.source))])
    return PythonCall("Expectation", [text(f"{fact.name}_is_readable"), condition])


def _dialect(inferred: Inferred) -> str:
    """The declared dialect, laid out; empty where it is that of a source which declares none."""
    declared = [f"{name}={text(value)}" for name, value in inferred.dialect.declared().items()]
    return PythonCall("DIALECT = Dialect", declared).laid_out(0, after="") if declared else ""


def _time_sql(inferred: Inferred) -> str:
    """Python that says how the time is read."""
    if inferred.timestamp is None:
        return ""
    landed = quote(inferred.timestamp.source)
    if inferred.dialect.date_format == ISO:
        return text(f"try_to_timestamp(trim({landed}))")
    return f"time_sql({text(landed)}, dialect=DIALECT)"


def _number_sql(column: DataColumn, dialect: Dialect) -> PythonCall:
    form = column.form
    if column.in_dialect and not dialect.has_plain_numbers:
        unit = [f"unit={text(form.unit)}"] if form.unit else []
        return PythonCall("sql=number_sql", [text(quote(column.source)), *unit, "dialect=DIALECT"])
    given = [("unit", form.unit, ""), ("thousands", form.thousands, ""), ("decimal", form.decimal, ".")]
    options = [f"{name}={text(value)}" for name, value, default in given if value != default]
    return PythonCall("sql=number_sql", [text(quote(column.source)), *options])


def _label_expectations(inferred: Inferred, task: Task) -> list[PythonCall]:
    label = quote(inferred.label.name)
    conditions = {"label_is_readable": f"{label} IS NOT NULL"}
    if task.predicts_counts:
        conditions["label_is_a_count"] = f"{label} >= 0 AND {label} = floor({label})"
    calls = [PythonCall("Expectation", [text(name), text(condition)]) for name, condition in conditions.items()]
    if task.is_multiclass:
        condition = PythonCall("one_of_sql", [text(label), "CLASSES"])
        calls.append(PythonCall("Expectation", [text("label_is_a_class"), condition]))
    return calls


def _day_sql(inferred: Inferred) -> str:
    keys = _entity_sql(inferred)
    key = keys[0] if len(keys) == 1 else f"concat_ws('|', {', '.join(keys)})"
    return f"int(pmod(crc32({key}), {_PSEUDO_DAYS}))"


def _labelled(inferred: Inferred) -> str:
    """Python that says which landed rows have a label."""
    landed = quote(inferred.label.source)
    return f"present_sql({text(landed)})" if inferred.words_are_missing else text(f"trim({landed}) <> ''")


def _label_sql(inferred: Inferred) -> str:
    landed = f"trim({quote(inferred.label.source)})"
    if inferred.numeric_label:
        positive, negative = (f"{float(value)!r}D" for value in (inferred.positive, inferred.negative))
        return f"CASE try_cast({landed} AS double) WHEN {positive} THEN 1D WHEN {negative} THEN 0D END"
    positive, negative = (_literal(value.lower()) for value in (inferred.positive, inferred.negative))
    return f"CASE lower({landed}) WHEN {positive} THEN 1D WHEN {negative} THEN 0D END"


def _class_sql(inferred: Inferred) -> str:
    landed = f"trim({quote(inferred.label.source)})"
    if not inferred.numeric_label:
        return landed
    number = f"try_cast({landed} AS double)"
    return f"CASE WHEN {number} = floor({number}) THEN string(bigint({number})) END"


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
