"""Outside of the workspaces nothing brings an engine's rows into Python's memory, but what is named here, and why."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "platform" / "mlplatform"

# Calls by which rows of Spark, DuckDB, Arrow's readers or narwhals come into memory, however many there are.
GATHERING = {
    "toArrow", "toPandas", "toLocalIterator", "to_pandas", "to_table", "to_arrow_table", "read_all", "read_pandas",
    "fetchall", "fetchdf", "fetchnumpy", "fetch_arrow_table", "fetch_df",
}  # fmt: skip
# With a bound, a call of this name is `ws.frames.collect`; without one it is an engine's own, or narwhals'.
BOUNDED_BY = {"collect": "at_most"}
# A bound that stands in the code and is larger than this is none.
LARGEST = 1_000_000

# Module, function and call -> why what it brings is bounded.
ALLOWED = {
    ("features/model_frame.py", "model_frame", "to_pandas"): "a batch of rows, on its way into a model",
    ("gate/checks/base.py", "group_frame", "to_pandas"): "columns of the gate's evidence, at most gate.max_rows",
}


def gathering(tree: ast.AST) -> list[tuple[str, str, int]]:
    """Return (function, call, line) of each call in a module that brings rows into memory without a bound."""
    found = []

    def visit(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
                name, bounds = child.func.attr, {keyword.arg: number(keyword.value) for keyword in child.keywords}
                unbounded = name in BOUNDED_BY and BOUNDED_BY[name] not in bounds
                if name in GATHERING or unbounded or (bounds.get("at_most") or 0) > LARGEST:
                    found.append((inside, name, child.lineno))
            visit(child, inside)

    visit(tree, "")
    return found


def number(node: ast.expr) -> int | None:
    """Return a number that stands in the code, as 1000 or 10**3; None for all else."""
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.BinOp(left=ast.Constant(value=int(base)), op=ast.Pow(), right=ast.Constant(value=int(power))):
            return int(base**power)
    return None


@functools.cache
def calls() -> dict[tuple[str, str, str], list[int]]:
    """Return all such calls of the package outside of its workspaces, with their lines."""
    places: dict[tuple[str, str, str], list[int]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        if not module.startswith("workspace/") and "templates" not in path.parts:
            for function, name, line in gathering(ast.parse(path.read_text(encoding="utf-8"))):
                places.setdefault((module, function, name), []).append(line)
    return places


@pytest.mark.parametrize(
    "line",
    [
        "rows = frame.toArrow()",
        "rows = spark.table('t').where('x > 1').collect()",
        "rows = lazy.collect(backend='pyarrow')",
        "frame = view.rows.select('a').toPandas()",
        "table = reader.read_all()",
        "table = ws.tables.to_arrow(name, at_most=10**9)",
    ],
)
def test_a_call_that_brings_all_rows_is_found(line: str):
    assert [name for name, _, _ in gathering(ast.parse(f"class A:\n    def f(self):\n        {line}\n"))] == ["f"]


def test_a_collect_with_its_bound_is_none():
    assert gathering(ast.parse("rows = ws.frames.collect(frame, at_most=10, what='labels')")) == []


def test_rows_come_into_memory_in_the_named_places_only():
    unknown = {place: lines for place, lines in calls().items() if place not in ALLOWED}
    text = "\n".join(f"{module}:{lines} {function}: {name}" for (module, function, name), lines in unknown.items())
    assert not unknown, f"Use ws.frames.collect(frame, at_most=..., what=...), or say here why it is bounded:\n{text}"


def test_each_named_place_is_still_there():
    assert set(ALLOWED) - set(calls()) == set()
