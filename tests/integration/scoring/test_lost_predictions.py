"""Predictions that are gone are made again by whom they were made, or said; those never made can be asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from mlplatform.as_of import parse_as_of
from mlplatform.errors import UsageError
from mlplatform.monitoring.judging import predictions_with_labels
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops import stage_runs
from mlplatform.pipeline import Pipeline
from mlplatform.simulation import simulate
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import crossed
from tests.support.state import table_rows
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator

PREDICTIONS = "dev.tiny.gold_predictions"
STEPS = ("2020-08-01", "2020-09-01", "2020-10-01", "2020-11-01")
LAST, LATER = STEPS[-1], "2020-11-15"
# All that predictions depend on.
SCORE = ["ingest", "refine", "features", "score"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), rows_a_month=200, gate={"margin": 0.3})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A year's end: the first champion in August, others after it, each month scored."""
    root = tmp_path_factory.mktemp("base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        simulate(ws, open_tiny(ws, tiny.folder), [parse_as_of(step) for step in STEPS])
    return root


@pytest.fixture
def ws(tmp_path: Path, base: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "home")) as opened:
        yield opened


def folder(ws: LocalWorkspace) -> Path:
    return ws.root / "tables" / "dev" / "tiny" / "gold_predictions"


def remove(ws: LocalWorkspace) -> None:
    shutil.rmtree(folder(ws))


def make_again_by_hand(ws: LocalWorkspace) -> None:
    info = ws.tables.describe(PREDICTIONS)
    ws.tables.drop(PREDICTIONS)
    ws.tables.create(PREDICTIONS, info.schema, primary_keys=info.primary_keys, timeseries_column=info.timeseries_column)


def restore(ws: LocalWorkspace) -> None:
    DeltaTable(str(folder(ws))).restore(2)
    ws.tables._opened.clear()


def notes_of(summary: Any) -> str:
    return "\n".join(summary.notes())


def run(ws: LocalWorkspace, tiny: TinyFolder, as_of: str, only: list[str] | None = None, **how: Any) -> Any:
    return Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(as_of)).run(only, **how)


@pytest.mark.parametrize(("lose", "as_of"), crossed([remove, make_again_by_hand, restore], [LAST, LATER]))
def test_all_predictions_come_back_by_whom_they_were_made(ws, tiny, lose, as_of):
    before = set(table_rows(ws, PREDICTIONS))
    runs = set(ws.tables.to_arrow(PREDICTIONS, at_most=10**6).column("run_id").to_pylist())
    lose(ws)
    # A step that has ended is left as it is by a whole run; what comes later is due for scoring.
    only = None if as_of == LAST else SCORE
    summary = run(ws, tiny, as_of, only)
    after = set(table_rows(ws, PREDICTIONS))
    assert before <= after
    assert runs <= set(ws.tables.to_arrow(PREDICTIONS, at_most=10**6).column("run_id").to_pylist())
    if as_of == LAST:
        assert after == before
    assert "gold_predictions was gone" in notes_of(summary)
    assert "made again by the versions that had made them" in notes_of(summary)
    assert ws.tables.to_arrow("dev.tiny.gold_latest_predictions", at_most=10**6).num_rows > 0
    again = run(ws, tiny, as_of, only)
    assert not notes_of(again)
    assert set(table_rows(ws, PREDICTIONS)) == after


def test_predictions_of_scorings_older_than_what_is_read_of_a_long_record_come_back_too(ws, tiny, monkeypatch):
    before = table_rows(ws, PREDICTIONS)
    remove(ws)
    monkeypatch.setattr(stage_runs, "RECENT", 2)
    run(ws, tiny, LAST)
    assert table_rows(ws, PREDICTIONS) == before


def test_an_earlier_time_brings_back_what_had_been_scored_by_then(ws, tiny):
    before = table_rows(ws, PREDICTIONS)
    remove(ws)
    run(ws, tiny, STEPS[1])
    assert pc.max(ws.tables.to_arrow(PREDICTIONS, at_most=10**6).column("as_of")).as_py() == parse_as_of(STEPS[1])
    run(ws, tiny, LAST)
    assert table_rows(ws, PREDICTIONS) == before


