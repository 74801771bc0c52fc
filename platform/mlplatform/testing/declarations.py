"""What can be said about a use case's declarations without running anything."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

from mlplatform.columns import Column, Described
from mlplatform.errors import ConfigError, TableError
from mlplatform.refine.class_labels import check_type
from mlplatform.training.weights import WeightColumn
from mlplatform.use_case import UseCase
from mlplatform.use_case_parts import repeated_names


def problems(use_case: UseCase) -> Iterator[str]:
    """Yield what is wrong with a use case's declarations: one line each, with the class and the way out.

    Args:
        use_case: The use case.
    """
    yield from _undocumented(use_case)
    for silver in use_case.silver:
        if silver.source not in use_case.sources:
            yield f"{silver.__name__}.source is {silver.source.__name__}, which is not among the use case's sources"
        yield from _columns(silver.__name__, silver.columns)
        yield from _missing(silver.__name__, "key", silver.primary_keys, silver.columns)
        yield from _missing(silver.__name__, "known_at", (silver.known_at,), silver.columns)
    silver_names = {f"silver_{silver.name}" for silver in use_case.silver}
    spine = use_case.spine
    yield from _columns(spine.__name__, (*spine.key_columns, *spine.columns))
    yield from _missing(spine.__name__, "key", spine.primary_keys, spine.key_columns)
    yield from _unknown_inputs(spine.__name__, spine.inputs, silver_names)
    yield from _label(use_case)
    for table in use_case.features:
        yield from _columns(table.__name__, table.columns)
        yield from _missing(table.__name__, "key", table.primary_keys, table.columns)
        yield from _unknown_inputs(table.__name__, table.inputs, silver_names)
    weights = use_case.trainer.weight_column
    if isinstance(weights, WeightColumn):
        if weights.table not in use_case.silver:
            yield (
                f"{use_case.trainer.__name__}.weight_column names {weights.table.__name__}, which is not among the use "
                "case's silver tables"
            )
        yield from (f"{use_case.trainer.__name__}: {problem}" for problem in weights.problems(spine))
    yield from repeated_names(type(use_case))
    for kind in ("sources", "silver", "features"):
        names = [part.name for part in getattr(use_case, kind)]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{kind}: the name {name} is taken twice"


def _label(use_case: UseCase) -> Iterator[str]:
    spine = use_case.spine
    if spine.label in {column.name for column in (*spine.key_columns, *spine.columns)}:
        yield f"{spine.__name__}: the label {spine.label} is also a column of the spine, which would give it away"
    try:
        check_type(use_case.label_spine())
    except ConfigError as error:
        yield f"{error.message} {error.hint}"


def _undocumented(use_case: UseCase) -> Iterator[str]:
    parts: Sequence[type[Described]] = (*use_case.sources, *use_case.silver, use_case.spine, *use_case.features)
    for part in parts:
        # A docstring of a base class describes the base class.
        if not inspect.cleandoc(vars(part).get("__doc__") or "") and "description" not in vars(part):
            yield f"{part.__name__} has no docstring: its first line becomes the table's comment"


def _columns(owner: str, columns: Sequence[Column]) -> Iterator[str]:
    names = [column.name for column in columns]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{owner}: the column {name} is declared twice"
    for column in columns:
        if not column.comment.strip():
            yield f"{owner}.{column.name} has no comment: say what it means, with its unit"
        try:
            column.field()
        except TableError as error:
            yield f"{owner}.{error.message} {error.hint}"


def _missing(owner: str, what: str, names: Sequence[str], columns: Sequence[Column]) -> Iterator[str]:
    declared = {column.name for column in columns}
    for name in names:
        if name not in declared:
            yield f"{owner}: the {what} {name} is no declared column; declared are {', '.join(sorted(declared))}"


def _unknown_inputs(owner: str, inputs: Sequence[str], silver_names: set[str]) -> Iterator[str]:
    for name in inputs:
        if name not in silver_names:
            yield (
                f"{owner}.inputs names {name}, which no silver table of the use case is called; there are "
                + ", ".join(sorted(silver_names))
            )
