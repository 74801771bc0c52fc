"""The house: no circle among the files, one meaning for each class name, and nothing said twice by the two homes."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import mlplatform

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "platform"
HOMES = PACKAGE / "mlplatform" / "workspace"
RUN = 6


def modules() -> dict[str, Path]:
    """Return the package's modules by their dotted names."""
    files = [path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts]
    named = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


def imports(path: Path, names: set[str]) -> set[str]:
    """Return the modules that a file imports: at its top, for type checking, and inside functions."""
    targets = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` depends on the module, not on whatever else the package imports.
            targets |= {full if (full := f"{node.module}.{item.name}") in names else node.module for item in node.names}
    return targets & names


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a loop; none: an empty list."""
    settled: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in settled:
            return []
        for target in sorted(graph.get(name, ())):
            loop = visit(target, [*path, name])
            if loop:
                return loop
        settled.add(name)
        return []

    return next((loop for name in sorted(graph) if (loop := visit(name, []))), [])


def test_a_circle_is_found_where_there_is_one():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_files_import_each_other_in_a_circle_for_type_checking_neither():
    files = modules()
    # The package's face hands names on and loads them when they are used: nothing in the package goes through it.
    graph = {name: imports(path, set(files)) - {"mlplatform"} for name, path in files.items() if name != "mlplatform"}
    assert sum(map(len, graph.values())) > len(files), "the reading of imports finds next to none"
    loop = circle(graph)
    assert not loop, " -> ".join(loop)


def test_a_class_name_means_one_thing():
    places = defaultdict(list)
    for name, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def is_text(node: ast.AST) -> bool:
    """Tell whether a node is a docstring, or another text that stands by itself."""
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant and isinstance(node.value.value, str)


def statements(path: Path) -> list[str]:
    """Return the lines of a file that do something: no imports, docstrings, comments, signatures, closing brackets."""
    text = path.read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    silent: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom) or is_text(node):
            silent |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            silent |= set(range(first, node.body[0].lineno))
    kept = [line for number, line in enumerate(lines, start=1) if number not in silent]
    return [line for line in kept if line and not line.startswith("#") and line.strip("()[]{},:")]


def runs(path: Path) -> set[tuple[str, ...]]:
    code = statements(path)
    return {tuple(code[start : start + RUN]) for start in range(len(code) - RUN + 1)}


def test_the_two_homes_share_no_run_of_equal_lines():
    def of(home: str) -> dict[tuple[str, ...], str]:
        return {run: path.name for path in sorted((HOMES / home).glob("*.py")) for run in runs(path)}

    local, databricks = of("local"), of("databricks")
    assert min(len(local), len(databricks)) > 500, "the reading of the homes finds next to nothing"
    shared = sorted(f"{local[run]}, {databricks[run]}:\n  " + "\n  ".join(run) for run in local.keys() & databricks)
    assert not shared, "\n".join(shared)


@pytest.mark.parametrize("room", ["ingest", "refine", "features", "training", "gate", "scoring", "monitoring"])
def test_a_room_of_the_cycle_holds_its_stage(room: str):
    assert (PACKAGE / "mlplatform" / room / "stage.py").is_file()


def test_every_base_class_leads_to_the_glossary_and_shows_an_example():
    names = (
        "Source", "Replay", "SilverTable", "LabelSpine", "FeatureTable", "RollingFeatureTable", "Trainer", "GateCheck",
        "ChampionGate", "BatchScorer", "Monitor", "UseCase",
    )  # fmt: skip
    texts = {name: getattr(mlplatform, name).__doc__ or "" for name in names}
    assert [name for name, text in texts.items() if "glossary" not in text] == []
    assert [name for name, text in texts.items() if ">>>" not in text] == []
