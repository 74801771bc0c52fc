"""What models in use read is computed on by the code on record; what none reads goes; and tables are rebuilt."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from mlplatform.as_of import parse_as_of
from mlplatform.change import kept_code
from mlplatform.cli.main import cli
from mlplatform.errors import BreakingChangeError, FeatureStoreError, StageError, UsageError
from mlplatform.ops import maintenance
from mlplatform.ops.records import CHANGES, CODE
from mlplatform.ops.stage_runs import utc_now
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.edited_use_case import AS_OF, NAME, NAMES, Edit, open_edited, run_edited, write_use_case
from tests.support.tiny_runs import clone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

LATER = "2020-09-01"
FEATURES = "features.py"
REASON = "it was too close to the mean"


@pytest.fixture(scope="module")
def second(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A closed workspace whose second champion reads features of its own; its use case; what these are called."""
    folder = tmp_path_factory.mktemp("second")
    use_cases = write_use_case(folder / "use_cases", data, prior(400.0))
    with LocalWorkspace.open(root=clone(base, folder / "ws")) as ws:
        version = pipeline(ws, use_cases).apply(reason=REASON).versions["features_region"]
        use = pipeline(ws, use_cases)
        use.run(["train"])
        assert use.gate(override="asked for").details.outcome == "promoted"
    return folder / "ws", use_cases, version


@pytest.fixture
def ws(base: Path, tmp_path: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "ws")) as opened:
        yield opened


def pipeline(ws: LocalWorkspace, use_cases: Path, as_of: str = AS_OF) -> Pipeline:
    return Pipeline(ws, open_edited(ws, use_cases), parse_as_of(as_of))


def prior(value: float) -> Edit:
    return {FEATURES: [("PRIOR = 20.0", f"PRIOR = {value}")]}


def rows_of(ws: LocalWorkspace, table: str) -> pd.DataFrame:
    name = NAMES.exactly(table)
    keys = list(ws.tables.describe(name).primary_keys)
    return ws.tables.to_arrow(name, at_most=10**6).to_pandas().sort_values(keys, ignore_index=True)


def test_what_the_previous_champion_reads_is_kept_and_follows_new_data(
    second: tuple[Path, Path, str], tmp_path: Path
) -> None:
    root, use_cases, version = second
    names = ("features_region", version)
    with LocalWorkspace.open(root=clone(root, tmp_path / "ws")) as ws:
        kept = {item.name: item.read_by for item in pipeline(ws, use_cases).plan().kept}
        assert kept["features_region"] == "v1 @previous_champion"
        before = [len(rows_of(ws, name)) for name in names]
        run_edited(ws, use_cases, LATER, ["ingest", "refine", "features"])
        after = [rows_of(ws, name) for name in names]
        assert before[0] == before[1] < len(after[0]) == len(after[1])
        assert after[0]["region_rate"].tolist() != after[1]["region_rate"].tolist()


# Two edits after each other; of one the test above says the same in every run.
@pytest.mark.slow
def test_two_generations_are_kept_at_once_and_each_follows_new_data(
    ws: LocalWorkspace, tmp_path: Path, data: Path
) -> None:
    second = write_use_case(tmp_path / "second", data, prior(100.0))
    first_version = pipeline(ws, second).apply(reason=REASON).versions["features_region"]
    use = pipeline(ws, second)
    use.run(["train"])
    assert use.gate(override="asked for").details.outcome == "promoted"
    third = write_use_case(tmp_path / "third", data, prior(400.0))
    second_version = pipeline(ws, third).apply(reason=REASON).versions["features_region"]
    plan = pipeline(ws, third).plan()
    kept = {item.name: item.read_by for item in plan.kept if item.name.startswith("features_")}
    assert kept == {"features_region": "v1 @previous_champion", first_version: "v2 @champion"}
    names = ("features_region", first_version, second_version)
    before = {name: len(rows_of(ws, name)) for name in names}
    run_edited(ws, third, LATER, ["ingest", "refine", "features", "score"])
    after = {name: len(rows_of(ws, name)) for name in names}
    assert all(after[name] > before[name] for name in names)
    assert len(set(after.values())) == 1
    rates = [rows_of(ws, name)["region_rate"].tolist() for name in names]
    assert rates[0] != rates[1] != rates[2]
    # One record for each code that computed something.
    assert len(CODE.read(ws, NAMES)) == 3


def test_code_that_is_gone_stops_the_features_alone_and_in_place_is_the_way_out(
    ws: LocalWorkspace, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data, prior(400.0))
    pipeline(ws, use_cases).apply(reason=REASON)

    def gone(*_: Any) -> Any:
        raise kept_code._ImportFailedError from ModuleNotFoundError("No module named 'a_library'")

    monkeypatch.setattr(kept_code, "_load", gone)
    with pytest.raises(
        StageError, match="cannot be imported: ModuleNotFoundError: No module named 'a_library'"
    ) as caught:
        run_edited(ws, use_cases, LATER, ["ingest", "refine", "features"])
    assert f'mlplatform apply {NAME} --in-place --reason "why"' in caught.value.hint
    pipeline(ws, use_cases).maintain(dry_run=True)
    applied = pipeline(ws, use_cases).apply(in_place=True, reason="the library is gone")
    assert dict(applied.after.versions) == {}
    run_edited(ws, use_cases, LATER, ["ingest", "refine", "features", "score"])


