"""Prior shift: against QuaPy and plain EM, in simulation (level, coverage), and bins against rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mlplatform.statistics import estimate
from mlplatform.statistics.prior_shift import ScoreCounts, estimate_prior, likeliest_rate
from tests.benchmarks.quapy_golden import posteriors

GOLDEN = json.loads((Path(__file__).parent / "quapy_golden.json").read_text(encoding="utf-8"))["cases"]
IDENTITY = {"slope": 1.0, "intercept": 0.0}


def em(probabilities: np.ndarray, trained: float, times: int = 20_000) -> float:
    """The two steps of Saerens et al. (2002), as they print them."""
    rate = trained
    for _ in range(times):
        event = rate / trained * probabilities
        other = (1 - rate) / (1 - trained) * (1 - probabilities)
        before, rate = rate, float(np.mean(event / (event + other)))
        if rate == before:
            break
    return rate


class World:
    """Two normal classes; scores are the probabilities that hold at the training rate."""

    def __init__(self, seed: int, trained: float = 0.1, apart: float = 1.0) -> None:
        self.random, self.trained, self.apart = np.random.default_rng(seed), trained, apart

    def draw(self, rows: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
        labels = (self.random.random(rows) < rate).astype(float)
        place = self.random.normal(size=rows) + self.apart * labels
        odds = self.apart * place - self.apart**2 / 2 + np.log(self.trained / (1 - self.trained))
        return 1 / (1 + np.exp(-odds)), labels


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['trained']:g} to {case['now']:g}")
def test_the_rate_is_that_of_quapy_s_em(case):
    given_ = {name: case[name] for name in ("seed", "rows", "trained", "now", "apart")}
    probabilities = posteriors(**given_)
    found = likeliest_rate(probabilities, case["trained"])
    # QuaPy stops after a thousand steps, which is before the last digits.
    assert found == pytest.approx(case["rate"], rel=2e-3)


@given(st.integers(0, 2**31), st.floats(0.02, 0.5), st.floats(0.02, 0.9))
@settings(max_examples=15)
def test_bisection_finds_what_em_converges_to(seed, trained, now):
    probabilities, _ = World(seed, trained, 2.0).draw(300, now)
    assert likeliest_rate(probabilities, trained) == pytest.approx(em(probabilities, trained), abs=1e-4)


@given(
    npst.arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1)),
    npst.arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1)),
)
@settings(max_examples=60)
def test_whatever_the_scores_a_rate_is_one_and_lies_in_its_interval(window, reference):
    found = estimate_prior(ScoreCounts.of(window), ScoreCounts.of(reference), IDENTITY, draws=50)
    if found is not None:
        assert 0 <= found.low <= found.rate <= found.high <= 1
        assert 0 <= found.p_value <= 1


def test_bins_give_what_rows_give_to_a_thousandth():
    """The error of the bins, which the module states."""
    worst = 0.0
    for seed, (trained, now, apart) in enumerate(
        [(0.02, 0.05, 0.7), (0.1, 0.02, 1.0), (0.3, 0.6, 2.5), (0.01, 0.01, 3)]
    ):
        world = World(seed, trained, apart)
        window, _ = world.draw(20_000, now)
        by_rows = likeliest_rate(np.clip(window, 1e-6, 1 - 1e-6), trained)
        bins = ScoreCounts.of(window)
        by_bins = likeliest_rate(np.clip(bins.means, 1e-6, 1 - 1e-6), trained, np.asarray(bins.rows, dtype=float))
        worst = max(worst, abs(by_bins / by_rows - 1))
    assert worst < 1e-3


# Of forty times, a statistic without its divisor is seen already: it rejects 5 where 3 are rejected.
@pytest.mark.parametrize(
    ("times", "level", "coverage"),
    [
        (40, (0.0, 0.1), (0.9, 1.0)),
        pytest.param(400, (0.02, 0.085), (0.90, 0.985), marks=pytest.mark.slow),
    ],
)
def test_the_test_keeps_its_level_and_the_interval_its_coverage(times, level, coverage):
    """Reference, calibration and window are drawn anew each time: 400 times, so that 5 % is known to 2.2 points."""
    rejected, covered = 0, 0
    for seed in range(times):
        world = World(seed, 0.1, 1.0)
        scores, labels = world.draw(1500, 0.1)
        calibration = estimate.fit_calibration(labels, scores)
        assert calibration is not None
        reference = ScoreCounts.of(scores)
        same = estimate_prior(ScoreCounts.of(world.draw(1000, 0.1)[0]), reference, calibration, draws=50)
        moved = estimate_prior(ScoreCounts.of(world.draw(1000, 0.2)[0]), reference, calibration, draws=200)
        assert same is not None
        assert moved is not None
        rejected += same.p_value < 0.05
        covered += moved.low <= 0.2 <= moved.high
    assert level[0] <= rejected / times <= level[1]
    assert coverage[0] <= covered / times <= coverage[1]


# The level itself is looked at above in every run.
@pytest.mark.slow
def test_without_the_reference_s_own_error_the_level_would_be_lost():
    """What the divisor is for: a reference as small as the window doubles the variance."""
    times, rejected, without = 300, 0, 0
    for seed in range(times):
        world = World(10_000 + seed, 0.1, 1.0)
        reference, window = (ScoreCounts.of(world.draw(1000, 0.1)[0]) for _ in range(2))
        found = estimate_prior(window, reference, IDENTITY, draws=50)
        assert found is not None
        rejected += found.p_value < 0.05
        many = ScoreCounts(tuple(count * 1000 for count in reference.rows), reference.means)
        certain = estimate_prior(window, many, IDENTITY, draws=50)
        assert certain is not None
        without += certain.p_value < 0.05
    assert rejected / times <= 0.09
    assert without / times >= 0.11


def test_a_shift_is_found_and_its_size_with_it():
    world = World(1, 0.05, 1.5)
    reference, labels = world.draw(5000, 0.05)
    calibration = estimate.fit_calibration(labels, reference)
    assert calibration is not None
    found = estimate_prior(ScoreCounts.of(world.draw(5000, 0.15)[0]), ScoreCounts.of(reference), calibration)
    assert found is not None
    assert found.p_value < 1e-6
    assert found.low <= 0.15 <= found.high
    assert found.rate == pytest.approx(0.15, rel=0.25)
    assert found.training_rate == pytest.approx(labels.mean(), rel=0.02)


def test_it_does_not_see_events_that_came_to_rows_as_they_were():
    """Its blind spot, which is stated beside every estimate."""
    world = World(2, 0.05, 1.5)
    reference, _ = world.draw(20_000, 0.05)
    window, _ = world.draw(20_000, 0.05)
    found = estimate_prior(ScoreCounts.of(window), ScoreCounts.of(reference), IDENTITY)
    assert found is not None
    assert found.p_value > 0.01
    assert found.high < 0.1  # though each of these rows might by now be an event twice as often


def test_scores_that_tell_nothing_apart_give_no_estimate():
    same = ScoreCounts.of(np.full(100, 0.2))
    assert estimate_prior(same, same, IDENTITY) is None
    assert estimate_prior(ScoreCounts.of(np.array([])), same, IDENTITY) is None
    spread = ScoreCounts.of(np.linspace(0.1, 0.9, 50))
    assert estimate_prior(spread, spread, {"slope": 0.0, "intercept": -1.0}) is None


def test_counts_are_kept_as_json_and_read_back():
    counts = ScoreCounts.of(np.random.default_rng(0).beta(1, 9, 1000))
    assert ScoreCounts.from_dict(json.loads(json.dumps(counts.to_dict()))) == counts
    assert ScoreCounts.from_dict(None) is None
    assert counts.total == 1000
