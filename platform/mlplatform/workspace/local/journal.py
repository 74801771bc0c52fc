"""A copy of each entry of a table's log, and size and checksum of each data file that it added.

Parquet files as delta-rs writes them carry no checksum: four of five flipped bits in a data page give another value
and no error. Delta's log has none either, and an entry that was emptied reads as a commit without files. So each commit
of ours is followed by a line in a file beside the log. Files never change once they are written: what differs from its
line is damaged, and a damaged entry of the log is put back from its copy. A commit without a line (of a process killed
right after it, of another tool, of an earlier version of this library) is judged by its form only.

A checksum tells damage, not forgery: whoever may write files may write lines.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOGGER = logging.getLogger(__name__)
# What begins so is no file of any version, and delta-rs leaves it alone.
NAME = "_journal.jsonl"
LOG = "_delta_log"
_CHUNK = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class Mark:
    """What a file was like when it was written.

    Attributes:
        size: Its bytes.
        checksum: Its CRC-32.
    """

    size: int
    checksum: int

    @classmethod
    def of(cls, file: Path) -> Mark:
        """Read a file to its end."""
        size = checksum = 0
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                size += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
        return cls(size, checksum)

    @classmethod
    def of_bytes(cls, content: bytes) -> Mark:
        """Return the mark of a file with this content."""
        return cls(len(content), zlib.crc32(content))


@dataclass(frozen=True, slots=True)
class NotedCommit:
    """What a commit wrote to the log. A process that lives long knows thousands: their texts stay in the file.

    Attributes:
        mark: What its entry in the log was like.
        journal: The file with the commit's line.
        start: Where the line begins, in bytes.
        length: How long it is.
    """

    mark: Mark
    journal: Path
    start: int
    length: int

    def entry(self) -> str:
        """Read the copy of its entry in the log.

        Raises:
            OSError: If the journal cannot be read.
            ValueError: If the line is no longer where it was: another journal lies there now.
        """
        with self.journal.open("rb") as opened:
            opened.seek(self.start)
            line = _parsed(opened.read(self.length))
        if line is None or Mark.of_bytes(line.entry.encode()) != self.mark:
            message = f"{self.journal} changed while it was read"
            raise ValueError(message)
        return line.entry


@dataclass
class Written:
    """What commits wrote to one table.

    Attributes:
        commits: Version -> the commit; of two of one version the later one.
        files: Data file, relative to the table's folder -> what it was like.
    """

    commits: dict[int, NotedCommit] = field(default_factory=dict)
    files: dict[str, Mark] = field(default_factory=dict)


class Journal:
    """What is written down of a table's folder; what was added since is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Take the table's folder; nothing is read yet."""
        self._file = folder / NAME
        self._begin_anew()

    def of(self, identity: str | None = None) -> Written:
        """Return what is written down of a table.

        Args:
            identity: Delta's id of it: another table may have lain in the folder; None: of the last one that did.
        """
        self._read_on()
        return self._tables.get(self._last if identity is None else identity, Written())

    def _begin_anew(self) -> None:
        # How far whole lines were read, and of which file: another one may come to lie there.
        self._read, self._number = 0, -1
        self._tables: dict[str, Written] = {}
        self._last = ""

    def _read_on(self) -> None:
        try:
            with self._file.open("rb") as opened:
                stat = os.fstat(opened.fileno())
                if stat.st_ino != self._number or stat.st_size < self._read:
                    self._begin_anew()
                    self._number = stat.st_ino
                opened.seek(self._read)
                new = opened.read()
        except FileNotFoundError:
            self._begin_anew()
            return
        # What the last line end is followed by is being written, or was broken off: it is read again next time.
        for line in new.split(b"\n")[:-1]:
            self._take(line)
            self._read += len(line) + 1

    def _take(self, text: bytes) -> None:
        line = _parsed(text)
        if line is not None:
            self._last = line.table
            written = self._tables.setdefault(line.table, Written())
            mark = Mark.of_bytes(line.entry.encode())
            written.commits[line.version] = NotedCommit(mark, self._file, self._read, len(text))
            written.files.update(line.files)


def note(folder: Path, table: DeltaTable, first: int) -> None:
    """Write down what commits wrote that have just been made; they were made whether that can be done or not.

    Args:
        folder: The table's.
        table: The handle that made them, at the newest of them.
        first: The oldest of them.
    """
    try:
        _note(folder, table, first)
    except (OSError, ValueError) as error:
        LOGGER.warning("What was written to %s could not be noted in its journal: %s", folder, error)


def _note(folder: Path, table: DeltaTable, first: int) -> None:
    identity, lines = str(table.metadata().id), []
    for version in range(first, table.version() + 1):
        entry = (folder / LOG / f"{version:020}.json").read_bytes().decode()
        files = {path: Mark.of(folder / path) for path in added_by(entry)}
        lines.append(_Line(identity, version, entry, files).to_text())
    if not lines:
        return  # it was only asked what would be done
    # A line that was broken off before is ended by the first of these.
    text = "\n" + "".join(lines)
    # In one write: two processes that write at a time do not mix their lines.
    descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def forget(folder: Path, after: int) -> None:
    """Forget commits that are no longer part of a table's log.

    Args:
        folder: The table's.
        after: Commits of later versions are forgotten.
    """
    file = folder / NAME
    lines = [_parsed(line) for line in (file.read_bytes().splitlines() if file.exists() else ())]
    kept = (line.to_text() for line in lines if line is not None and line.version <= after)
    part = file.with_suffix(".part")
    part.write_text("".join(kept), encoding="utf-8")
    part.replace(file)


def actions(entry: str) -> list[dict[str, Any]]:
    """Return the actions of a log entry.

    Raises:
        ValueError: If it is no entry: something else than a JSON object a line.
    """
    items = [json.loads(line) for line in entry.splitlines() if line.strip()]
    if not all(isinstance(item, dict) for item in items):
        raise ValueError(entry)
    return items


def added_by(entry: str) -> list[str]:
    """Return the files that a log entry adds, relative to the table's folder."""
    lines = (line for line in entry.splitlines() if '"add"' in line)
    return [unquote(item["add"]["path"]) for item in map(json.loads, lines) if "add" in item]


@dataclass(frozen=True)
class _Line:
    """A line of the journal: a commit of a table."""

    table: str
    version: int
    entry: str
    files: Mapping[str, Mark]

    def to_text(self) -> str:
        item = {
            "table": self.table,
            "version": self.version,
            "entry": self.entry,
            "files": {path: [mark.size, mark.checksum] for path, mark in self.files.items()},
        }
        text = json.dumps(item, separators=(",", ":"))
        return f"{_checksum(text.encode())} {text}\n"


def _parsed(line: bytes) -> _Line | None:
    """Return what a line says; None where it is not as it was written: about that commit nothing is known."""
    checksum, _, text = line.partition(b" ")
    if checksum.decode("ascii", "replace") != _checksum(text):
        return None
    item = json.loads(text)
    files = {path: Mark(*mark) for path, mark in item["files"].items()}
    return _Line(item["table"], int(item["version"]), item["entry"], files)


def _checksum(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"
