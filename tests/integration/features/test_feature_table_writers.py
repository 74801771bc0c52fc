"""Feature tables of the local workspace whose writers meet or die."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

if TYPE_CHECKING:
    from mlplatform.workspace.local.workspace import LocalWorkspace


def rows(ws: LocalWorkspace, name: str) -> list[dict[str, Any]]:
    return ws.tables.to_arrow(name, at_most=10**6).sort_by([("k", "ascending")]).to_pylist()


_WRITER = """
import sys, datetime as dt, pyarrow as pa
from mlplatform import open_workspace
root, name, first, batches, same = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
ws = open_workspace(root=root)
ws.fe.create_table(name=name, primary_keys="k", schema=pa.schema([("k", pa.int64()), ("v", pa.int64())]))
print("ready", flush=True)
sys.stdin.readline()
for batch in range(batches):
    start = 0 if same else (first + batch) * 10
    keys = list(range(start, start + (5000 if same else 10)))
    ws.fe.write_table(name=name, df=pa.table({"k": keys, "v": [batch] * len(keys)}))
    print(batch, flush=True)
"""


def _writer(root: Path, name: str, first: int, batches: int, *, same: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(root), name, str(first), str(batches), str(int(same))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _go(*writers: subprocess.Popen[str]) -> None:
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()


def test_two_processes_writing_one_table_lose_nothing(ws: LocalWorkspace) -> None:
    """They also create it at the same time, and half of their keys are the same."""
    name = "dev.tables.shared"
    writers = [_writer(ws.root, name, first, 12) for first in (0, 6)]
    _go(*writers)
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    assert [row["k"] for row in rows(ws, name)] == list(range(180))


@pytest.mark.parametrize("delays", [(0.03,), pytest.param((0.0, 0.03, 0.07), marks=pytest.mark.slow)])
def test_a_killed_writer_leaves_the_table_whole(ws: LocalWorkspace, delays: tuple[float, ...]) -> None:
    """Every write sets one value in all rows: whenever the writer dies, all rows have the same one."""
    name = f"dev.tables.killed{len(delays)}"
    for delay in delays:
        writer = _writer(ws.root, name, 0, 1000, same=True)
        _go(writer)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        table = ws.tables.to_arrow(name, at_most=10**6)
        assert table.num_rows == 5000
        assert len(table.column("v").unique()) == 1
        ws.fe.write_table(name=name, df=pa.table({"k": [0], "v": [-1]}))
        ws.fe.write_table(name=name, df=pa.table({"k": [0], "v": table.column("v").unique()}))
