"""The digest of the code that a class or function computes with: "has the code changed?" is answered here alone.

What counts, and what does not:

- A class counts with the modules of all its own bases, and a function with its module. A module counts as a whole,
  with the modules of the same package that it imports, and what those import in turn; also where the import stands
  inside a function. Files with SQL (`.sql`) beside such a module count with it.
  A helper or a constant that moves to a module beside it stays a part of the digest.
- A base class of the platform counts with its own source, not with the platform's other modules, wherever it stands.
- A base class of a library counts by its name alone.
- Functions and classes that a class holds as attributes (also inside a dataclass, a tuple or a mapping) count as well.
- Comments, formatting, docstrings, a class's `description` and the comments of declared columns are text: changing them
  changes no digest. Nor does what only type checkers look at.
- Libraries do not count, nor does Python's version.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary

_PLATFORM = __name__.partition(".")[0]
_OF_PLATFORM = "platform"
# Before the digits, so that a digest by other rules is not taken for one of other code.
_RULES = "3:"
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_TYPE_CHECKING = "TYPE_CHECKING"
_COLUMN = "Column"
_COMMENT_PLACE = 2
_texts: WeakKeyDictionary[type, str] = WeakKeyDictionary()
_NOT_HELD = frozenset({"__annotations__", "__dict__", "__weakref__"})


def code_digest(*subjects: type | Callable[..., Any], settings: str = "", platform: bool = True) -> str:
    """Return the digest of all code that classes and functions compute with.

    Args:
        subjects: The classes and functions.
        settings: What else decides what is computed, as text: a change of it changes the digest, too.
        platform: Whether base classes of the platform count; without them, an upgrade changes no digest.

    Examples:
        >>> from mlplatform.columns import Column
        >>> code_digest(Column) == code_digest(Column), code_digest(Column) == code_digest(Column, settings="other")
        (True, False)
    """
    parts: dict[str, str] = {}
    for subject in subjects:
        _add(subject, parts)
    counted = sorted(item for item in parts.items() if platform or not item[0].startswith(f"{_OF_PLATFORM} "))
    text = "\n".join([settings, *(f"{name}\n{part}" for name, part in counted)])
    return _RULES + hashlib.sha256(text.encode()).hexdigest()[:16]


def has_changed(recorded: str | None, digest: str) -> bool:
    """Tell whether code has changed since its digest was recorded.

    Where none was recorded, or one by other rules, it counts as unchanged: an upgrade computes nothing anew by itself.

    Examples:
        >>> has_changed("3:0f", "3:1e"), has_changed("3:0f", "3:0f"), has_changed(None, "3:1e")
        (True, False, False)
    """
    return recorded is not None and recorded.startswith(_RULES) and recorded != digest


def _add(subject: type | Callable[..., Any], parts: dict[str, str]) -> None:
    if not isinstance(subject, type):
        _add_function(subject, "", parts)
        return
    for base in subject.__mro__:
        if _is_standard(base.__module__) or _is_of_library(base, subject):
            continue
        if _top(base.__module__) == _PLATFORM:
            # Not by its module: a class that is moved computes the same.
            parts[f"{_OF_PLATFORM} {base.__qualname__}\n{_class_text(base)}"] = ""
            continue
        # Those that a library's class has in turn are its own affair.
        for direct in base.__bases__:
            if _is_of_library(direct, subject):
                parts[f"library {_top(direct.__module__)} {direct.__qualname__}"] = ""
        # Their names tell two classes of the same modules apart.
        parts[f"class {base.__qualname__}"] = "" if _add_module(base.__module__, parts) else _compiled(base)
        for name, value in vars(base).items():
            if name not in _NOT_HELD:
                for held in _held(value):
                    _add_held(held, base.__module__, parts)


def _is_of_library(base: type, subject: type) -> bool:
    """Tell whether a base class comes from an installed package other than that of the class it is a base of."""
    top = _top(base.__module__)
    if top in (_PLATFORM, _top(subject.__module__)) or _is_standard(top):
        return False
    spec = _spec(top)
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec is not None else []
    return any(_INSTALLED & set(Path(place).parts) for place in places)


def _add_held(held: type | Callable[..., Any], holder: str, parts: dict[str, str]) -> None:
    """Add a function or class that a class holds."""
    if held.__module__ == holder:
        return
    if isinstance(held, type):
        if _is_own(held.__module__, holder):
            _add_module(held.__module__, parts)
        parts.setdefault(f"holds {held.__module__}.{held.__qualname__}", "")
    else:
        _add_function(held, holder, parts)


def _add_function(function: Callable[..., Any], holder: str, parts: dict[str, str]) -> None:
    module = getattr(function, "__module__", None) or ""
    name = f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    parts.setdefault(f"function {name}", "")
    if _is_standard(module) or (holder and not _is_own(module, holder)):
        return
    if not _add_module(module, parts) and isinstance(function, FunctionType):
        parts[f"function {name}"] = _code_text(function.__code__)


def _held(value: Any, depth: int = 3) -> Iterator[type | Callable[..., Any]]:
    """Yield the functions and classes in an attribute's value."""
    if isinstance(value, staticmethod | classmethod):
        yield from _held(value.__func__, depth)
    elif isinstance(value, property):
        yield from (accessor for accessor in (value.fget, value.fset) if accessor is not None)
    elif isinstance(value, partial):
        yield from _held(value.func, depth)
    elif isinstance(value, FunctionType | type):
        yield value
    elif depth:
        for item in _items(value):
            yield from _held(item, depth - 1)


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, tuple | list | set | frozenset):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return ()


