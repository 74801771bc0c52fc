"""Finding use cases: in a folder, installed, or not at all; and what is wrong with those that do not load."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlplatform import UseCase, discovery
from mlplatform.discovery import UseCaseLocation
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


def test_a_folder_whose_name_is_none_is_an_error_that_names_it(write):
    write("Not-A-Name")
    with pytest.raises(UsageError, match="Not-A-Name"):
        discovery.find_use_cases("mine")


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
