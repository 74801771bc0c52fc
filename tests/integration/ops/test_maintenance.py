"""The stage maintenance: what is put together and removed, what models keep, and what runs do by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mlplatform.as_of import parse_as_of
from mlplatform.cli.main import cli
from mlplatform.errors import TableError, UnavailableError, UsageError
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.ops.stage_runs import of_the_cycle
from mlplatform.pipeline import Pipeline
from mlplatform.use_case import UseCase
from mlplatform.workspace.local.maintenance import LocalMaintenance
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_gate import NAMESPACE
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

LATER = "2020-12-01"


def maintained(ws: LocalWorkspace, folder: Path, *, dry_run: bool = False, **maintenance: Any) -> Any:
    """Maintain the tiny use case, with settings that a config.yml might not be allowed."""
    opened = with_settings(open_tiny(ws, folder), **maintenance)
    return Pipeline(ws, opened, parse_as_of(LATER)).maintain(dry_run=dry_run)


def with_settings(opened: UseCase, **maintenance: Any) -> UseCase:
    changed = opened.settings.maintenance.model_copy(update=maintenance)
    opened.settings = opened.settings.model_copy(update={"maintenance": changed})
    return opened


def feature_tables(ws: LocalWorkspace, version: int) -> dict[str, int]:
    number = ws.registry.get(NAMESPACE.model, version)
    return {table.name: table.version for table in ws.fe.lineage(number.uri).tables}


@pytest.fixture
def challenged(gate_at: Callable[[str], LocalWorkspace]) -> LocalWorkspace:
    """Give a workspace in which version 1 is champion and 2 challenger."""
    return gate_at("challenged")


@pytest.fixture(scope="module")
def run_once(gate_bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a run that left its files as they were."""
    folder = tmp_path_factory.mktemp("run_once")
    tiny = write_tiny_use_case(folder / "uc", maintenance={"after_runs": False})
    with LocalWorkspace.open(root=clone(gate_bases["challenged"], folder / "home")) as ws:
        run_tiny(ws, tiny.folder, "2020-11-02")
    return folder / "home"


@pytest.fixture
def quiet(run_once: Path, tmp_path: Path) -> Iterator[LocalWorkspace]:
    """A copy, in which another run at that time has little to do but to look after files."""
    with LocalWorkspace.open(root=clone(run_once, tmp_path / "quiet")) as ws:
        yield ws


def test_what_models_in_use_were_trained_on_stays_readable_and_other_versions_go(
    challenged: LocalWorkspace, wide: TinyFolder
) -> None:
    ws = challenged
    (name, first), (_, second) = (next(iter(feature_tables(ws, number).items())) for number in (1, 2))
    expected = {
        version: ws.tables.to_arrow(name, version=version, at_most=10**5).num_rows for version in (first, second)
    }
    for _ in range(2):  # so that neither is the newest, and one between is nobody's
        rows = ws.tables.to_arrow(name, at_most=10**5)
        ws.tables.overwrite(name, rows)
    nobodys = ws.tables.version(name) - 1
    run = maintained(ws, wide.folder, keep_days=0)
    short = ".".join(name.split(".")[1:])
    assert run.details.kept_versions[short] == sorted({first, second})
    assert run.details.removed[short].files >= 1
    for version, number in expected.items():
        assert ws.tables.to_arrow(name, version=version, at_most=10**5).num_rows == number
    with pytest.raises(TableError, match="maintenance removed them"):
        ws.tables.to_arrow(name, version=nobodys, at_most=10**5)


def test_once_no_model_names_a_version_it_goes_too(challenged: LocalWorkspace, wide: TinyFolder) -> None:
    ws = challenged
    name, first = next(iter(feature_tables(ws, 1).items()))
    ws.tables.overwrite(name, ws.tables.to_arrow(name, at_most=10**5))
    for alias in ws.registry.aliases(NAMESPACE.model):
        ws.registry.delete_alias(NAMESPACE.model, alias)
    maintained(ws, wide.folder, keep_days=0)
    with pytest.raises(TableError, match="maintenance removed them"):
        ws.tables.to_arrow(name, version=first, at_most=10**5)


