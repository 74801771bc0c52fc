"""What people see: tables on standard output, progress on standard error, JSON where it was asked for."""

from __future__ import annotations

import errno
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mlplatform import stopping

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

    from mlplatform.cli.hints import Hints
    from mlplatform.ops.run_record import RunSummary


# A pipe that nobody reads any more, and a terminal that was closed.
_GONE = (errno.EPIPE, errno.EIO)


class _ReaderMayGo(io.FileIO):
    """A file descriptor for which it is no error that nobody reads any more: what is written is dropped."""

    def write(self, data: Buffer, /) -> int:
        """Write what is still read."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return memoryview(data).nbytes


@contextmanager
def readers_may_go() -> Iterator[None]:
    """Let what is piped into `head` end as if all of it had been read, exit code included.

    Standard output and error are meant, and only they: to an engine that is gone a broken pipe stays an error.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_tolerant, streams)
    try:
        yield
    finally:
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # closed by whoever started the command
                    stream.flush()
        finally:
            sys.stdout, sys.stderr = streams


def _tolerant(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        descriptor = stream.fileno()
    except OSError:  # in memory, where it is always read
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_ReaderMayGo(descriptor, "w", closefd=False)),
        encoding=stream.encoding,
        # A name that is not UTF-8 is shown by its numbers, rather than not at all.
        errors="backslashreplace" if stream.errors == "strict" else stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def printable(text: str) -> str:
    r"""Return a text as a terminal can show it: what is no sign, such as a lone surrogate or an escape, by its number.

    A name that is not UTF-8 comes as surrogates, which no encoding writes, and an escape would act on the terminal.

    Examples:
        >>> print(printable("h\udcff\x1b[31m and\nmore"))
        h\udcff\x1b[31m and
        more
    """
    return "".join(sign if sign.isprintable() or sign in "\n\t" else ascii(sign)[1:-1] for sign in text)


def console() -> Console:
    """Return the console of standard output; wide where nobody's terminal limits it."""
    # Text also where a job runs inside IPython: the log of a task shows no HTML.
    return Console(width=None if sys.stdout.isatty() else 160, force_jupyter=False)


def show_json(data: Any) -> None:
    """Print data as JSON."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table; numbers are aligned right, None shows as a dash."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        shown.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_text(cell) for cell in row))
    return shown


def show_notes(summary: RunSummary, hints: Hints) -> None:
    """Print what a run says aloud: tables that were gone, files quarantined to a large part, rows never scored."""
    for note in summary.notes():
        click.echo(hints.repeated(f"Note: {note}"))


def _text(cell: Any) -> str | Text:
    if isinstance(cell, Text):
        return cell
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.4f}"
    # A cell is text: `pip install 'mlplatform[local]'` is no markup.
    return escape(str(cell))


class Reporter:
    """Shows what a long command is doing: a bar in a terminal, plain lines elsewhere."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        """Use `reporting` instead."""
        self._progress = progress
        self._task = progress.add_task("", total=total) if progress else None
        self._start = time.perf_counter()

    def line(self, message: str) -> None:
        """Say what is being done now, unless the process was asked to stop: then nothing more is."""
        stopping.check()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=message)
        else:
            sys.stderr.write(f"{time.perf_counter() - self._start:7.1f} s  {message}\n")
            sys.stderr.flush()

    def rows(self, done: int, total: int) -> None:
        """Let the bar show how many rows of how many are done; elsewhere the lines say it."""
        stopping.check()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def done(self, message: str) -> None:
        """Say what was finished, and move the bar on."""
        stopping.check()
        if self._progress is not None and self._task is not None:
            self._progress.console.print(message, highlight=False, markup=False)
            self._progress.advance(self._task)
        else:
            self.line(message)


@contextmanager
def reporting(total: int) -> Iterator[Reporter]:
    """Show progress on standard error while a long command runs.

    Args:
        total: How many things it has to do.
    """
    if not sys.stderr.isatty():
        yield Reporter(None, total)
        return
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Reporter(progress, total)