def _add_module(name: str, parts: dict[str, str]) -> bool:
    """Add a module's code, and that of the modules of its package which it imports; return whether it has a source."""
    if name in parts:
        return True
    source = _source(name)
    if source is None:
        return False
    parts[name] = _tree_text(source)
    for path in _queries(name):
        parts[f"{name} {path.name}"] = path.read_text(encoding="utf-8")
    for statement in _imports(source):
        for imported in _imported(statement, name):
            _add_module(imported, parts)
    return True


def _queries(name: str) -> list[Path]:
    """Return the files with SQL beside a module, which its code may read."""
    spec = _spec(name)
    folder = Path(spec.origin).parent if spec is not None and spec.has_location and spec.origin else None
    return sorted(folder.glob("*.sql")) if folder is not None else []


def _imported(statement: ast.Import | ast.ImportFrom, module: str) -> Iterator[str]:
    """Yield the names of the modules of its own package that a module takes something from."""
    if isinstance(statement, ast.Import):
        yield from (item.name for item in statement.names if _is_own(item.name, module))
        return
    spec = _spec(module)
    package = spec.parent if spec is not None else module.rpartition(".")[0]
    try:
        target = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
    except ImportError:
        return  # of a package above the topmost one: running it would say so
    if _is_own(target, module):
        for item in statement.names:
            # A module of a package, or what a module (or the package's __init__) defines.
            inner = f"{target}.{item.name}"
            yield inner if item.name != "*" and _spec(inner) is not None else target


def _is_own(name: str, holder: str) -> bool:
    """Tell whether a module is written together with another: in the same package, or in the same folder."""
    if not name or _is_standard(name) or _top(name) == _PLATFORM:
        return False
    if _top(name) == _top(holder):
        return True
    spec, beside = _spec(_top(name)), _spec(holder)
    if spec is None or beside is None or not spec.origin or not beside.origin:
        return False
    file, folder = Path(spec.origin), Path(beside.origin).parent
    package = file.parent.parent if spec.submodule_search_locations is not None else file.parent
    return package == folder and not _INSTALLED & set(folder.parts)


def _is_standard(name: str) -> bool:
    return _top(name) in sys.stdlib_module_names and name != "__main__"


def _top(name: str) -> str:
    return name.partition(".")[0]


def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Return where a module comes from, also where it has not been imported yet; nothing is imported for it."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None:
        return loaded  # type: ignore[no-any-return]
    parent = name.rpartition(".")[0]
    if not parent:
        return importlib.machinery.PathFinder.find_spec(name)
    package = _spec(parent)
    if package is None or package.submodule_search_locations is None:
        return None
    return importlib.machinery.PathFinder.find_spec(name, list(package.submodule_search_locations))


def _source(name: str) -> str | None:
    """Return a module's source; None: it is nowhere, as of a notebook's cells or a compiled module."""
    spec = _spec(name)
    read = getattr(spec.loader, "get_source", None) if spec is not None else None
    try:
        source: str | None = read(name) if read is not None else inspect.getsource(sys.modules[name])
    except (ImportError, KeyError, OSError, TypeError):
        return None
    return source


