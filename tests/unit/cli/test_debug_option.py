"""`--debug` shows what lies behind an error, wherever it stands; without it, an error is a message and a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from mlplatform.cli import main as entry
from mlplatform.cli.commands import command
from mlplatform.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.cli.options import Options


@command("break")
@click.argument("words", nargs=-1)
def broken(words: tuple[str, ...], options: Options) -> None:
    """Fail as a stage does, with a foreign error behind it."""
    del options
    click.echo(f"words: {' '.join(words)}")
    try:
        _ = {}["foreign"]
    except KeyError as error:
        raise StageError("It failed.", hint="Do better.") from error


@pytest.fixture(autouse=True)
def added() -> Iterator[None]:
    entry.cli.add_command(broken)
    yield
    del entry.cli.commands["break"]


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    with pytest.raises(SystemExit) as left:
        entry.main(arguments)
    assert left.value.code == 1
    said = capsys.readouterr()
    return said.out, said.err


@pytest.mark.parametrize("arguments", [["--debug", "break", "a"], ["break", "--debug", "a"], ["break", "a", "--debug"]])
def test_with_it_the_whole_is_shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(arguments, capsys)
    assert out == "words: a\n"
    assert "KeyError: 'foreign'" in err
    assert err.endswith("Error: It failed.\nHint:  Do better.\n")


@pytest.mark.parametrize("arguments", [["break"], ["break", "--", "--debug"]])
def test_without_it_there_are_message_and_hint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(arguments, capsys)
    assert out == f"words: {' '.join(arguments[2:])}\n"
    assert err == "Error: It failed.\nHint:  Do better.\n"


def test_the_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        entry.main(["--help"])
    assert "--debug" in capsys.readouterr().out
