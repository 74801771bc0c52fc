"""The command line: what a user types, reads, and gets as an exit code; as a process where that makes a difference."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.typed import typed

PROJECT = Path(__file__).resolve().parents[2]
CREDIT_RISK = PROJECT / "use_cases" / "credit_risk"


@pytest.fixture
def use_cases(tmp_path: Path) -> Path:
    """A copy of credit risk with the drops of 2002 only."""
    folder = tmp_path / "my_use_cases" / "credit_risk"
    shutil.copytree(CREDIT_RISK, folder, ignore=shutil.ignore_patterns("data", "tests", "__pycache__"))
    for kind in ("loans", "outcomes"):
        (folder / "data" / kind).mkdir(parents=True)
        for file in (CREDIT_RISK / "data" / kind).glob("*_2002*.csv.gz"):
            shutil.copy(file, folder / "data" / kind)
    return folder.parent


def test_help_and_version_answer_without_loading_engines(tmp_path: Path) -> None:
    for arguments in (["--help"], ["run", "--help"], ["status", "--home", str(tmp_path)]):
        code = (
            "import sys\nfrom mlplatform.cli.main import main\n"
            f"try: main({arguments!r})\nexcept SystemExit as end: assert not end.code, end.code\n"
            "heavy = {'mlflow', 'pyspark', 'sklearn', 'hyperopt'} & set(sys.modules)\nassert not heavy, heavy\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=False)
        assert done.returncode == 0, done.stderr
    assert "Examples" in typed("run", "--help", code=0).stdout
    version = subprocess.run(
        [sys.executable, "-m", "mlplatform.cli", "--version"], capture_output=True, text=True, check=False
    )
    assert version.stdout.startswith("mlplatform, version 0.")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "credit_rsk"], "Did you mean credit_risk?"),
        (["run", "credit_risk", "--as-of", "yesterday"], "is not a time"),
        (["run", "credit_risk", "--stage", "trian"], "Did you mean train"),
        (["simulate", "credit_risk", "--from", "2007-01-01", "--to", "2006-01-01", "--every", "day"], "lies before"),
        (["run", "credit_risk", "--workspace", "locl"], "Did you mean local?"),
    ],
)
def test_wrong_use_is_one_message_and_exit_code_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    assert says in typed(*arguments, "--home", tmp_path, code=2).stderr


def test_a_process_ends_with_the_exit_code_and_its_message_goes_to_standard_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlplatform.cli", "nonsense"], capture_output=True, text=True, cwd=PROJECT, check=False
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "No such command" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_in_the_settings_names_the_nearest_one(use_cases: Path, tmp_path: Path) -> None:
    config = use_cases / "credit_risk" / "config.yml"
    config.write_text(config.read_text().replace("horizon:", "horizn:"))
    done = typed(
        "run", "credit_risk", "--as-of", "2003-01-01", "--use-cases", use_cases, "--home", tmp_path / "home", code=2
    )
    assert "label.horizn: unknown key. Did you mean horizon?" in done.stderr
    assert str(config) in done.stderr


def test_a_missing_data_folder_is_named(use_cases: Path, tmp_path: Path) -> None:
    shutil.rmtree(use_cases / "credit_risk" / "data")
    done = typed(
        "run", "credit_risk", "--as-of", "2003-01-01", "--use-cases", use_cases, "--home", tmp_path / "home", code=1
    )
    assert f"The landing folder {use_cases / 'credit_risk' / 'data'} does not exist." in done.stderr


def test_a_corrupt_file_is_named_and_what_came_before_stays(use_cases: Path, tmp_path: Path) -> None:
    corrupt = use_cases / "credit_risk" / "data" / "loans" / "loans_2002Q3.csv.gz"
    corrupt.write_bytes(corrupt.read_bytes()[:5000])
    arguments = ("run", "credit_risk", "--as-of", "2003-01-01", "--stage", "ingest", "--use-cases", use_cases)
    done = typed(*arguments, "--home", tmp_path / "home", code=1)
    assert f"{corrupt} cannot be read as CSV" in done.stderr
    shutil.copy(CREDIT_RISK / "data" / "loans" / corrupt.name, corrupt)
    again = typed(*arguments, "--json", "--home", tmp_path / "home", code=0)
    # Q1 and Q2 (1,607 and 2,015 loans) were kept: only Q3, Q4 and the outcomes are new.
    assert again.json["stages"][0]["rows_in"] == 2548 + 2115 + 21


def test_no_mature_label_is_one_message(use_cases: Path, tmp_path: Path) -> None:
    done = typed(
        "run", "credit_risk", "--as-of", "2003-01-01", "--use-cases", use_cases, "--home", tmp_path / "home", code=1
    )
    assert "No label of credit_risk is known at 2003-01-01" in done.stderr
    assert "choose a later --as-of" in done.stderr
    status = typed(
        "status", "credit_risk", "--json", "--use-cases", use_cases, "--home", tmp_path / "home", code=0
    ).json
    assert status["stages"]["features"] == "done"
    assert status["stages"]["train"] == "failed"
    assert status["champion"] is None


def test_bad_rows_are_quarantined_and_counted(use_cases: Path, tmp_path: Path) -> None:
    file = use_cases / "credit_risk" / "data" / "loans" / "loans_2002Q1.csv.gz"
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    lines[1] = lines[1].replace("$", "?")  # amounts that are none
    lines[2] = lines[2] + ",one field too many"
    file.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    # No outcome drop is complete by then, which is an empty source, not an error.
    done = typed(
        "run", "credit_risk", "--as-of", "2002-04-01", "--stage", "ingest", "--stage", "refine", "--json",
        "--use-cases", use_cases, "--home", tmp_path / "home", code=0,
    )  # fmt: skip
    ingest, refine = done.json["stages"]
    assert (ingest["rows_in"], ingest["rows_out"], ingest["rows_quarantined"]) == (1607, 1606, 1)
    assert (refine["rows_in"], refine["rows_out"], refine["rows_quarantined"]) == (1606, 1605, 1)


def test_doctor_finds_all_well_here_and_says_what_is_not(tmp_path: Path) -> None:
    done = typed("doctor", "--json", "--home", tmp_path / "home", code=0)
    assert all(finding["well"] for finding in done.json)
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "cases" / "thing"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("")
    (broken / "config.yml").write_text("owner: me\n")
    done = typed("doctor", "--use-cases", broken.parent, "--home", tmp_path / "home", code=1)
    assert "MISSING" in done.stdout
