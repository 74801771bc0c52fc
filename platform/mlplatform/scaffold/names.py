"""What a new use case may be called, and what its classes are called."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import sys

from mlplatform.errors import UsageError
from mlplatform.naming import OPS_SCHEMA, check_use_case_name

# Packages that are not installed everywhere where a use case runs, and folders that stand beside it.
_TAKEN = frozenset(
    [
        "mlplatform",
        "databricks",
        "delta",
        "dbutils",
        "spark",
        "pyspark",
        "test",
        "tests",
        "use_cases",
        "src",
        "docs",
        "resources",
        "conftest",
    ]
)
# Names in the files that are written.
_CLASSES = frozenset(
    [
        "UseCase",
        "Cases",
        "DropsSource",
        "Facts",
        "Outcomes",
        "Column",
        "Expectation",
        "Source",
        "Monitor",
        "Trainer",
        "Path",
        "Mapping",
        "Any",
    ]
)


def check_new_name(name: str) -> str:
    """Return the name of a use case to be made.

    Beyond what any name must be, it shadows nothing: pytest and notebooks put the folder of use cases on the path, and
    `import pandas` would find the use case.

    Raises:
        UsageError: If it cannot be one, says something else to Python, or is a module's or package's.
    """
    check_use_case_name(name)
    why = ""
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        why = "a word of the Python language"
    elif name == OPS_SCHEMA:
        why = "where the platform keeps its own tables"
    elif name in sys.stdlib_module_names:
        why = "a module of Python's standard library, which it would hide"
    elif name in _TAKEN:
        why = "a package or folder that stands beside use cases, which it would hide"
    elif package := _package(name):
        why = f"a package that is installed ({package}), which it would hide"
    if why:
        raise UsageError(f"{name!r} cannot name a use case: it is {why}.", hint="Choose another name.")
    return name


def _package(name: str) -> str:
    """Return the installed package that a module comes from; empty: from none."""
    # To look through all packages takes a while, and most names are no module's.
    if importlib.util.find_spec(name) is None:
        return ""
    return next(iter(importlib.metadata.packages_distributions().get(name, ())), "")


def class_name(name: str) -> str:
    """Return what the use case's class is called.

    Examples:
        >>> class_name("house_price"), class_name("cases")
        ('HousePrice', 'CasesUseCase')
    """
    name_of_class = "".join(part.capitalize() for part in name.split("_"))
    taken = name_of_class in _CLASSES or keyword.iskeyword(name_of_class)
    return f"{name_of_class}UseCase" if taken or name_of_class.endswith(("Features", "Source")) else name_of_class
