"""Search spaces: hyperopt's expressions, from which hyperopt draws, or another library in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

# Draws of a float in steps of q -> where their q stands: whole numbers where it is one.
_STEPPED = {"quniform": 2, "qloguniform": 2, "qnormal": 2, "qlognormal": 2}
_LOG = ("loguniform", "qloguniform")
_UNIFORM = ("uniform", "quniform", *_LOG)
_NORMAL = ("normal", "qnormal")
_LOGNORMAL = ("lognormal", "qlognormal")
# The ends of the quantiles that are searched: the normal distribution has none.
_RARE = 1e-6


class Draws(Protocol):
    """What another library draws, each by the label that it has in the space."""

    def option(self, label: str, count: int) -> int:
        """Return the number of one of so many options, which have no order."""
        ...

    def whole(self, label: str, low: int, high: int) -> int:
        """Return a whole number between two, both included."""
        ...

    def number(self, label: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number between two, as likely around 1 as around 10 where `log` is set."""
        ...


def whole_numbers(space: Mapping[str, Any]) -> Any:
    """Return a space as hyperopt's expression, in which stepped draws of whole steps are whole numbers.

    `hp.quniform("depth", 2, 8, 1)` draws 4.0, which estimators refuse where they need a whole number.

    Args:
        space: The hyperopt space; it is left as it is.
    """
    from hyperopt.pyll import as_apply, dfs
    from hyperopt.pyll.base import clone

    expression = clone(as_apply(dict(space)))
    for node in dfs(expression):
        drawn = node.pos_args[0].pos_args[1] if _draws(node) else None
        if drawn is not None and drawn.name in _STEPPED and _is_whole(drawn):
            node.name = "int"
    return expression


def plain(params: Any) -> Any:
    """Return parameters as plain Python values: hyperopt hands out numpy scalars, which JSON does not take."""
    if isinstance(params, Mapping):
        return {key: plain(value) for key, value in params.items()}
    if isinstance(params, (list, tuple)):
        return type(params)(plain(value) for value in params)
    return params.item() if isinstance(params, np.generic) else params


def drawn_from(expression: Any, draws: Draws) -> dict[str, Any]:
    """Return parameters from a space, whose draws another library makes.

    Of a choice, only what the chosen option needs is drawn. What most libraries do not know, normal distributions and
    choices with weights, is drawn as a quantile, so that what was likely stays likely.

    Args:
        expression: See `whole_numbers`.
        draws: Makes the draws.

    Raises:
        ValueError: If a draw is none that is known here.
    """
    from hyperopt import space_eval

    values: dict[str, Any] = {}
    _draw(expression, draws, values)
    params: dict[str, Any] = plain(space_eval(expression, values))
    return params


def _draw(node: Any, draws: Draws, values: dict[str, Any]) -> None:
    if node.name == "hyperopt_param":
        label = node.arg["label"].obj
        if label not in values:
            values[label] = _value(label, node.arg["obj"], draws, is_choice=False)
    elif node.name == "switch" and node.inputs()[0].name == "hyperopt_param":
        chooser, *options = node.inputs()
        label = chooser.arg["label"].obj
        if label not in values:
            values[label] = _value(label, chooser.arg["obj"], draws, is_choice=True)
        _draw(options[values[label]], draws, values)
    else:
        for item in node.inputs():
            _draw(item, draws, values)


def _value(label: str, drawn: Any, draws: Draws, *, is_choice: bool) -> Any:
    given = _arguments(drawn)
    if drawn.name == "randint":
        low, high = (0, given["low"]) if given.get("high") is None else (given["low"], given["high"])
        return draws.option(label, int(high)) if is_choice else draws.whole(label, int(low), int(high) - 1)
    if drawn.name == "categorical":
        return int(np.searchsorted(np.cumsum(given["p"])[:-1], draws.number(label, 0.0, 1.0), side="right"))
    if drawn.name in _UNIFORM:
        return _uniform(label, drawn.name, given, draws)
    if drawn.name in (*_NORMAL, *_LOGNORMAL):
        from scipy.special import ndtri

        value = given["mu"] + given["sigma"] * float(ndtri(draws.number(label, _RARE, 1 - _RARE)))
        value = float(np.exp(value)) if drawn.name in _LOGNORMAL else value
        return value if "q" not in given else _stepped(value, given["q"])
    raise ValueError(f"the draw {drawn.name} of {label} is known to hyperopt only")


def _uniform(label: str, name: str, given: Mapping[str, Any], draws: Draws) -> float:
    low, high, step = given["low"], given["high"], given.get("q")
    if name in _LOG:
        value = draws.number(label, float(np.exp(low)), float(np.exp(high)), log=True)
        return value if step is None else _stepped(value, step)
    if step is None:
        return draws.number(label, float(low), float(high))
    # Multiples of the step, as hyperopt draws them, wherever the bounds lie.
    return draws.whole(label, round(low / step), round(high / step)) * step  # type: ignore[no-any-return]


def _stepped(value: float, step: float) -> float:
    return float(np.round(value / step) * step)


def _arguments(drawn: Any) -> dict[str, Any]:
    """Return what a draw was declared with, by name; what was left to hyperopt's default is left out."""
    from hyperopt.pyll import rec_eval
    from hyperopt.pyll.base import Apply

    names = ("low", "high", "q", "mu", "sigma", "p")
    given = drawn.arg
    return {name: rec_eval(given[name]) for name in names if isinstance(given.get(name), Apply)}


def _draws(node: Any) -> bool:
    return node.name == "float" and bool(node.pos_args) and node.pos_args[0].name == "hyperopt_param"


def _is_whole(drawn: Any) -> bool:
    """Tell whether a stepped draw gives whole numbers: its step is one, and for `quniform` its bounds are, too."""
    values = list(drawn.pos_args) + [value for _, value in drawn.named_args]
    numbers = [value.obj for value in values if value.name == "literal"]
    asked = numbers if drawn.name == "quniform" else numbers[_STEPPED[drawn.name] :]
    return len(numbers) == len(values) and all(float(number).is_integer() for number in asked)
