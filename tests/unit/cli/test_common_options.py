"""The common options: before the command, after it, or both; every command takes them; the help is in sections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mlplatform.cli.commands import CommandGroup, command
from mlplatform.cli.main import SECTIONS, cli
from mlplatform.cli.options import CommonOption, Options
from mlplatform.errors import UsageError
from tests.support.job_task import run_task

COMMON = {
    "--home", "--use-cases", "--workspace", "--env", "--catalog", "--prefix", "--experiment", "--json", "--debug",
}  # fmt: skip
seen: list[Options] = []


@command("probe")
@click.argument("use_case", required=False)
@click.option("--table", help="An option of its own.")
def probe(use_case: str | None, table: str | None, options: Options) -> None:
    """Keep the options."""
    del use_case, table
    seen.append(options)
    click.echo(options.hints.repeated("mlplatform history x"))


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("WORKSPACE", "ENV", "CATALOG", "PREFIX"):
        monkeypatch.delenv(f"MLPLATFORM_{name}", raising=False)
    inner = CommandGroup("inner", callback=lambda: None)
    inner.add_command(probe)
    cli.add_command(probe)
    cli.add_command(inner)
    seen.clear()
    yield
    del cli.commands["probe"], cli.commands["inner"]


def options_of(*words: str, exit_code: int = 0) -> Options:
    done = CliRunner().invoke(cli, list(words))
    assert done.exit_code == exit_code, done.output
    return seen[-1]


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, inner in group.commands.items():
        if isinstance(inner, click.Group):
            yield (*path, name), inner
            yield from leaves(inner, (*path, name))
        else:
            yield (*path, name), inner


@pytest.mark.parametrize(
    "words",
    [
        ["--home", "/w", "--env", "prod", "--json", "--prefix", "p_", "probe", "x"],
        ["probe", "x", "--home", "/w", "--env", "prod", "--json", "--prefix", "p_"],
        ["--home", "/w", "--json", "probe", "--env=prod", "x", "--prefix=p_"],
        ["--home", "/other", "--env", "dev", "--json", "probe", "x", "--home", "/w", "--env", "prod", "--prefix", "p_"],
        ["--home", "/w", "inner", "--env", "prod", "--json", "probe", "x", "--prefix", "p_"],
        ["--home", "/other", "--env", "prod", "inner", "--home", "/w", "--json", "probe", "x", "--prefix", "p_"],
    ],
)
def test_before_after_or_both_mean_the_same_and_the_later_wins(words: list[str]) -> None:
    options = options_of(*words)
    assert (options.home, options.env, options.prefix, options.as_json) == (Path("/w"), "prod", "p_", True)
    assert (options.workspace, options.catalog, options.use_cases) == ("local", None, None)


def test_what_was_given_before_the_command_is_in_the_hints_too() -> None:
    done = CliRunner().invoke(cli, ["--home", "/a b", "probe", "--env", "prod"])
    assert done.output == "mlplatform history x --home '/a b' --env prod\n"


@pytest.mark.parametrize(
    ("words", "env"), [([], "staging"), (["--env", "dev"], "dev"), (["--env", ""], "staging")], ids=str
)
def test_what_was_typed_before_the_command_wins_over_the_environment(
    words: list[str], env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPLATFORM_ENV", "staging")
    monkeypatch.setenv("MLPLATFORM_CATALOG", "ml")
    if "" in words:
        words = []
    options = options_of(*words, "probe")
    assert (options.env, options.catalog) == (env, "ml")
    assert options.hints.given == (tuple(zip(words[::2], words[1::2], strict=True)))


def test_every_command_and_every_group_takes_them() -> None:
    assert {option for param in cli.params if isinstance(param, CommonOption) for option in param.opts} == COMMON
    for path, item in leaves(cli):
        taken = {option for param in item.params if isinstance(param, CommonOption) for option in param.opts}
        assert taken == COMMON, path


def test_a_wrong_value_before_the_command_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = CliRunner().invoke(cli, ["--home", str(file), "probe"])
    assert done.exit_code == 2
    assert "--home" in done.output
    with pytest.raises(UsageError, match="no environment 'prd'"):
        CliRunner().invoke(cli, ["--env", "prd", "probe"], catch_exceptions=False)


def test_a_job_s_task_takes_them_before_the_command_too() -> None:
    assert run_task(["--home", "/w", "--env=prod", "probe"]).success
    assert (seen[-1].home, seen[-1].env) == (Path("/w"), "prod")


def test_bundle_generate_refuses_a_folder_that_it_would_not_read() -> None:
    with pytest.raises(UsageError, match="not in --use-cases"):
        CliRunner().invoke(cli, ["--use-cases", "x", "bundle", "generate"], catch_exceptions=False)


def test_json_before_the_command() -> None:
    done = CliRunner().invoke(cli, ["--json", "config", "show", "churn"])
    assert json.loads(done.output)["use_case"] == "churn"


# The help


def test_the_help_lists_every_command_once_in_its_section_and_cuts_no_summary() -> None:
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    titles = [line for line in shown.splitlines() if line.rstrip(":") in SECTIONS]
    assert [title.rstrip(":") for title in titles] == list(SECTIONS)
    listed = [command.name for commands in SECTIONS.values() for command in commands]
    assert sorted(listed) == sorted(set(cli.commands) - {"probe", "inner"})
    for name in listed:
        lines = [line for line in shown.splitlines() if line.startswith(f"  {name} ")]
        assert len(lines) == 1, name
        assert lines[0].endswith("."), lines[0]
        assert not lines[0].endswith("..."), f"The first sentence of {name}'s help does not fit on a line."


@pytest.mark.parametrize(("path", "item"), [pytest.param(*it, id=" ".join(it[0])) for it in leaves(cli)])
def test_the_help_of_each_command_shows_its_examples_and_says_where_options_may_stand(
    path: tuple[str, ...], item: click.Command
) -> None:
    shown = CliRunner().invoke(cli, [*path, "--help"]).output
    assert "before or after the command (the one after it wins)" in " ".join(shown.split())
    if isinstance(item, click.Group):
        return
    assert "Examples:" in shown
    assert "--json" in shown
    own = shown.partition("Common options")[0]
    assert "--home" not in own
