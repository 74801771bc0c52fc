"""What the log of a table on disk says, and which of its files are damaged; read without an engine.

An engine stops at the first file that it cannot read, or reads on without a word: an entry that was emptied is a commit
without files to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from mlplatform.protocols.maintenance import Damage
from mlplatform.workspace.local.journal import LOG, Mark, NotedCommit, Written, actions

HINT = "_last_checkpoint"
_CHECKPOINT = ".checkpoint.parquet"


@dataclass(frozen=True)
class Entry:
    """What a commit did to a table's files.

    Attributes:
        added: File, relative to the table's folder -> its bytes.
        removed: Files.
        stats: File that was added -> its statistics, as the log has them.
        compacts: Whether it put files together, and changed no row.
        begins: Whether it declares the table: a log that begins with it is whole.
    """

    added: Mapping[str, int]
    removed: frozenset[str]
    stats: Mapping[str, str | None] = field(default_factory=dict)
    compacts: bool = False
    begins: bool = False


@dataclass
class LogState:
    """What a log says.

    Attributes:
        newest: The newest version that it should reach; -1: there is no log.
        reached: The newest version that whole entries and checkpoints lead to; None: they lead to none.
        base: The oldest version that they lead to.
        active: The files of the reached version: relative to the table's folder -> bytes.
        entries: Version after `base` -> what it did.
        known: All files that any version names.
        damages: What is damaged.
    """

    newest: int = -1
    reached: int | None = None
    base: int = 0
    active: dict[str, int] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    damages: list[Damage] = field(default_factory=list)


def read(folder: Path, written: Written, *, from_copies: bool = False) -> LogState:
    """Read a table's log.

    Args:
        folder: The table's.
        written: What its journal says.
        from_copies: Read it as if damaged entries had been put back from their copies in the journal.
    """
    log, state = folder / LOG, LogState()
    names = sorted(path.name for path in log.iterdir()) if log.is_dir() else []
    versions = {int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()}
    checkpoints = {int(name.split(".")[0]): name for name in names if name.endswith(_CHECKPOINT)}
    # What another tool cleaned up is no damage: a checkpoint stands for it.
    first = min([*versions, *written.commits], default=0) if checkpoints else 0
    state.newest = max([*versions, *written.commits, *checkpoints], default=-1)
    entries: dict[int, Entry] = {}
    wrong: dict[int, str] = {}
    for version in range(first, state.newest + 1):
        commit = written.commits.get(version)
        entry, what = entry_of(log / f"{version:020}.json", commit)
        if what and from_copies and commit is not None:
            entry, what = _of(actions(commit.entry())), ""
        if entry is not None and not what:
            entries[version] = entry
            state.known.update(entry.added, entry.removed)
        else:
            wrong[version] = what
    bases = _bases(log, checkpoints, entries, first, state)
    _reach(state, bases, entries)
    for version, what in wrong.items():
        reached = state.reached is not None and version <= state.reached
        state.damages.append(Damage(f"{LOG}/{version:020}.json", what, current=not reached))
    _check_hint(log, checkpoints, state)
    return state


def entry_of(file: Path, commit: NotedCommit | None) -> tuple[Entry | None, str]:
    """Return what an entry did, and what is wrong with it; empty: nothing."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None, "is gone"
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    if not content.strip():
        return None, "is empty"
    if commit is not None and commit.mark != Mark.of_bytes(content):
        return None, "is not as it was written"
    try:
        items = actions(content.decode())
        entry, said = _of(items), _said_to_be_added(items)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, "is cut off, or holds something else than a commit"
    if said > len(entry.added):
        return None, "lacks files that it says it added"
    return entry, ""


def _said_to_be_added(items: list[dict[str, Any]]) -> int:
    """Return how many files a commit says it added; 0 where it does not say."""
    said: dict[str, Any] = next((item["commitInfo"] for item in items if "commitInfo" in item), {})
    metrics = said.get("operationMetrics") or {}
    return int(metrics.get("num_added_files") or 0)


