"""Our feature client can be called as the real one: same methods, same parameters, same defaults."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlplatform.protocols.workspace import Workspace

_METHODS = [
    "create_table",
    "write_table",
    "read_table",
    "get_table",
    "drop_table",
    "set_feature_table_tag",
    "delete_feature_table_tag",
    "create_feature_spec",
    "delete_feature_spec",
    "create_training_set",
    "log_model",
    "score_batch",
    "build_model_env",
]
_CONSTRUCTORS = ["FeatureLookup", "FeatureFunction"]
_NAMES = [*_METHODS, *_CONSTRUCTORS]

# What we leave out on purpose, and why.
_LEFT_OUT = {
    ("write_table", "checkpoint_location"): "streaming is not this project's job",
    ("write_table", "trigger"): "streaming is not this project's job",
}
# Defaults that differ on purpose: the real one, ours, and why.
_OTHER_DEFAULT = {
    (
        "log_model",
        "await_registration_for",
    ): "the real default is a private marker for 'MLflow's own default'; ours None",
}
_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@pytest.mark.parametrize("name", _NAMES)
def test_every_parameter_of_the_real_client_is_there(ws: Workspace, name: str) -> None:
    ours, real = _parameters(_ours(ws, name)), _parameters(_real(name))

    lacking = [parameter for parameter in real if parameter not in ours and (name, parameter) not in _LEFT_OUT]
    assert not lacking, f"{name} lacks {lacking}"


@pytest.mark.parametrize("name", _NAMES)
def test_defaults_are_the_real_ones(ws: Workspace, name: str) -> None:
    ours, real = _parameters(_ours(ws, name)), _parameters(_real(name))

    different = {
        parameter: (ours[parameter].default, real[parameter].default)
        for parameter in real
        if parameter in ours
        and ours[parameter].default != real[parameter].default
        and (name, parameter) not in _OTHER_DEFAULT
    }
    assert not different, f"{name}: parameter -> (ours, real): {different}"


@pytest.mark.parametrize("name", _NAMES)
def test_parameters_come_in_the_real_order(ws: Workspace, name: str) -> None:
    ours, real = _parameters(_ours(ws, name)), _parameters(_real(name))

    assert [parameter for parameter in ours if parameter in real] == [
        parameter for parameter in real if parameter in ours
    ]


@pytest.mark.parametrize("name", _NAMES)
def test_every_parameter_can_be_passed_as_there(ws: Workspace, name: str) -> None:
    """What the real client takes by keyword, we take by keyword; what it takes by position, by position."""
    ours, real = _parameters(_ours(ws, name)), _parameters(_real(name))

    different = {
        parameter: (ours[parameter].kind.description, real[parameter].kind.description)
        for parameter in real
        if parameter in ours and not _ways(real[parameter]) <= _ways(ours[parameter])
    }
    assert not different, f"{name}: parameter -> (ours, real): {different}"


@pytest.mark.parametrize("name", _NAMES)
def test_no_parameter_can_be_passed_in_more_ways(ws: Workspace, name: str) -> None:
    """The real client takes everything by keyword alone: a call by position would only work through our face."""
    ours, real = _parameters(_ours(ws, name)), _parameters(_real(name))

    wider = [parameter for parameter in real if parameter in ours and _ways(ours[parameter]) > _ways(real[parameter])]
    assert wider == []


@pytest.mark.parametrize("name", _NAMES)
def test_nothing_more_is_required(ws: Workspace, name: str) -> None:
    ours, real = _parameters(_ours(ws, name)), _parameters(_real(name))

    required = [
        parameter
        for parameter, declared in ours.items()
        if parameter not in real and declared.default is inspect.Parameter.empty
    ]
    assert not required, f"{name} requires {required}, which the real client does not have"


@pytest.mark.parametrize(("name", "parameter"), [*_LEFT_OUT, *_OTHER_DEFAULT])
def test_the_listed_differences_are_still_there(ws: Workspace, name: str, parameter: str) -> None:
    """A difference that is gone has to leave the list."""
    ours, real = _parameters(_ours(ws, name)), _parameters(_real(name))

    assert parameter in real
    assert parameter not in ours or ours[parameter].default != real[parameter].default


def test_every_public_method_of_the_real_client_is_offered_or_said_why_not(ws: Workspace) -> None:
    """The page `docs/feature-client.md` shows the same two lists; a unit test holds it to them."""
    from databricks.feature_engineering import FeatureEngineeringClient

    from mlplatform.workspace.shared.feature_methods import NOT_OFFERED

    public = {name for name, _ in inspect.getmembers(FeatureEngineeringClient, callable) if not name.startswith("_")}
    assert public == {*_METHODS, *NOT_OFFERED}
    assert not set(_METHODS) & set(NOT_OFFERED)
    assert all(hasattr(type(ws.fe), name) for name in _METHODS)


def _ours(ws: Workspace, name: str) -> Callable[..., Any]:
    import mlplatform

    return getattr(mlplatform if name in _CONSTRUCTORS else type(ws.fe), name)  # type: ignore[no-any-return]


def _real(name: str) -> Callable[..., Any]:
    from databricks import feature_engineering

    owner = feature_engineering if name in _CONSTRUCTORS else feature_engineering.FeatureEngineeringClient
    return getattr(owner, name)  # type: ignore[no-any-return]


def _parameters(called: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(called).parameters
    return {name: declared for name, declared in parameters.items() if name != "self" and declared.kind not in _OPEN}


def _ways(parameter: inspect.Parameter) -> set[str]:
    """Return the ways in which a parameter can be passed."""
    return {
        inspect.Parameter.POSITIONAL_ONLY: {"position"},
        inspect.Parameter.KEYWORD_ONLY: {"keyword"},
    }.get(parameter.kind, {"position", "keyword"})
