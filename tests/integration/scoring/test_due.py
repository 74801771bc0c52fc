"""Which rows a scoring looks at and scores: what is new, what landed late, and what a killed run left."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.errors import StageError
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops import stage_runs
from mlplatform.pipeline import Pipeline
from mlplatform.protocols.tables import Transaction
from mlplatform.scoring import watermark
from mlplatform.scoring.predictions import Predictor
from mlplatform.scoring.scorer import BatchScorer
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.state import table_rows
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import Tiny, TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pyspark.sql import DataFrame

PREDICTIONS, SPINE = "dev.tiny.gold_predictions", "dev.tiny.gold_spine"
FIRST, SECOND, THIRD, FOURTH = "2020-08-01", "2020-09-01", "2020-10-01", "2020-11-01"
COMPUTE = ["ingest", "refine", "features"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TinyFolder]:
    """The first champion in August, who scored in September, too."""
    folder = tmp_path_factory.mktemp("base")
    tiny = write_tiny_use_case(folder / "use_cases", rows_a_month=200, gate={"margin": 0.3})
    with LocalWorkspace.open(root=folder / "home") as ws:
        run_tiny(ws, tiny.folder, FIRST, [*COMPUTE, "train", "gate", "score"])
        run_tiny(ws, tiny.folder, SECOND, [*COMPUTE, "score"])
        clone(ws.root, folder / "computed")
    # Another month has come, which nobody has scored.
    with LocalWorkspace.open(root=folder / "computed") as ws:
        run_tiny(ws, tiny.folder, THIRD, COMPUTE)
    return folder, tiny


@pytest.fixture
def tiny(tmp_path: Path, base: tuple[Path, TinyFolder]) -> TinyFolder:
    """A use case of the test's own, so that files can land in it."""
    folder = tmp_path / "use_cases" / "tiny"
    shutil.copytree(base[1].folder, folder)
    return TinyFolder(folder, dict(base[1].rows))


@pytest.fixture
def ws(tmp_path: Path, base: tuple[Path, TinyFolder]) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base[0] / "home", tmp_path / "home")) as opened:
        yield opened


@pytest.fixture
def computed(tmp_path: Path, base: tuple[Path, TinyFolder]) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base[0] / "computed", tmp_path / "computed")) as opened:
        yield opened


