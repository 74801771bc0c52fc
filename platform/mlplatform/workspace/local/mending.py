"""Bringing a damaged table on disk to a state that can be read: what is damaged is put aside, nothing is removed.

In this order: entries of the log are put back from their copies in the journal; checkpoints and the hint at them, which
only stand for entries, are put aside; the log is cut where an entry is lost for good; and the table goes back to its
last good version, or is rid of the damaged files, by a commit like any other.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction

from mlplatform.protocols.maintenance import Damage, Inspection
from mlplatform.workspace.local import health, journal, log_state
from mlplatform.workspace.local.data_files import HOOKS, DataFile, replace
from mlplatform.workspace.local.journal import LOG, Journal
from mlplatform.workspace.local.log_state import HINT, LogState

if TYPE_CHECKING:
    from mlplatform.protocols.maintenance import Keeping

REPAIRED = "mlplatform.repaired"
"""What a commit of a repair says of itself in Delta's history: the rows are other ones since."""
_REPAIRS = "mlplatform.repairs"
_YOUNG_SECONDS = 60 * 60


@dataclass(frozen=True)
class _Step:
    """What is to be done: in words, and the doing."""

    text: str
    act: Callable[[], object]


def inspect(folder: Path) -> Inspection:
    """Look into every file of a table's folder."""
    written = Journal(folder).of()
    state = log_state.read(folder, written)
    damages = [*state.damages, *health.of_files(folder, state.active, written)]
    return Inspection(
        files=len(state.active),
        damages=tuple(damages),
        last_good=health.last_good(folder, state, written) if damages else state.reached,
        orphans=tuple(_orphans(folder, state)),
        unmarked=sum(path not in written.files for path in state.active),
    )


