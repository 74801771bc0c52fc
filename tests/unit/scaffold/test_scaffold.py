"""`mlplatform new-use-case`: what it infers, what it writes, and what it refuses."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
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
from mlplatform.config.settings import load_settings
from mlplatform.errors import ConfigError, PlatformError, UsageError
from mlplatform.scaffold.inference import LEAST_ROWS, infer
from mlplatform.scaffold.render import new_use_case

PROJECT = Path(__file__).resolve().parents[3]
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
        {"estimator": "lightgbm"},
        {"estimator": "lightgbm", "task": "regression", "label": "plan`price"},
        {"estimator": "xgboost", "timestamp": None},
        {"estimator": "xgboost", "task": "regression", "label": "plan`price"},
        {"estimator": "linear"},
        {"estimator": "linear", "task": "regression", "label": "plan`price"},
    ],
)
def test_what_is_written_is_a_use_case_and_clean(tmp_path, csv, options):
    made = write(tmp_path, csv, **options)
    found = discovery.get("upsell", tmp_path / "use_cases")
    cls = discovery.load(found)
    assert cls.__name__ == "Upsell"
    settings = load_settings(made.folder / "config.yml", "dev")
    assert settings.simulation is not None
    package = {"lightgbm": ("lightgbm",), "xgboost": ("xgboost-cpu",)}.get(str(options.get("estimator")), ())
    assert settings.jobs.packages == package
    assert (made.folder / "data" / "upsell.csv").read_bytes() == csv.read_bytes()
    assert (made.folder / "tests" / "test_contract.py").is_file()
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
    with pytest.raises(UsageError):
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
def test_another_separator_is_found_and_declared(tmp_path, frame, separator):
    path = tmp_path / "other.csv"
    frame.to_csv(path, index=False, sep=separator)
    write(tmp_path, path)
    (source,) = discovery.load(discovery.get("upsell", tmp_path / "use_cases")).sources
    assert source.dialect.declared() == {"delimiter": separator}


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


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_is_unpacked_whatever_its_name_says(tmp_path, csv, pack):
    packed = tmp_path / "offers.txt"
    packed.write_bytes(pack(csv.read_bytes()))
    made = write(tmp_path, packed)
    assert (made.folder / "data" / "upsell.csv").read_bytes() == csv.read_bytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04rest", "ZIP"),
        (b"PAR1rest", "Parquet"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "is not utf-16"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "cannot be unpacked"),
        (gzip.compress(gzip.compress(b"a,b\n1,2\n", mtime=0), mtime=0), "no CSV file"),
        (b"a,b\n1\x00,2\n", "bytes that no text has"),
    ],
)
def test_what_is_no_csv_is_named_by_its_content(tmp_path, content, says):
    path = tmp_path / "offers.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=says):
        write(tmp_path, path)


@pytest.mark.parametrize(
    "name", ["pandas", "platform", "test", "mlplatform", "json", "sklearn", "pyspark", "match", "_x"]
)
def test_a_name_that_hides_a_package_is_refused(tmp_path, csv, name):
    with pytest.raises(UsageError):
        write(tmp_path, csv, name)
    assert not (tmp_path / "use_cases").exists()


@pytest.mark.parametrize("name", ["cases", "facts", "use_case", "none"])
def test_a_name_that_is_a_class_of_the_files_still_loads(tmp_path, csv, name):
    made = write(tmp_path, csv, name)
    cls = discovery.load(discovery.get(name, tmp_path / "use_cases"))
    assert (cls.__name__, made.class_name) == (made.class_name, made.class_name)
    assert cls.spine.__name__ == "Cases"


def test_headers_that_sql_and_people_stumble_over(tmp_path, frame):
    path = tmp_path / "headers.csv"
    odd = {
        "Region": "region.name",
        "plan`price": "2nd price\u00a0(€)",
        "note": "raw",
        "Account No": "\u200bAccount No ",
    }
    frame.rename(columns=odd).assign(**{"region name": "a", "select": 1}).to_csv(path, index=False)
    made = write(tmp_path, path, entity="Account No")
    found = made.inferred
    assert {fact.source: fact.name for fact in found.facts} == {
        "region.name": "region_name",
        "2nd price\u00a0(€)": "the_2nd_price",
        "raw": "the_raw",
        "region name": "region_name_2",
        "select": "select",
    }
    assert found.entities[0].source == "\u200bAccount No "
    cls = discovery.load(discovery.get("upsell", tmp_path / "use_cases"))
    assert set(cls.sources[0].columns) == set(found.file.header), "the file's header, sign by sign"
    tables = (made.folder / "tables.py").read_text()
    assert not any(sign in tables for sign in "\u00a0\u200b"), "what one cannot see is written by its number"


def test_codes_stay_text_and_numbers_as_people_write_them_are_numbers(tmp_path, frame):
    path = tmp_path / "numbers.csv"
    numbers = range(ROWS)
    written = {
        "zip": [f"{number % 40:05d}" for number in numbers],
        "id": [str(10**18 + number) for number in numbers],
        "amount": [f"{number},50" for number in numbers],
        "paid": [f"${1000 * number:,}.00" for number in numbers],
        "share": [f"{number % 100}%" for number in numbers],
        "grouped": [f"{number},000" for number in range(1, ROWS + 1)],
    }
    frame.assign(**written).to_csv(path, index=False)
    made = write(tmp_path, path)
    facts = {fact.name: fact for fact in made.inferred.facts}
    assert {name: facts[name].role for name in written} == {
        "zip": "category", "id": "text", "amount": "number", "paid": "number", "share": "number", "grouped": "number",
    }  # fmt: skip
    tables = (made.folder / "tables.py").read_text()
    assert 'number_sql("`paid`", unit="$", thousands=",")' in tables
    assert "in percent: 40% is 40" in tables
    # One other column has a decimal comma, one a decimal point: nothing decides.
    assert facts["grouped"].note
    assert f"# edit: {facts['grouped'].note}" in tables


def test_several_entities_are_one_key(tmp_path, frame):
    path = tmp_path / "panel.csv"
    frame.assign(Shop=["a", "b"] * (ROWS // 2), Day=[f"2024-0{1 + n % 8}-0{1 + n // 40}" for n in range(ROWS)]).to_csv(
        path, index=False
    )
    made = write(tmp_path, path, entity=["Account No", "Shop"], timestamp="Day")
    cls = discovery.load(discovery.get("upsell", tmp_path / "use_cases"))
    assert cls.spine.entity_keys == ("account_no", "shop")
    assert cls.silver[0].keys == ("account_no", "shop")
    assert cls.silver[0].primary_keys == ("account_no", "shop", "day")
    with pytest.raises(UsageError, match="different columns"):
        write(tmp_path, path, "other", entity=["Shop", "Shop"], timestamp="Day")
    assert made.histories == ()


def test_without_an_id_each_row_is_its_own(tmp_path, csv):
    write(tmp_path, csv, entity=())
    cls = discovery.load(discovery.get("upsell", tmp_path / "use_cases"))
    assert cls.spine.entity_keys == ("row_id",)
    command = ["new-use-case", "x", "--task", "classification", "--label", "Bought", "--from-csv", str(csv)]
    done = CliRunner().invoke(cli, [*command, "--use-cases", str(tmp_path / "mine")])
    assert isinstance(done.exception, UsageError)
    assert "--row-numbers" in str(done.exception.hint)


def test_the_horizon_stands_in_one_place(tmp_path, csv):
    made = write(tmp_path, csv, horizon="6 weeks")
    holds = [path.name for path in made.folder.rglob("*.*") if path.suffix != ".csv" and "6 weeks" in path.read_text()]
    assert sorted(holds) == ["README.md", "config.yml"]
    cls = discovery.load(discovery.get("upsell", tmp_path / "use_cases"))
    assert "INTERVAL 42 DAYS" in next(column.sql for column in cls.silver[1].columns if column.name == "known_at")
    config = made.folder / "config.yml"
    config.write_text(f"{config.read_text()}\nenvironments:\n  prod:\n    label: {{horizon: 2 days}}\n")
    sys.modules.pop("use_cases.upsell")
    with pytest.raises(ConfigError, match=r"label\.horizon is 6 weeks in dev and 2 days in prod"):
        discovery.load(discovery.get("upsell", tmp_path / "use_cases"))
    for wrong in ("soon", "0 days"):
        with pytest.raises(UsageError):
            write(tmp_path, csv, "other", horizon=wrong)


def test_histories_are_by_what_was_asked_for(tmp_path, csv):
    assert write(tmp_path, csv, "none_asked").histories == (), "no entity has several rows"
    made = write(tmp_path, csv, history_by=["note", "Region+note"])
    cls = discovery.load(discovery.get("upsell", tmp_path / "use_cases"))
    assert [(table.name, table.keys) for table in cls.features] == [
        ("note", ("note",)),
        ("region_note", ("region", "note")),
    ]
    assert cls.trainer.exclude_columns == ("note",), "text of many values is a key, and no input"
    assert [fact.name for fact in made.inferred.facts if fact.role == "category"] == ["region"]
    for wrong, says in [(["Bought"], "neither the label"), (["note", "note"], "twice"), (["nope"], "no column")]:
        with pytest.raises(UsageError, match=says):
            write(tmp_path, csv, "other", history_by=wrong)
    with pytest.raises(UsageError, match="no history without a time"):
        write(tmp_path, csv, "other", history_by=["note"], timestamp=None)


@pytest.mark.parametrize(
    ("labels", "positive", "labelled"),
    [
        (["1", "1.0", "0", "0.0"], "1", ROWS),
        (["Yes", "YES", "no", "No"], "yes", ROWS),
        (["sim", "não", "Sim", "NÃO"], "sim", ROWS),
        (["2", "1", "2.0", "1.00"], "1", ROWS),
        (["true", "false", "NA", "n/a"], "true", ROWS // 2),
        (["+", "-", "+", "-"], "+", ROWS),
    ],
)
def test_labels_that_are_the_same_are_one(tmp_path, frame, labels, positive, labelled):
    path = tmp_path / "labels.csv"
    frame.assign(Bought=labels * (ROWS // 4)).to_csv(path, index=False)
    if labelled < LEAST_ROWS:
        path.write_text(
            path.read_text() + "".join(re.sub("^A", "B", path.read_text(), flags=re.MULTILINE).partition("\n")[2])
        )
        labelled *= 2
    found = infer(path, task="classification", entity="Account No", label="Bought", timestamp=None)
    assert (found.positive.lower(), found.labelled) == (positive, labelled)


def test_numbers_guessed_from_the_file_are_marked(tmp_path, csv):
    config = (write(tmp_path, csv).folder / "config.yml").read_text()
    assert "monitoring" not in config, "the platform's defaults hold"
    guessed = [line for line in config.splitlines() if re.search(r"(horizon|every|floor|min_\w+): [\d.]", line)]
    assert len(guessed) == 7
    inside = config[: config.index("simulation:")]
    assert all("# edit" in line for line in guessed if line in inside.splitlines())
    assert "simulation:  # edit" in config


def test_the_command_says_what_it_made_of_the_file(tmp_path, frame):
    path = tmp_path / "said.csv"
    frame.rename(columns={"Region": "Region\u00a0"}).assign(zip=[f"{n % 9:03d}" for n in range(ROWS)]).to_csv(
        path, index=False
    )
    options = ["--task", "classification", "--entity", "Account No", "--label", "Bought", "--from-csv", str(path)]
    done = CliRunner().invoke(cli, ["new-use-case", "upsell", *options, "--use-cases", str(tmp_path / "my cases")])
    assert done.exit_code == 0, done.output
    assert r'"Region\u00a0" is region' in done.output
    assert "zip: leading zeros, as in 000: codes" in done.output
    assert "made-up days by their keys, 2000-01-01 to 2000-04-09" in done.output
    assert f"--use-cases '{tmp_path / 'my cases'}'" in done.output


def test_an_estimator_that_is_not_installed_is_said(tmp_path, csv, monkeypatch):
    options = ["--task", "classification", "--entity", "Account No", "--label", "Bought", "--from-csv", str(csv)]
    where = ["--use-cases", str(tmp_path / "use_cases")]
    called = ["new-use-case", "upsell", *options, *where, "--estimator"]
    assert "random-forest" in str(CliRunner().invoke(cli, [*called, "random-forest"]).output)
    monkeypatch.setattr("mlplatform.cli.new_use_case.find_spec", lambda name: None)
    done = CliRunner().invoke(cli, [*called, "lightgbm"])
    assert done.exit_code == 0, done.output
    assert "pip install 'mlplatform[lightgbm]'" in done.output
