"""Inputs of a computed table, inferred from what its methods read: `ws.read(Loans)`, `ws.read("silver_loans")`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from mlplatform.derived_attributes import derived
from mlplatform.errors import ConfigError
from mlplatform.refine.silver import SilverTable

_READ = "read"
_NAMED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler | ast.MatchAs | ast.MatchStar


def inferred_inputs(*methods: str) -> Any:
    """Return the attribute `inputs` of a class: bare names of the tables that its methods read, in that order.

    Args:
        methods: The methods that are given the workspace, by name.
    """
    return derived(lambda cls: tuple(tables_read(cls, methods)))


def tables_read(cls: type, methods: tuple[str, ...]) -> dict[str, type[SilverTable] | None]:
    """Return the tables that methods of a class read, by bare name; the class where it is read by its class.

    The source is looked at, nothing runs. Functions and methods of the class that the workspace is handed to are
    followed.

    Args:
        cls: The class.
        methods: The methods, whose first argument is the workspace.

    Raises:
        ConfigError: If a table's name is computed, or the workspace goes where it cannot be followed.
    """
    reader = _Reader(cls)
    for name in methods:
        function, defined_in = _method(cls, name)
        if function is None or defined_in is None:
            raise ConfigError(f"{cls.__name__} has no method {name}() to infer its inputs from.", hint=_hint(cls))
        reader.follow(function, defined_in, position=1)
    return reader.tables


class _Reader:
    """Collects what is read from the workspace, function by function."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.tables: dict[str, type[SilverTable] | None] = {}
        self._followed: set[tuple[FunctionType, int | str]] = set()

    def follow(self, function: FunctionType, defined_in: type | None, position: int | str) -> None:
        """Look at one function.

        Args:
            function: The function.
            defined_in: The class that defines it; None: a function of a module.
            position: Which parameter is the workspace: its number, or its name.
        """
        if (function, position) in self._followed:
            return
        self._followed.add((function, position))
        tree = self._tree(function)
        parameters = [item.arg for item in (*tree.args.posonlyargs, *tree.args.args)]
        if isinstance(position, int):
            if position >= len(parameters):
                raise self._error(function, tree, "takes the workspace among *args")
            position = parameters[position]
        elif position not in (*parameters, *(item.arg for item in tree.args.kwonlyargs)):
            among = tree.args.kwarg.arg if tree.args.kwarg is not None else ""
            raise self._error(function, tree, f"takes the workspace among **{among}")
        names = _Names(self.cls, function, defined_in, tree)
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        for node in _in_order(tree):
            if node.id == position:
                self._use(node, parents, names)

    def _use(self, node: ast.Name, parents: dict[ast.AST, ast.AST], names: _Names) -> None:
        """Understand one place where the workspace stands."""
        parent = parents[node]
        if isinstance(parent, ast.Attribute):
            if parent.attr != _READ:
                return  # as_of, spark
            call = parents[parent]
            if not isinstance(call, ast.Call) or call.func is not parent:
                raise self._error(names.function, node, "takes ws.read without calling it")
            argument = [*call.args, *(keyword.value for keyword in call.keywords)]
            self._add(names, argument[0] if argument else call)
            return
        if isinstance(parent, ast.Delete):
            return
        call = parents[parent] if isinstance(parent, ast.keyword) else parent
        if not isinstance(call, ast.Call) or call.func is node:
            raise self._error(names.function, node, f"uses {node.id} in a way that cannot be followed")
        if isinstance(call.func, ast.Name) and call.func.id == isinstance.__name__:
            return  # that reads nothing
        function, defined_in = names.called(call.func)
        if function is None:
            raise self._error(names.function, node, f"hands {node.id} to {ast.unparse(call.func)}()")
        place: int | str
        if isinstance(parent, ast.keyword):
            place = parent.arg or ""
        else:
            place = call.args.index(node)
            unpacked = next((item for item in call.args[:place] if isinstance(item, ast.Starred)), None)
            if unpacked is not None:
                after = f"{ast.unparse(call.func)}() after {ast.unparse(unpacked)}"
                raise self._error(names.function, node, f"hands {node.id} to {after}")
            place += 1 if defined_in else 0
        self.follow(function, defined_in, place)

    def _add(self, names: _Names, argument: ast.expr) -> None:
        value = names.value(argument)
        if isinstance(value, str):
            self.tables.setdefault(value, None)
        elif isinstance(value, type) and issubclass(value, SilverTable):
            self.tables[f"silver_{value.name}"] = value
        else:
            raise self._error(names.function, argument, f"reads {ast.unparse(argument)}")

    def _tree(self, function: FunctionType) -> ast.FunctionDef:
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        except (OSError, SyntaxError, ValueError) as error:
            raise ConfigError(
                f"{self.cls.__name__}: the source of {function.__qualname__}() cannot be read, so that its inputs "
                "cannot be inferred.",
                hint=_hint(self.cls),
            ) from error
        if not isinstance(tree, ast.FunctionDef):
            raise self._error(function, tree, "is no plain function")
        return tree

    def _error(self, function: FunctionType, node: ast.AST, what: str) -> ConfigError:
        line = function.__code__.co_firstlineno + getattr(node, "lineno", 1) - 1
        return ConfigError(
            f"The inputs of {self.cls.__name__} cannot be inferred: {function.__qualname__}() {what} "
            f"(line {line} of {function.__code__.co_filename}).",
            hint=_hint(self.cls),
        )


