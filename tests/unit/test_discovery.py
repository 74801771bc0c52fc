"""Finding use cases: in a folder, installed, or not at all; and what is wrong with those that do not load."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pytest

from mlplatform import UseCase, discovery
from mlplatform.cli.main import main
from mlplatform.discovery import BrokenUseCaseWarning, UseCaseLocation
from mlplatform.errors import ConfigError, UsageError

GOOD = "from mlplatform import UseCase\n\n\nclass Mine(UseCase):\n    pass\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder, and leave no module behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(discovery.SETTING, raising=False)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("use_cases."):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write_use_case(name: str, code: str = GOOD, folder: str = "mine", **modules: str) -> Path:
        where = tmp_path / folder / name
        where.mkdir(parents=True)
        (where / "__init__.py").write_text(code, encoding="utf-8")
        (where / "config.yml").write_text("owner: x\n", encoding="utf-8")
        for module, text in modules.items():
            (where / f"{module}.py").write_text(text, encoding="utf-8")
        return where

    return write_use_case


def load(name: str, path: str = "mine") -> type[UseCase]:
    return discovery.load(discovery.get(name, path))


def test_a_folder_with_a_package_and_settings_is_a_use_case(write, tmp_path):
    where = write("churn_x")
    (tmp_path / "mine" / "no_settings").mkdir()
    (tmp_path / "mine" / "no_settings" / "__init__.py").touch()
    (tmp_path / "mine" / "notes.txt").touch()
    found = discovery.find_use_cases("mine")
    assert "no_settings" not in found
    assert found["churn_x"].folder == where
    cls = load("churn_x")
    assert (cls.__name__, issubclass(cls, UseCase), cls.__module__) == ("Mine", True, "use_cases.churn_x")
    assert discovery.folder_of(found["churn_x"], cls) == where


def test_finding_imports_nothing(write):
    write("bad_x", "raise RuntimeError('imported')\n")
    assert "bad_x" in discovery.find_use_cases("mine")
    assert "use_cases.bad_x" not in sys.modules


def test_the_folder_given_wins_over_the_projects_own_and_over_the_installed(write, tmp_path):
    given, own = write("credit_risk"), write("credit_risk", folder="use_cases")
    assert discovery.get("credit_risk", "mine").folder == given
    assert discovery.get("credit_risk").folder == own
    (own / "config.yml").unlink()
    installed = discovery.get("credit_risk")
    assert installed.origin == "installed"
    assert discovery.load(installed).__name__ == "CreditRisk"


def test_the_setting_names_a_folder_too(write, monkeypatch):
    where = write("churn_x")
    monkeypatch.setenv(discovery.SETTING, "mine")
    assert discovery.get("churn_x").folder == where
    assert discovery.get("churn_x").origin.endswith("mine")


@pytest.mark.parametrize("path", ["absent", "file.txt"])
def test_a_path_that_is_no_folder_is_a_usage_error(tmp_path, path):
    (tmp_path / "file.txt").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        discovery.find_use_cases(path)


def test_an_unknown_name_is_answered_with_the_near_ones(write):
    write("parcels_x")
    with pytest.raises(UsageError, match="no use case 'parcles_x'") as caught:
        discovery.get("parcles_x", "mine")
    assert caught.value.hint == "Did you mean parcels_x?"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import there_is_no_such_module\n", "ModuleNotFoundError: No module named 'there_is_no_such_module'"),
        ("from .absent import X\n", "ModuleNotFoundError"),
        ("1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_broken_package_is_named_with_what_broke(write, code, says):
    where = write("broken_x", code)
    with pytest.raises(ConfigError) as caught:
        load("broken_x")
    assert says in caught.value.message
    assert str(where) in caught.value.message
    assert "use_cases.broken_x" not in sys.modules


def test_an_error_of_ours_inside_a_package_comes_through(write):
    write("broken_x", "from mlplatform.naming import ObjectName\nObjectName.parse('x')\n")
    with pytest.raises(UsageError):
        load("broken_x")


@pytest.mark.parametrize(
    ("code", "held"),
    [
        (GOOD + "\n\nclass Other(UseCase):\n    pass\n", "Mine, Other"),
        ("x = 1\n", "none"),
        ("from mlplatform import UseCase\n", "none"),
    ],
)
def test_a_package_holds_exactly_one_use_case(write, code, held):
    write("several_x", code)
    with pytest.raises(ConfigError, match=f"exactly one UseCase; it holds {held}"):
        load("several_x")


def test_modules_of_a_package_import_each_other(write):
    write("parts_x", "from .parts import Mine\n", parts=GOOD)
    cls = load("parts_x")
    assert cls.__module__ == "use_cases.parts_x.parts"
    assert load("parts_x") is cls


def test_a_use_case_of_the_same_name_in_another_folder_is_another_one(write):
    write("twin_x", "from .parts import Mine\n", parts=GOOD)
    write("twin_x", "from .parts import Mine\n", folder="theirs", parts=GOOD.replace("pass", "mark = 1"))
    assert not hasattr(load("twin_x"), "mark")
    assert hasattr(load("twin_x", "theirs"), "mark")


# What is broken among them keeps nobody from the others


def found(folder: str = "mine") -> tuple[set[str], list[str]]:
    """The use cases of a folder, and the warnings about it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        names = {name for name, item in discovery.find_use_cases(folder).items() if item.folder is not None}
    return names, [str(item.message) for item in told if issubclass(item.category, BrokenUseCaseWarning)]


