"""Parts of a use case: found in the modules of its package, unless the use case declares them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from mlplatform.derived_attributes import derived
from mlplatform.errors import ConfigError

# In this order, and all others after them by name: parts come in an order that does not depend on who imports whom.
_MODULES = ("tables", "features", "model")
_NOT_OURS = ("_", "test_", "conftest")


def several(base: type, *, of: str, least: int = 0) -> Any:
    """Return an attribute that holds the classes of one kind, found in the use case's modules in their order.

    Args:
        base: The base class of the kind.
        of: The attribute's name, for messages.
        least: How many there must be.
    """

    def find(use_case: type) -> tuple[type, ...]:
        classes = tuple(_classes(use_case, base))
        if len(classes) < least:
            raise _missing(use_case, base, of)
        return classes

    return derived(find)


def single(base: type, *, of: str, default: type | None = None) -> Any:
    """Return an attribute that holds the one class of its kind, found in the use case's modules.

    Args:
        base: The base class of the kind.
        of: The attribute's name, for messages.
        default: What it is where no class is found; None: there must be one.
    """

    def find(use_case: type) -> type:
        classes = list(_classes(use_case, base))
        if len(classes) > 1:
            places = " and ".join(f"{cls.__name__} ({cls.__module__})" for cls in classes)
            raise ConfigError(
                f"{use_case.__name__} takes one {of}, and its modules define {len(classes)}: {places}.",
                hint=f"Declare the one that counts: {of} = {classes[0].__name__} in {use_case.__name__}; or begin the "
                "name of a base class with an underscore.",
            )
        if classes:
            return classes[0]
        if default is None:
            raise _missing(use_case, base, of)
        return default

    return derived(find)


def objects(kind: type) -> Any:
    """Return an attribute that holds the objects of one kind that stand at the level of the use case's modules."""

    def find(use_case: type) -> tuple[Any, ...]:
        values = (value for module in modules_of(use_case) for value in vars(module).values())
        return tuple({id(value): value for value in values if isinstance(value, kind)}.values())

    return derived(find)


def modules_of(use_case: type) -> list[ModuleType]:
    """Return the modules of a use case's package, imported: its own, `tables`, `features`, `model`, the others by name.

    Left out are subpackages, test modules, `conftest`, and modules whose name begins with an underscore. A use case
    whose class is not defined in a package's `__init__.py` has only the module that defines it.

    Args:
        use_case: Its class.
    """
    own = sys.modules[use_case.__module__]
    if not hasattr(own, "__path__"):
        return [own]
    modules = pkgutil.iter_modules(own.__path__)
    names = [item.name for item in modules if not item.ispkg and not item.name.startswith(_NOT_OURS)]
    order = {name: place for place, name in enumerate(_MODULES)}
    names.sort(key=lambda name: (order.get(name, len(order)), name))
    return [own, *(importlib.import_module(f"{own.__name__}.{name}") for name in names)]


def repeated_names(use_case: type) -> Iterator[str]:
    """Yield what is wrong with the names of the classes that a use case's modules define: each is there once.

    Args:
        use_case: Its class.
    """
    classes = [
        cls
        for module in modules_of(use_case)
        for cls in vars(module).values()
        if isinstance(cls, type) and cls.__module__ == module.__name__ and not cls.__name__.startswith("_")
    ]
    for name, count in Counter(cls.__name__ for cls in dict.fromkeys(classes)).items():
        if count > 1:
            places = sorted(cls.__module__ for cls in classes if cls.__name__ == name)
            yield f"{use_case.__name__}: the class name {name} is taken twice, in {' and in '.join(places)}"


def _classes(use_case: type, base: type) -> Iterator[type]:
    """Yield the concrete classes of a kind that the use case's modules define themselves, in the order they stand."""
    for problem in repeated_names(use_case):
        raise ConfigError(f"{problem}.", hint="Rename one of them.")
    for module in modules_of(use_case):
        for name, cls in vars(module).items():
            if (
                isinstance(cls, type)
                and issubclass(cls, base)
                and cls.__module__ == module.__name__
                and name == cls.__name__
                and not name.startswith("_")
                and not _is_abstract(cls)
            ):
                yield cls


def _is_abstract(cls: type) -> bool:
    # By its methods: not every base class is an `ABC`.
    return any(getattr(inspect.getattr_static(cls, name), "__isabstractmethod__", False) for name in dir(cls))


def _missing(use_case: type, base: type, of: str) -> ConfigError:
    places = ", ".join(module.__name__ for module in modules_of(use_case))
    return ConfigError(
        f"{use_case.__name__} has no {of}: no {base.__name__} is defined in {places}.",
        hint=f"Define a subclass of {base.__name__} there, or declare {of} in {use_case.__name__}.",
    )
