"""The local workspace: private, there again after a restart, and leaving no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from mlplatform import open_workspace
from mlplatform.errors import UnavailableError, UsageError
from mlplatform.protocols.workspace import Workspace
from mlplatform.workspace.local import session
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.processes import children, wait_until_gone
from tests.support.tiny_use_case import price_a_seat

pytestmark = pytest.mark.usefixtures("own_engine")
ROWS = pa.table({"id": [1, 2]})
HOLD_AN_ENGINE = """
import sys
from mlplatform import open_workspace
ws = open_workspace("local", root=sys.argv[1])
assert ws.spark.range(3).count() == 3
print(ws._server.pid, flush=True)
sys.stdin.read()
"""
# Long waits are counted, not waited for: pyspark would say farewell to a dead server for minutes.
KILL_THE_ENGINE = """
import atexit, os, signal, sys, time
waits, sleep = [], time.sleep
time.sleep = lambda seconds: waits.append(seconds) if seconds >= 1 else sleep(seconds)
atexit.register(lambda: os._exit(3) if sum(waits) > 10 else None)  # the first registered is asked last
from mlplatform import open_workspace
ws = open_workspace("local", root=sys.argv[1])
assert ws.spark.range(1).count() == 1
os.kill(ws._server.pid, signal.SIGKILL)
ws._server._process.wait()
"""
HOLD_A_LOCK = """
import sys
from mlplatform import open_workspace
with open_workspace("local", root=sys.argv[1]).lock("promote x"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_it_is_what_the_protocol_says(tmp_path):
    with open_workspace("local", env="staging", root=tmp_path / "a" / "b") as ws:
        assert isinstance(ws, Workspace)
        assert (ws.home, ws.env, ws.catalog) == ("local", "staging", "staging")


@pytest.mark.parametrize("there", [True, False])
def test_its_folder_is_the_users_alone(tmp_path, there):
    root = tmp_path / "private"
    if there:
        root.mkdir(mode=0o755)
    with LocalWorkspace.open(root=root):
        assert root.stat().st_mode & 0o777 == 0o700


def test_the_setting_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPLATFORM_HOME", str(tmp_path / "home"))
    with LocalWorkspace.open() as ws:
        assert ws.root == tmp_path / "home"


@pytest.mark.parametrize("env", ["", "../dev", "a.b", "dev;"])
def test_an_environment_that_is_no_name_is_refused(tmp_path, env):
    with pytest.raises(UsageError):
        LocalWorkspace.open(env=env, root=tmp_path)


def test_another_home_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(UsageError, match="no workspace 'locl'") as caught:
        open_workspace("locl", root=tmp_path)
    assert "local" in caught.value.hint


def test_nothing_is_started_that_is_not_asked_for(tmp_path):
    before = children(os.getpid())
    with LocalWorkspace.open(root=tmp_path) as ws:
        ws.tables.create("dev.a.b", ROWS.schema)
        ws.tables.append("dev.a.b", ROWS)
        assert ws.tables.to_arrow("dev.a.b", at_most=10**6).num_rows == 2
        assert children(os.getpid()) <= before


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path):
    with LocalWorkspace.open(root=tmp_path) as ws:
        ws.tables.create("dev.a.b", ROWS.schema, description="kept")
        ws.tables.append("dev.a.b", ROWS)
        parameters = (("price", "double"), ("seats", "double"))
        ws.functions.register("dev.a.price", price_a_seat, parameters=parameters, returns="double")
        (ws.files("reports") / "one.html").write_text("kept", encoding="utf-8")
    with LocalWorkspace.open(root=tmp_path) as ws:
        assert ws.tables.to_arrow("dev.a.b", at_most=10**6).equals(ROWS)
        assert ws.tables.describe("dev.a.b").description == "kept"
        assert ws.functions.get("dev.a.price").fn is price_a_seat
        assert (ws.files("reports") / "one.html").read_text(encoding="utf-8") == "kept"


def test_closing_ends_the_engine_and_its_children_and_a_closed_workspace_opens_again(tmp_path):
    before = children(os.getpid())
    ws = LocalWorkspace.open(root=tmp_path)
    assert ws.spark.range(3).count() == 3
    scratch = ws.scratch
    started = children(os.getpid()) - before
    assert started
    ws.close()
    wait_until_gone(started)
    assert not scratch.exists()
    ws.close()
    assert ws.spark.range(2).count() == 2
    ws.close()
    assert children(os.getpid()) <= before


def python(code: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a new process."""
    return subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)


def test_an_engine_that_died_is_started_anew(tmp_path):
    done = python(KILL_THE_ENGINE + "print(ws.spark.range(2).count(), flush=True)\nos._exit(0)\n", tmp_path)
    assert done.stdout.split() == ["2"]


def test_an_engine_that_dies_under_a_computation_is_an_error_at_once(tmp_path):
    with LocalWorkspace.open(root=tmp_path) as ws:
        rows = ws.spark.range(3)
        assert rows.count() == 3
        assert ws._server is not None
        os.kill(ws._server.pid, signal.SIGKILL)
        started = time.monotonic()
        for compute in (rows.count, lambda: rows.select("no such column").schema):
            with pytest.raises(UnavailableError, match="died while it computed: it was ended by signal 9") as caught:
                compute()
            assert "Run again" in caught.value.hint
        assert time.monotonic() - started < 10
        # Whoever asks for a session again gets one.
        assert ws.spark.range(2).count() == 2


def test_an_engine_that_dies_before_it_is_connected_is_an_error_at_once(tmp_path, monkeypatch):
    whole = session.connect

    def too_late(url, server):
        os.kill(server.pid, signal.SIGKILL)
        return whole(url, server)

    with LocalWorkspace.open(root=tmp_path) as ws:
        with monkeypatch.context() as patch:
            patch.setattr(session, "connect", too_late)
            started = time.monotonic()
            with pytest.raises(UnavailableError, match="ended by signal 9"):
                _ = ws.spark
        assert time.monotonic() - started < 60
        assert ws.spark.range(2).count() == 2


def test_closing_does_not_wait_for_an_engine_that_died(tmp_path):
    python(KILL_THE_ENGINE + "ws.close()\nassert sum(waits) < 10, waits\nos._exit(0)\n", tmp_path)


def test_a_process_whose_engine_died_ends_at_once(tmp_path):
    python(KILL_THE_ENGINE + "ws.spark.range(2).count()\nws.close()\n", tmp_path)


def test_the_engine_ends_when_its_parent_is_killed(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD_AN_ENGINE, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    engine = int(parent.stdout.readline())
    below = children(parent.pid)
    assert engine in below
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    parent.stdin.close()
    wait_until_gone(below)


def test_one_at_a_time_holds_the_lock_and_a_dead_holder_gives_it_back(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_LOCK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with LocalWorkspace.open(root=tmp_path) as ws:
        with ws.lock("promote y"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        with ws.lock("promote x"):  # nobody else would give it back: the holder waits for ever
            pass
    holder.wait()
    holder.stdout.close()
    holder.stdin.close()
