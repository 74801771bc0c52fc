"""Declaring a feature function: a Python function of scalars, computed on demand when a row is looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FeatureFunctionSpec:
    """A feature function of a use case.

    Attributes:
        name: Bare name; it is registered as `<catalog>.<use_case>.<name>`.
        fn: The function: scalars in (None for null), a scalar out; importable, without state.
        parameters: (name, Spark type) of each parameter.
        returns: Spark type of the result.
    """

    name: str
    fn: Callable[..., Any]
    parameters: tuple[tuple[str, str], ...]
    returns: str