def test_within_the_retention_nothing_is_removed(challenged: LocalWorkspace, wide: TinyFolder) -> None:
    name, first = next(iter(feature_tables(challenged, 1).items()))
    challenged.tables.overwrite(name, challenged.tables.to_arrow(name, at_most=10**5))
    run = maintained(challenged, wide.folder)
    assert run.details.removed == {}
    assert challenged.tables.to_arrow(name, version=first, at_most=10**5).num_rows


def test_a_dry_run_says_and_changes_nothing(challenged: LocalWorkspace, wide: TinyFolder) -> None:
    tables = challenged.tables
    name = NAMESPACE.gold("spine")
    tables.overwrite(name, tables.to_arrow(name, at_most=10**5))
    files = sorted(tables.path(name).rglob("*"))
    said = maintained(challenged, wide.folder, dry_run=True, keep_days=0, small_files=2).details
    assert said.compacted["ops.stage_runs"].replaced is None
    assert said.removed
    assert sorted(tables.path(name).rglob("*")) == files
    done = maintained(challenged, wide.folder, keep_days=0, small_files=2).details
    assert done.compacted["ops.stage_runs"].files == 1
    assert set(said.removed) <= set(done.removed)


def test_it_is_recorded_as_a_stage_and_is_no_step_of_the_cycle(challenged: LocalWorkspace, wide: TinyFolder) -> None:
    before = len(of_the_cycle(STAGE_RUNS.read(challenged, NAMESPACE)))
    maintained(challenged, wide.folder, small_files=2)
    records = STAGE_RUNS.read(challenged, NAMESPACE)
    (record,) = [item for item in records if item.stage == "maintenance"]
    assert record.status == "done"
    assert record.details["compacted"]["ops.stage_runs"]["replaced"] > 2
    assert "dev.ops.stage_runs" in record.outputs
    assert len(of_the_cycle(records)) == before


def test_with_nothing_to_do_it_says_so(challenged: LocalWorkspace, wide: TinyFolder) -> None:
    assert "no table has too many small files" in maintained(challenged, wide.folder, small_files=10_000).result.skipped


def test_a_table_that_others_write_to_all_the_time_is_postponed(
    challenged: LocalWorkspace, wide: TinyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any, **__: Any) -> int:
        raise UnavailableError("Others wrote to it meanwhile.")

    monkeypatch.setattr(LocalMaintenance, "compact", lost)
    details = maintained(challenged, wide.folder, small_files=2).details
    assert "ops.stage_runs" in details.postponed
    assert details.compacted == {}


