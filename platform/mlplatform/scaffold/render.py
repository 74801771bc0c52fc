"""Writing the folder of a new use case from templates."""

from __future__ import annotations

import json
import keyword
import math
import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mlplatform.errors import InvalidNameError, UsageError
from mlplatform.naming import OPS_SCHEMA, check_use_case_name, quote
from mlplatform.scaffold.inference import CsvColumn, Inferred, Task, infer

FILES = ("__init__.py", "config.yml", "tables.py", "features.py", "model.py", "README.md", "test_use_case.py")
_PSEUDO_DAYS = 100
_LONG_SPAN = timedelta(days=400)
_START = 0.6  # the part of the time covered that lies before the first run


@dataclass(frozen=True)
class Scaffolded:
    """What was written.

    Attributes:
        folder: The use case's folder.
        inferred: What was found in the file.
        as_of: A time at which a first run has labels to train on, and rows to score.
    """

    folder: Path
    inferred: Inferred
    as_of: str


def new_use_case(
    name: str, csv: Path, *, into: Path, task: Task, entity: str, label: str, timestamp: str | None = None
) -> Scaffolded:
    """Write `<into>/<name>`: package, settings, tests, README, and a copy of the data; all of it or nothing.

    Args:
        name: Of the use case.
        csv: One row a prediction, with its label where it is known.
        into: The folder of use cases.
        task: What is predicted.
        entity: The column that names what is predicted for.
        label: The label's column.
        timestamp: The column with the time of the prediction; None: there is none.

    Raises:
        InvalidNameError: If the name cannot be one of a use case.
        UsageError: If the folder exists, or the file does not do.
    """
    check_use_case_name(name)
    if keyword.iskeyword(name) or name == OPS_SCHEMA:
        why = "a word of the Python language" if keyword.iskeyword(name) else "where the platform keeps its own tables"
        raise InvalidNameError(f"{name!r} cannot name a use case: it is {why}.", hint="Choose another name.")
    folder = into / name
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists already.", hint="Choose another name, or move the folder away.")
    inferred = infer(csv, task=task, entity=entity, label=label, timestamp=timestamp)
    values = _values(name, inferred, task)
    unfinished = into / f".{name}.{os.getpid()}"
    try:
        (unfinished / "data").mkdir(parents=True)
        for file in FILES:
            path = unfinished / (f"tests/test_{name}.py" if file.startswith("test_") else file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_rendered(file, values), encoding="utf-8")
        shutil.copyfile(csv, unfinished / "data" / f"{name}.csv")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Scaffolded(folder, inferred, values["as_of"])


def _rendered(file: str, values: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # noqa: S701  (Python and YAML, not HTML; every value passes a filter that quotes it)
        loader=PackageLoader("mlplatform", "scaffold/templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # JSON text is Python's and YAML's text, too.
    environment.filters["text"] = lambda value: json.dumps(str(value), ensure_ascii=False)
    return environment.get_template(f"{file}.j2").render(values)


def _values(name: str, found: Inferred, task: Task) -> dict[str, Any]:
    facts = [fact for fact in found.facts if fact.role != "text"]
    categories = [fact for fact in facts if fact.role == "category"]
    history = None
    if found.timestamp is not None:
        history = found.entity if found.repeats else next(iter(categories), None)
    span = found.end - found.start
    horizon = max(1, span.days // 10 if found.timestamp is None else span.days // 20)
    every = max(1, span.days // 10)
    start = _day(found.start + _START * span)
    return {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "task": task,
        "metric": "roc_auc" if task == "classification" else "mae",
        "found": found,
        "entity": found.entity.name,
        "time": found.timestamp.name if found.timestamp else "seen_at",
        "label": found.label.name,
        "numbers": [fact.name for fact in facts if fact.role == "number"],
        "categories": [fact.name for fact in categories],
        "texts": [fact.source for fact in found.facts if fact.role == "text"],
        "columns": [_column(fact) for fact in facts],
        "entity_sql": f"trim({quote(found.entity.source)})",
        "time_sql": f"try_to_timestamp(trim({quote(found.timestamp.source)}))" if found.timestamp else "",
        "day_sql": _day_sql(found),
        "label_sql": _label_sql(found),
        "label_rule": _label_rule(found),
        "history": history.name if history else None,
        "history_grid": "1 day" if span <= _LONG_SPAN else "1 month",
        "history_window": f"{every} days" if span <= _LONG_SPAN else f"{max(1, every // 30)} months",
        "horizon": f"{horizon} days",
        "every": f"{every} days",
        "as_of": start if found.timestamp is not None else _day(found.end),
        "first": start if found.timestamp is not None else _day(found.end),
        "last": _day(found.end),
        "min_rows": max(50, found.labelled // 10),
        "gate_rows": max(20, found.labelled // 20),
        "gate_positives": max(5, found.rarer // 20),
        "floor": 0.5 if task == "classification" else _round_up(found.spread),
        "pseudo_days": _PSEUDO_DAYS,
    }


def _day(moment: datetime) -> str:
    # The end of the day: midnight of the next one.
    return f"{moment + timedelta(days=1):%Y-%m-%d}"


def _round_up(value: float) -> float:
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return math.ceil(value * 10**digits) / 10**digits if digits >= 0 else float(math.ceil(value))


def _column(fact: CsvColumn) -> dict[str, str]:
    landed = quote(fact.source)
    if fact.role == "number":
        return {"name": fact.name, "source": fact.source, "type": "double", "sql": f"try_cast({landed} AS double)"}
    return {"name": fact.name, "source": fact.source, "type": "string", "sql": f"trim({landed})"}


def _day_sql(found: Inferred) -> str:
    by_key = f"int(pmod(crc32(trim({quote(found.entity.source)})), {_PSEUDO_DAYS}))"
    return f"CASE WHEN {quote(found.label.source)} IS NULL THEN {_PSEUDO_DAYS - 1} ELSE {by_key} END"


def _label_sql(found: Inferred) -> str:
    landed = quote(found.label.source)
    if not found.positive:
        return f"try_cast({landed} AS double)"
    return f"CASE trim({landed}) WHEN {_literal(found.positive)} THEN 1D WHEN {_literal(found.negative)} THEN 0D END"


def _label_rule(found: Inferred) -> str:
    return f"raw.{quote(found.label.source)} IS NULL OR {quote(found.label.name)} IS NOT NULL"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
