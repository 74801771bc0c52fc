"""Plants faults, one at a time, in a copy of the project, and says which of them no test noticed.

    python tests/faults/plant.py                    # all
    python tests/faults/plant.py canary applied     # those whose words or file hold one of these
    python tests/faults/plant.py --list

First the tests run without any fault: what fails already notices nothing. Exits with 1 if a fault survived.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.faults.planted import FAULTS, Fault  # noqa: E402  (it is found by the path above)

COPIED = ("platform", "tests", "use_cases", "conftest.py", "pyproject.toml", "README.md")
_FAILED, _LONGEST = 1, 900
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".pytest_cache", ".hypothesis", "data", "build", "dist")


def main() -> int:
    """Plant them, and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="Only faults whose words or file hold one of these.")
    parser.add_argument("--list", action="store_true", help="Only name them.")
    arguments = parser.parse_args()
    faults = [fault for fault in FAULTS if _is_meant(fault, arguments.words)]
    if arguments.list:
        for fault in faults:
            print(f"{fault.file}: {fault.what}")
        return 0
    survivors: list[Fault] = []
    with TemporaryDirectory(prefix="mlplatform-faults-") as folder:
        copy = _copied(Path(folder))
        failing = _failing(copy, faults)
        for number, fault in enumerate(faults, start=1):
            started = time.monotonic()
            noticed = _noticed(copy, fault, failing)
            if not noticed:
                survivors.append(fault)
            told = f"noticed by {noticed}" if noticed else "SURVIVED"
            seconds = time.monotonic() - started
            print(f"{number}/{len(faults)} {fault.file}: {fault.what}: {told} ({seconds:.0f} s)", flush=True)
    print(f"{len(faults) - len(survivors)} of {len(faults)} faults noticed")
    for fault in survivors:
        print(f"survived: {fault.file}: {fault.what}")
    return 1 if survivors else 0


def _is_meant(fault: Fault, words: Sequence[str]) -> bool:
    return not words or any(word in fault.what or word in fault.file for word in words)


def _copied(folder: Path) -> Path:
    """Copy what tests need; data of the use cases, which nobody changes, is linked."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_LEFT_OUT)
        else:
            shutil.copy2(source, folder / name)
    for data in ROOT.glob("use_cases/*/data"):
        (folder / data.relative_to(ROOT)).symlink_to(data)
    for data in ROOT.glob("tests/*/data"):
        (folder / data.relative_to(ROOT)).symlink_to(data)
    return folder


def _failing(copy: Path, faults: Iterable[Fault]) -> set[str]:
    """Return the tests that fail without any fault."""
    failing = set()
    for test in dict.fromkeys(test for fault in faults for test in fault.tests):
        if _run(copy, test) != 0:
            print(f"{test} fails without any fault, and notices nothing", flush=True)
            failing.add(test)
    return failing


def _noticed(copy: Path, fault: Fault, failing: set[str]) -> str:
    """Plant a fault; return the first test file that fails by it, empty where none does."""
    path = copy / fault.path
    text = path.read_text(encoding="utf-8")
    path.write_text(fault.planted(text), encoding="utf-8")
    try:
        return next((test for test in fault.tests if test not in failing and _run(copy, test) == _FAILED), "")
    finally:
        path.write_text(text, encoding="utf-8")


def _run(copy: Path, test: str) -> int:
    """Run one test file in the copy; return pytest's exit code: 1 says that tests ran, and some failed."""
    found = [str(copy / "platform"), str(copy)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(found), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", test]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=_LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return _FAILED  # a test that hangs notices, too
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
