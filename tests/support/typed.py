"""What a user types, run in the test's own process: the entry point itself, with its messages and exit codes.

Starting Python and loading engines takes a process seconds, each time. What only a process shows (signals, what is
loaded, the environment of an installed wheel) is tested with processes, in `e2e`.
"""

from __future__ import annotations

import io
import json
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplatform.cli.main import main

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code.
        stdout: What it printed.
        stderr: What it said beside: progress, warnings, an error.
    """

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.stdout)


def typed(*words: str | Path, where: Path = PROJECT, code: int | None = None) -> Ended:
    """Run a command line; return how it ended.

    Args:
        *words: What stands behind the program's name.
        where: The folder in which it is typed.
        code: The exit code that it has to end with; None: any.
    """
    out, err = io.StringIO(), io.StringIO()
    with chdir(where), redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            ended = Ended(int(end.code or 0), out.getvalue(), err.getvalue())
    assert "Traceback" not in ended.stderr, ended.stderr
    assert code is None or ended.code == code, f"{words}: exit code {ended.code}\n{ended.stdout}\n{ended.stderr}"
    return ended
