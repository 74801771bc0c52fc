"""What the doctor finds where files are whole and their content is not what runs made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pytest

from mlplatform.doctor.examination import examine
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.doctor_case import Case
from tests.support.state import differences
from tests.support.tiny_runs import open_tiny

if TYPE_CHECKING:
    from collections.abc import Callable


def delete(table: str, where: str) -> Callable[[LocalWorkspace], None]:
    def change(ws: LocalWorkspace) -> None:
        assert ws.tables.open(f"dev.{table}").delete(where)["num_deleted_rows"] > 0

    return change


def double(table: str) -> Callable[[LocalWorkspace], None]:
    def change(ws: LocalWorkspace) -> None:
        rows = ws.tables.to_arrow(f"dev.{table}", at_most=10**6)
        ws.tables.append(f"dev.{table}", rows.slice(0, 3))

    return change


def move_alias(ws: LocalWorkspace) -> None:
    aliases = ws.registry.aliases("dev.tiny.model")
    other = next(v.version for v in ws.registry.versions("dev.tiny.model") if v.version != aliases["champion"])
    ws.registry.set_alias("dev.tiny.model", "champion", other)


def delete_alias(ws: LocalWorkspace) -> None:
    ws.registry.delete_alias("dev.tiny.model", "champion")


def delete_version(ws: LocalWorkspace) -> None:
    number = ws.registry.aliases("dev.tiny.model")["champion"]
    ws.registry._connect().delete_model_version("dev.tiny.model", str(number))


def model_files(ws: LocalWorkspace) -> list[Any]:
    return sorted((ws.root / "mlflow" / "artifacts").rglob("*.skops"))


def flip_models(ws: LocalWorkspace) -> None:
    from tests.support.damages import flip

    for file in model_files(ws):
        flip(file, 0.5)


def remove_models(ws: LocalWorkspace) -> None:
    for file in model_files(ws):
        file.unlink()


# How the content is changed -> the check that finds it, and whether a repair mends it.
CONTENT: dict[str, tuple[Callable[[LocalWorkspace], None], str, bool]] = {
    "bronze lacks rows": (delete("tiny.bronze_signups", "_row = 7"), "ingest: rows of landed files", False),
    "bronze has rows twice": (double("tiny.bronze_signups"), "ingest: rows of landed files", False),
    "silver lacks rows": (
        delete("tiny.silver_signups", "_row = 7"), "refine: rows in = rows out + quarantined", True,
    ),
    "silver has rows twice": (double("tiny.silver_signups"), "refine: rows in = rows out + quarantined", True),
    "the quarantine lacks rows": (
        delete("tiny.quarantine_signups", "reason = 'price_is_positive'"),
        "refine: rows in = rows out + quarantined", True,
    ),
    "the spine lacks rows": (
        delete("tiny.gold_spine", "account like '%7'"), "gold: rows that silver gives", True,
    ),
    "labels are there twice": (double("tiny.gold_labels"), "gold: rows that silver gives", True),
    "features lack rows": (
        delete("tiny.features_region", "region = 'north'"), "features: rows that silver gives", True,
    ),
    "predictions are lacking": (
        delete("tiny.gold_predictions", "account like '%7'"), "predictions: each due row once", False,
    ),
    "predictions are there twice": (double("tiny.gold_predictions"), "predictions: each due row once", False),
    "stages are on record twice": (double("ops.stage_runs"), "records: as the tables", True),
    "the champion was moved by hand": (move_alias, "aliases: as decided", False),
    "the champion's alias is gone": (delete_alias, "aliases: as decided", False),
    "the champion's version is gone": (delete_version, "aliases: as decided", False),
    "files of models have other bits": (flip_models, "models: files as registered", False),
    "files of models are gone": (remove_models, "models: files as registered", False),
}  # fmt: skip
BY_DAY = {"silver lacks rows", "predictions are lacking", "the champion was moved by hand"}


@pytest.mark.parametrize(
    "what", [pytest.param(key, marks=() if key in BY_DAY else pytest.mark.slow) for key in CONTENT]
)
def test_what_is_wrong_is_found_and_mended_where_that_is_safe(case: Case, what: str) -> None:
    change, check, is_mended = CONTENT[what]
    with LocalWorkspace.open(root=case.root) as ws:
        aliases = dict(ws.registry.aliases("dev.tiny.model"))
        change(ws)
        moved = dict(ws.registry.aliases("dev.tiny.model"))
    found = [finding for finding in case.examine() if finding.state == "problem"]
    assert check in {finding.check for finding in found}, found
    assert all(finding.way_out for finding in found)
    repaired = case.repair()
    if is_mended:
        assert not repaired.left, repaired.left
        assert not differences(case.state(), case.twin)
    else:
        assert check in {finding.check for finding in repaired.left}
        with LocalWorkspace.open(root=case.root) as ws:
            assert ws.registry.aliases("dev.tiny.model") == moved, "no alias is moved by a repair"
    assert aliases


def test_every_row_is_accounted_for_by_its_number(case):
    findings = {(finding.check, finding.about): finding for finding in case.examine()}
    refined = findings["refine: rows in = rows out + quarantined", "dev.tiny.silver_signups"]
    assert refined.state == "ok"
    with LocalWorkspace.open(root=case.root) as ws:
        silver = ws.tables.to_arrow("dev.tiny.silver_signups", at_most=10**6).num_rows
        reasons = ws.tables.to_arrow("dev.tiny.quarantine_signups", at_most=10**6).column("reason")
        malformed = pc.sum(pc.starts_with(reasons, "malformed")).as_py()
        bronze = ws.tables.to_arrow("dev.tiny.bronze_signups", at_most=10**6).num_rows
    assert f"{bronze} row(s) of" in refined.found
    assert f"{silver} out + {len(reasons) - malformed} quarantined" in refined.found


def test_a_use_case_that_never_ran_has_nothing_to_prove(tmp_path, doctor_tiny):
    with LocalWorkspace.open(root=tmp_path / "new") as ws:
        findings = examine(ws, "tiny", lambda opened: open_tiny(opened, doctor_tiny.folder))
    assert not [finding for finding in findings if finding.state == "problem"]
    assert any("nothing has run yet" in finding.found for finding in findings)


def test_a_check_that_fails_is_a_problem(case, monkeypatch):
    from mlplatform.doctor import examination

    def fails(subject: object) -> list[Any]:
        raise ValueError("an error of the check itself")

    monkeypatch.setattr(examination, "CHECKS", (("a check", fails),))
    (finding,) = [finding for finding in case.examine() if finding.check == "a check"]
    assert finding.state == "problem"
    assert "an error of the check itself" in finding.found