@pytest.mark.parametrize("method", ["clean", "keep"])
def test_one_busy_table_does_not_end_the_maintenance_of_the_others(
    challenged: LocalWorkspace, wide: TinyFolder, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    spine, asked = NAMESPACE.gold("spine"), []
    for name in (spine, NAMESPACE.ops("stage_runs")):
        challenged.tables.overwrite(name, challenged.tables.to_arrow(name, at_most=10**5))
    original = getattr(LocalMaintenance, method)

    def busy(self: Any, name: Any, **arguments: Any) -> Any:
        if not arguments.get("dry_run"):
            asked.append(str(name))
            if str(name) == str(spine):
                raise UnavailableError("Others wrote to it meanwhile.")
        return original(self, name, **arguments)

    monkeypatch.setattr(LocalMaintenance, method, busy)
    if method == "keep":
        monkeypatch.setattr(LocalMaintenance, "left_to", lambda *_: "predictive optimization")
    details = maintained(challenged, wide.folder, keep_days=0, small_files=10_000).details
    short = f"{spine.schema}.{spine.name}"
    assert details.postponed == [short]
    assert short not in details.removed
    assert str(NAMESPACE.ops("stage_runs")) in asked[asked.index(str(spine)) + 1 :]


@pytest.mark.parametrize("method", ["files", "compact"])
def test_a_run_does_not_fail_because_its_files_could_not_be_looked_after(
    quiet: LocalWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise TableError("The log cannot be read.")

    tiny = write_tiny_use_case(tmp_path / "uc", maintenance={"small_files": 2})
    monkeypatch.setattr(LocalMaintenance, method, broken)
    summary = run_tiny(quiet, tiny.folder, "2020-11-02")
    assert any("The log cannot be read." in note for note in summary.notes())
    (record,) = [run for run in STAGE_RUNS.read(quiet, NAMESPACE) if run.stage == "maintenance"]
    assert (record.status, record.message) == ("failed", "The log cannot be read.")


def test_ctrl_c_while_files_are_looked_after_ends_the_run(
    quiet: LocalWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    tiny = write_tiny_use_case(tmp_path / "uc", maintenance={"small_files": 2})
    monkeypatch.setattr(LocalMaintenance, "compact", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_tiny(quiet, tiny.folder, "2020-11-02")


def test_a_dry_run_where_nothing_ran_yet_finds_nothing_to_do(tmp_path: Path, wide: TinyFolder) -> None:
    with LocalWorkspace(tmp_path / "home", env="dev") as ws:
        assert "no table has" in maintained(ws, wide.folder, dry_run=True).result.skipped


def test_an_unreadable_registry_removes_nothing(
    challenged: LocalWorkspace, wide: TinyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlplatform.errors import RegistryError

    def down(*_: Any) -> Any:
        raise RegistryError("The registry does not answer.")

    name = next(iter(feature_tables(challenged, 1)))
    challenged.tables.overwrite(name, challenged.tables.to_arrow(name, at_most=10**5))
    files = sorted(challenged.tables.path(name).glob("*.parquet"))
    monkeypatch.setattr(challenged.registry, "aliases", down)
    with pytest.raises(RegistryError):
        maintained(challenged, wide.folder, keep_days=0)
    assert sorted(challenged.tables.path(name).glob("*.parquet")) == files


def test_runs_put_small_files_together_by_themselves_and_the_number_stays_flat(
    challenged: LocalWorkspace, tmp_path: Path
) -> None:
    tiny = write_tiny_use_case(tmp_path / "uc", maintenance={"small_files": 6})
    runs, numbers = NAMESPACE.ops("stage_runs"), []
    for day in range(2, 6):
        summary = run_tiny(challenged, tiny.folder, f"2020-11-0{day}")
        numbers.append(challenged.maintenance.files(runs).files)
        assert "removed" not in summary.details("maintenance")
    assert max(numbers) <= 6
    assert any(run.stage == "maintenance" for run in summary.stages)
    assert len(STAGE_RUNS.read(challenged, NAMESPACE)) > 20


def test_they_do_not_where_the_setting_says_so(quiet: LocalWorkspace, tmp_path: Path) -> None:
    tiny = write_tiny_use_case(tmp_path / "uc", maintenance={"small_files": 2, "after_runs": False})
    summary = run_tiny(quiet, tiny.folder, "2020-11-02")
    assert "maintenance" not in [run.stage for run in summary.stages]


def test_the_command_says_what_it_did(challenged: LocalWorkspace, tmp_path: Path) -> None:
    tiny = write_tiny_use_case(tmp_path / "uc", maintenance={"small_files": 2})
    root = challenged.root
    challenged.close()

    def call(*arguments: str) -> str:
        where = ("--home", str(root), "--use-cases", str(tiny.use_cases))
        done = CliRunner().invoke(cli, ["maintain", *arguments, *where], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    (plain,) = json.loads(call("tiny", "--dry-run", "--json"))["use_cases"]
    assert plain["dry_run"]
    assert plain["compacted"]["ops.stage_runs"]["small_files"] > 2
    told = call("tiny")
    assert "ops.stage_runs:" in told
    assert "it has 1 file(s) now" in told
    assert "kept, for models were trained on them" in told
    with pytest.raises(UsageError, match="Which use cases"):
        CliRunner().invoke(cli, ["maintain", "--home", str(root)], catch_exceptions=False)


def test_what_somebody_else_looks_after_is_left_to_them_and_told_what_to_keep(
    challenged: LocalWorkspace, wide: TinyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, told = next(iter(feature_tables(challenged, 1))), {}

    def keep(_: object, table: object, *, versions: Any, days: int) -> None:
        told[str(table)] = (list(versions), days)

    monkeypatch.setattr(LocalMaintenance, "left_to", lambda *_: "predictive optimization")
    monkeypatch.setattr(LocalMaintenance, "keep", keep)
    files = challenged.maintenance.files(NAMESPACE.ops("stage_runs")).files
    details = maintained(challenged, wide.folder, small_files=2).details
    versions = sorted(feature_tables(challenged, number)[name] for number in (1, 2))
    assert told[name] == (versions, 30)
    assert ".".join(name.split(".")[1:]) in details.left_to["predictive optimization"]
    assert details.compacted == {}
    assert challenged.maintenance.files(NAMESPACE.ops("stage_runs")).files == files + 1