def test_a_model_in_use_is_not_given_an_edited_function_by_whatever_stage(
    ws: LocalWorkspace, tmp_path: Path, data: Path
) -> None:
    edit: Edit = {FEATURES: [("else price / seats", "else price / (seats + 1.0)")]}
    use_cases = write_use_case(tmp_path / "use_cases", data, edit)
    for stage in ("train", "score", "monitor"):
        with pytest.raises(BreakingChangeError, match="something breaking waits, in functions"):
            run_edited(ws, use_cases, LATER, [stage])
    failed = [run for run in pipeline(ws, use_cases)._context.log.records() if run.status == "failed"]
    assert [run.stage for run in failed] == ["train", "score", "monitor"]
    root = ws.root
    ws.close()
    refused = CliRunner().invoke(cli, ["setup", NAME, "--home", str(root), "--use-cases", str(use_cases)])
    assert isinstance(refused.exception, BreakingChangeError)


def unknown_lineage(*_: Any) -> Any:
    raise FeatureStoreError("The model's files are gone.")


@pytest.fixture
def with_second(second: tuple[Path, Path, str], tmp_path: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(second[0], tmp_path / "ws")) as opened:
        yield opened


def test_a_table_that_no_model_reads_any_more_is_dropped_after_a_time(
    with_second: LocalWorkspace, second: tuple[Path, Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws, (_, use_cases, version) = with_second, second
    much_later = utc_now() + timedelta(days=100)
    monkeypatch.setattr(maintenance, "utc_now", lambda: much_later)
    # The previous champion still reads it.
    assert "dropped" not in pipeline(ws, use_cases).maintain(dry_run=True).details.to_json()
    ws.registry.delete_alias(NAMES.model, "previous_champion")
    monkeypatch.undo()
    assert "dropped" not in pipeline(ws, use_cases).maintain(dry_run=True).details.to_json()
    monkeypatch.setattr(maintenance, "utc_now", lambda: much_later)
    # Where it is not known what a model in use was trained on, nothing goes.
    with pytest.MonkeyPatch.context() as unreadable:
        unreadable.setattr(type(ws.fe), "lineage", unknown_lineage)
        assert "dropped" not in pipeline(ws, use_cases).maintain(dry_run=True).details.to_json()
    done = pipeline(ws, use_cases).maintain()
    assert done.details.dropped == ["edited.features_region"]
    assert not ws.tables.exists(NAMES.exactly("features_region"))
    assert ws.tables.exists(NAMES.exactly(version))
    monkeypatch.undo()
    run_edited(ws, use_cases, LATER, ["ingest", "refine", "features", "score"])


def test_rebuilding_computes_whole_again_what_somebody_else_changed(
    ws: LocalWorkspace, tmp_path: Path, data: Path
) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data)
    silver, features = NAMES.silver("signups"), NAMES.features("price")
    before = {name: rows_of(ws, name.name) for name in (silver, features)}
    rows = ws.tables.to_arrow(silver, at_most=10**6)
    ws.tables.overwrite(silver, rows.slice(0, rows.num_rows // 2))
    version = ws.tables.version(silver)
    summary = pipeline(ws, use_cases).rebuild(["silver_signups"])
    assert [run.stage for run in summary.stages] == ["refine", "features"]
    assert any("silver_signups is rebuilt" in note for note in summary.notes())
    hidden = ["_batch", "_ingested_at"]
    for name, then in before.items():
        now = rows_of(ws, name.name)
        assert now.drop(columns=hidden, errors="ignore").equals(then.drop(columns=hidden, errors="ignore"))
    # What it held is still to be read.
    half = ws.frames.count(ws.frames.read(silver, version=version))
    assert half == rows.num_rows // 2
    with pytest.raises(UsageError, match="has no table 'silver_signup'"):
        pipeline(ws, use_cases).rebuild(["silver_signup"])


def test_a_feature_table_alone_is_rebuilt(ws: LocalWorkspace, tmp_path: Path, data: Path) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data)
    name = NAMES.features("price")
    before = rows_of(ws, name.name)
    ws.tables.overwrite(name, ws.tables.to_arrow(name, at_most=10**6).slice(0, 3))
    pipeline(ws, use_cases).rebuild(["features_price"])
    assert rows_of(ws, name.name).equals(before)


def test_history_shows_what_edits_did(ws: LocalWorkspace, tmp_path: Path, data: Path) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data, prior(400.0))
    root = ws.root
    ws.close()

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(cli, [*arguments, "--home", str(root), "--use-cases", str(use_cases)])

    assert "No edit of edited has changed its tables" in call("history", NAME, "--changes").stdout
    dry = call("apply", NAME, "--as-of", AS_OF, "--reason", REASON, "--dry-run")
    assert dry.exit_code == 0, dry.exception
    assert "would be written from now on; models in use go on with features_region." in dry.stdout
    assert json.loads(call("history", NAME, "--changes", "--json").stdout) == []
    done = call("apply", NAME, "--as-of", AS_OF, "--reason", REASON)
    assert done.exit_code == 0, done.exception
    assert "is written from now on; models in use go on with features_region." in done.stdout
    (change,) = json.loads(call("history", NAME, "--changes", "--json").stdout)
    assert (change["kind"], change["reason"]) == ("breaking", REASON)
    shown = call("history", NAME, "--changes").stdout
    assert "features_region: breaking" in shown
    again = call("apply", NAME, "--as-of", AS_OF)
    assert again.exit_code == 0, again.exception
    with LocalWorkspace.open(root=root) as opened:
        assert len(CHANGES.read(opened, NAMES)) <= 2