class _Names:
    """What names mean inside a function."""

    def __init__(self, cls: type, function: FunctionType, defined_in: type | None, tree: ast.FunctionDef) -> None:
        self.cls, self.function, self._defined_in = cls, function, defined_in
        parameters = [*tree.args.posonlyargs, *tree.args.args]
        self._this = parameters[0].arg if parameters and defined_in else ""
        outer = inspect.getclosurevars(function)
        self._values = {**outer.builtins, **function.__globals__, **outer.nonlocals}
        # Also those of functions inside this one: which of several variables of one name is meant is not followed.
        self._locals = {name for node in ast.walk(tree) if node is not tree for name in _bound(node)}

    def value(self, node: ast.expr) -> Any:
        """Return what an expression stands for: a constant, a name of the module, an attribute of the class."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return None if node.id in self._locals else self._values.get(node.id)
        if isinstance(node, ast.Attribute):
            of_class = isinstance(node.value, ast.Name) and bool(self._this) and node.value.id == self._this
            return getattr(self.cls if of_class else self.value(node.value), node.attr, None)
        return None

    def called(self, node: ast.expr) -> tuple[FunctionType | None, type | None]:
        """Return the function that a call calls, and for a method the class that defines it."""
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == self._this and self._this:
                return _method(self.cls, node.attr)
            if ast.unparse(node.value) == "super()" and self._defined_in is not None:
                return _method(self.cls, node.attr, above=self._defined_in)
        function = inspect.unwrap(value) if callable(value := self.value(node)) else None
        return (function, None) if isinstance(function, FunctionType) else (None, None)


def _method(cls: type, name: str, above: type | None = None) -> tuple[FunctionType | None, type | None]:
    bases = cls.__mro__ if above is None else cls.__mro__[cls.__mro__.index(above) + 1 :]
    for base in bases:
        if name in vars(base):
            value = vars(base)[name]
            method = not isinstance(value, staticmethod)
            function = inspect.unwrap(getattr(value, "__func__", value))
            return (function, base if method else None) if isinstance(function, FunctionType) else (None, None)
    return None, None


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node of a function gives a value of their own."""
    if isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, _NAMED):
        yield node.name or ""
    elif isinstance(node, ast.MatchMapping):
        yield node.rest or ""


def _in_order(tree: ast.AST) -> Iterator[ast.Name]:
    """Yield all names as they stand in the source."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return iter(sorted(nodes, key=lambda node: (node.lineno, node.col_offset)))


def _hint(cls: type) -> str:
    return f'Declare them: {cls.__name__}.inputs = ("silver_...",), all tables that it reads.'
