"""Where use cases lie: in `--use-cases PATH`, in `use_cases/` of the project, or installed under an entry point.

Nothing is imported here, so that whoever needs only the folders, or what their `config.yml` declares, can ask.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlplatform.config.environments import STANDARD, check_known, read_config
from mlplatform.config.settings import CONFIG_FILE
from mlplatform.errors import UsageError
from mlplatform.naming import check_use_case_name

ENTRY_POINTS = "mlplatform.use_cases"
FOLDER = "use_cases"
SETTING = "MLPLATFORM_USE_CASES"


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


def find_use_cases(path: str | Path | None = None) -> dict[str, UseCaseLocation]:
    """Return all use cases by name; of two with the same name the first one wins.

    Args:
        path: A folder of use cases, searched first; default the setting `MLPLATFORM_USE_CASES`.

    Raises:
        UsageError: If the path is not a folder.
    """
    use_cases: dict[str, UseCaseLocation] = {}
    searched = path or os.environ.get(SETTING)
    if searched and not Path(searched).is_dir():
        raise UsageError(
            f"{searched} is not a folder.", hint="--use-cases names the folder that holds use-case folders."
        )
    for folder, origin in ((searched, f"--use-cases {searched}"), (FOLDER, f"./{FOLDER}")):
        if folder:
            for item in _in_folder(Path(folder), origin):
                use_cases.setdefault(item.name, item)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        use_cases.setdefault(
            point.name, UseCaseLocation(point.name, _installed_folder(point.value), "installed", point.value)
        )
    return dict(sorted(use_cases.items()))


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
    declared = [name for file in files for name in read_config(file).sections]
    check_known(env, declared, where="known to any use case here")


def _in_folder(folder: Path, origin: str) -> Iterator[UseCaseLocation]:
    if not folder.is_dir():
        return
    for child in sorted(folder.iterdir()):
        if (child / "__init__.py").is_file() and (child / CONFIG_FILE).is_file():
            yield UseCaseLocation(check_use_case_name(child.name), child.resolve(), origin)


def _installed_folder(entry_point: str) -> Path | None:
    # Finding the package does not import it; importing would load pyspark.
    try:
        spec = importlib.util.find_spec(entry_point.partition(":")[0])
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec and spec.origin else None
