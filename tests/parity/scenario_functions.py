"""Functions for the random scenarios: each says what it does with null, and some can make a lookup key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.cases import Function

if TYPE_CHECKING:
    import random

_TEMPLATES: list[tuple[list[str], str, str]] = [
    (["double", "double"], "double", "None if p is None or q is None else p * 2.0 + q"),
    (["double"], "boolean", "p is None or p != p"),
    (["float"], "double", "None if p is None else p * 2.0"),
    (["bigint"], "bigint", "None if p is None else p // 10"),
    (["int"], "bigint", "-1 if p is None else p"),
    (["int", "string"], "string", "f'{p}/{q}'"),
    (["string"], "int", "None if p is None else len(p)"),
    (["boolean"], "string", "'?' if p is None else ('a' if p else 'b')"),
    (["string", "double"], "double", "-1.0 if q is None else float(len(p or '')) + q"),
]


def draw(rng: random.Random, name: str, columns: dict[str, str]) -> tuple[Function, dict[str, str]] | None:
    """Draw a function whose parameters these columns can fill.

    Args:
        rng: Where the chance comes from.
        name: The function's full name.
        columns: The columns that may be bound, with their types.

    Returns:
        The function and its input bindings; None when no function fits.
    """
    by_kind: dict[str, list[str]] = {}
    for column, kind in columns.items():
        by_kind.setdefault(kind, []).append(column)
    fitting = [template for template in _TEMPLATES if all(kind in by_kind for kind in template[0])]
    if not fitting:
        return None
    kinds, returns, expression = rng.choice(fitting)
    parameters = tuple(zip("pq", kinds, strict=False))
    bindings = {parameter: rng.choice(by_kind[kind]) for parameter, kind in parameters}
    return Function(name=name, parameters=parameters, returns=returns, expression=expression), bindings
