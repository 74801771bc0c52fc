"""Whatever stands in a `config.yml`, it is read, or refused by an error of ours that is short and leads out."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlplatform.config import cron
from mlplatform.config.origins import sources
from mlplatform.config.settings import UseCaseSettings, load_settings
from mlplatform.naming import ObjectName, check_expression, check_part, check_use_case_name, quote
from tests.support.refusals import refusal

WHOLE = {
    "owner": "team@example.com",
    "label": {"horizon": "36 months"},
    "training": {"metric": "roc_auc", "since": "2003-01-01", "search": {"max_evals": 3}},
    "gate": {
        "floor": 0.6,
        "guards": [{"metric": "brier", "floor": 0.3}],
        "slices": {"columns": ["region"]},
        "features": {"max_age": "3 months"},
    },
    "monitoring": {"max_psi": 0.3, "alerts": {"webhook": {"secret": "alerts/slack"}}},
    "simulation": {"start": "2006-01-01", "end": "2012-01-01", "every": "quarter"},
    "jobs": {"schedules": {"score": "0 30 5 * * ?"}, "notify": ["a@example.com"]},
    "environments": {"prod": {"gate": {"floor": 0.7}}},
}
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=30)
    | st.dates()
    | st.sampled_from(["36 months", "0 days", "9" * 400, "2006-01-01", "0 30 5 * * ?", "UTC", "scope/key", "../x"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(content: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [place] if place else []
    if isinstance(content, dict):
        return found + [inner for key, value in content.items() for inner in places(value, (*place, key))]
    if isinstance(content, list):
        return found + [inner for number, value in enumerate(content) for inner in places(value, (*place, number))]
    return found


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    content: Any = copy.deepcopy(WHOLE)
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    return content


def read(text: str | bytes, env: str = "dev") -> UseCaseSettings | None:
    """Read a file; None where it was refused as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        refused = refusal(load_settings, path, env)
        if refused is None:
            assert sources(path, env)
            return load_settings(path, env)
        assert str(path) in refused.message
        return None


def test_the_whole_of_it_is_read() -> None:
    assert read(yaml.safe_dump(WHOLE)) is not None
    assert read(yaml.safe_dump(WHOLE), "prod") is not None


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(places(WHOLE)), VALUES, st.sampled_from(["dev", "prod"]))
def test_any_value_in_any_place_is_taken_or_refused(place: tuple[Any, ...], value: Any, env: str) -> None:
    _taken_or_refused(place, value, env)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(st.sampled_from(places(WHOLE)), VALUES, st.sampled_from(["dev", "prod"]))
def test_many_values_are_taken_or_refused(place: tuple[Any, ...], value: Any, env: str) -> None:
    _taken_or_refused(place, value, env)


def _taken_or_refused(place: tuple[Any, ...], value: Any, env: str) -> None:
    found = read(yaml.safe_dump(changed(place, value), allow_unicode=True), env)
    if found is not None:
        assert not any(isinstance(it, float) and not abs(it) < float("inf") for it in leaves(found.model_dump()))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(places(WHOLE)[1:]), st.text(max_size=20) | st.integers())
def test_any_further_key_is_refused(place: tuple[Any, ...], key: Any) -> None:
    content: Any = copy.deepcopy(WHOLE)
    inside = content
    for step in place:
        inside = inside[step]
    if isinstance(inside, dict) and key not in inside:
        inside[key] = 1
        if place != ("environments",):
            assert read(yaml.safe_dump(content, allow_unicode=True)) is None or place[0] == "environments"


def leaves(content: Any) -> list[Any]:
    if isinstance(content, dict):
        return [leaf for value in content.values() for leaf in leaves(value)]
    if isinstance(content, list | tuple):
        return [leaf for value in content for leaf in leaves(value)]
    return [content]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200))
@example("? [a]: b\n")
@example("<<: *x\n")
@example("&a a: *a\n")
@example("!!map x: 1\n")
@example("a: !!python/name:os.system\n")
@example("%YAML 9.9\n---\na: 1\n")
@example("\ud800: 1\n")
def test_any_text_at_all_is_read_or_refused(text: str | bytes) -> None:
    assert read(text) is None


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="{}[]:,-?&*!|>'\"%@`#~ \n\ta1.", max_size=60))
def test_the_signs_of_yaml_in_any_order_are_read_or_refused(text: str) -> None:
    read(yaml.safe_dump({"owner": "a", "label": {"horizon": "1 day"}, "gate": {"floor": 1}}) + text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
@example("a" * 256)
@example("`a`.`b`.`c`")
@example("a.b.c.d")
def test_any_name_is_one_or_refused(text: str) -> None:
    if not refusal(check_part, text, of=text):
        assert text.isascii()
    if not refusal(check_use_case_name, text):
        assert text.isidentifier()
    refusal(ObjectName.parse, text)
    for dialect in ("spark", "duckdb"):
        if not refusal(quote, text, dialect):
            mark = {"spark": "`", "duckdb": '"'}[dialect]
            assert quote(text, dialect)[1:-1].replace(mark * 2, "").count(mark) == 0
    refusal(check_expression, text, of="The expectation x")
    refusal(cron.check, text)


@given(st.integers(201, 20_000), st.sampled_from(["()", "[]", "{}"]))
def test_sql_that_is_nested_beyond_all_use_reaches_no_engine(depth: int, brackets: str) -> None:
    sql = brackets[0] * depth + "1" + brackets[1] * depth
    refused = refusal(check_expression, sql, of="The expectation x")
    assert refused is not None
    assert f"The expectation x has {depth:,} brackets in one another" in refused.message
