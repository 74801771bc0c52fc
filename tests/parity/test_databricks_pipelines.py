"""The same use case on both homes: the same stages, the same alias moves, the same rows, the same predictions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.parity import pipeline_runs as runs
from tests.parity.local_process import LocalProcess
from tests.support.bounded_runs import CEILING
from tests.support.close_rows import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

# Use case -> the times at which it runs, in order.
PLANS = {
    "credit_risk": ["2006-01-01"],
    "delivery_delay": ["2013-01-29"],
}
ROWS = 3000


@dataclass(frozen=True)
class Both:
    """A use case after its runs, on both homes."""

    name: str
    last: str
    local: LocalProcess
    databricks: DatabricksWorkspace
    steps: dict[str, list[runs.Step]]
    scratch: Path

    def ask(self, function: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
        """Call a function on both homes; return (local, Databricks)."""
        return self.local.call(function, self.name, *arguments), function(self.databricks, self.name, *arguments)

    @cached_property
    def tables(self) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
        """The business rows of every table after the runs: (local, Databricks)."""
        return self.ask(runs.tables)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProcess]:
    with LocalProcess(tmp_path_factory.mktemp("local")) as process:
        yield process


# A quarter of an hour each: one in every run, the other every night.
@pytest.fixture(
    scope="module",
    params=[name if name == "credit_risk" else pytest.param(name, marks=pytest.mark.slow) for name in PLANS],
)
def both(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    local: LocalProcess,
    databricks: DatabricksWorkspace,
) -> Both:
    name = request.param
    steps: dict[str, list[runs.Step]] = {"local": [], "databricks": []}
    for as_of in PLANS[name]:
        steps["local"].append(local.call(runs.run, name, as_of))
        steps["databricks"].append(runs.run(databricks, name, as_of))
    return Both(name, PLANS[name][-1], local, databricks, steps, tmp_path_factory.mktemp(name))


def test_the_same_stages_count_the_same_rows_and_move_the_same_aliases(both: Both) -> None:
    assert both.steps["databricks"] == both.steps["local"]
    assert both.steps["local"][0].aliases == {"champion": 1}


def test_no_stage_collects_more_than_the_ceiling(both: Both) -> None:
    for (step,) in both.steps.values():
        assert 0 < step.most_collected <= CEILING
        # The guard says something only where there are more rows than it lets through.
        large = {stage for stage, _, rows_in, rows_out, _ in step.stages if max(rows_in or 0, rows_out or 0) > CEILING}
        assert "refine" in large


def test_every_table_holds_the_same_rows(both: Both) -> None:
    local, databricks = both.tables
    assert sorted(databricks) == sorted(local)
    assert any(name.startswith("features_") for name in local)
    wrong = {name: difference(local[name], databricks[name]) for name in local}
    assert {name: text for name, text in wrong.items() if text} == {}


def test_training_sets_are_equal_row_by_row(both: Both) -> None:
    local, databricks = both.ask(runs.training_rows, both.last, ROWS)
    assert databricks.column_names == local.column_names
    assert databricks.schema.types == local.schema.types
    assert local.num_rows == ROWS
    assert difference(local, databricks) is None


def test_one_logged_model_predicts_the_same_on_both_sides(both: Both) -> None:
    folder = both.local.call(runs.save_model, both.name, 1, both.scratch)
    local, databricks = both.ask(runs.score_elsewhere, folder, both.last, ROWS)
    assert local.num_rows == databricks.num_rows == ROWS
    ours, theirs = (np.asarray(table.column("prediction").to_numpy()) for table in (local, databricks))
    assert np.abs(ours - theirs).max() <= 1e-9
    assert np.unique(ours).size > 100  # they do tell rows apart


# In every run the stages of test_databricks_faults are run again after their writes took effect.
@pytest.mark.slow
def test_running_again_changes_nothing_on_databricks(both: Both) -> None:
    _, before = both.tables
    again = runs.run(both.databricks, both.name, both.last)
    assert again.aliases == both.steps["databricks"][-1].aliases
    after = runs.tables(both.databricks, both.name)
    assert {name: difference(before[name], after[name]) for name in before} == dict.fromkeys(before)