@pytest.mark.parametrize(
    "name", ["Bad-Name", "Not a name", "9lives", "größe", "ops.2", "x" * 64, "a\nb", "h\udcff", "-x"]
)
def test_a_folder_whose_name_is_none_is_named_and_the_others_work(write, name):
    write("good_x")
    write(name)
    names, told = found()
    assert "good_x" in names
    assert name not in names
    (text,) = told
    assert "is not a valid use-case name" in text
    assert "Rename the folder" in text
    assert text.endswith("The other use cases work.")
    with pytest.warns(BrokenUseCaseWarning, match="not a valid use-case name"):
        assert load("good_x").__name__ == "Mine"
    with pytest.raises(UsageError, match="is not a valid use-case name"):
        discovery.get(name, "mine")


def test_what_is_no_folder_of_a_use_case_is_passed_over_or_named(write, tmp_path):
    write("good_x")
    mine = tmp_path / "mine"
    (mine / "loop").symlink_to("loop")
    (mine / "gone").symlink_to(tmp_path / "nowhere")
    (mine / "a_file").touch()
    (mine / "half").mkdir()
    (mine / "half" / "config.yml").touch()
    (mine / "inside_out").mkdir()
    (mine / "inside_out" / "config.yml").mkdir()
    (mine / "inside_out" / "__init__.py").symlink_to("__init__.py")
    names, told = found()
    assert names >= {"good_x"}
    assert not names & {"loop", "gone", "a_file", "half", "inside_out"}
    assert len(told) == 2
    assert all("is a link that leads nowhere" in text for text in told)
    assert "mine/gone" in told[0]
    assert "mine/loop" in told[1]


@pytest.mark.parametrize(
    ("files", "lacks"),
    [
        ((), "no __init__.py and no config.yml"),
        (("__init__.py",), "no config.yml"),
        (("config.yml",), "no __init__.py"),
    ],
)
def test_whoever_asks_for_a_folder_that_lacks_something_is_told_what(write, tmp_path, files, lacks):
    write("good_x")
    (tmp_path / "mine" / "half").mkdir()
    for file in files:
        (tmp_path / "mine" / "half" / file).touch()
    with pytest.raises(UsageError, match="There is no use case 'half'") as caught:
        discovery.get("half", "mine")
    assert lacks in caught.value.hint
    assert discovery.get("good_x", "mine")


