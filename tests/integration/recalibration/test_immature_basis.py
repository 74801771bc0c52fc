"""A champion recalibrated by what dated events let expect, months before the labels of the shift are mature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.errors import LabelError
from mlplatform.monitoring.immature_basis import ImmatureBasis
from mlplatform.naming import CHAMPION
from mlplatform.pipeline import Pipeline
from mlplatform.refine.spine import LABEL_KNOWN_AT
from mlplatform.stages import bases_of
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.shifted_tiny import write_shifted
from tests.support.tiny_dated import DatedTiny
from tests.support.tiny_gate import MODEL
from tests.support.tiny_runs import clone, open_tiny
from tests.support.tiny_use_case import NAME, TinyFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = ["ingest", "refine", "features"]
FIRST, NOW = "2020-08-01", "2020-10-01"
"""The base rate moves with August; its labels are mature with November."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyFolder, Path]:
    folder = tmp_path_factory.mktemp("immature_basis")
    window = {"performance_window": "1 month", "min_rows": 50}
    tiny = write_shifted(
        folder / "use_cases",
        extra=0.65,
        since="2020-08",
        monitoring=window,
        gate={"min_rows": 20, "min_positives": 5},
        recalibration={"window": "2 months", "min_events": 10},
    )
    with LocalWorkspace.open(root=folder / "live") as ws:
        Pipeline(ws, opened(ws, tiny), parse_as_of(FIRST)).run([*DATA, "train", "gate"])
        Pipeline(ws, opened(ws, tiny), parse_as_of(NOW)).run(DATA)
    return tiny, folder / "live"


@pytest.fixture
def ws(base: tuple[TinyFolder, Path], tmp_path: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base[1], tmp_path / "home")) as workspace:
        yield workspace


@pytest.fixture
def tiny(base: tuple[TinyFolder, Path]) -> TinyFolder:
    return base[0]


def opened(ws: LocalWorkspace, tiny: TinyFolder) -> Any:
    return DatedTiny.open(NAME, tiny.folder, ws)


def outcomes(ws: LocalWorkspace, tiny: TinyFolder, as_of: str = NOW) -> Any:
    use_case, moment = opened(ws, tiny), parse_as_of(as_of)
    context = use_case.context(ws, moment, "run")
    return ImmatureBasis().outcomes(
        context, use_case.label_spine(), after=parse_as_of("2020-03-01"), known_after=parse_as_of("2020-08-01")
    )


def test_it_is_offered_where_events_are_dated(ws, tiny):
    assert list(bases_of(opened(ws, tiny))) == ["realised", "immature"]
    assert list(bases_of(open_tiny(ws, tiny.folder))) == ["realised"]


def test_rows_that_are_not_mature_have_their_vintages_rate_and_how_far_it_may_be_off(ws, tiny):
    found = outcomes(ws, tiny)
    times = np.array(found.frame.rows["signed_up_at"].to_pylist())
    assert times.min() > parse_as_of("2020-08-01")
    assert sorted(times.tolist()) == times.tolist()
    assert (found.low < found.targets).all()
    assert (found.targets < found.high).all()
    assert (found.expected, found.ranked) == (True, False)
    assert 0 < found.weights[0] <= 1
    assert len(np.unique(found.targets)) == 2, "of August, and of September"
    # None of the labels was known: they are not in it.
    assert found.frame.rows["cancelled"].null_count == found.frame.rows.num_rows
    assert found.frame.rows[LABEL_KNOWN_AT].null_count == found.frame.rows.num_rows


def test_the_rates_lie_between_what_was_and_what_comes_true(ws, tiny):
    """Of the third month of age only the risk of before the shift has been seen."""
    found = outcomes(ws, tiny)
    Pipeline(ws, opened(ws, tiny), parse_as_of("2021-01-01")).run(DATA)
    labels = ws.tables.to_arrow(opened(ws, tiny).namespace.gold("labels"), at_most=10**5).to_pandas()
    mine = labels[labels["account"].isin(found.frame.rows["account"].to_pylist())]
    before = labels[labels["signed_up_at"] < "2020-05-01"]
    assert before["cancelled"].mean() + 0.1 < found.targets.mean() < mine["cancelled"].mean()


def test_a_champion_is_moved_by_them_and_the_gate_promotes_it(ws, tiny):
    pipeline = Pipeline(ws, opened(ws, tiny), parse_as_of(NOW))
    details = pipeline.recalibrate(basis="immature").details
    assert details.basis == "immature"
    assert details.observed > 1.25 * details.predicted
    assert details.moved == pytest.approx(details.observed, rel=0.03)
    gated = pipeline.gate(version=details.version).details
    assert gated.outcome == "promoted", gated.reason
    assert ws.registry.aliases(MODEL)[CHAMPION] == details.version


def test_where_too_little_is_known_it_says_so(ws, tiny):
    with pytest.raises(LabelError, match="Dated events do not tell yet") as caught:
        outcomes(ws, tiny, "2020-02-01")
    assert "--basis realised" in caught.value.hint
