"""From a Python function to the body of a Unity Catalog function, which has to carry all that it needs."""

from __future__ import annotations

import ast
import builtins
import inspect
import keyword
import re
import symtable
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError

if TYPE_CHECKING:
    from mlplatform.protocols.functions import FunctionInfo

_CALL = re.compile(r"return ([A-Za-z_]\w*)\([\w, ]*\)")
_HINT = (
    "A function in Unity Catalog holds all it needs: parameters, builtins, modules of the standard library, and "
    "constants of its module that are plain literals."
)


def python_body(info: FunctionInfo) -> str:
    """Return the body: imports and constants, the function without annotations, and the call of it.

    Raises:
        FeatureStoreError: If the source cannot be read, or needs what does not travel: a closure, another function, a
            package; the name is given.
    """
    fn = info.fn
    if not isinstance(fn, types.FunctionType) or fn.__name__ == "<lambda>":
        raise _refused(info, "is no function defined with def")
    if fn.__closure__:
        raise _refused(info, f"uses {', '.join(fn.__code__.co_freevars)} of the function around it")
    definition = _definition(info)
    needed = [_needed(info, name, fn.__globals__) for name in _globals(definition)]
    parameters = [name for name, _ in info.parameters]
    for name in parameters:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise _refused(info, f"has the parameter {name!r}, which is no Python name")
    clashes = {fn.__name__, *_globals(definition)} & set(parameters)
    if clashes:
        raise _refused(info, f"has a parameter that is named as what it uses: {', '.join(sorted(clashes))}")
    body = "\n".join(
        [*sorted(filter(None, needed)), ast.unparse(definition), f"return {fn.__name__}({', '.join(parameters)})"]
    )
    if "$$" in body:
        raise _refused(info, "holds $$, which ends a function's body in SQL")
    return body


def rebuilt(name: str, body: str) -> Callable[..., Any]:
    """Return the function that a body of our own shape defines.

    Args:
        name: Its three-level name, for messages.
        body: What `python_body` returned.

    Raises:
        FeatureStoreError: If it has another shape.
    """
    *lines, last = body.strip().splitlines() or [""]
    call = _CALL.fullmatch(last)
    namespace: dict[str, Any] = {}
    if call is not None:
        # The same code that Spark runs for this name; the digest in its comment says that we wrote it.
        exec(compile("\n".join(lines), f"<{name}>", "exec"), namespace)  # nosec B102  # noqa: S102  (the use case's own code)
    fn = namespace.get(call.group(1)) if call is not None else None
    if not callable(fn):
        raise FeatureStoreError(
            f"Function {name} was not registered by this library.", hint="Register it with ws.functions.register."
        )
    return fn  # type: ignore[no-any-return]


def _definition(info: FunctionInfo) -> ast.FunctionDef:
    """Return the function's definition without decorators, annotations and docstring."""
    try:
        source = textwrap.dedent(inspect.getsource(info.fn))
        definition = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        raise _refused(info, "has no source that can be read") from None
    if not isinstance(definition, ast.FunctionDef):
        raise _refused(info, "is no plain function")
    # A wrapper's source is that of what it wraps.
    if definition.decorator_list or hasattr(info.fn, "__wrapped__"):
        raise _refused(info, "is decorated")
    for node in ast.walk(definition):
        if isinstance(node, ast.Global):
            raise _refused(info, f"changes {', '.join(node.names)} of its module")
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Name("object")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    if ast.get_docstring(definition) is not None:
        definition.body = definition.body[1:] or [ast.Pass()]
    return definition


def _globals(definition: ast.FunctionDef) -> list[str]:
    """Return the names that a definition takes from outside, builtins included."""
    module = symtable.symtable(ast.unparse(definition), "<function>", "exec")

    def tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
        yield table
        for child in table.get_children():
            yield from tables(child)

    names = {
        symbol.get_name()
        for table in tables(module)
        for symbol in table.get_symbols()
        # At the top, what default values use.
        if (symbol.is_global() if table is not module else symbol.is_referenced())
    }
    return sorted(names - {definition.name})


def _needed(info: FunctionInfo, name: str, namespace: dict[str, Any]) -> str | None:
    """Return the line that brings a global along; None for a builtin."""
    if name not in namespace:
        if hasattr(builtins, name):
            return None
        raise _refused(info, f"uses {name}, which its module does not define")
    value = namespace[name]
    if isinstance(value, types.ModuleType):
        if _standard(value.__name__):
            return f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}")
        raise _refused(info, f"uses the module {name} ({value.__name__})")
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(qualname, str) and qualname.isidentifier() and _standard(module):
        return f"from {module} import {qualname}" + ("" if qualname == name else f" as {name}")
    if _literal(value):
        return f"{name} = {value!r}"
    raise _refused(info, f"uses {name} of its module, a {type(value).__name__}")


def _standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names and module != "builtins"


def _literal(value: Any) -> bool:
    text = repr(value)
    try:
        # A set has no order, and its text would be another one in each process.
        ordered = not any(isinstance(node, ast.Set) for node in ast.walk(ast.parse(text, mode="eval")))
        return ordered and bool(ast.literal_eval(text) == value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _refused(info: FunctionInfo, why: str) -> FeatureStoreError:
    return FeatureStoreError(f"Function {info.name} cannot go to Unity Catalog: it {why}.", hint=_HINT)
