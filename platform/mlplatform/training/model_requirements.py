"""What a model needs where it is scored: the packages that its parts come from, at the installed versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

from mlplatform.errors import ConfigError

_OF_SKLEARN = ("scikit-learn", "numpy", "pandas", "scipy", "skops")
# LightGBM and CatBoost import SciPy, XGBoost too; all are given pandas frames.
_OF_A_BOOSTER = ("numpy", "pandas", "scipy")
# Not a requirement of its own: what our own classes need is the wheel, which is not on an index.
_OURS = "mlplatform"
_PARTS = 1000
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def model_requirements(model: Any, flavor: str, declared: Sequence[str] = ()) -> list[str]:
    """Return the requirements of a model, each with its version.

    MLflow's own guess imports the model in a child process, which takes ten seconds.

    Args:
        model: Fitted, as it is stored.
        flavor: The MLflow flavor that stores it.
        declared: Further ones: names, which get the installed version, or whole requirements.

    Raises:
        ConfigError: If a package that is declared by its name is not installed.

    Examples:
        >>> from sklearn.linear_model import Ridge
        >>> [line.partition("==")[0] for line in model_requirements(Ridge(), "sklearn", ["narwhals"])]
        ['scikit-learn', 'numpy', 'pandas', 'scipy', 'skops', 'narwhals']
    """
    names = [*(_OF_SKLEARN if flavor == "sklearn" else _OF_A_BOOSTER)]
    names += [name for name in libraries(model) if name not in names]
    lines = [f"{name}=={version(name)}" for name in names]
    for requirement in declared:
        if _NAME.fullmatch(requirement) is None:
            lines.append(requirement)
        elif requirement not in names:
            lines.append(f"{requirement}=={_installed(requirement)}")
    return lines


def libraries(model: Any) -> list[str]:
    """Return the distributions that the parts of a model come from, beside scikit-learn and NumPy.

    Args:
        model: An estimator, fitted or not.

    Examples:
        >>> from sklearn.linear_model import Ridge
        >>> libraries(Ridge())
        []
    """
    roots = {root for root in _modules(model) if root not in ("sklearn", "numpy", "scipy", "pandas", "builtins")}
    if not roots:
        return []
    distributions = packages_distributions()
    return sorted({name for root in roots for name in distributions.get(root, ())[:1]} - {_OURS})


def _modules(model: Any) -> set[str]:
    """Return the top-level modules of a model's class and of what it is made of."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = [model]
    while waiting and len(seen) < _PARTS:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, str | bytes | bytearray | int | float | bool | None):
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple | set):
            waiting += part
        else:
            found.add(type(part).__module__.partition(".")[0])
            if hasattr(part, "get_params"):
                waiting += _values(part)
    return found


def _values(estimator: Any) -> Iterable[Any]:
    return [*estimator.get_params(deep=False).values(), *getattr(estimator, "__dict__", {}).values()]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        raise ConfigError(
            f"The trainer's requirements name {name}, which is not installed.",
            hint="Install it, or give a whole requirement with its version.",
        ) from None
