"""`mlplatform simulate`: what to replay is in the settings or on the command line; each use case is replayed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.tiny_use_case import NAME, TinyFolder, write_tiny_use_case
from tests.support.typed import Ended, typed

ONCE = {"start": "2020-02-01", "end": "2020-02-01", "every": "month"}


def simulate(tiny: TinyFolder, home: Path, *arguments: str) -> Ended:
    return typed("simulate", *arguments, "--home", home, "--use-cases", tiny.use_cases)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyFolder:
    return write_tiny_use_case(tmp_path / "use_cases", months=6, rows_a_month=120)


def configured(tiny: TinyFolder, **settings: Any) -> None:
    config = tiny.folder / "config.yml"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | settings), encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [(), ("--from", "2020-02-01"), ("--from", "2020-02-01", "--to", "2020-03-01"), ("--every", "month")],
    ids=["nothing said", "from", "from and to", "every"],
)
def test_without_a_section_and_without_options_one_message_says_what_to_do(
    tiny: TinyFolder, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = simulate(tiny, tmp_path / "home", NAME, *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "Error: tiny has no section 'simulation' in its config.yml, which says what to replay.",
        "Hint:  Add start, end and every there, or give --from, --to and --every.",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "2020-09-01"), "lies before"),
        (("--to", "2019-01-01"), "lies before"),
        (("--every", "0 days"), "does not move the time on"),
        (("--every", "sometimes"), "is not a duration"),
        (("--from", "soon"), "is not a time"),
    ],
)
def test_an_option_that_does_not_go_with_the_section_is_one_message(
    tiny: TinyFolder, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    configured(tiny, simulation=ONCE)
    done = simulate(tiny, tmp_path / "home", NAME, *arguments)
    assert done.code == 2
    assert says in done.stderr
    assert not (tmp_path / "home" / "tables" / "dev" / NAME).exists()


def test_a_use_case_given_twice_is_replayed_once_and_all_are_looked_at_first(tiny: TinyFolder, tmp_path: Path) -> None:
    training = yaml.safe_load((tiny.folder / "config.yml").read_text())["training"] | {"min_rows": 100}
    configured(tiny, simulation={"start": "2020-06-01", "end": "2020-06-01", "every": "month"}, training=training)
    home = tmp_path / "home"
    # The second use case cannot be replayed: the first is not begun.
    refused = simulate(tiny, home, NAME, "credit_rsk")
    assert refused.code == 2
    assert "Did you mean credit_risk" in refused.stderr
    assert not (home / "tables").exists()

    done = simulate(tiny, home, NAME, NAME, NAME, "--json")
    assert done.code == 0, done.stderr
    (only,) = done.json["use_cases"]
    assert (only["use_case"], only["every"], len(only["steps"])) == (NAME, "month", 1)
    assert "staleness" not in only, "nobody asked for it"
    assert done.stderr.count("tiny: 1 steps of month") == 1
    assert done.stderr.count(": ingest\n") == 1


def test_a_second_use_case_without_a_section_stops_the_first_from_being_begun(tiny: TinyFolder, tmp_path: Path) -> None:
    configured(tiny, simulation=ONCE)
    other = tiny.use_cases / "other"
    other.mkdir()
    (other / "__init__.py").write_text((tiny.folder / "__init__.py").read_text(), encoding="utf-8")
    without = yaml.safe_load((tiny.folder / "config.yml").read_text())
    without.pop("simulation")
    (other / "config.yml").write_text(yaml.safe_dump(without), encoding="utf-8")
    done = simulate(tiny, tmp_path / "home", NAME, "other")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: other has no section 'simulation'")
    assert not (tmp_path / "home" / "tables" / "dev" / NAME).exists()
