"""What the shells are offered, asked as they ask; and commands in hints that carry the options given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mlplatform.cli.completion import STAGES, Completed
from mlplatform.cli.hints import Hints
from mlplatform.cli.main import cli
from mlplatform.errors import UsageError
from mlplatform.stages import ORDER
from mlplatform.workspace import open_workspace
from mlplatform.workspace.shared.model_logging import without_chatter
from tests.support.crossed import every

PROJECT = Path(__file__).resolve().parents[3]
ASK = """
import sys
from mlplatform.cli.main import main
try:
    main()
finally:
    heavy = {'mlflow', 'pandas', 'pyspark', 'pyarrow', 'sklearn'} & set(sys.modules)
    assert not heavy, heavy
"""


def offered(*words: str, shell: str = "bash", cwd: Path = PROJECT) -> list[str]:
    """Ask as the script of a shell does; the last word is the one that is begun."""
    line = ["mlplatform", *words]
    asked = {"COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(line) - 1) if shell != "fish" else words[-1]}
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, cwd=cwd, check=False,
        env=os.environ | asked | {"_MLPLATFORM_COMPLETE": f"{shell}_complete"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    if shell == "zsh":  # type, value and help, a line each
        return done.stdout.splitlines()[1::3]
    return [found.partition(",")[2].partition("\t")[0] for found in done.stdout.split("\n") if found]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_use_cases_are_offered_in_every_shell(shell: str) -> None:
    assert offered("run", "cr", shell=shell) == ["credit_risk"]


@pytest.mark.parametrize(
    ("words", "expected"),
    # A process each.
    every(
        3,
        [
            (["simul"], ["simulate"]),
            (["simulate", "churn", ""], ["credit_risk", "delivery_delay"]),
            (["config", "show", "ch"], ["churn"]),
            (["run", "churn", "--stage", "re"], ["refine", "retrain"]),
            (["run", "churn", "--stage", "refine", "--stage", "re"], ["retrain"]),
            (["backfill", "churn", "--table", ""], ["monthly", "weekly", "recency"]),
            (["adopt", "credit_risk", "--as", "l"], ["lender"]),
            (["run", "churn", "--env", ""], ["dev", "staging", "prod"]),
            (["run", "churn", "--workspace", "d"], ["databricks"]),
            (["score", "churn", "--alias", "cha"], ["champion", "challenger"]),
            (["simulate", "churn", "--every", "q"], ["quarter"]),
            (["run", "--use-cases", "nowhere", ""], []),
        ],
    ),
)
def test_what_may_come_next_is_offered(words: list[str], expected: list[str]) -> None:
    assert offered(*words) == expected


def test_a_declared_environment_of_a_folder_that_is_named_is_offered(tmp_path: Path) -> None:
    folder = tmp_path / "cases" / "own"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "config.yml").write_text("owner: a\nenvironments: {trial: {}}\n")
    found = offered("run", "--use-cases", str(folder.parent), "own", "--env", "t", cwd=tmp_path)
    assert found == ["trial"]


def test_the_stages_are_those_of_the_pipeline_and_no_command_is_left_out() -> None:
    assert STAGES == ORDER
    for command in cli.commands.values():
        for param in command.params:
            if param.name in ("use_case", "names", "env"):
                assert isinstance(param.type, Completed), (command.name, param.name)


# Hints


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("mlplatform history credit_risk", "mlplatform history credit_risk --home 'a b' --env prod"),
        ("See mlplatform history, and go on.", "See mlplatform history --home 'a b' --env prod, and go on."),
        ("mlplatform run x --stage train", "mlplatform run x --home 'a b' --env prod --stage train"),
        ("mlplatform run x --env dev", "mlplatform run x --home 'a b' --env dev"),
        ("mlplatform gate x; then mlplatform status x",
         "mlplatform gate x --home 'a b' --env prod; then mlplatform status x --home 'a b' --env prod"),
        ("Run 'mlplatform doctor'.", "Run 'mlplatform doctor --home 'a b' --env prod'."),
        ("`mlplatform config schema` prints", "`mlplatform config schema` prints"),
        ("mlplatform config show x", "mlplatform config show x --home 'a b' --env prod"),
        ("mlplatform bundle generate x", "mlplatform bundle generate x"),
        ("databricks bundle run x_setup", "databricks bundle run x_setup"),
        ("mlplatform is a library", "mlplatform is a library"),
    ],
)  # fmt: skip
def test_a_command_that_is_told_carries_what_was_given(told: str, expected: str) -> None:
    hints = Hints((("--home", "a b"), ("--env", "prod")), cli)
    assert hints.repeated(told) == expected
    assert Hints((), cli).repeated(told) == told


def test_only_what_was_given_is_repeated(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["explain", "3f0c", "--home", str(tmp_path)], env={"MLPLATFORM_PREFIX": "dev_jo_"})
    assert isinstance(done.exception, UsageError)
    assert done.exception.hint.endswith(f"mlplatform history USE_CASE --home {tmp_path}")


# One name for one thing


def test_the_old_name_of_the_workspace_is_taken_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="workspace="), open_workspace(home="local", root=tmp_path) as ws:
        assert ws.home == "local"
    with pytest.warns(DeprecationWarning, match="workspace="), pytest.raises(UsageError, match="one thing"):
        open_workspace("local", home="local")
    with pytest.raises(UsageError) as raised:
        open_workspace(str(tmp_path))
    assert "root" in raised.value.hint


def test_mlflow_tells_no_longer_that_a_model_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with without_chatter():
        click.echo("Registered model 'a' already exists. Creating a new version of this model...", err=True)
        print("Created version '2' of model 'a'.", file=sys.stderr)
        print("WARNING mlflow: something is wrong", file=sys.stderr)
    print("Created version '3'.", file=sys.stderr)
    assert capsys.readouterr().err == "WARNING mlflow: something is wrong\nCreated version '3'.\n"
