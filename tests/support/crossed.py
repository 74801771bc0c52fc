"""Cases of two kinds that are crossed: each of either kind in every run, all pairs of them at night."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


def crossed(first: Iterable[Any], second: Iterable[Any]) -> list[ParameterSet]:
    """Return all pairs; those beyond a diagonal, on which each value of either stands, are slow.

    Examples:
        >>> [pair.values for pair in crossed("ab", "xyz") if not pair.marks]
        [('a', 'x'), ('a', 'z'), ('b', 'y')]
    """
    ours, others = list(first), list(second)
    fewer = min(len(ours), len(others))
    return [
        pytest.param(one, other, marks=() if (place - beside) % fewer == 0 else pytest.mark.slow)
        for place, one in enumerate(ours)
        for beside, other in enumerate(others)
    ]


def every(number: int, cases: Iterable[Any]) -> list[ParameterSet]:
    """Return cases in their order; of so many one is looked at in every run, the others are slow.

    Examples:
        >>> [case.values for case in every(2, "abc") if not case.marks]
        [('a',), ('c',)]
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=() if place % number == 0 else pytest.mark.slow
        )
        for place, case in enumerate(cases)
    ]