def test_a_finished_simulation_brings_back_what_it_had_made(ws, tiny):
    before = table_rows(ws, PREDICTIONS)
    features = table_rows(ws, "dev.tiny.features_region")
    remove(ws)
    shutil.rmtree(ws.root / "tables" / "dev" / "tiny" / "features_region")
    steps = [parse_as_of(step) for step in STEPS]
    simulate(ws, open_tiny(ws, tiny.folder), steps)
    assert table_rows(ws, PREDICTIONS) == before
    assert table_rows(ws, "dev.tiny.features_region") == features


def test_nothing_is_put_in_the_place_of_predictions_whose_version_is_gone(ws, tiny):
    """It is said, and left to whoever asks: the champion of today is not taken for that of then."""
    rows = ws.tables.to_arrow(PREDICTIONS, at_most=10**6)
    champions = rows.filter(pc.equal(rows.column("alias"), CHAMPION))
    numbers = sorted(set(champions.column("model_version").to_pylist()))
    assert len(numbers) > 1, "the base is to have had several champions"
    first = champions.filter(pc.equal(champions.column("model_version"), numbers[0]))
    remove(ws)
    ws.registry._connect().delete_model_version("dev.tiny.model", str(numbers[0]))
    summary = run(ws, tiny, LATER, SCORE)
    text = notes_of(summary)
    assert "could not be" in text
    assert f"mlplatform score tiny --as-of {LATER} --since" in text
    held = ws.tables.to_arrow(PREDICTIONS, at_most=10**6)
    lost = first.select(["account"]).join(held.select(["account"]), keys="account", join_type="left anti")
    assert lost.num_rows == first.num_rows
    assert "could not be" in notes_of(run(ws, tiny, LATER, SCORE))
    # Asked for, the champion of today predicts them, and it is not said any more.
    since = str(text.rpartition("--since ")[2].split()[0])
    run(ws, tiny, LATER, ["score"], since=parse_as_of(since))
    held = ws.tables.to_arrow(PREDICTIONS, at_most=10**6)
    lost = first.select(["account"]).join(held.select(["account"]), keys="account", join_type="left anti")
    assert lost.num_rows == 0
    assert "could not be" not in notes_of(run(ws, tiny, LATER, SCORE))


def test_old_predictions_deleted_on_purpose_stay_deleted(ws, tiny):
    table = DeltaTable(str(folder(ws)))
    table.delete("as_of < '2020-09-15T00:00:00Z'")
    ws.tables._opened.clear()
    before = table_rows(ws, PREDICTIONS)
    summary = run(ws, tiny, LAST)
    assert table_rows(ws, PREDICTIONS) == before
    assert not notes_of(summary)


# Rows that became due before the first champion


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> tuple[Path, Any]:
    """A closed workspace after its first run, and what that said."""
    root = tmp_path_factory.mktemp("begun") / "home"
    with LocalWorkspace.open(root=root) as ws:
        return root, run_tiny(ws, tiny.folder, STEPS[0])


@pytest.fixture
def first(tmp_path: Path, begun: tuple[Path, Any]) -> Iterator[tuple[LocalWorkspace, Any]]:
    with LocalWorkspace.open(root=clone(begun[0], tmp_path / "first")) as ws:
        yield ws, begun[1]


def open_rows(ws: LocalWorkspace, until: str) -> pa.Table:
    spine = ws.tables.to_arrow(
        "dev.tiny.gold_spine", at_most=10**6, filters=[("signed_up_at", "<=", parse_as_of(until))]
    )
    labels = ws.tables.to_arrow("dev.tiny.gold_labels", at_most=10**6, columns=["account", "signed_up_at"])
    return spine.select(["account", "signed_up_at"]).join(
        labels, keys=["account", "signed_up_at"], join_type="left anti"
    )


