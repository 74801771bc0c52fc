"""Declaring a feature function: a Python function of scalars, computed on demand when a row is looked up."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlplatform.errors import FeatureStoreError
from mlplatform.naming import Namespace, ObjectName
from mlplatform.protocols.functions import FunctionInfo
from mlplatform.protocols.workspace import Workspace
from mlplatform.types import TYPES, arrow_type, spark_type

_SPARK_TYPES = {item.annotation: name for name, item in TYPES.items() if item.annotation is not None}


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

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> FeatureFunctionSpec:
        """Declare a function by its own name and annotations: str, float, int, bool, date or datetime, or None.

        Raises:
            FeatureStoreError: If an annotation is missing or none of these.

        Examples:
            >>> def share(part: float | None, whole: float | None) -> float | None:
            ...     return part / whole if part is not None and whole else None
            >>> FeatureFunctionSpec.of(share).parameters
            (('part', 'double'), ('whole', 'double'))
        """
        name = getattr(fn, "__name__", type(fn).__name__)
        try:
            hints, signature = typing.get_type_hints(fn), inspect.signature(fn)
        except (NameError, TypeError, ValueError) as error:
            raise FeatureStoreError(
                f"Feature function {name}: its annotations cannot be read: {error}", hint="Spell the types out."
            ) from error
        for item in signature.parameters.values():
            if item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD):
                raise FeatureStoreError(f"Feature function {name} takes {item}.", hint="Name each parameter.")
        parameters = tuple((item, _spark_type(name, item, hints.get(item))) for item in signature.parameters)
        return cls(name, fn, parameters, _spark_type(name, "return", hints.get("return")))


def register_functions(ws: Workspace, namespace: Namespace, functions: Sequence[FeatureFunctionSpec]) -> None:
    """Register feature functions; the same again does nothing.

    Every stage that looks features up does so first: the code at hand is what computes, in whatever process.

    Args:
        ws: The workspace.
        namespace: The use case's.
        functions: Its feature functions.

    Raises:
        FeatureStoreError: If a function is not what it is declared to be, or the workspace refuses it.
    """
    for function in functions:
        ws.functions.register(
            namespace.table(function.name), function.fn, parameters=function.parameters, returns=function.returns
        )


def _spark_type(function: str, parameter: str, annotation: Any) -> str:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kinds = [kind for kind in (typing.get_args(annotation) if union else (annotation,)) if kind is not type(None)]
    if len(kinds) != 1 or not isinstance(kinds[0], type) or kinds[0] not in _SPARK_TYPES:
        raise FeatureStoreError(
            f"Feature function {function}: {parameter} is annotated {annotation!r}.",
            hint=f"Use one of {', '.join(kind.__name__ for kind in _SPARK_TYPES)} (or None), or spell the types out.",
        )
    return _SPARK_TYPES[kinds[0]]


def checked_function(
    name: ObjectName | str, fn: Callable[..., Any], parameters: Sequence[tuple[str, str]], returns: str
) -> FunctionInfo:
    """Return what a workspace registers, its types spelled in one way and its name in lower case.

    Raises:
        FeatureStoreError: If the function cannot be called with these parameters, or a type is none.
    """
    key = str(ObjectName.parse(name)).lower()
    info = FunctionInfo(
        name=key,
        parameters=tuple((str(parameter), function_type(kind, key)) for parameter, kind in parameters),
        returns=function_type(returns, key),
        fn=fn,
    )
    _check_callable(info)
    return info


def function_type(name: str, function: str) -> str:
    """Return a Spark type's name as we spell it.

    Raises:
        FeatureStoreError: If there is no such type.
    """
    try:
        return spark_type(arrow_type(name))
    except FeatureStoreError as error:
        raise FeatureStoreError(f"Function {function}: {error.message}", hint=error.hint) from None


def _check_callable(info: FunctionInfo) -> None:
    names = [name for name, _ in info.parameters]
    if len(set(names)) != len(names):
        raise FeatureStoreError(
            f"Function {info.name} has a parameter twice: {names}.", hint="Name each parameter once."
        )
    if not callable(info.fn):
        raise FeatureStoreError(f"Function {info.name} is a {type(info.fn).__name__}, which cannot be called.")
    try:
        signature = inspect.signature(info.fn)
    except (TypeError, ValueError):
        return  # A builtin without a signature: the first call will tell.
    try:
        signature.bind(*names)
    except TypeError:
        raise FeatureStoreError(
            f"Function {info.name} is declared with the parameters {names}, but is {signature}.",
            hint="Arguments are passed by position, one for each declared parameter.",
        ) from None
