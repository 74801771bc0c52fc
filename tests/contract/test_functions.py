"""Registered functions."""

from __future__ import annotations

import pytest

from mlplatform.errors import FeatureStoreError, UsageError
from mlplatform.protocols.functions import Functions
from tests.support.feature_functions import ratio

DECLARED = {"parameters": [("paid", "double"), ("due", "double")], "returns": "double"}


def product(paid: float | None, due: float | None) -> float | None:
    return None if paid is None or due is None else paid * due


def test_a_function_is_found_by_its_name_in_lower_case(ws):
    assert isinstance(ws.functions, Functions)
    ws.functions.register("dev.functions.Ratio", ratio, **DECLARED)
    for name in ("dev.functions.ratio", "dev.functions.RATIO"):
        found = ws.functions.get(name)
        assert (found.name, found.parameters, found.returns) == (
            "dev.functions.ratio",
            (("paid", "double"), ("due", "double")),
            "double",
        )
        assert (found.fn(1.0, 4.0), found.fn(None, 4.0), found.fn(1.0, 0.0)) == (0.25, None, None)


def test_types_are_spelled_in_one_way(ws):
    ws.functions.register(
        "dev.functions.spelled", product, parameters=[("paid", "Long"), ("due", "DECIMAL(10, 2)")], returns="BOOL"
    )
    found = ws.functions.get("dev.functions.spelled")
    assert (found.parameters, found.returns) == ((("paid", "bigint"), ("due", "decimal(10,2)")), "boolean")


def test_the_same_name_again_replaces_it(ws):
    name = "dev.functions.replaced"
    ws.functions.register(name, ratio, **DECLARED)
    ws.functions.register(name, ratio, **DECLARED)
    ws.functions.register(name, product, **DECLARED | {"returns": "float"})
    found = ws.functions.get(name)
    assert (found.fn(2.0, 4.0), found.returns) == (8.0, "float")


def test_a_missing_function_is_an_error_with_near_names(ws):
    ws.functions.register("dev.functions.share_paid", ratio, **DECLARED)
    with pytest.raises(FeatureStoreError, match=r"dev\.functions\.share_piad is not registered") as refused:
        ws.functions.get("dev.functions.share_piad")
    assert "Did you mean dev.functions.share_paid" in refused.value.hint
    with pytest.raises(FeatureStoreError, match="is not registered"):
        ws.functions.get("dev.nowhere.ratio")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"returns": "dubble"}, "'dubble' is not a type"),
        ({"parameters": [("paid", "double"), ("due", "timestamp_ntz")]}, "without time zone"),
        ({"parameters": [("a", "double")]}, r"\['a'\], but is \(paid.*due"),
        ({"parameters": [("a", "int"), ("a", "int")]}, "a parameter twice"),
        ({"fn": "ratio"}, "is a str, which cannot be called"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_function_that_cannot_be_registered_is_not(ws, arguments, says):
    with pytest.raises(FeatureStoreError, match=says) as refused:
        ws.functions.register("dev.functions.bad", **{"fn": ratio, **DECLARED} | arguments)
    assert "dev.functions.bad" in refused.value.message
    with pytest.raises(FeatureStoreError, match="is not registered"):
        ws.functions.get("dev.functions.bad")


def test_a_name_that_leads_elsewhere_is_refused(ws):
    for name in ("ratio", "dev.a.b; DROP", "../dev.a.b"):
        with pytest.raises(UsageError):
            ws.functions.register(name, ratio, **DECLARED)
        with pytest.raises(UsageError):
            ws.functions.get(name)
