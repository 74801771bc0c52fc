"""The code of a use case on record: kept when its tables are computed, and loaded where a model in use needs it."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from mlplatform.errors import StageError
from mlplatform.ops.kept import in_place
from mlplatform.ops.records import CodeRecord

_SUFFIXES = (".py", ".sql")
_NOT_OURS = ("tests", "data", "__pycache__")
KEPT = "__kept__"
"""Name in modules of code on record, by which they are told from those that are installed."""
MOST_BYTES = 2_000_000
"""Of the files of a use case: what is larger is no code."""


@dataclass(frozen=True)
class Package:
    """The package that a use case's class is defined in.

    Attributes:
        name: Its name.
        use_case_class: The class's name in it.
        folder: Its folder.
    """

    name: str
    use_case_class: str
    folder: Path

    @classmethod
    def of(cls, use_case: type) -> Package | None:
        """Return the package of a use case; None where it is none, as in a notebook: its code cannot be kept."""
        module = sys.modules.get(use_case.__module__)
        paths = list(getattr(module, "__path__", []))
        return cls(use_case.__module__, use_case.__qualname__, Path(paths[0])) if len(paths) == 1 else None

    def files(self) -> dict[str, str]:
        """Return the text of its files with code, by their path in it; tests and data aside.

        Raises:
            StageError: If they are larger than code is.
        """
        found: dict[str, str] = {}
        for path in sorted(self.folder.rglob("*")):
            inner = path.relative_to(self.folder)
            ours = not any(part in _NOT_OURS or part.startswith(".") for part in inner.parts)
            if ours and path.suffix in _SUFFIXES and path.is_file():
                found[inner.as_posix()] = path.read_text(encoding="utf-8")
        size = sum(map(len, found.values()))
        if size > MOST_BYTES:
            raise StageError(
                f"The code of {self.name} in {self.folder} is {size:,} bytes; at most {MOST_BYTES:,} are kept.",
                hint="Move what is no code of this use case to another folder, or into data/.",
            )
        return found


@dataclass(frozen=True)
class LoadedCode:
    """The code of a use case on record, imported.

    Attributes:
        use_case: Its class; to be used while `modules` are in place.
        modules: Its modules, by name.
    """

    use_case: Any
    modules: Mapping[str, ModuleType]


def load(record: CodeRecord, use_case: str) -> LoadedCode:
    """Import the code of a record, beside the code that is installed under its name; each once a process.

    Args:
        record: The record.
        use_case: The use case's name.

    Raises:
        StageError: If it cannot be imported.
    """
    try:
        return _load(record.package, record.use_case_class, tuple(sorted(record.files.items())))
    except _ImportFailedError as error:
        cause = error.__cause__
        raise StageError(
            f"The code of {record.package} on record, which computes what a model in use reads, cannot be imported: "
            f"{type(cause).__name__}: {cause}",
            hint="Install what it needs, or accept that such models are given what the code of now computes: "
            f'mlplatform apply {use_case} --in-place --reason "why"',
        ) from cause


class _ImportFailedError(Exception):
    """Raised where code on record cannot be imported; its cause says why."""


@lru_cache(maxsize=16)
def _load(package: str, use_case_class: str, files: tuple[tuple[str, str], ...]) -> LoadedCode:
    # The files stay as long as the process: tracebacks, and the digests of what they define, read them.
    folder = Path(tempfile.mkdtemp(prefix="mlplatform-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, text in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(
        package, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with in_place({package: module}):
        try:
            spec.loader.exec_module(module)
            use_case = getattr(module, use_case_class)
            # Its other modules are imported where its parts are looked for.
            _ = use_case.silver, use_case.features, use_case.functions
        except Exception as error:
            raise _ImportFailedError from error
        modules = {
            name: held for name, held in sys.modules.items() if name == package or name.startswith(f"{package}.")
        }
    for held in modules.values():
        vars(held)[KEPT] = True
    return LoadedCode(use_case, modules)
