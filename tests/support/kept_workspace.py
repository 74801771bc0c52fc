"""A small workspace as a release made it: packed beside what it answered then, and unpacked to be asked again."""

from __future__ import annotations

import hashlib
import json
import lzma
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from packaging.version import Version

FOLDER = Path(__file__).parents[1] / "released" / "workspaces"
_ENDING = ".tar.xz"
_TOP = "workspace"
# What every command makes anew, or leaves behind.
_LEFT_OUT = frozenset({"__pycache__", "logs", "reports", "tmp", ".locks"})


@dataclass(frozen=True)
class Answers:
    """What a workspace answered to the release that made it.

    Attributes:
        as_of: The newest time at which it was run.
        next_run: The time of the next run, for which data lies ready.
        champion: The champion's version.
        prediction_columns: Of the table of predictions.
        predictions: Digest of its rows in these columns.
    """

    as_of: str
    next_run: str
    champion: int
    prediction_columns: tuple[str, ...]
    predictions: str


@dataclass(frozen=True)
class KeptWorkspace:
    """A workspace, its use case with the code of the time, and what was printed then.

    Attributes:
        folder: Holds `home`, `use_cases`, `history.json` and `answers.json`.
    """

    folder: Path

    @property
    def home(self) -> Path:
        """The local workspace."""
        return self.folder / "home"

    @property
    def use_cases(self) -> Path:
        """The folder of its one use case."""
        return self.folder / "use_cases"

    @property
    def use_case(self) -> str:
        """The use case's name."""
        (config,) = self.use_cases.glob("*/config.yml")
        return config.parent.name

    @property
    def options(self) -> list[str]:
        """The options of the command line that say where to work."""
        return ["--home", str(self.home), "--use-cases", str(self.use_cases)]

    @property
    def history(self) -> str:
        """What `mlplatform history --json` printed."""
        return (self.folder / "history.json").read_text(encoding="utf-8")

    @property
    def answers(self) -> Answers:
        """What else it answered."""
        values: dict[str, Any] = json.loads((self.folder / "answers.json").read_text(encoding="utf-8"))
        return Answers(**values | {"prediction_columns": tuple(values["prediction_columns"])})

    def keep(self, history: str, answers: Answers) -> None:
        """Write down what it answers."""
        (self.folder / "history.json").write_text(history, encoding="utf-8")
        (self.folder / "answers.json").write_text(json.dumps(asdict(answers), indent=2) + "\n", encoding="utf-8")


def kept_versions() -> list[str]:
    """Return the versions of which a workspace is kept, oldest first."""
    return sorted((path.name.removesuffix(_ENDING) for path in FOLDER.glob(f"*{_ENDING}")), key=Version)


def archive_of(version: str) -> Path:
    """Return where the workspace of a version is kept."""
    return FOLDER / f"{version}{_ENDING}"


def unpack(version: str, folder: Path) -> KeptWorkspace:
    """Unpack the workspace of a version into a folder, where it has never been."""
    with tarfile.open(archive_of(version)) as archive:
        archive.extractall(folder, filter="data")
    return KeptWorkspace(folder / _TOP)


def pack(kept: KeptWorkspace, target: Path) -> None:
    """Pack a workspace: the same files give the same archive, whoever packs them."""

    def of_nobody(item: tarfile.TarInfo) -> tarfile.TarInfo:
        item.uid = item.gid = 0
        item.uname = item.gname = ""
        item.mode = 0o755 if item.isdir() else 0o644
        item.mtime = int(item.mtime)
        return item

    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        lzma.open(target, "wb", preset=9 | lzma.PRESET_EXTREME) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(kept.folder.rglob("*")):
            if not _LEFT_OUT & set(path.relative_to(kept.folder).parts):
                name = f"{_TOP}/{path.relative_to(kept.folder)}"
                archive.add(path, name, recursive=False, filter=of_nobody)


def digest(rows: pa.Table, columns: Sequence[str]) -> str:
    """Return a digest of rows in whatever order: the same for the same values, to the last bit."""
    lines = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows.select(list(columns)).to_pylist())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
