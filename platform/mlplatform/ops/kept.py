"""What a model in use reads and is declared otherwise by now: it is computed on by the code on record."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mlplatform.ops.context import StageContext


@dataclass(frozen=True)
class Kept:
    """Parts of a use case as an earlier version of its code declares them.

    Attributes:
        context: The run, with the names under which that code wrote.
        sources: Sources that only that code declares.
        silver: Silver tables that only that code computes.
        features: Feature tables that only that code computes.
        functions: Feature functions as that code declares them.
        modules: The modules of that code, by name.
    """

    context: StageContext
    sources: tuple[type[Any], ...]
    silver: tuple[type[Any], ...]
    features: tuple[type[Any], ...]
    functions: tuple[Any, ...]
    modules: Mapping[str, ModuleType]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let that code be what imports find, so that its digests, and what it imports late, are its own."""
        with in_place(self.modules):
            yield


KeptParts = Callable[[StageContext], Sequence[Kept]]
"""Gives what is kept for the models in use."""


def nothing(context: StageContext) -> Sequence[Kept]:
    """Keep nothing."""
    del context
    return ()


@contextmanager
def in_place(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Put modules in place of those that are imported under their names, and take them away again.

    Workers of Spark import the code that is installed there: functions of these modules go to them by value.

    Args:
        modules: Name of a package or of one of its modules -> the module.
    """
    from pyspark import cloudpickle

    top = min(modules, key=len)
    before = _imported(top)
    _replace(top, before, modules)
    by_value = cloudpickle.list_registry_pickle_by_value()  # type: ignore[no-untyped-call]
    ours = [module for module in modules.values() if module.__name__ not in by_value]
    for module in ours:
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for module in ours:
            cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call]
        _replace(top, _imported(top), before)


def _imported(top: str) -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name == top or name.startswith(f"{top}.")}


def _replace(top: str, before: Mapping[str, ModuleType], modules: Mapping[str, ModuleType]) -> None:
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    # `import use_cases.churn as churn` takes the attribute of the package above.
    above, _, last = top.rpartition(".")
    if above in sys.modules:
        if top in modules:
            setattr(sys.modules[above], last, modules[top])
        elif hasattr(sys.modules[above], last):
            delattr(sys.modules[above], last)