def land_late(tiny: TinyFolder, day: str, landed: str, rows: int = 5) -> list[str]:
    """Let rows of a day land in a file whose name says another one; return their accounts."""
    accounts = [f"L{day}-{number}" for number in range(rows)]
    lines = [f"{account},{day},north,10.0,2" for account in accounts]
    file = tiny.data / "signups" / f"signups_{landed}_late.csv"
    file.write_text("account,signed_up,region,price,seats\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return accounts


def accounts(ws: LocalWorkspace, as_of: str, alias: str | None = None) -> set[str]:
    filters: list[Any] = [("as_of", "=", parse_as_of(as_of))]
    filters += [] if alias is None else [("alias", "=", alias)]
    return set(ws.tables.to_arrow(PREDICTIONS, at_most=10**6, filters=filters).column("account").to_pylist())


def looked_at(ws: LocalWorkspace, tiny: TinyFolder, as_of: str) -> datetime:
    context = open_tiny(ws, tiny.folder).context(ws, parse_as_of(as_of), "run")
    began = watermark.beginning(context)
    assert began is not None
    return watermark.new_range(context, began, "").start


def test_a_scoring_looks_at_what_came_after_the_one_before(computed, tiny):
    """A month's first rows have the time of the scoring before, and land a month after it."""
    ws = computed
    assert looked_at(ws, tiny, THIRD) == parse_as_of(SECOND)
    summary = run_tiny(ws, tiny.folder, THIRD, ["score"])
    spine = ws.tables.to_arrow(SPINE, at_most=10**6, filters=[("signed_up_at", ">=", parse_as_of(SECOND))])
    assert accounts(ws, THIRD) == set(spine.column("account").to_pylist())
    assert summary.stages[-1].result.rows_in == summary.stages[-1].result.rows_out == spine.num_rows > 0


def test_rows_that_landed_late_are_scored_by_the_next_scoring_and_only_by_it(ws, tiny):
    late = land_late(tiny, "2020-07-02", landed="2020-09-10")
    run_tiny(ws, tiny.folder, THIRD, COMPUTE)
    assert looked_at(ws, tiny, THIRD) == parse_as_of("2020-07-02")
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    new = ws.tables.to_arrow(SPINE, at_most=10**6, filters=[("signed_up_at", ">=", parse_as_of(SECOND))])
    assert accounts(ws, THIRD) == {*late, *new.column("account").to_pylist()}
    run_tiny(ws, tiny.folder, FOURTH, [*COMPUTE, "score"])
    assert looked_at(ws, tiny, FOURTH) == parse_as_of(THIRD)
    assert not accounts(ws, FOURTH) & {*late, *new.column("account").to_pylist()}


def test_rows_refined_before_a_scoring_that_failed_are_scored_by_the_next(ws, tiny, monkeypatch):
    late = land_late(tiny, "2020-07-02", landed="2020-09-10")
    with monkeypatch.context() as patch:
        patch.setattr(ws.fe, "score_frame", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_tiny(ws, tiny.folder, THIRD, [*COMPUTE, "score"])
    run_tiny(ws, tiny.folder, FOURTH, [*COMPUTE, "score"])
    assert set(late) <= accounts(ws, FOURTH)
    spine = ws.tables.to_arrow(SPINE, at_most=10**6, filters=[("signed_up_at", ">", parse_as_of("2020-07-01"))])
    predictions = ws.tables.to_arrow(PREDICTIONS, at_most=10**6)
    assert sorted(predictions.column("account").to_pylist()) == sorted(spine.column("account").to_pylist())


def test_a_scoring_killed_after_the_champion_is_completed_in_the_shadow(computed, tiny, monkeypatch):
    """What it predicted itself is no earlier scoring: run again, it has the same rows."""
    ws = computed
    run_tiny(ws, tiny.folder, THIRD, ["train"])
    predict = Predictor.predict

    def dying(self: Predictor, *arguments: Any) -> Any:
        if self.alias == CHALLENGER:
            raise KeyboardInterrupt
        return predict(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", dying)
        with pytest.raises(KeyboardInterrupt):
            run_tiny(ws, tiny.folder, THIRD, ["score"])
    champion = accounts(ws, THIRD)
    summary = run_tiny(ws, tiny.folder, THIRD, ["score"])
    assert accounts(ws, THIRD, CHALLENGER) == champion == accounts(ws, THIRD, CHAMPION)
    assert summary.stages[-1].result.rows_in == len(champion) > 0


def test_what_only_a_challenger_predicted_is_due_for_the_champion(computed, tiny):
    ws = computed
    run_tiny(ws, tiny.folder, THIRD, ["train"])
    Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(THIRD)).run(["score"], alias=CHALLENGER)
    tried = accounts(ws, THIRD)
    assert tried == accounts(ws, THIRD, CHALLENGER)
    run_tiny(ws, tiny.folder, FOURTH, [*COMPUTE, "score"])
    assert tried < accounts(ws, FOURTH, CHAMPION)


def test_a_refining_that_is_older_than_what_is_read_of_a_long_record_is_not_overlooked(ws, tiny, monkeypatch):
    """More refinings than are read came after the one that brought late rows."""
    late = land_late(tiny, "2020-07-02", landed="2020-09-10")
    for as_of in (THIRD, "2020-10-02", "2020-10-03"):
        run_tiny(ws, tiny.folder, as_of, COMPUTE)
    assert looked_at(ws, tiny, "2020-10-03") == parse_as_of("2020-07-02")
    monkeypatch.setattr(stage_runs, "RECENT", 2)
    assert looked_at(ws, tiny, "2020-10-03") == parse_as_of("2020-07-01")
    run_tiny(ws, tiny.folder, "2020-10-03", ["score"])
    assert set(late) <= accounts(ws, "2020-10-03")


def test_one_run_may_refine_several_times(ws, tiny):
    """As the cycle of a notebook does: what its later refining brings was not seen by its earlier scoring."""
    use_case = open_tiny(ws, tiny.folder)
    pipeline = Pipeline(ws, use_case, parse_as_of(THIRD))
    pipeline.run([*COMPUTE, "score"])
    late = land_late(tiny, "2020-07-02", landed="2020-09-10")
    pipeline.run(COMPUTE)
    assert looked_at(ws, tiny, FOURTH) == parse_as_of("2020-07-02")
    run_tiny(ws, tiny.folder, FOURTH, ["score"])
    assert set(late) <= accounts(ws, FOURTH)


def test_what_was_refined_by_other_rules_or_is_another_table_is_looked_at_whole(ws, tiny):
    assert looked_at(ws, tiny, THIRD) == parse_as_of(SECOND)
    shutil.rmtree(ws.root / "tables" / "dev" / "tiny" / "gold_spine")
    run_tiny(ws, tiny.folder, THIRD, COMPUTE)
    assert looked_at(ws, tiny, THIRD) == parse_as_of("2020-07-01")
    before = table_rows(ws, PREDICTIONS)
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    assert set(before) < set(table_rows(ws, PREDICTIONS))
    assert not accounts(ws, THIRD) & accounts(ws, SECOND)


def test_where_predictions_are_another_table_or_were_lost_all_is_looked_at(computed, tiny):
    ws = computed
    context = open_tiny(ws, tiny.folder).context(ws, parse_as_of(THIRD), "run")
    began = watermark.beginning(context)
    assert began is not None
    assert watermark.new_range(context, began, "").start == parse_as_of(SECOND)
    assert watermark.new_range(context, began, "", lost=True).start == began
    info, rows = ws.tables.describe(PREDICTIONS), ws.tables.to_arrow(PREDICTIONS, at_most=10**6)
    ws.tables.drop(PREDICTIONS)
    ws.tables.create(PREDICTIONS, info.schema, primary_keys=info.primary_keys, timeseries_column=info.timeseries_column)
    ws.tables.append(PREDICTIONS, rows)
    assert looked_at(ws, tiny, THIRD) == began


def test_what_a_run_of_an_earlier_release_wrote_before_it_was_killed_is_not_written_twice(computed, tiny):
    """It wrote chunk by chunk, each under its number; the rest is scored, whatever chunk it would have been in."""
    ws = computed
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    whole = ws.tables.to_arrow(PREDICTIONS, at_most=10**6)
    expected = table_rows(ws, PREDICTIONS)
    moment = parse_as_of(THIRD)
    earlier = whole.filter(pc.less(whole.column("as_of"), pa.scalar(moment)))
    mine = whole.filter(pc.equal(whole.column("as_of"), pa.scalar(moment))).sort_by("signed_up_at")
    info = ws.tables.describe(PREDICTIONS)
    ws.tables.drop(PREDICTIONS)
    ws.tables.create(PREDICTIONS, info.schema, primary_keys=info.primary_keys, timeseries_column=info.timeseries_column)
    ws.tables.append(PREDICTIONS, earlier)
    chunk = [Transaction(f"score:1:champion:{moment.isoformat()}:0")]
    ws.tables.append(PREDICTIONS, mine.slice(0, 120), transactions=chunk)
    ws.tables.drop("dev.ops.stage_runs")
    for _ in range(2):
        run_tiny(ws, tiny.folder, THIRD, ["score"])
        assert table_rows(ws, PREDICTIONS) == expected


class Expensive(BatchScorer):
    """Scores what costs much, in three batches."""

    chunk_rows = 20

    def population(self, spine_rows: DataFrame) -> DataFrame:
        """Return the expensive ones."""
        return spine_rows.where("price >= 25")


class Repeating(BatchScorer):
    """Scores rows several times, as a join with many rows for a key does."""

    def population(self, spine_rows: DataFrame) -> DataFrame:
        """Return each row twice."""
        return spine_rows.union(spine_rows)


class Earlier(BatchScorer):
    """As it was written when the rows were Arrow's."""

    def population(self, spine_rows: Any) -> Any:
        """Return the expensive ones."""
        return spine_rows.filter(pc.greater_equal(spine_rows.column("price"), 25))


def run_with(ws: LocalWorkspace, tiny: TinyFolder, scorer: type[BatchScorer], as_of: str) -> Any:
    class Other(Tiny):
        pass

    Other.scorer = scorer
    return Pipeline(ws, Other.open("tiny", tiny.folder, ws), parse_as_of(as_of)).run(["score"])


def test_a_use_case_chooses_whom_to_score_in_spark(computed, tiny):
    ws = computed
    # Other code chooses than the time before: all rows without a prediction are looked at, and none is to be had.
    result = run_with(ws, tiny, Expensive, THIRD).stages[-1].result
    spine = ws.tables.to_arrow(SPINE, at_most=10**6, filters=[("signed_up_at", ">=", parse_as_of(SECOND))])
    expensive = {row["account"] for row in spine.to_pylist() if (row["price"] or 0) >= 25}
    assert accounts(ws, THIRD) == expensive
    assert (result.rows_in, result.rows_out) == (spine.num_rows, len(expensive))
    assert result.details.not_in_population == spine.num_rows - len(expensive)
    # The same code again: those that it left out are not looked at again; by other code they are.
    run_tiny(ws, tiny.folder, FOURTH, COMPUTE)
    new = ws.tables.to_arrow(SPINE, at_most=10**6, filters=[("signed_up_at", ">=", parse_as_of(THIRD))])
    assert run_with(ws, tiny, Expensive, FOURTH).stages[-1].result.rows_in == new.num_rows
    run_tiny(ws, tiny.folder, "2020-11-02", ["score"])
    assert accounts(ws, "2020-11-02") >= set(spine.column("account").to_pylist()) - expensive


def test_an_override_for_arrow_is_told_what_it_is_given_now(computed, tiny):
    ws = computed
    with pytest.raises(StageError, match=r"Earlier\.population failed") as failed:
        run_with(ws, tiny, Earlier, THIRD)
    assert "is given a Spark DataFrame" in failed.value.hint
    assert 'spine_rows.where("amount >= 1000")' in failed.value.hint


def test_a_population_that_repeats_rows_is_refused_before_anything_is_written(computed, tiny):
    ws = computed
    before = table_rows(ws, PREDICTIONS)
    with pytest.raises(StageError, match=r"Repeating\.population returns the rows of \d+ key\(s\) .* several times"):
        run_with(ws, tiny, Repeating, THIRD)
    assert table_rows(ws, PREDICTIONS) == before
