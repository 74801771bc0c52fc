"""What a disk, a copy or a hand does to the files of a table: each takes the table's folder, and damages it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

Damaging = Callable[[Path], object]
JOURNAL = "_journal.jsonl"


def entry(folder: Path, place: int) -> Path:
    """Return a log entry: the first (0), the newest (-1), or one between."""
    return sorted((folder / "_delta_log").glob("*.json"))[place]


def data(folder: Path, place: int = 0) -> Path:
    """Return a data file of the newest version, by its name."""
    names = sorted(str(name) for name in pa.table(DeltaTable(str(folder)).get_add_actions()).column("path").to_pylist())
    return folder / names[place]


def flip(file: Path, place: float) -> None:
    """Change one bit, so far into the file."""
    content = bytearray(file.read_bytes())
    content[int(len(content) * place)] ^= 4
    file.write_bytes(content)


def cut(file: Path, share: float) -> None:
    """Keep a file's beginning."""
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def _first_line(file: Path) -> None:
    file.write_text(file.read_text("utf-8").splitlines()[0] + "\n", "utf-8")


def _swap(folder: Path) -> None:
    one, other = data(folder, 0), data(folder, -1)
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])


def _as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _remove_data(folder: Path) -> None:
    for file in folder.glob("*.parquet"):
        file.unlink()


def _empty_log(folder: Path) -> None:
    for file in (folder / "_delta_log").iterdir():
        file.unlink()


LOG: dict[str, Damaging] = {
    "the newest entry is cut off": lambda folder: cut(entry(folder, -1), 0.5),
    "an entry between is cut off": lambda folder: cut(entry(folder, 1), 0.5),
    "the newest entry is empty": lambda folder: cut(entry(folder, -1), 0),
    "an entry between is empty": lambda folder: cut(entry(folder, 1), 0),
    "the first entry is empty": lambda folder: cut(entry(folder, 0), 0),
    "the newest entry has its first line only": lambda folder: _first_line(entry(folder, -1)),
    "an entry is no JSON": lambda folder: entry(folder, 1).write_bytes(b"\x00\xff nothing\n"),
    "an entry is other JSON": lambda folder: entry(folder, 1).write_text("[1, 2]\n"),
    "an entry is JSON of other shapes": lambda folder: entry(folder, 1).write_text('{"add": 3}\n'),
    "a bit of an entry is another one": lambda folder: flip(entry(folder, -1), 0.7),
    "the newest entry is gone": lambda folder: entry(folder, -1).unlink(),
    "an entry between is gone": lambda folder: entry(folder, 1).unlink(),
    "the first entry is gone": lambda folder: entry(folder, 0).unlink(),
    "an entry is a folder": lambda folder: _as_folder(entry(folder, 1)),
    "the log is gone": lambda folder: shutil.rmtree(folder / "_delta_log"),
    "the log is empty": _empty_log,
    "the hint names a checkpoint that is gone": lambda folder: (
        (folder / "_delta_log" / "_last_checkpoint").write_text('{"version":1,"size":3}') and None
    ),
}
"""Damages of the log: all of them are mended without a loss, from the journal's copies."""

DATA: dict[str, Damaging] = {
    "a data file is gone": lambda folder: data(folder).unlink(),
    "a data file is cut off": lambda folder: cut(data(folder), 0.5),
    "a data file lacks its last byte": lambda folder: cut(data(folder), 0.9999),
    "a data file is empty": lambda folder: cut(data(folder), 0),
    "a data file is another thing": lambda folder: data(folder).write_text("nothing"),
    "a bit of the magic bytes is another one": lambda folder: flip(data(folder), 0),
    "a bit of a data page is another one": lambda folder: flip(data(folder), 0.2),
    "a bit of a later data page is another one": lambda folder: flip(data(folder), 0.45),
    "a bit of the footer is another one": lambda folder: flip(data(folder), 0.9),
    "the last bit is another one": lambda folder: flip(data(folder), 0.9999),
    "two data files are swapped": _swap,
    "a data file is a folder": lambda folder: _as_folder(data(folder)),
    "all data files are gone": _remove_data,
}
"""Damages of data files: their rows are gone, and are computed again where something gives them."""
