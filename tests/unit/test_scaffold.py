"""`mlplatform new-use-case`: what it infers, what it writes, and what it refuses."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from mlplatform import discovery
from mlplatform.cli.main import cli
from mlplatform.config import load_settings
from mlplatform.errors import InvalidNameError, PlatformError, UsageError
from mlplatform.scaffold.inference import infer
from mlplatform.scaffold.render import new_use_case

PROJECT = Path(__file__).resolve().parents[2]
ROWS = 240


@pytest.fixture
def frame() -> pd.DataFrame:
    numbers = range(ROWS)
    return pd.DataFrame(
        {
            "Account No": [f"A{number}" for number in numbers],
            "Asked on": [f"{moment:%Y-%m-%d}" for moment in pd.date_range("2024-01-01", periods=ROWS)],
            "Region": [("north", "south", 'it\'s "far"')[number % 3] for number in numbers],
            "plan`price": [f"{number}.5" for number in numbers],
            "note": [f"call {number}" for number in numbers],
            "Bought": ["yes" if number % 4 == 0 else "no" for number in numbers],
        }
    )


@pytest.fixture
def csv(tmp_path: Path, frame: pd.DataFrame) -> Path:
    path = tmp_path / "offers.csv"
    frame.to_csv(path, index=False)
    return path


def write(tmp_path: Path, csv: Path, name: str = "upsell", **options):
    chosen = {"task": "classification", "entity": "Account No", "label": "Bought", "timestamp": "Asked on"} | options
    return new_use_case(name, csv, into=tmp_path / "use_cases", **chosen)


def test_what_is_inferred(csv):
    found = infer(csv, task="classification", entity="Account No", label="Bought", timestamp="Asked on")
    assert {fact.name: fact.role for fact in found.facts} == {
        "region": "category", "plan_price": "number", "note": "text",
    }  # fmt: skip
    assert (found.positive, found.negative, found.rarer, found.labelled) == ("yes", "no", 60, ROWS)
    assert (f"{found.start:%Y-%m-%d}", f"{found.end:%Y-%m-%d}") == ("2024-01-01", "2024-08-27")
    assert not found.repeats


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"timestamp": None},
        {"task": "regression", "label": "plan`price"},
    ],
)
def test_what_is_written_is_a_use_case_and_clean(tmp_path, csv, options):
    made = write(tmp_path, csv, **options)
    found = discovery.get("upsell", tmp_path / "use_cases")
    cls = discovery.load(found)
    assert cls.__name__ == "Upsell"
    settings = load_settings(made.folder / "config.yml", "dev")
    assert settings.simulation is not None
    assert (made.folder / "data" / "upsell.csv").read_bytes() == csv.read_bytes()
    assert (made.folder / "tests" / "test_upsell.py").is_file()
    for command in (["check"], ["format", "--check"]):
        ruff = [Path(sys.executable).with_name("ruff"), *command, "--config", PROJECT / "pyproject.toml", "use_cases"]
        # Settings by path count from where ruff runs.
        done = subprocess.run(list(map(str, ruff)), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    readme = (made.folder / "README.md").read_text()
    assert ("There is no time in the data" in readme) == (options.get("timestamp", "") is None)
    for number in range(1, 6):
        assert f"\n{number}. " in readme
    assert [path.name for path in (tmp_path / "use_cases").iterdir()] == ["upsell"], "nothing unfinished is left"


def test_names_of_the_file_are_quoted(tmp_path, csv):
    tables = (write(tmp_path, csv).folder / "tables.py").read_text()
    assert 'number_sql("`plan``price`")' in tables
    quoted = tmp_path / "quoted.csv"
    quoted.write_text(csv.read_text().replace("yes", "it's"))
    tables = (write(tmp_path, quoted, "quoted").folder / "tables.py").read_text()
    assert r"WHEN 'it\\'s' THEN 1D" in tables


@pytest.mark.parametrize("name", ["../evil", "a/b", "Upsell", "up-sell", "1st", "", "..", "class", "ops", "x" * 64])
def test_a_name_that_is_none_is_refused_and_nothing_is_written(tmp_path, csv, name):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidNameError):
        write(tmp_path, csv, name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_exists_is_left_alone(tmp_path, csv):
    there = tmp_path / "use_cases" / "upsell"
    there.mkdir(parents=True)
    (there / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write(tmp_path, csv)
    assert [path.name for path in there.iterdir()] == ["mine.txt"]
    (tmp_path / "use_cases" / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists already"):
        write(tmp_path, csv, "link")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label": "Bougt"}, "Did you mean Bought?"),
        ({"entity": "Account"}, "Did you mean Account No?"),
        ({"timestamp": "Asked"}, "Did you mean Asked on?"),
        ({"label": "Account No"}, "different columns"),
        ({"label": "Region"}, "has 3 values"),
        ({"task": "regression"}, "which is no number"),
        ({"timestamp": "note"}, "no time in ISO 8601"),
        ({"entity": "Region", "timestamp": None}, "rows share Region"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, csv, options, says):
    with pytest.raises(UsageError) as caught:
        write(tmp_path, csv, **options)
    assert says in str(caught.value)
    assert not (tmp_path / "use_cases").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.head(100), "at least 200"),
        (lambda frame: frame.assign(**{"asked on": 1}), "called Asked on and asked on; case does not count"),
        (lambda frame: frame.assign(**{"Account No": [None, *frame["Account No"][1:]]}), "have no Account No"),
        (lambda frame: frame.assign(**{"Asked on": "2024-01-01"}), "ten days are the least"),
        (lambda frame: frame[["Account No", "Asked on", "note", "Bought"]], "no column to predict from"),
        (lambda frame: frame.assign(**{"Account No": [" ", *frame["Account No"][1:]]}), "have no Account No"),
        (
            lambda frame: frame.assign(**{"Asked on": "2024-01-01", "Account No": ["A1 ", *frame["Account No"][1:]]}),
            "A1",
        ),
        (
            lambda frame: frame.assign(Region2="x").rename(columns={"Region2": "Region"}),
            "several columns called Region",
        ),
        (lambda frame: frame.rename(columns={"Region": "_file"}), "names that begin with an underscore"),
        (lambda frame: frame.rename(columns={"Region": " "}), "1 column(s) without a name"),
    ],
)
def test_a_file_that_does_not_do_is_refused(tmp_path, frame, change, says):
    path = tmp_path / "bad.csv"
    change(frame).to_csv(path, index=False)
    with pytest.raises(PlatformError) as caught:
        write(tmp_path, path)
    assert says in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a,b\n"1,2\n'])
def test_what_is_no_csv_is_refused(tmp_path, content):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        write(tmp_path, path)
    with pytest.raises(UsageError, match="no file"):
        write(tmp_path, tmp_path / "none.csv")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_named(tmp_path, frame, separator):
    path = tmp_path / "bad.csv"
    frame.to_csv(path, index=False, sep=separator)
    with pytest.raises(UsageError, match="not separated by commas"):
        write(tmp_path, path)


def test_names_are_plain_and_none_is_the_platforms(tmp_path, frame):
    path = tmp_path / "names.csv"
    columns = {"Region": "Größe (m²)", "plan`price": "цена", "note": "mean_recent"}
    frame.rename(columns=columns).assign(вес=1, label=2).to_csv(path, index=False)
    found = infer(path, task="classification", entity="Account No", label="Bought", timestamp="Asked on")
    assert [fact.name for fact in found.facts] == ["grosse_m2", "column_4", "the_mean_recent", "column_7", "the_label"]


def test_a_number_that_is_missing_in_words_is_still_a_number(tmp_path, frame):
    path = tmp_path / "missing.csv"
    words = ["NA", "null", "-", "NaN", *frame["plan`price"][4:]]
    frame.assign(**{"plan`price": words, "note": "N/A"}).to_csv(path, index=False)
    found = infer(path, task="classification", entity="Account No", label="Bought", timestamp="Asked on")
    roles = {fact.name: fact.role for fact in found.facts}
    assert (roles["plan_price"], roles["note"]) == ("number", "category")


def test_a_label_without_a_yes_takes_the_rarer_value(tmp_path, frame):
    path = tmp_path / "rare.csv"
    frame.assign(Bought=frame["Bought"].map({"yes": "gone", "no": "stayed"})).to_csv(path, index=False)
    found = infer(path, task="classification", entity="Account No", label="Bought", timestamp=None)
    assert (found.positive, found.negative) == ("gone", "stayed")


def test_the_command_says_what_the_missing_time_means(tmp_path, csv):
    command = ["new-use-case", "upsell", "--task", "classification", "--entity", "Account No", "--label", "Bought"]
    done = CliRunner().invoke(cli, [*command, "--from-csv", str(csv), "--use-cases", str(tmp_path / "mine")])
    assert done.exit_code == 0, done.output
    assert "No --timestamp" in done.output
    assert "no late labels" in done.output
    assert f"--use-cases {tmp_path / 'mine'}" in done.output


def test_in_the_project_of_a_bundle_the_jobs_are_written_too(tmp_path, csv):
    (tmp_path / "databricks.yml").write_text("bundle: {name: b}\ntargets: {dev: {mode: development}}\n")
    shutil.copy(PROJECT / "uv.lock", tmp_path)
    options = ["--task", "classification", "--entity", "Account No", "--label", "Bought", "--from-csv", str(csv)]
    where = ["--use-cases", str(tmp_path / "use_cases")]
    done = CliRunner().invoke(cli, ["new-use-case", "upsell", *options, *where])
    assert done.exit_code == 0, done.output
    assert 'upsell = "use_cases.upsell:Upsell"' in done.output
    made = yaml.safe_load((tmp_path / "resources" / "upsell.yml").read_text())
    assert "upsell_main_pipeline" in made["resources"]["jobs"]
    assert CliRunner().invoke(cli, ["bundle", "generate", "--check", "--project", str(tmp_path)]).exit_code == 0


def test_without_a_bundle_no_jobs_are_written(tmp_path, csv):
    options = ["--task", "classification", "--entity", "Account No", "--label", "Bought", "--from-csv", str(csv)]
    where = ["--use-cases", str(tmp_path / "use_cases")]
    assert CliRunner().invoke(cli, ["new-use-case", "upsell", *options, *where]).exit_code == 0
    assert not (tmp_path / "resources").exists()
