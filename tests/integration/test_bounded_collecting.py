"""No stage brings more rows into this process than its settings allow, however many rows there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pytest

from mlplatform import open_workspace
from mlplatform.as_of import parse_as_of
from mlplatform.errors import TableError
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage import Stage
from mlplatform.pipeline import Pipeline
from mlplatform.stages import ORDER
from tests.support.bounded_runs import CEILING, MOMENTS, ceiling_of, run_bounded
from tests.support.tiny_runs import open_tiny
from tests.support.tiny_use_case import MONTHS, ROWS_A_MONTH, write_tiny_use_case

if TYPE_CHECKING:
    from pathlib import Path

    from mlplatform.ops.context import StageContext


@dataclass(frozen=True)
class AllOrdersStage(Stage[Details]):
    """Collects a silver table, and has no bound worth the name."""

    name: ClassVar[str] = "all_orders"

    def run(self, context: StageContext) -> StageResult[Details]:
        frame = context.ws.frames.read(context.namespace.silver("signups"))
        rows = context.ws.frames.collect(frame, at_most=10**9, what="all signups")
        return StageResult(Details(), rows_in=rows.num_rows)


@pytest.fixture(scope="module")
def tiny(ws, tmp_path_factory):
    use_case = open_tiny(ws, write_tiny_use_case(tmp_path_factory.mktemp("use_cases")).folder)
    Pipeline(ws, use_case, parse_as_of("2020-11-01")).run(["ingest", "refine", "features"])
    return use_case


def test_a_stage_that_collects_more_than_the_ceiling_fails(ws, tiny):
    rows = MONTHS * ROWS_A_MONTH
    pipeline = Pipeline(ws, tiny, parse_as_of("2020-11-01"))
    with ceiling_of(ws, rows - 1), pytest.raises(TableError, match=f"all signups has {rows} rows; at most {rows - 1} "):
        pipeline.execute(AllOrdersStage())
    assert pipeline.summary.stages[-1].status == "failed"
    with ceiling_of(ws, rows):
        done = pipeline.execute(AllOrdersStage())
    assert done.details.collected.largest_rows == rows


def test_training_on_more_rows_than_the_ceiling_fails(ws, tiny):
    with ceiling_of(ws, 100), pytest.raises(TableError, match="at most 100 may be collected"):
        Pipeline(ws, tiny, parse_as_of("2020-11-01")).run(["train"])


def test_what_was_collected_is_recorded(ws, tiny):
    recorded = Pipeline(ws, tiny, parse_as_of("2020-11-01")).run(["train"]).details("train")["collected"]
    assert 0 < recorded["largest_rows"] <= min(recorded["rows"], recorded["at_most"])


@pytest.mark.slow
@pytest.mark.parametrize("name", MOMENTS)
def test_no_stage_of_a_reference_collects_more_than_the_ceiling(name: str, tmp_path: Path):
    with open_workspace("local", root=tmp_path) as ws:
        stages = run_bounded(ws, name, MOMENTS[name], CEILING)
    assert {stage.stage for stage in stages} == {*ORDER, "backfill"}
    assert [stage for stage in stages if stage.failed] == []
    assert max(stage.collected[1] for stage in stages if stage.collected) <= CEILING
    # The guard says something only where there are more rows than it lets through.
    assert {stage.stage for stage in stages if stage.rows > CEILING} >= {"refine", "score"}