def test_a_folder_that_is_closed_to_us_is_named(write, monkeypatch):
    write("good_x")
    write("closed_x")
    is_file = Path.is_file

    def closed(self: Path) -> bool:
        if "closed_x" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return is_file(self)

    monkeypatch.setattr(Path, "is_file", closed)
    names, told = found()
    assert ("good_x" in names, "closed_x" in names) == (True, False)
    assert told == ["mine/closed_x cannot be read: Permission denied. Is it yours to read? The other use cases work."]


@pytest.mark.filterwarnings("always::mlplatform.discovery.BrokenUseCaseWarning")
def test_one_whose_settings_cannot_be_read_stops_no_command_over_all(write, tmp_path, capsys):
    write("good_x")
    (write("odd_x") / "config.yml").write_text("owner: [\n")
    (write("Bad-Name") / "config.yml").write_text("owner: x\n")
    for command in (["status", "--json"], ["explain", "zzzz"]):
        with pytest.raises(SystemExit) as left:
            main([*command, "--use-cases", "mine", "--home", str(tmp_path / "home")])
        said = capsys.readouterr()
        assert left.value.code == (0 if command[0] == "status" else 2), said.err
        assert said.err.count("config.yml is not valid YAML") == 1
        assert said.err.count("'Bad-Name' is not a valid use-case name") == 1
        if command[0] == "status":
            shown = {item["use_case"] for item in json.loads(said.out)}
            assert ("good_x" in shown, "odd_x" in shown) == (True, False)


def test_an_environment_that_one_declares_is_known_beside_one_whose_settings_cannot_be_read(write):
    (write("good_x") / "config.yml").write_text("owner: x\nenvironments: {acceptance: }\n")
    (write("odd_x") / "config.yml").write_text("owner: [\n")
    with pytest.warns(BrokenUseCaseWarning, match="odd_x"):
        discovery.check_environment("acceptance", "mine")
    with pytest.warns(BrokenUseCaseWarning, match="odd_x"):
        assert discovery.in_environment("acceptance", "mine") == ["good_x"]


def test_a_package_that_ends_the_process_is_an_error_that_names_it(write):
    write("quits_x", "raise SystemExit(7)\n")
    with pytest.raises(ConfigError, match=r"quits_x .* cannot be imported: SystemExit: 7"):
        load("quits_x")


@pytest.mark.parametrize(
    "code", ["x = " + "[" * 20_000 + "]" * 20_000, "x = '\\ud800'\ny = '\0'\n", "x = " + "9" * 5000]
)
def test_code_that_python_cannot_read_is_an_error_that_names_it(write, code):
    where = write("odd_x", code)
    with pytest.raises(ConfigError) as caught:
        load("odd_x")
    assert str(where) in caught.value.message
    assert len(caught.value.message) < 3000


@pytest.mark.parametrize("entry", ["there_is_no_such_module:X", "json:NoSuchName"])
def test_an_entry_point_that_leads_nowhere_is_a_config_error(entry):
    with pytest.raises(ConfigError, match="cannot be imported"):
        discovery.load(UseCaseLocation("x", None, "installed", entry))


@pytest.mark.parametrize("entry", ["json:dumps", "mlplatform:Trainer", "mlplatform:UseCase"])
def test_an_entry_point_that_is_no_use_case_is_a_config_error(entry):
    with pytest.raises(ConfigError):
        discovery.load(UseCaseLocation("x", None, "installed", entry))


def test_one_class_by_two_names_is_one_use_case(write):
    write("alias_x", GOOD + "\n\nDefault = Mine\n")
    assert load("alias_x").__name__ == "Mine"


def test_doctor_names_what_is_broken_and_how_to_mend_it(write, tmp_path, capsys):
    write("good_x")
    write("Bad-Name")
    with pytest.raises(SystemExit):
        main(["doctor", "--json", "--use-cases", "mine", "--home", str(tmp_path / "home")])
    found = {item["what"]: item for item in json.loads(capsys.readouterr().out)}
    broken = found["use case Bad-Name"]
    assert (broken["well"], "Rename the folder" in broken["mend"]) == (False, True)
    assert "use case good_x" in found