class Mending:
    """Mends one table."""

    def __init__(self, folder: Path, aside: Path, keep: Keeping) -> None:
        """Look at what is damaged; nothing is changed.

        Args:
            folder: The table's.
            aside: The folder that takes what is damaged.
            keep: What is kept of the table.
        """
        self._folder, self._aside, self._keep = folder, aside, keep
        self._written = Journal(folder).of()
        self._found = log_state.read(folder, self._written)
        # As it will be once copies have been put back.
        self._state = log_state.read(folder, self._written, from_copies=True)

    def plan(self) -> list[_Step]:
        """Return what is to be done, in order."""
        steps = [*self._entries(), *self._checkpoints()]
        lost = [item for item in self._state.damages if item.current and _is_entry(item)]
        bad = health.of_files(self._folder, self._state.active, self._written)
        if self._state.reached is None and (lost or self._state.newest < 0):
            return [*self._whole_folder("its log cannot be read, and there is no copy of it")]
        if (lost or bad) and self._keep == "nothing":
            return [*self._whole_folder(f"{(lost or bad)[0]}")]
        if lost:
            steps.append(self._cut(lost))
        if bad:
            steps.extend(self._without(bad))
        orphans = _orphans(self._folder, self._state)
        if orphans:
            steps.append(_Step(f"put {_some(orphans)} aside, which no version names", lambda: self._move(orphans)))
        return steps

    def _entries(self) -> list[_Step]:
        """Put entries back that have a copy."""
        left = {item.file for item in self._state.damages}
        steps = []
        for item in self._found.damages:
            if not _is_entry(item) or item.file in left:
                continue
            commit = self._written.commits[int(Path(item.file).stem)]

            def put_back(file: str = item.file, entry: str = commit.entry()) -> None:
                self._move([file])
                target = self._folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_suffix(".part")
                part.write_text(entry, encoding="utf-8", newline="")
                part.replace(target)

            steps.append(_Step(f"{item}: put back from its copy", put_back))
        return steps

    def _checkpoints(self) -> list[_Step]:
        """Put checkpoints aside that are damaged: the entries before them say the same, and a new one is written."""
        damaged = [item for item in self._found.damages if not _is_entry(item)]
        if not damaged:
            return []
        files = [item.file for item in damaged]
        if f"{LOG}/{HINT}" not in files and (self._folder / LOG / HINT).exists():
            files.append(f"{LOG}/{HINT}")
        return [_Step(f"{damaged[0]}: put aside, the entries of the log say the same", lambda: self._move(files))]

    def _cut(self, lost: Sequence[Damage]) -> _Step:
        """End the log before the first entry that is lost."""
        reached, newest = self._state.reached, self._state.newest
        assert reached is not None

        def cut() -> None:
            log = self._folder / LOG
            later = [path for path in log.iterdir() if _version(path.name) > reached]
            self._move([f"{LOG}/{path.name}" for path in (*later, *log.glob(HINT))])
            journal.forget(self._folder, reached)
            # Whoever has a later version on record is to see that it is no longer that one.
            self._mark(at_least=newest + 1)

        return _Step(f"{lost[0]}, and has no copy: the log ends with version {reached} now", cut)

    def _without(self, bad: Sequence[Damage]) -> list[_Step]:
        """Leave the damaged files behind, and put them aside."""
        files = [item.file for item in bad]
        what = "; ".join(map(str, bad[:3])) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")  # noqa: PLR2004
        good = health.last_good(self._folder, self._state, self._written)
        if self._keep == "history" and good is not None:

            def go_back() -> None:
                self._commit(
                    lambda table: table.restore(good, commit_properties=_said(), post_commithook_properties=HOOKS)
                )
                self._move(files)

            return [_Step(f"{what}: back to the last good version, {good}", go_back)]
        again = self._before_compaction(files)

        def take_out() -> None:
            old = [DataFile(path, "", self._state.active[path], None) for path in {*files, *again.removed}]
            self._commit(lambda table: replace(table, old, again.actions(), _said()))
            self._move(files)

        told = "taken out of the table"
        if again.added:
            told += f", {len(again.added)} file(s) from before they were put together put in again"
        return [_Step(f"{what}: {told}", take_out)]

    def _before_compaction(self, files: Sequence[str]) -> _Undone:
        """Return what undoes the compactions that made damaged files, where all that they put together is whole."""
        removed: set[str] = set()
        added: dict[str, tuple[int, str | None]] = {}
        history = {
            path: (size, entry.stats.get(path))
            for entry in self._state.entries.values()
            for path, size in entry.added.items()
        }
        for entry in self._state.entries.values():
            if not entry.compacts or not set(entry.added) & set(files):
                continue
            known = {path: history[path] for path in entry.removed if path in history}
            whole = len(known) == len(entry.removed) and all(
                not log_state.is_whole(self._folder / path, size, self._written.files.get(path))
                for path, (size, _) in known.items()
            )
            if whole and set(entry.added) <= set(self._state.active):
                removed |= set(entry.added)
                added |= known
        return _Undone(removed, added)

    def _whole_folder(self, why: str) -> list[_Step]:
        def move() -> None:
            target = _free(self._aside / "table")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self._folder, target)

        return [_Step(f"{why}: the whole table is put aside", move)]

    def _commit(self, act: Callable[[DeltaTable], object]) -> None:
        table = DeltaTable(str(self._folder))
        before = table.version()
        act(table)
        table = DeltaTable(str(self._folder))
        journal.note(self._folder, table, before + 1)

    def _mark(self, at_least: int) -> None:
        """Commit, without a row, until the table has a version."""
        while DeltaTable(str(self._folder)).version() < at_least:
            self._commit(
                lambda table: table.alter.set_table_properties(
                    {_REPAIRS: str(table.version() + 1)},
                    raise_if_not_exists=False,
                    commit_properties=_said(),
                    post_commithook_properties=HOOKS,
                )
            )

    def _move(self, files: Sequence[str]) -> None:
        for file in files:
            source, target = self._folder / file, _free(self._aside / file)
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(source, target)


@dataclass(frozen=True)
class _Undone:
    """Files that are taken out, and files from before a compaction with their bytes and statistics."""

    removed: set[str]
    added: dict[str, tuple[int, str | None]]

    def actions(self) -> list[AddAction]:
        now = int(time.time() * 1000)
        return [
            AddAction(
                path=quote(path),
                size=size,
                partition_values={},
                modification_time=now,
                data_change=True,
                stats=stats or "{}",
            )
            for path, (size, stats) in self.added.items()
        ]


def _said() -> CommitProperties:
    return CommitProperties(max_commit_retries=0, custom_metadata={REPAIRED: "true"})


def _is_entry(damage: Damage) -> bool:
    return Path(damage.file).suffix == ".json"


def _version(name: str) -> int:
    head = name.partition(".")[0]
    return int(head) if head.isdigit() else -1


def _orphans(folder: Path, state: LogState) -> list[str]:
    """Return data files that no version names, but for young ones: somebody may be about to commit them."""
    before = time.time() - _YOUNG_SECONDS
    return sorted(
        entry.name
        for entry in (os.scandir(folder) if folder.is_dir() else ())
        if entry.name.endswith(".parquet") and entry.name not in state.known and entry.stat().st_mtime < before
    )


def _some(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"{len(files)} files"


def _free(path: Path) -> Path:
    """Return a path that nothing has: of two files of one name both are kept."""
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}.{number}")
    return free


def is_repair(commit: dict[str, object]) -> bool:
    """Tell whether a commit of Delta's history is one of a repair."""
    return REPAIRED in commit
