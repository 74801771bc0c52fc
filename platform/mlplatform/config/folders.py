"""Where use cases lie: in `--use-cases PATH`, in `use_cases/` of the project, or installed under an entry point.

Nothing is imported here, so that whoever needs only the folders, or what their `config.yml` declares, can ask.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlplatform.config.environments import STANDARD, check_known, read_config
from mlplatform.config.settings import CONFIG_FILE
from mlplatform.errors import ConfigError, PlatformError, UsageError, shortened
from mlplatform.naming import check_use_case_name

ENTRY_POINTS = "mlplatform.use_cases"
FOLDER = "use_cases"
SETTING = "MLPLATFORM_USE_CASES"
_LONGEST_PATH = 200


@dataclass(frozen=True)
class UseCaseLocation:
    """A use case that was found, not imported yet.

    Attributes:
        name: Its name.
        folder: Its folder, or None when an entry point names it and it must be imported to know.
        origin: Where it was found, for messages.
        entry_point: `module:Class`, when it was found that way.
    """

    name: str
    folder: Path | None
    origin: str
    entry_point: str = ""


class BrokenUseCaseWarning(UserWarning):
    """A folder among the use cases is none, or its settings cannot be read; the others work."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        use_cases: The use cases by name; of two with the same name the first one won.
        broken: What stands among them and is none: its name -> what is wrong with it.
    """

    use_cases: dict[str, UseCaseLocation] = field(default_factory=dict)
    broken: dict[str, PlatformError] = field(default_factory=dict)


def find_use_cases(path: str | Path | None = None) -> dict[str, UseCaseLocation]:
    """Return all use cases by name; of two with the same name the first one wins.

    One folder that cannot be a use case keeps nobody from the others: a `BrokenUseCaseWarning` names it.

    Args:
        path: A folder of use cases, searched first; default the setting `MLPLATFORM_USE_CASES`.

    Raises:
        UsageError: If the path is not a folder.
    """
    found = search(path)
    for problem in found.broken.values():
        warn_of(problem)
    return found.use_cases


def warn_of(problem: PlatformError) -> None:
    """Name what is broken among the use cases, and go on with the others."""
    hint = f" {problem.hint}" if problem.hint else ""
    warnings.warn(f"{problem.message}{hint} The other use cases work.", BrokenUseCaseWarning, stacklevel=3)


def search(path: str | Path | None = None) -> Found:
    """Return all use cases, and what stands among them and is none.

    Args:
        path: As for `find_use_cases`.

    Raises:
        UsageError: If the path is not a folder.
    """
    found = Found()
    use_cases = found.use_cases
    searched = path or os.environ.get(SETTING)
    if searched and not _is_folder(Path(searched)):
        raise UsageError(
            f"{_shown(searched)} is not a folder.", hint="--use-cases names the folder that holds use-case folders."
        )
    for folder, origin in ((searched, f"--use-cases {searched}"), (FOLDER, f"./{FOLDER}")):
        if folder:
            for item in in_folder(Path(folder), origin):
                if isinstance(item, UseCaseLocation):
                    use_cases.setdefault(item.name, item)
                else:
                    found.broken.setdefault(*item)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        use_cases.setdefault(
            point.name, UseCaseLocation(point.name, _installed_folder(point.value), "installed", point.value)
        )
    return Found(dict(sorted(use_cases.items())), found.broken)


def check_environment(env: str, path: str | Path | None = None) -> None:
    """Refuse an environment that is not a standard one and that no use case declares.

    Args:
        env: Its name.
        path: A folder of use cases, searched first.

    Raises:
        UsageError: If it does not exist; the message lists those that do.
    """
    if env in STANDARD:
        return
    files = [item.folder / CONFIG_FILE for item in find_use_cases(path).values() if item.folder is not None]
    declared: list[str] = []
    for file in files:
        try:
            declared += read_config(file).sections
        except ConfigError as error:
            warn_of(error)
    check_known(env, declared, where="known to any use case here")


def in_folder(folder: Path, origin: str = "") -> Iterator[UseCaseLocation | tuple[str, PlatformError]]:
    """Yield the use cases in a folder, and of what stands there and is none its name and what is wrong with it.

    Args:
        folder: The folder.
        origin: How it was found, for messages.
    """
    if not _is_folder(folder):
        return
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        yield folder.name, _unreadable(folder, error)
        return
    for child in children:
        try:
            if (child / "__init__.py").is_file() and (child / CONFIG_FILE).is_file():
                yield UseCaseLocation(check_use_case_name(child.name), child.resolve(strict=True), origin)
            elif child.is_symlink() and not child.exists():
                problem = ConfigError(f"{_shown(child)} is a link that leads nowhere.", hint="Mend it, or remove it.")
                yield child.name, problem
        except UsageError as error:
            hint = f"{error.hint} Rename the folder {_shown(child)}, or move it elsewhere."
            yield child.name, UsageError(error.message, hint=hint)
        except (OSError, RuntimeError) as error:
            yield child.name, _unreadable(child, error)


def why_not(name: str, path: str | Path | None = None) -> str:
    """Say what a folder of this name lacks to be a use case; empty where there is none.

    Args:
        name: The folder's name.
        path: As for `find_use_cases`.
    """
    for folder in (path or os.environ.get(SETTING), FOLDER):
        child = Path(folder) / name if folder and Path(name).name == name else None
        if child is not None and _is_folder(child):
            missing = [file for file in ("__init__.py", CONFIG_FILE) if not (child / file).is_file()]
            if missing:
                return f"The folder {_shown(child)} is none: it has no {' and no '.join(missing)}."
    return ""


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long for a name, or closed to us
        return False


def _unreadable(path: Path, error: Exception) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(f"{_shown(path)} cannot be read: {reason}.", hint="Is it yours to read?")


def _shown(path: str | Path) -> str:
    text = str(path)
    return text if text.isprintable() and len(text) <= _LONGEST_PATH else shortened(text, _LONGEST_PATH)


def _installed_folder(entry_point: str) -> Path | None:
    # Finding the package does not import it; importing would load pyspark.
    try:
        spec = importlib.util.find_spec(entry_point.partition(":")[0])
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec and spec.origin else None
