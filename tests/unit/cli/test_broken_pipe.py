"""A reader that goes away, as in `mlplatform history x | head -1`, ends every printing command quietly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
# One process for all: each command is given a pipe whose reader is gone, before it prints its first byte.
RUN_ALL = """
import json, os, sys
from mlplatform.cli.main import main

codes = {}
for line in json.loads(sys.argv[1]):
    end, sys_end = os.pipe()
    os.close(end)
    kept_out, kept_err = os.dup(1), os.dup(2)
    os.dup2(sys_end, 1)
    if line.endswith(" 2>&1"):
        os.dup2(sys_end, 2)
    os.close(sys_end)
    out, sys.stdout = sys.stdout, os.fdopen(1, "w", closefd=False)
    try:
        main(line.removesuffix(" 2>&1").split())
    except SystemExit as exit:
        codes[line] = exit.code
    except BaseException as error:
        codes[line] = repr(error)
    sys.stdout.flush()  # as the interpreter does at the end of a process
    sys.stdout = out
    os.dup2(kept_out, 1)
    os.dup2(kept_err, 2)
print(json.dumps(codes))
"""
COMMANDS = {
    "--help": 0,
    "--version": 0,
    "run --help": 0,
    "config schema": 0,
    "config show churn": 0,
    "--json config show churn": 0,
    "status": 0,
    "status churn --json": 0,
    "history churn": 0,
    "history churn --json": 0,
    "quarantine churn": 0,
    "doctor --use-cases {empty} --json": 1,
    "doctor --use-cases {empty}": 1,
    "explain 3f0c": 2,
    "explain 3f0c 2>&1": 2,
    "nonsense 2>&1": 2,
    "deployment 2>&1": 2,
    "status nothing 2>&1": 2,
    "upload-samples credit_risk": 0,
    "monitor churn --as-of 2011-01-01": 0,
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], str]:
    folder = tmp_path_factory.mktemp("pipes")
    (folder / "empty" / "broken").mkdir(parents=True)
    (folder / "empty" / "broken" / "__init__.py").touch()
    (folder / "empty" / "broken" / "config.yml").write_text("owner: a\n")
    lines = [f"--home {folder / 'home'} {line}".format(empty=folder / "empty") for line in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(lines)],
        capture_output=True, text=True, cwd=PROJECT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(COMMANDS, json.loads(done.stdout).values(), strict=True)), done.stderr


@pytest.mark.parametrize(("line", "code"), COMMANDS.items())
def test_it_ends_as_if_it_had_been_read(line: str, code: int, ended: tuple[dict[str, object], str]) -> None:
    assert ended[0][line] == code


def test_and_quietly(ended: tuple[dict[str, object], str]) -> None:
    assert "Traceback" not in ended[1]
    assert "BrokenPipe" not in ended[1]
    assert "Exception ignored" not in ended[1]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_process_whose_reader_has_gone_ends_quietly_too(unbuffered: str) -> None:
    """Whether Python keeps what is printed in a buffer, which it writes after everything else, or not."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {{ sleep 0.1; {sys.executable} -m mlplatform.cli --version; }} | true"],
        capture_output=True, text=True, cwd=PROJECT, check=False,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("closed", "said"), [(">&-", ""), ("2>&-", "mlplatform")])
def test_a_stream_that_was_closed_at_the_start_changes_no_exit_code(closed: str, said: str) -> None:
    command = f"{sys.executable} -m mlplatform.cli --version {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=PROJECT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(said)