def _of(items: list[dict[str, Any]]) -> Entry:
    added = {unquote(item["add"]["path"]): int(item["add"]["size"]) for item in items if "add" in item}
    removed = frozenset(unquote(item["remove"]["path"]) for item in items if "remove" in item)
    stats = {unquote(item["add"]["path"]): item["add"].get("stats") for item in items if "add" in item}
    said: dict[str, Any] = next((item["commitInfo"] for item in items if "commitInfo" in item), {})
    return Entry(
        added,
        removed,
        stats,
        compacts=said.get("operation") == "OPTIMIZE",
        begins=_has(items, "metaData") and _has(items, "protocol"),
    )


def _has(items: list[dict[str, Any]], action: str) -> bool:
    return any(action in item for item in items)


def _bases(
    log: Path, checkpoints: Mapping[int, str], entries: Mapping[int, Entry], first: int, state: LogState
) -> dict[int, dict[str, int]]:
    """Return the versions that a log can be read from, with their files."""
    bases: dict[int, dict[str, int]] = {}
    if first == 0 and 0 in entries and entries[0].begins:
        bases[0] = dict(entries[0].added)
    replayed, whole = dict(bases.get(0, {})), 0 in bases
    at: dict[int, dict[str, int]] = {}
    for version in range(1, state.newest + 1):
        whole = whole and version in entries
        if not whole:
            break
        for path in entries[version].removed:
            replayed.pop(path, None)
        replayed.update(entries[version].added)
        if version in checkpoints:
            at[version] = dict(replayed)
    for version, name in checkpoints.items():
        files = _checkpointed(log / name)
        if files is None:
            state.damages.append(Damage(f"{LOG}/{name}", "cannot be read", current=True))
        elif version in at and at[version] != files:
            what = "names other files than the entries of the log before it"
            state.damages.append(Damage(f"{LOG}/{name}", what, current=True))
        else:
            bases[version] = files
            state.known.update(files)
    return bases


def _checkpointed(file: Path) -> dict[str, int] | None:
    """Return the files that a checkpoint names, with their bytes; None where it cannot be read."""
    try:
        added = pq.read_table(file).column("add").drop_null()
        rows: list[Any] = added.to_pylist()
        return {unquote(item["path"]): int(item["size"]) for item in rows}
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return None


def _reach(state: LogState, bases: Mapping[int, dict[str, int]], entries: Mapping[int, Entry]) -> None:
    for base in sorted(bases):
        version = base
        while version + 1 in entries:
            version += 1
        # Of those that lead as far, the oldest: it tells most.
        if state.reached is None or version > state.reached:
            state.base, state.reached = base, version
    if state.reached is None:
        return
    state.active = dict(bases[state.base])
    for version in range(state.base + 1, state.reached + 1):
        entry = entries[version]
        for path in entry.removed:
            state.active.pop(path, None)
        state.active.update(entry.added)
        state.entries[version] = entry


def _check_hint(log: Path, checkpoints: Mapping[int, str], state: LogState) -> None:
    """Look at the file that says which checkpoint is the newest; without it the log is listed, which is as good."""
    hint = log / HINT
    if not hint.exists():
        return
    try:
        version = int(json.loads(hint.read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        state.damages.append(Damage(f"{LOG}/{HINT}", "is cut off, or holds something else", current=True))
        return
    if version not in checkpoints:
        what = f"names a checkpoint of version {version}, which is gone"
        state.damages.append(Damage(f"{LOG}/{HINT}", what, current=True))


def is_whole(file: Path, size: int, mark: Mark | None, *, read: bool = True) -> str:
    """Return what is wrong with a data file; empty: nothing.

    Args:
        file: The file.
        size: Its bytes, by the log; -1: not known.
        mark: What it was like when it was written; None: not known.
        read: Read it to its end; else only its size is looked at.
    """
    try:
        actual = file.stat().st_size
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    expected = mark.size if mark is not None else size
    if expected >= 0 and actual != expected:
        return f"has {actual} bytes instead of {expected}"
    if not read:
        return ""
    try:
        if mark is not None:
            return "" if Mark.of(file) == mark else "is not as it was written: its checksum differs"
        # Whether values changed cannot be told without a checksum, only whether the file can be read to its end.
        with pq.ParquetFile(file) as opened:
            for group in range(opened.num_row_groups):
                opened.read_row_group(group)
    except (OSError, pa.ArrowException, ValueError) as error:
        return f"cannot be read: {str(error).splitlines()[0][:120]}"
    return ""
