"""Scores are counted in bins by the engine as they are in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.statistics.prior_shift import MOST_BINS, ScoreCounts, grouped

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace


def test_bins_of_the_engine_are_those_of_the_rows(ws: Workspace) -> None:
    random = np.random.default_rng(0)
    scores = np.concatenate([random.beta(1, 9, 3000), [0.0, 1.0, 0.5, 1e-300, 1 - 1e-16, 1e-12]])
    table = pa.table({"prediction": pa.array([*scores, None, float("nan"), float("inf")], pa.float64())})
    groups = ws.frames.collect(grouped(ws.frames.of(table), "prediction"), at_most=MOST_BINS, what="scores by bin")
    found, expected = ScoreCounts.of_groups(groups), ScoreCounts.of(scores)
    assert found.total == scores.size
    # A score on an edge may lie on either side of it, by its last bit.
    assert len(set(found.rows)) == pytest.approx(len(set(expected.rows)), abs=2)
    both = [np.repeat(counts.means, counts.rows) for counts in (found, expected)]
    assert np.sort(both[0]) == pytest.approx(np.sort(both[1]), rel=0.04)
    assert found.mean_of(lambda means: means) == pytest.approx(expected.mean_of(lambda means: means), rel=1e-9)
