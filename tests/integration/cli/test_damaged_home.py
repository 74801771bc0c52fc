"""Every command that meets a damaged table ends in one message of ours, with the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlplatform.cli.main import main
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.damages import cut, data, entry, flip
from tests.support.tiny_runs import clone, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable

AS_OF, LATER = "2020-08-01", "2020-09-01"
COMMANDS = {
    "run": ("run", "tiny", "--as-of", LATER),
    "score": ("score", "tiny", "--as-of", LATER),
    "monitor": ("monitor", "tiny", "--as-of", AS_OF),
    "retrain": ("retrain", "tiny", "--as-of", LATER),
    "simulate": ("simulate", "tiny", "--from", AS_OF, "--to", LATER, "--every", "month"),
    "status": ("status", "tiny"),
    "status of all": ("status",),
    "history": ("history", "tiny"),
    "quarantine": ("quarantine", "tiny"),
    "gate": ("gate", "tiny", "--as-of", LATER),
    "promote": ("promote", "tiny", "--version", "1", "--force", "--reason", "why"),
    "rollback": ("rollback", "tiny", "--reason", "why"),
    "backfill": ("backfill", "tiny", "--table", "region", "--from", "2020-03-01", "--to", AS_OF),
    "maintain": ("maintain", "tiny"),
    "rebuild": ("rebuild", "tiny", "--table", "silver_signups", "--as-of", AS_OF),
    "plan": ("plan", "tiny", "--as-of", AS_OF),
    "apply": ("apply", "tiny", "--as-of", AS_OF),
    "setup": ("setup", "tiny"),
}
DAMAGES: dict[str, Callable[[Path], object]] = {
    "ops/stage_runs: an entry is cut off": lambda tables: cut(entry(tables / "ops" / "stage_runs", 1), 0.5),
    "ops/gate_decisions: a bit": lambda tables: flip(data(tables / "ops" / "gate_decisions"), 0.3),
    "tiny/silver_signups: a file is gone": lambda tables: data(tables / "tiny" / "silver_signups").unlink(),
    "tiny/features_region: a bit": lambda tables: flip(data(tables / "tiny" / "features_region"), 0.3),
    "tiny/gold_predictions: an empty entry": lambda tables: cut(entry(tables / "tiny" / "gold_predictions", -1), 0),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), rows_a_month=200, gate={"margin": 0.3})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    root = tmp_path_factory.mktemp("base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, AS_OF)
    return root


@pytest.fixture
def root(base: Path, tmp_path: Path) -> Path:
    return clone(base, tmp_path / "home")


def call(capsys: pytest.CaptureFixture[str], root: Path, tiny: TinyFolder, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--home", str(root), "--use-cases", str(tiny.use_cases)])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


# Tables of the silver and gold layers that are damaged so are what doctor and repair are asked about in every run.
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage, marks=pytest.mark.slow)
        if damage.startswith(("tiny/silver_signups", "tiny/gold_predictions"))
        else damage
        for damage in DAMAGES
    ],
)
def test_every_command_ends_in_one_message_with_the_way_out(capsys, root, tiny, damage):
    DAMAGES[damage](root / "tables" / "dev")
    table = damage.partition(":")[0].replace("/", ".")
    met = []
    for name, words in COMMANDS.items():
        code, _, err = call(capsys, root, tiny, *words)
        assert "Traceback" not in err, name
        assert code in {0, 1, 2, 3}, (name, err)
        if "is damaged" not in err:  # it reads other tables, or has nothing to do
            continue
        met.append(name)
        # The gate says of whatever keeps it from looking that nothing was promoted.
        assert code == (3 if name in {"gate", "promote", "rollback"} else 1), name
        assert err.count("Error: ") == 1, (name, err)
        assert f"The table dev.{table} is damaged: " in err, (name, err)
        assert "mlplatform doctor" in err, (name, err)
        assert f"mlplatform repair {'USE_CASE' if table.startswith('ops') else 'tiny'}" in err, (name, err)
    assert {"run", "score"} <= set(met)


def test_doctor_and_repair_lead_out(capsys, root, tiny):
    flip(data(root / "tables" / "dev" / "tiny" / "features_region"), 0.3)
    code, out, err = call(capsys, root, tiny, "doctor", "--data", "tiny", "--json")
    assert code == 1
    assert "problems" in err
    assert [item for item in json.loads(out) if item["state"] == "problem" and "features_region" in item["about"]]
    code, out, _ = call(capsys, root, tiny, "doctor", "--data", "tiny", "--quick")
    assert code == 1
    assert "mlplatform repair --home" in out.replace("\n", "") or "repair" in out
    code, out, _ = call(capsys, root, tiny, "repair", "tiny", "--dry-run")
    assert code == 0
    assert "nothing was changed" in out
    code, out, err = call(capsys, root, tiny, "repair", "tiny")
    assert code == 0, err
    assert "back to the last good version" in out
    code, out, _ = call(capsys, root, tiny, "doctor", "--data", "tiny", "--json")
    assert code == 0, out
    assert {item["state"] for item in json.loads(out)} <= {"ok", "cannot say"}
    code, out, _ = call(capsys, root, tiny, "repair", "tiny", "--json")
    assert (code, json.loads(out)["done"]) == (0, [])


def test_wrong_use_is_said(capsys, root, tiny):
    code, _, err = call(capsys, root, tiny, "doctor", "--quick")
    assert code == 2
    assert "--quick is about --data" in err
    for words in (("doctor", "--data", "tinny"), ("repair", "tinny")):
        code, _, err = call(capsys, root, tiny, *words)
        assert code == 2
        assert "Did you mean tiny" in err
