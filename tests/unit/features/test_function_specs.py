"""A feature function is declared by its annotations: scalars, each of one type, and nothing that cannot be one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal, Optional

import pytest

from mlplatform import FeatureFunctionSpec
from mlplatform.errors import FeatureStoreError


def every_type(a: str, b: float, c: int, d: bool, e: date, f: datetime) -> float:
    return 1.0


def every_null(a: str | None, b: Optional[float], c: int | None) -> Optional[bool]:  # noqa: UP045
    return None


def no_parameter() -> datetime:
    return datetime(2013, 1, 1)  # noqa: DTZ001


def test_each_annotation_has_its_spark_type() -> None:
    spec = FeatureFunctionSpec.of(every_type)
    assert spec.name == "every_type"
    assert spec.fn is every_type
    assert spec.parameters == (
        ("a", "string"),
        ("b", "double"),
        ("c", "bigint"),
        ("d", "boolean"),
        ("e", "date"),
        ("f", "timestamp"),
    )
    assert spec.returns == "double"


def test_or_none_changes_nothing_however_it_is_written() -> None:
    spec = FeatureFunctionSpec.of(every_null)
    assert spec.parameters == (("a", "string"), ("b", "double"), ("c", "bigint"))
    assert spec.returns == "boolean"


def test_a_function_may_take_nothing() -> None:
    assert FeatureFunctionSpec.of(no_parameter) == FeatureFunctionSpec("no_parameter", no_parameter, (), "timestamp")


def test_annotations_that_are_types_and_annotations_that_are_text_are_one() -> None:
    def text(a: "float | None") -> "int":  # noqa: UP037
        return 1

    def types(a, b):
        return 1

    types.__annotations__ = {"a": float | None, "b": str, "return": int}
    assert FeatureFunctionSpec.of(text).parameters == (("a", "double"),)
    assert FeatureFunctionSpec.of(types).parameters == (("a", "double"), ("b", "string"))


def bare(a) -> float:
    return 1.0


def no_return(a: float):
    return a


def two_types(a: str | int) -> float:
    return 1.0


def nothing(a: None) -> float:
    return 1.0


def returns_nothing(a: float) -> None:
    return None


def anything(a: Any) -> float:
    return 1.0


def one_of(a: Literal["x"]) -> float:
    return 1.0


def a_mapping(a: dict[str, int]) -> float:
    return 1.0


def list_or_none(a: list[int] | None) -> float:
    return 1.0


def many(a: list) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("function", "where"),
    [
        (bare, "a is annotated None"),
        (no_return, "return is annotated None"),
        (two_types, r"a is annotated str \| int"),
        (nothing, "a is annotated"),
        (returns_nothing, "return is annotated"),
        (anything, "a is annotated typing.Any"),
        (one_of, "a is annotated"),
        (a_mapping, "a is annotated"),
        (list_or_none, "a is annotated"),
        (many, "a is annotated <class 'list'>"),
        (lambda x: x, "x is annotated None"),
    ],
)
def test_what_is_no_scalar_of_one_type_is_refused_with_what_is(function: Any, where: str) -> None:
    with pytest.raises(FeatureStoreError, match=where) as caught:
        FeatureFunctionSpec.of(function)
    assert "Use one of str, bool, int, float, date, datetime" in caught.value.hint


def a_list(a: list[str]) -> float:
    return 1.0


def a_tuple(a: tuple[float]) -> float:
    return 1.0


def a_sequence(a: Sequence[int]) -> float:
    return 1.0


def a_type(a: type[float]) -> float:
    return 1.0


def returns_a_list(a: float) -> list[float]:
    return [a]


@pytest.mark.parametrize("function", [a_list, a_tuple, a_sequence, a_type, returns_a_list])
def test_a_list_of_scalars_is_no_scalar(function: Any) -> None:
    with pytest.raises(FeatureStoreError):
        FeatureFunctionSpec.of(function)


def any_number(*parts: float) -> float:
    return math.fsum(parts)


def any_names(**parts: float) -> float:
    return math.fsum(parts.values())


def by_position(a: float, /) -> float:
    return a


@pytest.mark.parametrize("function", [any_number, any_names])
def test_any_number_of_parameters_is_refused(function: Any) -> None:
    with pytest.raises(FeatureStoreError):
        FeatureFunctionSpec.of(function)


def unknown(a: Nope) -> float:  # noqa: F821
    return 1.0


class Callable:
    def __call__(self, a: float) -> float:
        return a


@pytest.mark.parametrize("function", [unknown, Callable()])
def test_what_has_no_readable_annotations_is_refused_with_our_error(function: Any) -> None:
    with pytest.raises(FeatureStoreError):
        FeatureFunctionSpec.of(function)