@lru_cache(maxsize=256)
def _imports(source: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Return the import statements of a module, those inside of functions among them."""
    return tuple(node for node in _executed(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only type checkers look at."""
    if isinstance(node, ast.If) and _asks_for_type_checker(node.test):
        children: Iterable[ast.AST] = node.orelse
    else:
        yield node
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from _executed(child)


def _asks_for_type_checker(test: ast.expr) -> bool:
    """Tell whether a condition is `TYPE_CHECKING`, by whatever name the module typing goes."""
    return (isinstance(test, ast.Name) and test.id == _TYPE_CHECKING) or (
        isinstance(test, ast.Attribute) and test.attr == _TYPE_CHECKING
    )


@lru_cache(maxsize=256)
def _tree_text(source: str) -> str:
    """Return a source without comments, formatting and prose, as text."""
    tree = ast.parse(source)
    return _text(_WithoutProse(tree).visit(tree))


def _text(node: Any) -> str:
    """Return a syntax tree as text: the same in every version of Python, for fields that are empty are left out."""
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if isinstance(node, ast.AST):
        values = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
        return f"{type(node).__name__}({','.join(f'{name}={_text(value)}' for name, value in values)})"
    return f"[{','.join(map(_text, node))}]" if isinstance(node, list) else repr(node)


class _WithoutProse(ast.NodeTransformer):
    """Takes docstrings, the comments of declared columns, and what only type checkers look at out of a syntax tree."""

    def __init__(self, tree: ast.Module) -> None:
        # Under which names a module has the platform's Column: another class of that name is none of ours.
        self._columns = {
            item.asname or item.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and _top(node.module or "") == _PLATFORM and not node.level
            for item in node.names
            if item.name == _COLUMN
        }

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            node.body = node.body[1:] if documented else node.body
        if isinstance(node, ast.ClassDef):
            node.body = [statement for statement in node.body if not _describes(statement)]
        return super().generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if not _asks_for_type_checker(node.test):
            return self.generic_visit(node)
        # As a block's: each statement may become none, one, or several.
        block = self.generic_visit(ast.Module(body=node.orelse, type_ignores=[]))
        return block.body  # type: ignore[attr-defined, no-any-return]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        if node.module == "typing":
            node.names = [item for item in node.names if item.name != _TYPE_CHECKING]
        return node if node.names else None

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if self._makes_column(node.func):
            node.args = [arg for place, arg in enumerate(node.args) if place != _COMMENT_PLACE]
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "comment"]
        return self.generic_visit(node)

    def _makes_column(self, called: ast.expr) -> bool:
        if isinstance(called, ast.Name):
            return called.id in self._columns
        return (
            isinstance(called, ast.Attribute)
            and called.attr == _COLUMN
            and isinstance(called.value, ast.Name)
            and called.value.id == _PLATFORM
        )


def _describes(statement: ast.stmt) -> bool:
    """Tell whether a statement of a class is its description: `description = "..."`, with a type or without."""
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    elif isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        return False
    return [ast.unparse(target) for target in targets] == ["description"] and isinstance(statement.value, ast.Constant)


def _class_text(base: type) -> str:
    # A class that is loaded stays as it is, and finding its lines in a file takes milliseconds: a run asks often.
    if base not in _texts:
        _texts[base] = _class_source(base)
    return _texts[base]


def _class_source(base: type) -> str:
    try:
        source = inspect.getsource(base)
    except (OSError, TypeError):
        return _compiled(base)
    return _tree_text(textwrap.dedent(source))


def _compiled(base: type) -> str:
    """Return the compiled functions of a class whose source is nowhere, as in a notebook."""
    functions = ((name, held) for name, value in sorted(vars(base).items()) for held in _held(value))
    return "\n".join(
        f"{name}\n{_code_text(held.__code__)}" for name, held in functions if isinstance(held, FunctionType)
    )


def _code_text(code: CodeType) -> str:
    return "\n".join([code.co_code.hex(), *code.co_names, *map(_constant_text, code.co_consts)])


def _constant_text(value: Any) -> str:
    if isinstance(value, CodeType):
        return _code_text(value)
    # A set has no order of its own.
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
