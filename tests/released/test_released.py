"""What an earlier release left opens today: it reads as it was written, and the next run goes on from it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from mlplatform import discovery
from mlplatform.cli.main import cli
from mlplatform.naming import Namespace
from mlplatform.ops import records
from mlplatform.ops.migrations import registry
from mlplatform.ops.schema_mark import PROPERTY, SchemaMark
from mlplatform.reporting.report import write_report
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.kept_workspace import KeptWorkspace, archive_of, digest, kept_versions, pack, unpack

VERSIONS = kept_versions()
# One in every run; the older ones every night.
RUN_ON = [*(pytest.param(version, marks=pytest.mark.slow) for version in VERSIONS[:-1]), VERSIONS[-1]]
LARGEST = 300_000

# As it is unpacked, for what only reads.
every = pytest.mark.parametrize("kept", VERSIONS, indirect=True, scope="module")
# The same, for what has to compute.
computed = pytest.mark.parametrize("kept", RUN_ON, indirect=True, scope="module")
# After its next run.
each_run_on = pytest.mark.parametrize("later", RUN_ON, indirect=True, scope="module")


def answer(kept: KeptWorkspace, *command: str) -> str:
    """Run a command on a workspace as it lies now; return what it prints."""
    done = CliRunner().invoke(cli, [*command, *kept.options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def rows_of(kept: KeptWorkspace) -> dict[str, pa.Table]:
    """Return the use case's tables."""
    with LocalWorkspace.open(root=kept.home) as ws:
        names = ws.tables.list("dev", kept.use_case)
        return {name: ws.tables.to_arrow(f"dev.{kept.use_case}.{name}", at_most=10**6) for name in names}


@dataclass(frozen=True)
class Later:
    """A workspace after its next run.

    Attributes:
        kept: The workspace.
        before: Its tables as they were.
        printed: What the run printed.
    """

    kept: KeptWorkspace
    before: dict[str, pa.Table]
    printed: dict[str, Any]


