"""On Databricks, too, no stage brings more rows into the driver than its settings allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlplatform.stages import ORDER
from tests.support.bounded_runs import CEILING, MOMENTS, run_bounded

if TYPE_CHECKING:
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

# Whole pipelines on JVM Spark: many minutes each, on two cores. In every run two of them have the same ceiling in
# test_databricks_pipelines, at one moment.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MOMENTS)
def test_no_stage_of_a_reference_collects_more_than_the_ceiling(name: str, databricks: DatabricksWorkspace) -> None:
    stages = run_bounded(databricks, name, MOMENTS[name][:1], CEILING)
    assert {stage.stage for stage in stages} == {*ORDER, "backfill"}
    assert [stage for stage in stages if stage.failed] == []
    assert max(stage.collected[1] for stage in stages if stage.collected) <= CEILING
    # The guard says something only where there are more rows than it lets through.
    assert {stage.stage for stage in stages if stage.rows > CEILING} >= {"refine", "score"}
