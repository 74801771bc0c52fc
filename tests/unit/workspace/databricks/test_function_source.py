"""What of a Python function can go to Unity Catalog, and that what went there is the same function."""

from __future__ import annotations

import datetime as dt
import functools
import math
import re as regex
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlplatform.errors import FeatureStoreError
from mlplatform.features.functions import FeatureFunctionSpec, checked_function
from mlplatform.workspace.databricks.function_source import python_body, rebuilt
from use_cases.credit_risk.features import GUARANTEED_SHARE, SAME_STATE

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 2.5
WORDS = {"a": 1, "b": (2, None)}
TODAY = date(2020, 1, 1)
SHARE = float("inf")
DOLLARS = "$$"
NAMES = {"a", "b"}


def body_of(fn: Callable[..., Any], *parameters: str) -> str:
    return python_body(checked_function("dev.f.fn", fn, [(name, "double") for name in parameters], "double"))


def capped(x: float | None, factor: float = LIMIT) -> float | None:
    """Return x by the factor, in the limit.

    >>> capped(1.0)
    2
    """
    if x is None:
        return None
    return min(math.floor(x * factor), max(v for v in [LIMIT * 2]))


def worded(x: str) -> float:
    found = Counter(regex.findall("[ab]", x))
    return sum((WORDS["a"] + n) for n in found.values())


def days(x: float) -> str:
    day: Counter = x  # an annotation is no use of it
    x = day
    return (date(2020, 1, 1) + dt.timedelta(days=x)).isoformat()


def faculty(x: float) -> float:
    return 1 if x < 2 else x * faculty(x - 1)


@pytest.mark.parametrize("spec", [GUARANTEED_SHARE, SAME_STATE], ids=lambda spec: spec.name)
@pytest.mark.parametrize("values", [(75.0, 100.0), (None, 1.0), (1.0, 0.0), ("CA", "VA"), ("CA", "CA")])
def test_the_use_cases_functions_are_the_same_after_the_journey(spec, values):
    body = python_body(checked_function(f"dev.credit_risk.{spec.name}", spec.fn, spec.parameters, spec.returns))
    assert body.splitlines()[-1] == f"return {spec.name}({', '.join(name for name, _ in spec.parameters)})"
    if isinstance(values[1], str) == (spec.name == "same_state"):
        assert rebuilt("dev.f.fn", body)(*values) == spec.fn(*values)


@pytest.mark.parametrize(
    ("fn", "values", "brings"),
    [
        (capped, (3.0, 1.0), ["LIMIT = 2.5", "import math"]),
        (
            worded,
            ("abba",),
            ["WORDS = {'a': 1, 'b': (2, None)}", "from collections import Counter", "import re as regex"],
        ),
        (days, (3.0,), ["from datetime import date", "import datetime as dt"]),
        (faculty, (5.0,), []),
    ],
)
def test_what_a_function_uses_travels_with_it(fn, values, brings):
    names = list(FeatureFunctionSpec.of(fn).parameters)
    body = body_of(fn, *(name for name, _ in names))
    assert body.splitlines()[: len(brings)] == brings
    assert "float | None" not in body
    assert ">>>" not in body
    # As Spark runs it: the body of a function whose parameters are the arguments.
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    scope: dict[str, Any] = {}
    exec(f"def run({', '.join(name for name, _ in names)}):\n{lines}", scope)
    assert scope["run"](*values) == fn(*values) == rebuilt("dev.f.fn", body)(*values)


def other(x):
    return capped(x)


def package(x):
    return np.sqrt(x)


def dated(x):
    return TODAY.year + x


def endless(x):
    return SHARE + x


def unordered(x):
    return x in NAMES


def counting(x):
    global LIMIT  # noqa: PLW0603
    LIMIT = x
    return x


def dollars(x):
    return x + "$$"


def dollar_constant(x):
    return x + DOLLARS


def undefined(x):
    return absent + x  # noqa: F821


def inner(x):
    def local():
        return capped(x)

    return local()


def shadowing(math_, x):
    return math.floor(x) + math_


@functools.lru_cache
def cached(x):
    return x


@functools.wraps(capped)
def wrapped(x):
    return x


async def later(x):
    return x


def closure():
    secret = 3

    def fn(x):
        return x + secret

    return fn


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (other, "uses capped of its module, a function"),
        (package, r"uses the module np \(numpy\)"),
        (dated, "uses TODAY of its module, a date"),
        (endless, "uses SHARE of its module, a float"),
        (dollars, r"holds \$\$"),
        (dollar_constant, r"holds \$\$"),
        (undefined, "uses absent, which its module does not define"),
        (inner, "uses capped of its module"),
        (cached, "is no function defined with def"),
        (wrapped, "is decorated"),
        (counting, "changes LIMIT of its module"),
        (unordered, "uses NAMES of its module, a set"),
        (later, "is no plain function"),
        (closure(), "uses secret of the function around it"),
        (lambda x: x, "is no function defined with def"),
        (abs, "is no function defined with def"),
        (functools.partial(capped, factor=1.0), "is no function defined with def"),
    ],
)
def test_what_does_not_travel_is_refused_by_name(fn, says):
    with pytest.raises(FeatureStoreError, match=says) as caught:
        body_of(fn, "x")
    assert "dev.f.fn" in str(caught.value)
    assert "standard library" in caught.value.hint


def test_parameters_are_python_names_and_hide_nothing():
    with pytest.raises(FeatureStoreError, match="'class', which is no Python name"):
        body_of(faculty, "class")
    with pytest.raises(FeatureStoreError, match="named as what it uses: math"):
        body_of(shadowing, "math", "x")
    with pytest.raises(FeatureStoreError, match="named as what it uses: faculty"):
        body_of(faculty, "faculty")


def test_a_function_without_source_is_refused():
    scope: dict[str, Any] = {}
    exec("def made(x):\n    return x", scope)
    with pytest.raises(FeatureStoreError, match="no source"):
        body_of(scope["made"], "x")


@pytest.mark.parametrize("body", ["", "return 1", "import os\nos.abort()", "x = 3\nreturn x(a)"])
def test_a_body_of_another_shape_is_not_taken_for_ours(body):
    with pytest.raises(FeatureStoreError, match="not registered by this library"):
        rebuilt("dev.f.fn", body if "abort" not in body else body.replace("os.abort()", "pass"))
