"""Catalog and environment: two things, decided in one place, alike in both homes and for every command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mlplatform import open_workspace
from mlplatform.cli.commands import command as as_command
from mlplatform.cli.main import cli
from mlplatform.cli.options import Options
from mlplatform.errors import ConfigError, PlatformError, UsageError
from mlplatform.naming import Namespace
from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
from mlplatform.workspace.local.workspace import LocalWorkspace
from mlplatform.workspace.shared.place import Place

CONFIG = "owner: team@example.com\nlabel: {horizon: 1 day}\ngate: {floor: 0.6}\n"
USE_CASE = '''
from mlplatform import Trainer, UseCase

class Made(UseCase):
    """Settings, a name and a trainer are all that opening it needs."""

    trainer = Trainer
'''


@pytest.fixture(params=["local", "databricks"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Open a workspace of each home; nothing that it leads to is asked."""

    def opened(**where: Any) -> Place:
        if request.param == "local":
            return LocalWorkspace.open(root=tmp_path, **where)
        return DatabricksWorkspace(client=None, **{"env": "dev"} | where)  # type: ignore[arg-type]

    return opened


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three use cases, two of which are in a catalog of another name in production."""
    for name, more in (
        ("alpha", "environments: {prod: {catalog: ml-prod}, acceptance: {catalog: ml_acc}}\n"),
        ("beta", "environments: {prod: {catalog: ml-prod}}\n"),
        ("gamma", ""),
    ):
        folder = tmp_path / "use_cases" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(USE_CASE)
        (folder / "config.yml").write_text(CONFIG + more)
    monkeypatch.chdir(tmp_path)
    # Only what is in the folder: the project of these tests installs use cases of its own.
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    for name in [name for name in os.environ if name.startswith("MLPLATFORM_")]:
        monkeypatch.delenv(name)
    return tmp_path


def test_the_catalog_is_called_as_the_environment_unless_it_is_said(opened):
    assert (opened(env="prod").catalog, opened(env="prod").env) == ("prod", "prod")
    told = opened(env="prod", catalog="main")
    assert (told.catalog, told.env) == ("main", "prod")


@pytest.mark.parametrize("wrong", ["a.b", "x;", "..", "a b"])
def test_a_catalog_that_is_no_name_is_refused(opened, wrong):
    with pytest.raises(UsageError):
        opened(catalog=wrong)


def test_the_first_use_case_decides_and_one_of_another_catalog_is_refused(opened):
    ws = opened(env="prod")
    ws.settle_catalog("alpha", "main")
    ws.settle_catalog("beta", "main")
    assert ws.catalog == "main"
    with pytest.raises(ConfigError, match=r"gamma is in the catalog prod.*in main, the catalog of alpha") as caught:
        ws.settle_catalog("gamma", None)
    assert "catalog='prod'" in caught.value.hint
    assert ws.catalog == "main"


def test_what_the_workspace_was_told_wins_over_every_setting(opened):
    ws = opened(env="prod", catalog="told")
    ws.settle_catalog("alpha", "main")
    ws.settle_catalog("beta", None)
    assert ws.catalog == "told"


def test_a_use_case_without_the_setting_decides_too(opened):
    ws = opened()
    ws.settle_catalog("gamma", None)
    with pytest.raises(ConfigError):
        ws.settle_catalog("alpha", "main")


def test_an_opened_use_case_has_all_its_names_in_its_catalog(project):
    from mlplatform import open_use_case

    with open_workspace("local", env="prod", root=project / "home") as ws:
        alpha = open_use_case(ws, "alpha")
        assert alpha.namespace == Namespace("ml-prod", "alpha")
        assert str(alpha.model) == "ml-prod.alpha.model"
        with pytest.raises(ConfigError, match="gamma"):
            open_use_case(ws, "gamma")


@pytest.mark.parametrize("home", ["local", "databricks"])
def test_an_environment_of_no_use_case_opens_no_workspace(project, home):
    with pytest.raises(UsageError, match="Known: dev, staging, prod, acceptance") as caught:
        open_workspace(home, env="prd", root=project / "home")
    assert "Did you mean prod?" in caught.value.hint
    assert not (project / "home").exists()


def test_an_environment_that_one_use_case_declares_is_that_ones(project):
    from mlplatform import open_use_case

    with open_workspace("local", env="acceptance", root=project / "home") as ws:
        assert open_use_case(ws, "alpha").model.catalog == "ml_acc"
        with pytest.raises(UsageError, match="gamma"):
            open_use_case(ws, "gamma")


def test_environments_of_a_folder_that_is_named_are_known(project, monkeypatch):
    monkeypatch.chdir("/")
    with open_workspace("local", env="acceptance", root=project / "home", use_cases=project / "use_cases") as ws:
        assert ws.env == "acceptance"
    with pytest.raises(UsageError):
        open_workspace("local", env="acceptance", root=project / "home")


def commands() -> list[str]:
    """Every command that takes the common options, as it is typed."""
    found = []
    for name, command in cli.commands.items():
        inner = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        found += [f"{name} {sub}".strip() for sub, item in inner if takes_an_environment(item)]
    return found


def takes_an_environment(command: click.Command) -> bool:
    """A command that works in no workspace takes it, too, and does not show it."""
    return any(param.name == "env" and not param.hidden for param in command.params)


def arguments_of(command: str) -> list[str]:
    """What the command needs, so that its environment is all that is wrong."""
    item: Any = cli
    for part in command.split():
        item = item.commands[part]
    needed: list[str] = []
    for parameter in item.params:
        if not parameter.required:
            continue
        value = "3" if isinstance(parameter.type, click.IntRange) else "alpha"
        if isinstance(parameter.type, click.Choice):
            value = str(parameter.type.choices[0])
        needed += [value] if isinstance(parameter, click.Argument) else [f"{parameter.opts[0]}={value}"]
    return needed


@pytest.mark.parametrize("command", commands())
@pytest.mark.parametrize("home", ["local", "databricks"])
def test_every_command_refuses_a_typo(project, command, home):
    asked = [*command.split(), *arguments_of(command), "--env", "prd", "--workspace", home, "--home", "home"]
    done = CliRunner().invoke(cli, asked)
    assert isinstance(done.exception, UsageError), (done.exception, done.output)
    assert "Known: dev, staging, prod, acceptance" in done.exception.message
    assert not (project / "home").exists()


def test_all_commands_with_an_environment_are_tried():
    assert {"run", "status", "explain", "doctor", "setup", "deployment approval", "config show"} <= set(commands())


def options(*arguments: str, env: dict[str, str] | None = None) -> Options:
    """Return the options as a command gets them."""
    given: list[Options] = []

    @as_command()
    def keep(options: Options) -> None:
        given.append(options)

    CliRunner().invoke(keep, arguments, env=env, catch_exceptions=False)
    return given[0]


@pytest.mark.parametrize(
    ("arguments", "env", "expected"),
    [
        (["--env=prod"], {}, "ml-prod"),
        (["--env=prod", "--catalog=told"], {}, "told"),
        (["--env=prod"], {"MLPLATFORM_CATALOG": "told"}, "told"),
        (["--env=prod", "--catalog="], {}, "ml-prod"),  # as a bundle's empty variable says it
        ([], {}, "dev"),
        ([], {"MLPLATFORM_ENV": "acceptance"}, "ml_acc"),
    ],
)
def test_commands_take_the_catalog_of_the_use_case(project, arguments, env, expected):
    asked = options(*arguments, "--workspace=local", "--home=home", env=env)
    assert asked.catalog_of("alpha") == expected
    with asked.open("alpha") as ws:
        assert ws.catalog == expected
    with asked.open_use_case("alpha") as (_, use_case):
        assert use_case.namespace.catalog == expected


def test_a_command_over_several_catalogs_says_which(project):
    asked = options("--env=prod", "--home=home")
    assert asked.all_by_catalog() == {"ml-prod": ["alpha", "beta"], "prod": ["gamma"]}
    with pytest.raises(UsageError, match="alpha in ml-prod; gamma in prod"), asked.open("alpha", "gamma"):
        pass
    assert options("--env=prod", "--catalog=one").all_by_catalog() == {"one": ["alpha", "beta", "gamma"]}
    assert options("--env=acceptance").all_by_catalog() == {"ml_acc": ["alpha"]}


def test_status_and_explain_look_into_every_catalog(project):
    runner = CliRunner()
    shown = runner.invoke(cli, ["status", "--env=prod", "--json", "--home=home"], catch_exceptions=False)
    assert [row["use_case"] for row in json.loads(shown.output)] == ["alpha", "beta", "gamma"]
    asked = runner.invoke(cli, ["explain", "3f0c", "--env=prod", "--home=home"])
    assert "ml-prod.ops.gate_decisions, prod.ops.gate_decisions" in str(asked.exception)


@pytest.mark.parametrize(
    ("model", "said", "accepted"),
    [
        ("ml-prod.alpha.model", [], True),
        ("prod.alpha.model", [], False),
        ("told.alpha.model", ["--catalog=told"], True),
        ("ml-prod.alpha.model", ["--catalog=told"], False),
        ("prod.gamma.model", [], True),
    ],
)
def test_a_deployment_job_knows_the_model_by_its_catalog(project, model, said, accepted):
    asked = ["deployment", "approval", f"--model-name={model}", "--model-version=1", "--env=prod", "--home=home"]
    done = CliRunner().invoke(cli, [*asked, *said])
    assert isinstance(done.exception, PlatformError)  # there is no version, whatever it is called
    assert ("is not the model of the use case" not in done.exception.message) == accepted, done.exception