def test_rows_due_before_the_first_champion_are_said_and_scored_where_that_is_asked_for(first, tiny):
    ws, summary = first
    waiting = open_rows(ws, "2020-07-01")
    assert waiting.num_rows > 300
    counted = summary.details("score")["unscored_before"]
    assert counted["without_label"] == waiting.num_rows
    assert counted["rows"] > waiting.num_rows
    note = next(text for text in summary.notes() if "before the first scoring" in text)
    assert note.startswith(f"{waiting.num_rows} row(s)")
    since = note.rpartition("--since ")[2]
    scored = ws.tables.to_arrow(PREDICTIONS, at_most=10**6).num_rows
    done = run(ws, tiny, STEPS[0], ["score"], since=parse_as_of(since))
    held = ws.tables.to_arrow(PREDICTIONS, at_most=10**6)
    assert held.num_rows == scored + done.stages[-1].result.rows_out
    missing = waiting.join(held.select(["account"]), keys="account", join_type="left anti")
    assert missing.num_rows == 0
    assert done.details("score")["unscored_before"]["without_label"] == 0
    assert pc.min(held.column("signed_up_at")).as_py() > parse_as_of(since)
    # Idempotent, and the ordinary scoring at the same time too.
    for how in ({"since": parse_as_of(since)}, {}):
        assert run(ws, tiny, STEPS[0], ["score"], **how).stages[-1].result.rows_out == 0
    assert ws.tables.to_arrow(PREDICTIONS, at_most=10**6).num_rows == held.num_rows
    # Lost, both come back: what was due and what was asked for, each by its own run.
    runs = sorted(held.column("run_id").to_pylist())
    remove(ws)
    assert "of 2 scoring(s) are on record" in notes_of(run(ws, tiny, STEPS[0]))
    assert sorted(ws.tables.to_arrow(PREDICTIONS, at_most=10**6).column("run_id").to_pylist()) == runs
    keys = held.select(["account", "signed_up_at", "model_version"])
    assert keys.group_by(keys.column_names).aggregate([]).num_rows == held.num_rows


def test_predictions_asked_for_later_disturb_neither_windows_nor_performance(tmp_path, first, tiny, monkeypatch):
    """What a version learned from is predicted when asked for, and never counted as its performance."""
    ws, _ = first
    ws.close()
    with LocalWorkspace.open(root=clone(tmp_path / "first", tmp_path / "other")) as other:
        run_tiny(other, tiny.folder, STEPS[1])
        plain = {
            name: table_rows(other, f"dev.ops.{name}") for name in ("drift_metrics", "window_counts", "gate_decisions")
        }
    with LocalWorkspace.open(root=tmp_path / "first") as again:
        done = run(again, tiny, STEPS[0], ["score"], since=parse_as_of("2019-12-31"))
        details = done.details("score")
        assert details["learned_rows"] > 0
        run_tiny(again, tiny.folder, STEPS[1])
        for name in ("drift_metrics", "window_counts"):
            assert table_rows(again, f"dev.ops.{name}") == plain[name]
        through = parse_as_of(details["learned_through"])
        use_case = open_tiny(again, tiny.folder)
        context = use_case.context(again, parse_as_of(STEPS[1]), "run")
        # More scorings came after it than are read of a long record.
        monkeypatch.setattr(stage_runs, "RECENT", 1)
        with predictions_with_labels(context, use_case.label_spine()) as of_alias:
            judged = of_alias[CHAMPION].load().rows
        assert judged.num_rows > 0
        assert pc.min(judged.column("signed_up_at")).as_py() > through


@pytest.mark.parametrize("since", ["2020-08-01", "2021-01-01"])
def test_a_beginning_that_is_no_beginning_is_refused(ws, tiny, since):
    with pytest.raises(UsageError, match="cannot be scored as of 2020-08-01"):
        run(ws, tiny, STEPS[0], ["score"], since=parse_as_of(since))


def test_the_challengers_predictions_in_the_shadow_come_back_too(ws, tiny):
    rows = ws.tables.to_arrow(PREDICTIONS, at_most=10**6)
    if CHALLENGER not in rows.column("alias").to_pylist():
        pytest.skip("no challenger scored in the shadow in this base")
    before = table_rows(ws, PREDICTIONS)
    remove(ws)
    run(ws, tiny, LAST)
    assert table_rows(ws, PREDICTIONS) == before


# The platform's own tables


def test_records_that_are_gone_are_said_once(ws, tiny):
    for name in ("drift_metrics", "gate_decisions"):
        ws.tables.drop(f"dev.ops.{name}")
    text = notes_of(run(ws, tiny, LATER, ["ingest"]))
    assert "ops.drift_metrics was gone" in text
    assert "ops.gate_decisions was gone" in text
    assert not notes_of(run(ws, tiny, LATER, ["ingest"]))
    ws.tables.drop("dev.ops.stage_runs")
    assert "ops.stage_runs was gone" in notes_of(run(ws, tiny, LATER, ["ingest"]))