@pytest.fixture(scope="module")
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> KeptWorkspace:
    return unpack(request.param, tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def later(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Later:
    kept = unpack(request.param, tmp_path_factory.mktemp("later"))
    before = rows_of(kept)
    printed = answer(kept, "run", kept.use_case, "--as-of", kept.answers.next_run, "--json")
    return Later(kept, before, json.loads(printed))


def assert_begins_with(history: str, written: str) -> None:
    """Check that decisions read, byte by byte, as they were printed: columns that came later aside."""
    decisions, then = json.loads(history), json.loads(written)
    assert len(decisions) >= len(then)
    restricted = [{key: now[key] for key in event if key in now} for now, event in zip(decisions, then, strict=False)]
    assert json.dumps(restricted, indent=2) + "\n" == written


@every
def test_its_decisions_read_byte_by_byte_as_they_were_printed(kept: KeptWorkspace):
    assert_begins_with(answer(kept, "history", kept.use_case, "--json"), kept.history)


@every
def test_no_decision_came_with_the_upgrade(kept: KeptWorkspace):
    assert len(json.loads(answer(kept, "history", kept.use_case, "--json"))) == len(json.loads(kept.history))


@every
def test_its_history_is_shown(kept: KeptWorkspace):
    shown = answer(kept, "history", kept.use_case)
    assert all(event["decision_id"] in shown for event in json.loads(kept.history))


@every
def test_its_status_names_the_champion_and_the_last_run(kept: KeptWorkspace):
    status = json.loads(answer(kept, "status", kept.use_case, "--json"))
    assert status["champion"] == kept.answers.champion
    assert status["as_of"].startswith(kept.answers.as_of)


@every
def test_its_predictions_are_those_that_were_made(kept: KeptWorkspace):
    answers = kept.answers
    assert digest(rows_of(kept)["gold_predictions"], answers.prediction_columns) == answers.predictions


@every
def test_its_report_is_written_before_anything_else_is_done(kept: KeptWorkspace):
    with LocalWorkspace.open(root=kept.home) as ws:
        use_case = discovery.opener(kept.use_case, kept.use_cases)(ws)
        file = write_report(ws, use_case.namespace, use_case.label_spine(), use_case.settings, ws.files("reports"))
    page = file.read_text(encoding="utf-8")
    assert f"v{kept.answers.champion}" in page
    assert kept.answers.as_of in page


@computed
def test_an_upgrade_alone_is_no_edit(kept: KeptWorkspace, tmp_path: Path):
    comment = tmp_path / "comment.md"
    options = ["--as-of", kept.answers.as_of, "--markdown", str(comment), "--json"]
    plan = json.loads(answer(kept, "plan", kept.use_case, *options))
    assert plan["kind"] in (None, "text only"), plan["changes"]
    assert comment.read_text(encoding="utf-8").startswith(f"### {kept.use_case}: ")


@each_run_on
def test_the_next_run_does_every_stage_and_writes_the_report(later: Later):
    stages = {stage["stage"]: stage for stage in later.printed["stages"]}
    assert {"ingest", "refine", "features", "score", "monitor"} <= set(stages)
    assert {stage["status"] for stage in stages.values()} <= {"done", "skipped"}
    assert all(stages[name]["status"] == "done" for name in ("ingest", "refine", "features", "score", "monitor"))
    assert later.kept.answers.next_run in Path(later.printed["report"]).read_text(encoding="utf-8")


@each_run_on
def test_the_next_run_takes_what_is_new_and_nothing_again(later: Later):
    stages = {stage["stage"]: stage for stage in later.printed["stages"]}
    before, after = later.before, rows_of(later.kept)
    more = {name: after[name].num_rows - before[name].num_rows for name in before}
    assert stages["ingest"]["rows_out"] == more["bronze_signups"] + more["bronze_cancellations"]
    assert more["silver_signups"] == 150
    assert more["gold_predictions"] == stages["score"]["rows_out"] <= 2 * 150
    # All of it where this version's base classes have other code than that one's: they count with the use case's own.
    assert 0 < stages["features"]["rows_out"] <= after["features_region"].num_rows + after["features_price"].num_rows


@each_run_on
def test_the_next_run_leaves_earlier_decisions_and_predictions_as_they_are(later: Later):
    kept, answers = later.kept, later.kept.answers
    assert_begins_with(answer(kept, "history", kept.use_case, "--json"), kept.history)
    predictions = rows_of(kept)["gold_predictions"]
    runs = later.before["gold_predictions"].column("run_id").unique()
    earlier = predictions.filter(pc.is_in(predictions.column("run_id"), value_set=runs))
    assert digest(earlier, answers.prediction_columns) == answers.predictions


@each_run_on
def test_the_next_run_leaves_the_platforms_tables_as_this_version_makes_them(later: Later):
    names = Namespace("dev", later.kept.use_case)
    with LocalWorkspace.open(root=later.kept.home) as ws:
        marks = ws.tables.properties("dev", "ops", PROPERTY)
        for table in records.TABLES:
            assert SchemaMark.parse(marks[table.name]).has(SchemaMark.of(table, registry.MIGRATIONS)), table.name
            existing = ws.tables.describe(table.full_name(names)).schema
            assert set(table.schema.names) <= set(existing.names), table.name


@pytest.mark.parametrize("version", VERSIONS)
def test_an_archive_is_small(version: str):
    assert archive_of(version).stat().st_size < LARGEST


def test_the_same_files_give_the_same_archive_whoever_packs_them(tmp_path: Path):
    archives = []
    for name, order, mode in (("one", "ab", 0o600), ("other", "ba", 0o664)):
        folder = tmp_path / name / "home"
        for part in (*order, "logs", "tmp"):
            (folder / part).mkdir(parents=True)
            file = folder / part / "file"
            file.write_text(name if part in ("logs", "tmp") else part, encoding="utf-8")
            file.chmod(mode)
        for path in folder.rglob("*"):
            os.utime(path, (1_600_000_000, 1_600_000_000))
        os.utime(folder, (1_600_000_000, 1_600_000_000))
        pack(KeptWorkspace(folder.parent), tmp_path / f"{name}.tar.xz")
        archives.append((tmp_path / f"{name}.tar.xz").read_bytes())
    assert archives[0] == archives[1]
