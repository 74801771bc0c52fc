"""Stopping a run as a process, held at known places: exit code 130, one sentence, and no process left behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.crossed import crossed
from tests.support.processes import HOLD, children, held, wait_until_gone
from tests.support.tiny_use_case import NAME, write_tiny_use_case
from tests.support.typed import typed

PROJECT = Path(__file__).resolve().parents[2]
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
    """The tiny use case with few drops, whose history of the regions is held while it is computed."""
    tiny = write_tiny_use_case(tmp_path_factory.mktemp("held") / "use_cases", months=3, rows_a_month=20)
    with (tiny.folder / "__init__.py").open("a", encoding="utf-8") as code:
        code.write(f"from tests.support.tiny_use_case import RegionHistory\n{HOLD}\nRegionHistory.compute = hold\n")
    return tiny.use_cases


def command(use_cases: Path, home: Path, *stages: str) -> list[str | Path]:
    named = [word for stage in stages for word in ("--stage", stage)]
    return ["run", NAME, "--as-of", "2020-04-01", *named, "--home", home, "--use-cases", use_cases]


@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_stopping_leaves_no_process_behind(use_cases: Path, tmp_path: Path, sent: signal.Signals) -> None:
    arguments = ["-m", "mlplatform.cli", *command(use_cases, tmp_path / "home", "ingest", "refine", "features")]
    with held(arguments, PROJECT, tmp_path) as run:
        assert run.children, "the engine is not there"
        run.process.send_signal(sent)
        _, errors = run.process.communicate()
        assert run.process.returncode == 130, errors
        assert "goes on from there" in errors
        assert "Traceback" not in errors
        wait_until_gone(run.children)
    told = typed("status", NAME, "--json", "--home", tmp_path / "home", "--use-cases", use_cases, code=0)
    # What was finished is kept, and what was not is on record as such.
    assert told.json["stages"] == {"ingest": "done", "refine": "done", "features": "failed"}


def test_a_terminal_that_is_closed_stops_a_run(use_cases: Path, tmp_path: Path) -> None:
    code = DRIVER.format(hold=HOLD, place=PLACES["while the engine is connected"])
    words = command(use_cases, tmp_path / "home", "ingest", "refine")
    with held(["-c", code, *words], PROJECT, tmp_path, terminal=True) as run:
        assert run.children, "the engine is not there"
        assert run.terminal is not None
        run.terminal()
        assert run.process.wait() == 130
        wait_until_gone(run.children)
    home = tmp_path / "home"
    assert not list((home / "tmp").iterdir()), "what was begun was not cleaned up"


@pytest.mark.parametrize(("place", "sent"), crossed(PLACES, [signal.SIGINT, signal.SIGTERM]))
def test_stopping_works_wherever_the_run_is(use_cases: Path, tmp_path: Path, place: str, sent: signal.Signals) -> None:
    words = command(use_cases, tmp_path / "home", "ingest", "refine")
    if "MLflow" in place:
        words = ["gate", NAME, "--home", tmp_path / "home", "--use-cases", use_cases]
    code = DRIVER.format(hold=HOLD, place=PLACES[place])
    with held(["-c", code, *words], PROJECT, tmp_path) as run:
        run.process.send_signal(sent)
        _, errors = run.process.communicate()
        assert run.process.returncode == 130, errors
        assert errors.count("goes on from there") == 1
        assert "Traceback" not in errors
        wait_until_gone(run.children)
    assert not children(run.process.pid)
