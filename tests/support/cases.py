"""Golden cases: one self-contained, engine-neutral question a file, with the answer it should get.

The format is described in `tests/cases/README.md`. `load_cases()` reads the folder; `Case.expect` is compared with
`tests.support.compare`.
"""

from __future__ import annotations

import datetime as dt
import json
import linecache
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from tests.support.compare import Answer
from tests.support.values import table_from_json

CASES = Path(__file__).resolve().parent.parent / "cases"


@dataclass(frozen=True)
class Table:
    """A feature table. `primary_keys` leaves the timeseries column out; `all_keys` has it at the end."""

    name: str
    primary_keys: tuple[str, ...]
    timeseries_column: str | None
    data: pa.Table

    @property
    def all_keys(self) -> list[str]:
        """The keys as `create_table` wants them: the timeseries column is one of them."""
        return [*self.primary_keys, *([self.timeseries_column] if self.timeseries_column else [])]

    @property
    def features(self) -> list[str]:
        """Every column that is no key, alphabetically."""
        return sorted(set(self.data.column_names) - set(self.all_keys))


@dataclass(frozen=True)
class Function:
    """A scalar function. Types are Spark simple names; `expression` is Python over the parameters' names."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    returns: str
    expression: str

    @property
    def source(self) -> str:
        """The function as Python text, named by the last part of its name."""
        arguments = ", ".join(name for name, _ in self.parameters)
        return f"def {self.name.rpartition('.')[2]}({arguments}):\n    return {self.expression}\n"

    def build(self) -> Callable[..., Any]:
        """Return the function itself. Its source can be inspected, as that of any function in a file."""
        filename = f"<case function {self.name}: {self.expression}>"
        linecache.cache[filename] = (len(self.source), None, self.source.splitlines(keepends=True), filename)
        # A module's name that is nobody's: pickling would otherwise look for the function in every loaded module.
        namespace: dict[str, Any] = {"__name__": "case_functions"}
        exec(compile(self.source, filename, "exec"), namespace)
        function: Callable[..., Any] = namespace[self.name.rpartition(".")[2]]
        return function


@dataclass(frozen=True)
class Lookup:
    """A feature lookup, in the terms of `FeatureLookup`."""

    table_name: str
    lookup_key: tuple[str, ...]
    feature_names: tuple[str, ...] | None = None
    rename_outputs: dict[str, str] = field(default_factory=dict)
    timestamp_lookup_key: str | None = None
    lookback: dt.timedelta | None = None
    default_values: dict[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of a `FeatureLookup`, ours or the real one."""
        return {
            "table_name": self.table_name,
            "lookup_key": list(self.lookup_key),
            "feature_names": None if self.feature_names is None else list(self.feature_names),
            "rename_outputs": self.rename_outputs or None,
            "timestamp_lookup_key": self.timestamp_lookup_key,
            "lookback_window": self.lookback,
            "default_values": self.default_values or None,
        }


@dataclass(frozen=True)
class Binding:
    """A use of a function, in the terms of `FeatureFunction`."""

    udf_name: str
    input_bindings: dict[str, str]
    output_name: str

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of a `FeatureFunction`, ours or the real one."""
        return {"udf_name": self.udf_name, "input_bindings": self.input_bindings, "output_name": self.output_name}


@dataclass(frozen=True)
class LinearModel:
    """`intercept + sum(coefficient * input)`, added left to right; a null or NaN input counts as `null_as`."""

    inputs: tuple[str, ...]
    coefficients: tuple[float, ...]
    intercept: float
    null_as: float

    def predict(self, columns: dict[str, Sequence[Any]]) -> list[float]:
        """Predict row by row from columns of plain values."""
        predictions = []
        for row in zip(*(columns[name] for name in self.inputs), strict=True):
            total = self.intercept
            for coefficient, value in zip(self.coefficients, row, strict=True):
                missing = value is None or math.isnan(value)
                total += coefficient * (self.null_as if missing else float(value))
            predictions.append(total)
        return predictions


@dataclass(frozen=True)
class Expected:
    """What a case should give: an answer, or an error."""

    answer: Answer | None = None
    any_column_order: bool = False
    model_columns: tuple[str, ...] | None = None
    error_class: str | None = None
    error_says: str | None = None


@dataclass(frozen=True)
class Case:
    """One question to a feature client, with the expected answer where one was recorded.

    `expect` is what the real client gives. `ours` is there only where the contract replaces that by a rule of ours.
    """

    name: str
    why: str
    mode: Literal["training_set", "score_batch"]
    tables: tuple[Table, ...]
    functions: tuple[Function, ...]
    spine: pa.Table
    lookups: tuple[Lookup, ...]
    bindings: tuple[Binding, ...]
    label: str | list[str] | None
    exclude_columns: tuple[str, ...]
    expect: Expected = field(default_factory=Expected)
    training_spine: pa.Table | None = None
    model: LinearModel | None = None
    surprising: bool = False
    note: str | None = None
    origin: str = "golden"
    real_message: str | None = None
    ours: Answer | None = None

    def table(self, name: str) -> Table:
        """Return the table of that name."""
        return next(table for table in self.tables if table.name == name)


def load_cases(folder: Path = CASES) -> list[Case]:
    """Read every case of a folder, in the order of the files' names."""
    return [load_case(path) for path in sorted(folder.glob("*.json"))]


