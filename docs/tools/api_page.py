"""`docs/api.md`: the public names in a table; on the built page each with all that its docstring says."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlplatform
import mlplatform.testing
from docs.tools.markdown import cell, made_by, table
from docs.tools.pages import ROOT

PAGE = "docs/api.md"
PACKAGE = ROOT / "platform"


@dataclass(frozen=True)
class Group:
    """Names that are told together.

    Attributes:
        title: Their heading.
        text: A sentence about them.
        module: Where they are imported from.
        names: The names.
    """

    title: str
    text: str
    module: str
    names: tuple[str, ...]


GROUPS = (
    Group("A use case and its run", "", "mlplatform", ("UseCase", "open_workspace", "open_use_case", "Pipeline")),
    Group(
        "Tables, from landed files to labels",
        "",
        "mlplatform",
        (
            "Source",
            "Dialect",
            "Replay",
            "SilverTable",
            "Column",
            "Expectation",
            "LabelSpine",
            "EventSpine",
            "WorkspaceAsOf",
        ),
    ),
    Group(
        "Features",
        "",
        "mlplatform",
        ("FeatureTable", "RollingFeatureTable", "FeatureLookup", "FeatureFunction", "FeatureFunctionSpec"),
    ),
    Group("Training", "", "mlplatform", ("Trainer", "FitRows", "WeightColumn", "coded", "Metric")),
    Group("The gate", "", "mlplatform", ("ChampionGate", "GateCheck", "CheckResult", "Evidence")),
    Group("Scoring and monitoring", "", "mlplatform", ("BatchScorer", "Monitor")),
    Group(
        "Times",
        "",
        "mlplatform",
        ("Duration", "parse_as_of", "label_horizon", "start_of_period", "end_of_period", "utc_from_local"),
    ),
    Group(
        "SQL of landed texts", "", "mlplatform", ("number_sql", "time_sql", "present_sql", "readable_sql", "one_of_sql")
    ),
    Group("Labels of several classes", "", "mlplatform", ("label_classes",)),
    Group("Errors", "All of them: [errors and exit codes](errors.md).", "mlplatform", ("MissingDependencyError",)),
    Group(
        "Testing",
        "What a use case's author uses in tests.",
        "mlplatform.testing",
        tuple(mlplatform.testing.__all__),
    ),
    Group(
        "What a workspace offers",
        "The protocols that both homes keep. They are not exported by `mlplatform`: a use case gets a workspace, and "
        "does not make one. Names in here may change with a release.",
        "mlplatform.protocols.workspace",
        (
            "Workspace",
            "Tables",
            "Frames",
            "FeatureClient",
            "Registry",
            "Functions",
            "Secrets",
            "Jobs",
            "Monitors",
            "Access",
            "Maintenance",
        ),
    ),
)
_INTRODUCTION = f"""\
# Python API

{made_by("the docstrings of the public names")}

What is listed here up to *Testing* is kept from release to release; what is not may change without notice. In a
checkout `help(mlplatform.Trainer)` shows a name's docstring whole, and so does this page where it is
[built](../CONTRIBUTING.md#documentation) (`make docs`).
"""


def page() -> str:
    """Return the text of the page.

    Raises:
        ValueError: If a public name is in no group, or in two.
    """
    told = [name for group in GROUPS if group.module == "mlplatform" for name in group.names]
    if sorted(told) != sorted(mlplatform.__all__):
        raise ValueError(f"docs/tools/api_page.py: {sorted(set(told) ^ set(mlplatform.__all__))} differ from __all__")
    return "\n".join([_INTRODUCTION, *(text for group in GROUPS for text in _group(group))])


def _group(group: Group) -> Iterator[str]:
    yield f"## {group.title}\n"
    if group.text:
        yield f"{group.text}\n"
    rows = []
    for name in group.names:
        value = getattr(importlib.import_module(group.module), name)
        text = (inspect.getdoc(value) or "").partition("\n")[0]
        module = str(value.__module__)
        rows.append((f"`{name}`", cell(text), f"[`{module}`](../{source(module)})"))
    yield table(("name", "what it is", "module"), rows)


def source(module: str) -> str:
    """Return a module's file, from the project's folder.

    Examples:
        >>> source("mlplatform.as_of"), source("mlplatform.workspace")
        ('platform/mlplatform/as_of.py', 'platform/mlplatform/workspace/__init__.py')
    """
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return Path(file).relative_to(ROOT).as_posix()


def directives(title: str) -> str:
    """Return what makes Sphinx write the docstrings of a group out; empty if there is no such group."""
    lines = []
    for group in GROUPS:
        if group.title == title:
            for name in group.names:
                kind = (
                    "autoclass"
                    if inspect.isclass(getattr(importlib.import_module(group.module), name))
                    else "autofunction"
                )
                without = (
                    "\n   :exclude-members: gate, scorer, monitor" if name == "UseCase" else ""
                )  # told as attributes
                lines.append(f".. {kind}:: {group.module}.{name}{without}")
    return "```{eval-rst}\n" + "\n\n".join(lines) + "\n```\n" if lines else ""
