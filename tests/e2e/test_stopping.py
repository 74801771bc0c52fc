"""Stopping a run as a process, held at known places: exit code 130, one sentence, and no process left behind."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import HOLD, children, held, wait_until_gone

PROJECT = Path(__file__).resolve().parents[2]
CREDIT_RISK = PROJECT / "use_cases" / "credit_risk"
PLACES = {
    "before the engine is started": "from mlplatform.ingest.stage import Ingest\nIngest.run = hold",
    "while MLflow is loaded": "from mlplatform.workspace.local import registry as at\nat.LocalRegistry._mlflow = hold",
    "while the engine starts": "from mlplatform.workspace.local import session as at\nat.SailServer._read_port = hold",
    "while the engine is connected": "from mlplatform.workspace.local import session as at\nat.connect = hold",
    "while the engine is closed": "from pyspark.sql.connect.session import SparkSession\nSparkSession.stop = hold",
}
DRIVER = """
import sys
from mlplatform.cli.main import main
{hold}
{place}
sys.argv = ["mlplatform", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def use_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of credit risk with one drop, whose history of the lender is held while it is computed."""
    folder = tmp_path_factory.mktemp("held") / "use_cases" / "credit_risk"
    shutil.copytree(CREDIT_RISK, folder, ignore=shutil.ignore_patterns("data", "tests", "__pycache__"))
    for kind in ("loans", "outcomes"):
        (folder / "data" / kind).mkdir(parents=True)
        first = min((CREDIT_RISK / "data" / kind).glob("*_2002*.csv.gz"))
        shutil.copy(first, folder / "data" / kind)
    with (folder / "features.py").open("a", encoding="utf-8") as code:
        # What is replaced reads nothing, so that what it would read is said.
        code.write(
            HOLD + "LenderFeatures.inputs = ('silver_loans', 'silver_outcomes')\nLenderFeatures.compute = hold\n"
        )
    return folder.parent


def command(use_cases: Path, home: Path, *stages: str) -> list[str | Path]:
    named = [word for stage in stages for word in ("--stage", stage)]
    return ["run", "credit_risk", "--as-of", "2003-01-01", *named, "--home", home, "--use-cases", use_cases]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_no_process_behind(use_cases: Path, tmp_path: Path, sent: signal.Signals) -> None:
    arguments = ["-m", "mlplatform.cli", *command(use_cases, tmp_path / "home")]
    with held(arguments, PROJECT, tmp_path) as run:
        assert run.children, "the engine is not there"
        run.process.send_signal(sent)
        _, errors = run.process.communicate()
        assert run.process.returncode == 130, errors
        assert "goes on from there" in errors
        assert "Traceback" not in errors
        wait_until_gone(run.children)
    told = subprocess.run(
        [sys.executable, "-m", "mlplatform.cli", "status", "credit_risk", "--json", "--home", str(tmp_path / "home"),
         "--use-cases", str(use_cases)],
        capture_output=True, text=True, cwd=PROJECT, check=True,
    )  # fmt: skip
    # What was finished is kept, and what was not is on record as such.
    assert json.loads(told.stdout)["stages"] == {"ingest": "done", "refine": "done", "features": "failed"}


def test_a_terminal_that_is_closed_stops_a_run(use_cases: Path, tmp_path: Path) -> None:
    arguments = ["-m", "mlplatform.cli", *command(use_cases, tmp_path / "home")]
    with held(arguments, PROJECT, tmp_path, terminal=True) as run:
        assert run.children, "the engine is not there"
        assert run.terminal is not None
        run.terminal()
        assert run.process.wait() == 130
        wait_until_gone(run.children)
    home = tmp_path / "home"
    assert not list((home / "tmp").iterdir()), "what was begun was not cleaned up"


@pytest.mark.parametrize("place", PLACES)
def test_stopping_works_wherever_the_run_is(use_cases: Path, tmp_path: Path, place: str) -> None:
    words = command(use_cases, tmp_path / "home", "ingest", "refine")
    if "MLflow" in place:
        words = ["gate", "credit_risk", "--home", tmp_path / "home", "--use-cases", use_cases]
    code = DRIVER.format(hold=HOLD, place=PLACES[place])
    with held(["-c", code, *words], PROJECT, tmp_path) as run:
        run.process.send_signal(signal.SIGINT)
        _, errors = run.process.communicate()
        assert run.process.returncode == 130, errors
        assert errors.count("goes on from there") == 1
        assert "Traceback" not in errors
        wait_until_gone(run.children)
    assert not children(run.process.pid)
