"""The folder `platform/` must not shadow the standard library's module `platform`, whatever comes first on the path."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
STDLIB = Path(sysconfig.get_path("stdlib")).resolve()
ASK = """
import sys
sys.path.insert(0, {root!r})
import platform, uuid, asyncio, zipimport, logging
print(platform.__file__)
print(platform.python_version())
import mlplatform
print(mlplatform.__file__)
"""


def ask(*, cwd: Path, **environment: str) -> list[str]:
    """Ask a new interpreter which `platform` it finds."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(root=str(cwd))],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


def test_the_folder_is_no_package():
    assert (ROOT / "platform").is_dir()
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "platform.py").exists()


@pytest.mark.parametrize(
    "setting", [{}, {"PYTHONPATH": str(ROOT)}, {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/platform"}]
)
def test_the_standard_module_wins_with_the_repository_first_on_the_path(setting):
    file, version, ours = ask(cwd=ROOT, **setting)
    assert Path(file).resolve() == STDLIB / "platform.py"
    assert version == platform.python_version()
    assert Path(ours).resolve() == ROOT / "platform" / "mlplatform" / "__init__.py"


def test_the_standard_module_wins_for_a_module_run_from_the_repository():
    done = subprocess.run(
        [sys.executable, "-m", "platform"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert platform.system() in done.stdout


def test_the_standard_module_wins_under_pytest():
    assert platform.__file__ is not None
    assert Path(platform.__file__).resolve() == STDLIB / "platform.py"
    assert platform.python_version_tuple()[0] == "3"
