"""`mlplatform features`: what features there are, and who reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import disks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.homes import Homes


def told(homes: Homes, home: Path, *words: str) -> str:
    where = ["--home", str(home), "--use-cases", str(homes.tiny.use_cases)]
    done = CliRunner().invoke(cli, ["features", *words, *where], catch_exceptions=False, standalone_mode=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def listed(homes: Homes, home: Path, *words: str) -> list[dict[str, Any]]:
    return list(json.loads(told(homes, home, *words, "--json")))


def test_each_feature_is_listed_with_what_is_known_of_it(homes: Homes):
    before = disks.contents(homes.second)
    found = listed(homes, homes.second, "tiny")
    assert disks.contents(homes.second) == before
    with LocalWorkspace.open(root=homes.second, read_only=True) as ws:
        for table in {item["table"] for item in found}:
            info = ws.tables.describe(table)
            rows = ws.tables.to_arrow(table, at_most=10**6)
            mine = [item for item in found if item["table"] == table]
            assert [item["feature"] for item in mine] == info.features
            for item in mine:
                assert item["rows"] == rows.num_rows
                assert item["null_share"] == rows.column(item["feature"]).null_count / rows.num_rows
        champion = ws.registry.aliases("dev.tiny.model")["champion"]
    read = [item for item in found if f"champion (v{champion})" in item["read_by"]]
    assert read
    assert all(item["owner"] for item in found)


def test_a_text_is_looked_for_in_names_tables_descriptions_and_owners(homes: Homes):
    every = listed(homes, homes.second, "tiny", "--quick")
    name = every[0]["feature"]
    assert name in {
        item["feature"] for item in listed(homes, homes.second, "tiny", "--search", name.upper(), "--quick")
    }
    assert listed(homes, homes.second, "tiny", "--search", every[0]["owner"], "--quick") == every
    assert "No feature has 'no such text'" in told(homes, homes.second, "tiny", "--search", "no such text", "--quick")


def test_what_is_not_computed_yet_is_listed_as_such(homes: Homes, tmp_path: Path):
    found = listed(homes, tmp_path / "none", "tiny")
    assert found
    assert all("not computed yet" in item["description"] and item["rows"] is None for item in found)
    assert not (tmp_path / "none").exists()