def load_case(path: Path) -> Case:
    """Read one case file."""
    return case_from_json(json.loads(path.read_text(encoding="utf-8")))


def case_from_json(raw: dict[str, Any]) -> Case:
    """Build a case from the parsed JSON of its file."""
    training = raw.get("training_spine")
    model = raw.get("model")
    return Case(
        name=raw["name"],
        why=raw["why"],
        mode=raw["mode"],
        tables=tuple(
            Table(
                name=table["name"],
                primary_keys=tuple(table["primary_keys"]),
                timeseries_column=table["timeseries_column"],
                data=table_from_json(table["schema"], table["rows"]),
            )
            for table in raw["tables"]
        ),
        functions=tuple(
            Function(
                name=function["name"],
                parameters=tuple((name, kind) for name, kind in function["params"]),
                returns=function["returns"],
                expression=function["python_expression"],
            )
            for function in raw["functions"]
        ),
        spine=table_from_json(raw["spine"]["schema"], raw["spine"]["rows"]),
        lookups=tuple(_lookup(lookup) for lookup in raw["lookups"]),
        bindings=tuple(Binding(**binding) for binding in raw["function_bindings"]),
        label=raw["label"],
        exclude_columns=tuple(raw["exclude_columns"]),
        expect=_expected(raw.get("expect", {})),
        training_spine=table_from_json(training["schema"], training["rows"]) if training else None,
        model=LinearModel(
            inputs=tuple(model["inputs"]),
            coefficients=tuple(model["coefficients"]),
            intercept=model["intercept"],
            null_as=model["null_as"],
        )
        if model
        else None,
        surprising=raw.get("surprising", False),
        note=raw.get("note"),
        origin=raw.get("origin", "golden"),
        real_message=raw.get("client", {}).get("message"),
        ours=_answer(raw["ours"]) if "ours" in raw else None,
    )


def _lookup(raw: dict[str, Any]) -> Lookup:
    seconds = raw["lookback_seconds"]
    names = raw["feature_names"]
    return Lookup(
        table_name=raw["table_name"],
        lookup_key=tuple(raw["lookup_key"]),
        feature_names=None if names is None else tuple(names),
        rename_outputs=raw["rename_outputs"],
        timestamp_lookup_key=raw["timestamp_lookup_key"],
        lookback=None if seconds is None else dt.timedelta(microseconds=round(seconds * 1_000_000)),
        default_values=raw["default_values"],
    )


def _expected(raw: dict[str, Any]) -> Expected:
    if "columns" not in raw:
        return Expected(error_class=raw.get("error_class"), error_says=raw.get("error_says"))
    columns = raw.get("model_columns")
    return Expected(
        answer=_answer(raw),
        any_column_order=raw.get("column_order") == "any",
        model_columns=tuple(columns) if columns else None,
    )


def _answer(raw: dict[str, Any]) -> Answer:
    # Through Arrow and back, so that a file may write 1 for 1.0 and need not be sorted.
    return Answer.of(table_from_json(raw["columns"], raw["rows"]))
