"""Small files are written whole, and what a killed process left of one is removed by the next who writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlplatform.workspace.local import whole_file

DIE_BEFORE_RENAMING = """
import os, pathlib, signal, sys
from mlplatform.workspace.local import whole_file
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
whole_file.write(pathlib.Path(sys.argv[1]), "half")
"""


def test_what_a_killed_process_left_of_a_file_goes_with_the_next_writing(tmp_path: Path) -> None:
    file = tmp_path / "functions.json"
    whole_file.write(file, "old")
    subprocess.run([sys.executable, "-c", DIE_BEFORE_RENAMING, str(file)], check=False)
    assert file.read_text(encoding="utf-8") == "old"
    assert len(list(tmp_path.iterdir())) == 2
    whole_file.write(file, "new")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [("functions.json", "new")]


@pytest.mark.parametrize("name", [".f.json.PID.part", ".f.json.x.part", ".other.json.1.part", "f.json.part"])
def test_what_another_is_writing_and_other_files_are_left_alone(tmp_path: Path, name: str) -> None:
    left = name.replace("PID", str(os.getppid()))
    (tmp_path / left).write_text("theirs", encoding="utf-8")
    whole_file.write(tmp_path / "f.json", "ours")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([left, "f.json"])
